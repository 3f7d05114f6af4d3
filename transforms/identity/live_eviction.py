"""What a streaming strand shard has in the record store: records nobody touched, and the older part of long ones.

A record lies under its key, an archive of it under the key, a point and a number. Both are bytes of ``live_records``.
They are nobody's by name: an erasure reaches them through the shard, which knows whose their events are. Errors: those
of the store; ``OutputError`` when an archive is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from contracts.exchange import MAX_TIME
from transforms.actor.archives import pack_archive, read_archives
from transforms.identity.live_records import (
    HEAD_SIZE,
    VERSION,
    Archive,
    HeldEvent,
    Part,
    Record,
    ShardState,
    Whole,
    pack_chunk,
    pack_evicted,
    pack_state,
    record_of,
    unpack_chunk,
    unpack_evicted,
    unpack_state,
)
from transforms.stores.records import RecordKey, RecordStore, StoredRecord

STAGE = "strand"
EVICTED_IDLE, EVICTED_BYTES = "strand_evicted_idle", "strand_evicted_bytes"
ARCHIVED, READ_BACK = "strand_archived", "strand_read_back"
SHARD_KEY = "shard"
"""Where a handover leaves the state that a shard without a log begins with."""


@dataclass(frozen=True, slots=True)
class Evicted:
    """A record that was read back."""

    record: Record


class Keeper:
    """The part of the record store that one shard uses."""

    def __init__(self, shard: int, records: RecordStore) -> None:
        self._shard = shard
        self._records = records

    def beginning(self) -> ShardState:
        """What a shard without a log begins with: where a handover left the mailbox and the versions."""
        key = self._key(SHARD_KEY)
        found = self._records.get([key]).get(key)
        if found is None:
            return ShardState()
        left = unpack_state(found.body)
        return ShardState(left.version, left.sequence)

    def put_beginning(self, state: ShardState) -> None:
        """Leave what a shard without a log begins with."""
        self._records.put([self._stored(SHARD_KEY, state.version, 0, pack_state(state))])

    def read(self, keys: Sequence[str], state: ShardState) -> dict[str, Evicted]:
        """Records by key, as the shard in this state may know them; those that are not there are left out."""
        if not keys:
            return {}
        found = self._records.get([self._key(key) for key in keys])
        return {key.key: Evicted(_trusted(stored, state)) for key, stored in found.items()}

    def put(self, records: Sequence[Record], version: int) -> None:
        """Write records as they are."""
        self._records.put([self._stored(r.key, version, r.last[0], pack_evicted(r.whole(version))) for r in records])

    def archived(self, record: Record, gaps: Sequence[tuple[int, int]] = ()) -> list[bytes]:
        """The chunks of all archives of a record, without what came in ``gaps``."""
        keys = [self._key(self.archive_key(record.key, a.number)) for a in record.head.archives]
        read = read_archives(self._records, keys, f"strand record {record.key}")
        chunks = [chunk for archive in read for chunk in archive]
        return _without_lost(chunks, gaps) if gaps else chunks

    def shorten(self, record: Record, tail_bytes: int, version: int, forget: int) -> Record:
        """The record without its oldest chunks, which are archived; ids of events before ``forget`` go with them."""
        chunks = list(record.chunks)
        out: list[bytes] = []
        size = record.size
        while size > tail_bytes and len(chunks) > 1:
            out.append(chunks.pop(0))
            size -= len(out[-1])
        events = [event for chunk in out for part in unpack_chunk(chunk) for event in part.events]
        first, last = min(e.event_time for e in events), max(e.event_time for e in events)
        number = record.head.next_archive
        self._records.put([self._stored(self.archive_key(record.key, number), version, last, pack_archive(out))])
        old = record.head
        archives = [*old.archives, Archive(number, len(events), first, last)]
        head = msgspec.structs.replace(
            old, version=version, strands=list(record.strands.values()), archives=archives, next_archive=number + 1
        )
        ids = dict(record.ids)
        if len(ids) > 2 * max(record.ids_pruned, len(events)):
            here = {e.event_id for chunk in chunks for part in unpack_chunk(chunk) for e in part.events}
            ids = {event_id: at for event_id, at in ids.items() if at >= forget or event_id in here}
        return Record(
            record.key, head, dict(record.strands), chunks, ids, record.first, record.last, record.events - len(events),
            HEAD_SIZE + sum(map(len, chunks)), record.hand, record.ids_missing, record.distrusted, len(ids),
        )  # fmt: skip

    def delete(self, keys: Sequence[str]) -> None:
        self._records.delete([self._key(key) for key in keys])

    @staticmethod
    def archive_key(key: str, number: int) -> str:
        return f"{key}.{number:06d}"

    @staticmethod
    def record_of(archive: str) -> str:
        """The key of the record whose archive this is."""
        return archive.rpartition(".")[0]

    def _key(self, key: str) -> RecordKey:
        return RecordKey(STAGE, self._shard, key)

    def _stored(self, key: str, version: int, last: int, body: bytes) -> StoredRecord:
        return StoredRecord(self._key(key), version, min(last, MAX_TIME), VERSION, body)


def _trusted(stored: StoredRecord, state: ShardState) -> Record:
    """A record as this shard may know it: without what came in an attempt whose log was lost."""
    whole, gaps = unpack_evicted(stored.body), state.gaps
    head = whole.head
    head.kept_until = 0
    # counts of other streams stand in their ledgers, those of a lost attempt nowhere
    head.again = [one for one in head.again if one.added >= state.began and not _in_gap(one.added, gaps)]
    if not _in_gap(stored.version, gaps):
        return record_of(whole)
    record = record_of(Whole(head, _without_lost(whole.chunks, gaps)))
    record.distrusted = True
    return record


def _without_lost(chunks: Sequence[bytes], gaps: Sequence[tuple[int, int]]) -> list[bytes]:
    left = []
    for chunk in chunks:
        parts = [Part(p.login, "", 0, [e for e in p.events if not _is_lost(e, gaps)]) for p in unpack_chunk(chunk)]
        if kept := [part for part in parts if part.events]:
            left.append(pack_chunk(kept))
    return left


def _is_lost(event: HeldEvent, gaps: Sequence[tuple[int, int]]) -> bool:
    return _in_gap(event.added, gaps)


def _in_gap(version: int, gaps: Sequence[tuple[int, int]]) -> bool:
    return any(after < version < before for after, before in gaps)
