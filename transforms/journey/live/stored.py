"""Persons in the record store: how a record of the journey stage is put away, read back, and made for a new stream.

Pure but for the store that is given. Times: event time in microseconds; versions are processing time. Errors: those of
the store, and StateVersionError for a record of a later version.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from contracts.event import Event
from contracts.exchange import MIN_TIME, StrandMessage
from transforms.actor.archives import pack_archive, read_archives, unpack_archive
from transforms.journey.live.entries import body_version, pack_messages, unpack_messages
from transforms.journey.live.messages import PersonRecord, as_messages, event_of, take
from transforms.stores.records import RecordKey, RecordStore, StoredRecord

STAGE, ARCHIVES = "journey", "journey_archive"
"""Of the record store: records of persons, and archives of their older events (``archiving``), under the person, the
strand and the name of the archive."""
_PAGE = 200


def stored_record(record: PersonRecord, shard: int, version: int) -> StoredRecord:
    """A person's record, which has events, as it goes to the record store."""
    key = RecordKey(STAGE, shard, record.person_id)
    return StoredRecord(key, version, record.last_time, body_version(), pack_messages(as_messages(record)))


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
    """A record without what was erased, None when no event is left; its archives are cut by themselves.

    Its version stays: what it says otherwise is what was stated of it.

    Args:
        erased: strand to the event time up to which its events were erased.
    """
    return _cut(stored, lambda strand, event: event.event_time <= erased.get(strand, MIN_TIME), erased)


def without_events(stored: StoredRecord, erased: Collection[tuple[str, int, str]]) -> StoredRecord | None:
    """As ``without``, of events by their strand, event time and event_id, of a record without archives."""
    return _cut(stored, lambda strand, event: (strand, event.event_time, event.event_id) in erased, {})


def _cut(stored: StoredRecord, goes: Callable[[str, Event], bool], erased: Mapping[str, int]) -> StoredRecord | None:
    strands = dict(record_of(stored).strands)
    changed = False
    for strand, held in strands.items():
        left = tuple(event for event in held.events if not goes(strand, event_of(event)))
        archives = tuple(a for a in held.archives if a.last_time > erased.get(strand, MIN_TIME))
        if (left, archives) != (held.events, held.archives):
            strands[strand] = replace(held, events=left, archives=archives)
            changed = True
    if not changed:
        return stored
    record = PersonRecord(stored.key.key, strands)
    return stored_record(record, stored.key.shard, stored.version) if record.has_events else None


def record_of(stored: StoredRecord) -> PersonRecord:
    """The record of a person as it was put away."""
    person = stored.key.key
    return take(PersonRecord(person), unpack_messages(stored.body, stored.schema_version)).record


# --- archives ------------------------------------------------------------------------------------------------------


def archived_names(record: PersonRecord | None) -> set[str]:
    """The keys of the archives of a record."""
    if record is None:
        return set()
    person = record.person_id
    return {f"{person}.{strand}.{a.name}" for strand, held in record.strands.items() for a in held.archives}


def archive_keys(record: PersonRecord, shard: int) -> list[RecordKey]:
    """The keys of the archives of a record, by strand and in order."""
    person = record.person_id
    return [
        RecordKey(ARCHIVES, shard, f"{person}.{strand}.{archive.name}")
        for strand, held in record.strands.items()
        for archive in held.archives
    ]


def archives_of_copies(records: RecordStore, shard: int, names: Iterable[str]) -> set[str]:
    """Archives that the records of their persons in the record store refer to."""
    persons = sorted({name.rsplit(".", 2)[0] for name in names})
    used: set[str] = set()
    for start in range(0, len(persons), _PAGE):
        keys = [RecordKey(STAGE, shard, person) for person in persons[start : start + _PAGE]]
        for stored in records.get(keys).values():
            used |= archived_names(record_of(stored))
    return used


def delete_unused(records: RecordStore, shard: int) -> int:
    """Delete archives that no record in the store refers to, where no stream runs; returns how many."""
    names = {key.key for key in records.names(ARCHIVES, shard, "")}
    unused = names - archives_of_copies(records, shard, names)
    return records.delete([RecordKey(ARCHIVES, shard, name) for name in sorted(unused)]) if unused else 0


def without_archives(records: RecordStore, stored: StoredRecord) -> StoredRecord:
    """A record with the events of its archives in it."""
    record = record_of(stored)
    if not record.has_archives:
        return stored
    strands = dict(record.strands)
    for strand, held in record.strands.items():
        keys = archive_keys(PersonRecord(record.person_id, {strand: held}), stored.key.shard)
        pieces = read_archives(records, keys, f"person {record.person_id}")
        strands[strand] = replace(held, events=(*chain(*pieces), *held.events), archives=())
    return stored_record(PersonRecord(record.person_id, strands), stored.key.shard, stored.version)


def archive_without(stored: StoredRecord, until: int) -> StoredRecord | None:
    """An archive without its events up to a time, None when none is left."""
    events = unpack_archive(stored.body)
    left = [event for event in events if event_of(event).event_time > until]
    if not left:
        return None
    if len(left) == len(events):
        return stored
    return replace(stored, body=pack_archive(left))
