"""Purge in a stream: what was erased leaves the stores, what came after or belongs to others stays."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

sys.path.insert(0, str(Path(__file__).parent / "stores"))

from test_effects import a_decision

from contracts import coders, wire
from contracts.event import Event, Identifier
from contracts.exchange import GONE as LEFT
from contracts.exchange import WHOLE, Action, Outcome, Purge, StrandEvent, StrandMessage
from transforms.actor.archives import unpack_archive
from transforms.identity.ids import person_shard, strand_id
from transforms.identity.rules import StrandKey
from transforms.identity.rules_file import load_rules
from transforms.journey.live.archiving import Archiving
from transforms.journey.live.messages import PersonRecord, size_of, take
from transforms.journey.live.stored import ARCHIVES, STAGE, record_of, store_messages, stored_record
from transforms.journey.live.work import Pending
from transforms.purge import PurgeStores, Shards, forget_copies, forget_of_run, note, settle
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.effects import Guards, PlannedAction, open_effects
from transforms.stores.identity import open_identity
from transforms.stores.records import RecordKey, open_records
from transforms.tables.decided_notes import read_noted

RULES = load_rules(Path(__file__).parents[2] / "ontology" / "identity.yaml")
SHARDS = 4
NOON = 1_750_000_000_000_000
GONE, OTHER = Identifier("anonymous_id", "a" * 32), Identifier("anonymous_id", "b" * 32)


def outcome(number: int, device: Identifier, at: int) -> Outcome:
    return Outcome(f"o{number}", None, "p1", strand_id(device, None), "opened", at, at)


@pytest.fixture(name="stores")
def stores_fixture(tmp_path: Path) -> StoreAddress:
    """Two devices with outcomes; one was erased up to noon."""
    address = StoreAddress(tmp_path / STORE_FILE)
    identity = open_identity(address, RULES, SHARDS)
    for number, device in enumerate((GONE, OTHER)):
        identity.link(RULES.links((device,), "view", f"e{number}", NOON - 10, NOON - 10))
    identity.erase(NOON, [GONE])
    identity.close()
    effects = open_effects(address)
    effects.claim_decisions(
        (), outcomes=[outcome(1, GONE, NOON - 5), outcome(2, GONE, NOON + 5), outcome(3, OTHER, NOON - 5)]
    )
    effects.close()
    return address


def purge(stores: StoreAddress, *purges: Purge) -> None:
    coders.register()
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        given = pipeline | beam.Create(list(purges)).with_output_types(Purge)
        _ = given | "Purge" >> PurgeStores(stores, str(notes_of(stores)), str(decided_of(stores)))
    assert settled(stores) == len(set(purges))


def decided_of(stores: StoreAddress) -> Path:
    return notes_of(stores).parent / "decided"


def notes_of(stores: StoreAddress) -> Path:
    assert stores.path is not None
    return stores.path.parent / "purges"


def settled(stores: StoreAddress, told: Callable[[], object] = lambda: None) -> int:
    identity = open_identity(stores, RULES, SHARDS)
    try:
        return settle(notes_of(stores), identity, notes_of(stores).parent, told)
    finally:
        identity.close()


def known(stores: StoreAddress) -> tuple[list[str], set[StrandKey]]:
    """The outcomes and the strands that the stores know."""
    effects, identity = open_effects(stores), open_identity(stores, RULES, SHARDS)
    try:
        outcomes = effects.outcomes([strand_id(device, None) for device in (GONE, OTHER)])
        strands = identity.assignments_of([StrandKey(device, None) for device in (GONE, OTHER)])
        return sorted(one.outcome_id for one in outcomes), set(strands)
    finally:
        identity.close()
        effects.close()


def test_the_stores_forget_what_was_erased_and_nothing_else(stores: StoreAddress) -> None:
    assert known(stores) == (["o1", "o2", "o3"], {StrandKey(GONE, None), StrandKey(OTHER, None)})
    order = Purge(strand_id(GONE, None), GONE, None, NOON)
    purge(stores, order)
    left = (["o2", "o3"], {StrandKey(OTHER, None)})
    assert known(stores) == left
    # the engine tries a bundle again
    purge(stores, order, order)
    assert known(stores) == left


def test_what_was_decided_is_noted_before_it_is_forgotten(stores: StoreAddress) -> None:
    effects = open_effects(stores)
    for number, (device, at) in enumerate([(GONE, NOON - 5), (GONE, NOON), (GONE, NOON + 5), (OTHER, NOON - 5)]):
        decision = replace(a_decision(number), anchor_strand=strand_id(device, None), at=at)
        effects.claim_decisions([decision])
        action = Action(
            f"a{number}", decision.decision_id, "p1", decision.anchor_strand, "email", "hello", "suppressed", "", at, 0
        )
        effects.claim_actions([PlannedAction(action, at)], Guards())
    order = Purge(strand_id(GONE, None), GONE, None, NOON)
    purge(stores, order)
    noted = read_noted(decided_of(stores))
    assert (noted.decisions, noted.actions) == (("d0", "d1"), ("a0", "a1"))
    assert effects.mark_erased([order.strand_id], NOON + 9) == (("d2",), ("a2",))
    purge(stores, order)
    assert read_noted(decided_of(stores)) == noted, "a bundle that is tried again takes nothing back"
    effects.close()


def test_each_strand_is_purged_up_to_its_own_time(stores: StoreAddress) -> None:
    purge(
        stores, Purge(strand_id(GONE, None), GONE, None, NOON + 5), Purge(strand_id(OTHER, None), OTHER, None, NOON - 6)
    )
    assert known(stores)[0] == ["o3"]


def test_a_strand_that_no_erasure_covers_keeps_its_name(stores: StoreAddress) -> None:
    purge(stores, Purge(strand_id(OTHER, None), OTHER, None, NOON))
    assert StrandKey(OTHER, None) in known(stores)[1]


def test_names_are_forgotten_after_the_tables_were_told_and_not_what_is_noted_meanwhile(stores: StoreAddress) -> None:
    order, late = (Purge(strand_id(device, None), device, None, NOON) for device in (GONE, OTHER))
    note(notes_of(stores), [order])

    def told() -> None:
        assert StrandKey(GONE, None) in known(stores)[1]
        note(notes_of(stores), [late])

    assert settled(stores, told) == 1
    assert known(stores)[1] == {StrandKey(OTHER, None)}
    assert settled(stores) == 1
    assert settled(stores) == 0


# --- copies of persons' records -------------------------------------------------------------------------------------


def told(person: str, device: Identifier, times: tuple[int, ...], version: int = 1) -> StrandMessage:
    events = tuple(
        wire.pack(Event(f"{device.value[0]}{at}", "home_view", at, at, "web", "web", (device,))) for at in times
    )
    kind = WHOLE if times else LEFT
    return StrandMessage(strand_id(device, None), device, None, person, kind, 1, version, version - 1, events)


def key_of(person: str) -> RecordKey:
    return RecordKey(STAGE, int.from_bytes(person_shard(person, SHARDS), "big"), person)


def put_away(stores: StoreAddress, *messages: StrandMessage) -> None:
    """Persons put into the record store, as the journey stage does."""
    records = open_records(stores)
    for message in messages:
        store_messages(records, key_of(message.person_id).shard, {message.person_id: [message]}, message.version)
    records.close()


def copies(stores: StoreAddress, *persons: str) -> dict[str, tuple[int, list[int]]]:
    """Version and event times of what lies there of persons."""
    records = open_records(stores)
    found = records.get([key_of(person) for person in persons])
    records.close()
    return {
        key.key: (
            stored.version,
            sorted(wire.unpack(Event, event).event_time - NOON for event, _ in record_of(stored).events()),
        )
        for key, stored in found.items()
    }


def archived(stores: StoreAddress, *messages: StrandMessage) -> None:
    """A person put into the record store with archives of two events each, as the journey stage does."""
    records = open_records(stores)
    shard = key_of(messages[0].person_id).shard
    record = take(PersonRecord(messages[0].person_id), messages).record
    two = sum(size_of(event) for event in messages[0].events[:2])
    archiving, pending = Archiving(shard, records, two, 0), Pending(now=9)
    archiving.shorten([record.person_id], {record.person_id: record}, pending)
    records.put([stored_record(pending.shortened[record.person_id], shard, 9)])
    records.close()


def archives(stores: StoreAddress) -> dict[str, list[int]]:
    """Event times of what lies in archives, by person and strand."""
    records = open_records(stores)
    found: dict[str, list[int]] = {}
    for shard in range(SHARDS):
        for stored in records.of_shard(ARCHIVES, shard):
            times = [wire.unpack(Event, event).event_time - NOON for event in unpack_archive(stored.body)]
            found.setdefault(stored.key.key.rpartition(".")[0], []).extend(times)
    records.close()
    return {key: sorted(times) for key, times in found.items()}


def forgotten(stores: StoreAddress, before: float) -> int:
    records = open_records(stores)
    try:
        return forget_copies(notes_of(stores), records, Shards(SHARDS, SHARDS), before)
    finally:
        records.close()


def test_copies_of_records_forget_what_was_erased_when_no_engine_goes_back_behind_it(stores: StoreAddress) -> None:
    put_away(
        stores,
        told("both", GONE, (NOON - 5, NOON, NOON + 5), 7),
        told("both", OTHER, (NOON - 6,), 8),
        told("before", GONE, (NOON - 9,), 3),
        told("other", OTHER, (NOON - 7,), 4),
    )
    before = copies(stores, "both", "before", "other")
    assert before == {"both": (8, [-6, -5, 0, 5]), "before": (3, [-9]), "other": (4, [-7])}
    order = Purge(strand_id(GONE, None), GONE, None, NOON, ("before", "both", "nobody"))
    note(notes_of(stores), [order])
    for path in (notes_of(stores) / "copies").iterdir():
        os.utime(path, (1_000, 1_000))
    assert forgotten(stores, 1_000) == 0
    assert copies(stores, "both", "before", "other") == before, "the engine may still go back to before it"
    assert forgotten(stores, 1_001) == 2
    left = {"both": (8, [-6, 5]), "other": (4, [-7])}
    assert copies(stores, "both", "before", "other") == left
    # noted again, as by a bundle that the engine tries again
    note(notes_of(stores), [order, order])
    assert forgotten(stores, math.inf) == 0
    assert copies(stores, "both", "before", "other") == left
    assert list((notes_of(stores) / "copies").iterdir()) == []
    assert settled(stores) == 1, "that is noted beside what the identity store is to forget"


def test_archives_forget_what_was_erased_whoever_refers_to_them(stores: StoreAddress) -> None:
    gone, other = strand_id(GONE, None), strand_id(OTHER, None)
    archived(stores, told("both", GONE, tuple(range(NOON - 3, NOON + 4)), 7), told("both", OTHER, (NOON - 6,), 8))
    before = archives(stores)
    assert before == {f"both.{gone}": [-3, -2, -1, 0, 1, 2]}
    put_away(stores, told("other", OTHER, (NOON - 7,), 4))
    note(notes_of(stores), [Purge(gone, GONE, None, NOON, ("both", "other"))])
    assert forgotten(stores, math.inf) == 1, "the record names no archive that holds nothing any more"
    assert archives(stores) == {f"both.{gone}": [1, 2]}
    assert copies(stores, "both") == {"both": (9, [-6, 3])}
    records = open_records(stores)
    record = record_of(records.get([key_of("both")])[key_of("both")])
    read = Archiving(key_of("both").shard, records, 1, 0).read(record)
    assert sorted(wire.unpack(Event, event).event_time - NOON for event, _ in record.events(read)) == [-6, 1, 2, 3]
    records.close()
    note(notes_of(stores), [Purge(other, OTHER, None, NOON, ("both",)), Purge(gone, GONE, None, NOON + 9, ("both",))])
    assert forgotten(stores, math.inf) == 1
    assert (archives(stores), copies(stores, "both")) == ({}, {})


def test_what_a_run_erases_leaves_archives_and_the_rest_of_the_person_stays(stores: StoreAddress) -> None:
    archived(stores, told("both", GONE, tuple(range(NOON - 3, NOON + 4)), 7))
    archived(stores, told("other", OTHER, tuple(range(NOON - 3, NOON + 4)), 7))
    untouched = archives(stores)[f"other.{strand_id(OTHER, None)}"]
    records = open_records(stores)
    erased = [
        StrandEvent(f"{GONE.value[0]}{NOON + at}", NOON + at, NOON + at, "web", GONE, None, b"") for at in (-3, 1, 3)
    ]
    assert forget_of_run(records, Shards(SHARDS, SHARDS), erased) == 1
    records.close()
    assert copies(stores, "both") == {"both": (9, [-2, -1, 0, 2])}
    assert archives(stores) == {f"other.{strand_id(OTHER, None)}": untouched}
