"""Persons in the record store: how a record of the journey stage is put away, read back, and made for a new stream.

Pure but for the store that is given. Times: event time in microseconds; versions are processing time. Errors: those of
the store, and StateVersionError for a record of a later version.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from contracts.event import Event
from contracts.exchange import StrandMessage
from transforms.journey.live.entries import body_version, pack_messages, unpack_messages
from transforms.journey.live.messages import PersonRecord, as_messages, event_of, take
from transforms.stores.records import RecordKey, RecordStore, StoredRecord

STAGE = "journey"
"""Of the record store."""


def stored_record(record: PersonRecord, shard: int, version: int) -> StoredRecord:
    """A person's record, which has events, as it goes to the record store."""
    times = [
        event_of(event).event_time
        for held in record.strands.values()
        if held.events
        for event in (held.events[0], held.events[-1])
    ]
    key = RecordKey(STAGE, shard, record.person_id)
    body = pack_messages(as_messages(record))
    return StoredRecord(key, version, record.person_id, min(times), max(times), body_version(), body)


def store_messages(records: RecordStore, shard: int, messages: Mapping[str, Sequence[StrandMessage]], now: int) -> None:
    """Take messages of persons of a shard into their records in the store; for who begins a stream, not for an actor.

    Whoever is read back from there is stated whole, since nobody's log names that record.
    """
    held = records.get([RecordKey(STAGE, shard, person) for person in messages])
    changed: list[StoredRecord] = []
    gone: list[RecordKey] = []
    for person, told in messages.items():
        key = RecordKey(STAGE, shard, person)
        before = held.get(key)
        record = take(PersonRecord(person) if before is None else record_of(before), told).record
        if record.has_events:
            changed.append(stored_record(record, shard, now))
        elif before is not None:
            gone.append(key)
    records.put(changed)
    if gone:
        records.delete(gone)


def without(stored: StoredRecord, erased: Mapping[str, int]) -> StoredRecord | None:
    """A record without what was erased, None when no event is left.

    Its version stays: what it says otherwise is what was stated of it.

    Args:
        erased: strand to the event time up to which its events were erased.
    """
    return _cut(stored, lambda strand, event: strand in erased and event.event_time <= erased[strand])


def without_events(stored: StoredRecord, erased: Collection[tuple[str, int, str]]) -> StoredRecord | None:
    """As ``without``, of events by their strand, event time and event_id."""
    return _cut(stored, lambda strand, event: (strand, event.event_time, event.event_id) in erased)


def _cut(stored: StoredRecord, goes: Callable[[str, Event], bool]) -> StoredRecord | None:
    strands = dict(record_of(stored).strands)
    changed = False
    for strand, held in strands.items():
        left = tuple(event for event in held.events if not goes(strand, event_of(event)))
        if left != held.events:
            strands[strand] = replace(held, events=left)
            changed = True
    if not changed:
        return stored
    record = PersonRecord(stored.key.key, strands)
    return stored_record(record, stored.key.shard, stored.version) if record.has_events else None


def record_of(stored: StoredRecord) -> PersonRecord:
    """The record of a person as it was put away."""
    person = stored.key.key
    return take(PersonRecord(person), unpack_messages(stored.body, stored.schema_version)).record
