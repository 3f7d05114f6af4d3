"""What a stage could not take becomes dead letters: whole, with the reason, counted once."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from apache_beam.pvalue import TaggedOutput

from contracts import wire
from contracts.event import Event, Identifier
from contracts.event_codec import decode_event
from contracts.exchange import (
    DeadLetter,
    LedgerCount,
    Link,
    RejectedElement,
    ShardInput,
    StrandEvent,
    StrandMessage,
    StrandMessages,
)
from pipelines.config import SHIPPED
from transforms.dead_letter import DeadLetterBox
from transforms.identity.rules_file import load_rules
from transforms.rejected import REASON, _RejectedFn
from transforms.stores.database import StoreAddress
from transforms.strand_stream import StrandCores

BOX = DeadLetterBox(b"k" * 32)
SCHEMA = "event-1"


def event(number: int, source: str = "web") -> Event:
    device = (Identifier("anonymous_id", "a1"),)
    return Event(f"e{number}", "page_view", 1_000 + number, 2_000 + number, source, "web", device)


def strand_event(one: Event, *, stored: bool = False) -> StrandEvent:
    return StrandEvent(
        event_id=one.event_id,
        event_time=one.event_time,
        received_time=one.received_time,
        source=one.source,
        primary=one.identifiers[0],
        login=None,
        event=wire.pack(one),
        stored=stored,
    )


def outputs(element: RejectedElement) -> tuple[list[DeadLetter], list[LedgerCount]]:
    letters: list[DeadLetter] = []
    counts: list[LedgerCount] = []
    found: Any
    for found in _RejectedFn(BOX, SCHEMA).process(element):
        if isinstance(found, TaggedOutput):
            counts.append(found.value)
        else:
            letters.append(found)
    return letters, counts


def test_every_event_of_a_batch_that_the_strand_stage_could_not_take_is_a_whole_letter_and_counted_as_dead() -> None:
    events = [event(1), event(2), event(3, "crm")]
    data = wire.pack_compressed(ShardInput(tuple(map(strand_event, events))))
    letters, counts = outputs(RejectedElement("strand", b"\x01", "handle", data, "KeyError", "'x'"))
    assert [decode_event(BOX.open(one.dead_letter_id, one.payload)) for one in letters] == events
    assert {(one.stage, one.reason, one.schema_id) for one in letters} == {("strand", REASON, SCHEMA)}
    assert [one.at for one in letters] == [2_001, 2_002, 2_003]
    assert all("KeyError" in one.detail and "handle" in one.detail for one in letters)
    assert counts == [LedgerCount("crm", "dead_lettered", 1), LedgerCount("web", "dead_lettered", 2)]


def test_events_that_the_journey_stage_could_not_take_were_accepted_before_and_are_letters_only() -> None:
    message = StrandMessage(
        strand_id="s1",
        primary=Identifier("anonymous_id", "a1"),
        login=None,
        person_id="p1",
        kind="append",
        sequence=1,
        version=2,
        after=0,
        events=(wire.pack(event(1)), wire.pack(event(2))),
    )
    data = wire.pack(StrandMessages((message,)))
    letters, counts = outputs(RejectedElement("journey", b"\x01", "handle", data, "ValueError", "no"))
    assert [decode_event(BOX.open(one.dead_letter_id, one.payload)) for one in letters] == [event(1), event(2)]
    assert counts == []


@pytest.mark.parametrize("stage", ["strand", "journey"])
def test_a_step_of_time_alone_has_no_event_to_lose(stage: str) -> None:
    assert outputs(RejectedElement(stage, b"\x01", "advance", b"", "ValueError", "no")) == ([], [])


@pytest.mark.parametrize("stage", ["strand", "journey", "ledger"])
@pytest.mark.parametrize("data", [b"\xc1", b"garbage", b"\x00" * 40])
def test_bytes_that_are_no_element_of_the_stage_are_kept_as_they_are(stage: str, data: bytes) -> None:
    (letter,), counts = outputs(RejectedElement(stage, b"\x01", "handle", data, "ValueError", "no"))
    assert BOX.open(letter.dead_letter_id, letter.payload) == data
    assert (letter.stage, letter.payload_schema) == (stage, "raw")
    assert counts == []


def test_letters_of_an_attempt_that_is_repeated_are_the_same_letters() -> None:
    data = wire.pack_compressed(ShardInput((strand_event(event(1)),)))
    rejected = RejectedElement("strand", b"\x01", "handle", data, "KeyError", "'x'")
    (first,), _ = outputs(rejected)
    (second,), _ = outputs(rejected)
    assert first.dead_letter_id == second.dead_letter_id


def test_an_event_of_an_earlier_run_is_not_counted_by_this_one() -> None:
    data = wire.pack_compressed(ShardInput((strand_event(event(1), stored=True), strand_event(event(2)))))
    letters, counts = outputs(RejectedElement("strand", b"\x01", "handle", data, "KeyError", "'x'"))
    assert (len(letters), counts) == (2, [LedgerCount("web", "dead_lettered", 1)])


def test_a_batch_with_an_event_that_is_none_is_kept_as_it_is() -> None:
    broken = dataclasses.replace(strand_event(event(1)), event=b"\xc1")
    data = wire.pack_compressed(ShardInput((broken, strand_event(event(2)))))
    (letter,), counts = outputs(RejectedElement("strand", b"\x01", "handle", data, "KeyError", "'x'"))
    assert (BOX.open(letter.dead_letter_id, letter.payload), counts) == (data, [])


def test_what_the_keyed_stages_take_has_a_part_an_event_or_message() -> None:
    rules = load_rules(SHIPPED / "identity.yaml")
    link = Link(Identifier("anonymous_id", "a1"), None, 1, "e1", 1, "e1", 1)
    events = (strand_event(event(1)), strand_event(event(2)))
    strand = StrandCores(StoreAddress(Path("unused")), rules, 16, BOX, SCHEMA)
    parts = strand.split(wire.pack_compressed(ShardInput(events, sightings=(link,))))
    contents = [wire.unpack_compressed(ShardInput, part) for part in parts]
    assert contents == [ShardInput(sightings=(link,)), ShardInput(events[:1]), ShardInput(events[1:])]
    assert len(strand.split(wire.pack_compressed(ShardInput(events[:1])))) == 1, "what has no parts is rejected"


def test_a_fault_of_time_leaves_no_letter_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    element = RejectedElement("journey", b"\x2a", "advance", b"", "ZeroDivisionError", "division by zero")
    assert outputs(element) == ([], [])
    assert [record.getMessage() for record in caplog.records] == [
        "journey, shard 2a: advance failed and is tried again: ZeroDivisionError: division by zero"
    ]
