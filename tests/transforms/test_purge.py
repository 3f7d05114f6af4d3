"""Purge in a stream: what was erased leaves the stores, what came after or belongs to others stays."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from contracts import coders, wire
from contracts.event import Event, Identifier
from contracts.exchange import GONE as LEFT
from contracts.exchange import WHOLE, Outcome, Purge, StrandMessage
from transforms.identity.ids import person_shard, strand_id
from transforms.identity.rules import StrandKey
from transforms.identity.rules_file import load_rules
from transforms.journey.live.stored import STAGE, record_of, store_messages
from transforms.purge import PurgeStores, Shards, forget_copies, note, settle
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.effects import open_effects
from transforms.stores.identity import open_identity
from transforms.stores.records import RecordKey, open_records

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
        _ = given | "Purge" >> PurgeStores(stores, str(notes_of(stores)))
    assert settled(stores) == len(set(purges))


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
