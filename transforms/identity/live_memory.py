"""The records that a streaming strand shard holds in memory, and when which of them leave it.

Records are in the order in which they were touched, so that what was longest untouched is found first. A step names
what leaves; it leaves when the step is swapped in. Pure but for the record store.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from transforms.actor.core import Entry
from transforms.identity.live_eviction import ARCHIVED, EVICTED_BYTES, EVICTED_IDLE, Keeper
from transforms.identity.live_records import Record, ShardState, Whole, record_of, unpack_entry
from transforms.identity.live_step import Bounds, Work

_LOOKED_AT = 200
"""Records that are looked at for idleness in one step, beside those that are evicted."""


class ShardMemory:
    """The records of a shard by key.

    Args:
        bounds: what to hold.
        keeper: where the rest goes.
    """

    def __init__(self, bounds: Bounds, keeper: Keeper) -> None:
        self.records: dict[str, Record] = {}
        self.long: set[str] = set()
        """Those with more than the tail they should have."""
        self.keeper = keeper
        self._bounds = bounds
        self._size = 0

    def restore(self, entry: Entry) -> None:
        """Take an entry of the log, the oldest first."""
        key, content = entry.key.decode(), unpack_entry(entry.data)
        if isinstance(content, Whole):
            self.records[key] = record_of(content)
            return
        record = self.records.get(key)
        if record is None:
            assert content.head is not None  # the first change of a record has its head
            self.records[key] = record = record_of(Whole(content.head, []))
        elif content.head is not None:
            record.head = content.head
            record.strands = {strand.login: strand for strand in content.head.strands}
        record.take(content.chunk)

    def restored(self, state: ShardState) -> None:
        """All entries were taken; ``state`` is that of the shard."""
        for key, record in self.records.items():
            self._size += record.size
            self._note_length(key, record)
            self.note_ids(record, state)

    def live(self, key: bytes) -> bytes | None:
        """The record of a key as the data of one whole entry."""
        record = self.records.get(key.decode())
        return None if record is None else record.live()

    def swap_in(self, work: Work) -> None:
        """Make what a step built what is there."""
        for key in (*work.changes, *work.shortened):
            old = self.records.pop(key, None)
            if old is not None:
                self._size -= old.size
            record = work.changes[key].apply() if key in work.changes else work.shortened[key]
            self.records[key] = record
            self._size += record.size
            self._note_length(key, record)
        for key in work.evicted:
            self._size -= self.records.pop(key).size
            self.long.discard(key)
        for key in work.rotated:
            self.records[key] = self.records.pop(key)

    def _note_length(self, key: str, record: Record) -> None:
        if record.size > 2 * self._bounds.tail_bytes and len(record.chunks) > 1:
            self.long.add(key)
        else:
            self.long.discard(key)

    def note_ids(self, record: Record, state: ShardState) -> None:
        """Whether ids that a duplicate may come of lie in archives, after a record was read."""
        forget = state.watermark - self._bounds.lateness
        record.ids_missing = any(archive.last_time >= forget for archive in record.head.archives)

    def evict_idle(self, work: Work) -> None:
        limit = work.state.watermark - self._bounds.idle
        found: list[Record] = []
        looked = 0
        for key, record in self.records.items():
            if key in work.changes:
                continue
            if record.last[0] < limit:
                found.append(record)
            else:
                looked += 1
                work.rotated.append(key)
                if looked >= _LOOKED_AT:
                    break
        self._evict(work, found, EVICTED_IDLE)
        work.rotated = [key for key in work.rotated if key not in work.evicted]

    def bound(self, work: Work) -> None:
        """Archive what is long and evict what is too much."""
        for key in sorted(self.long - work.changes.keys() - work.evicted.keys()):
            work.shortened[key] = self.shorten(work, self.records[key])
        size = self._size - sum(record.size for record in work.evicted.values())
        for key, change in work.changes.items():
            if change.grown is not None and change.entry is not None:
                size += len(change.entry.chunk)
            elif change.record is not None:
                size += change.record.size - (self.records[key].size if key in self.records else 0)
        if size <= self._bounds.shard_bytes:
            return
        found = []
        for key, record in self.records.items():
            if size <= self._bounds.shard_bytes:
                break
            if key not in work.changes and key not in work.shortened and key not in work.evicted:
                found.append(record)
                size -= record.size
        self._evict(work, found, EVICTED_BYTES)
        work.rotated = [key for key in work.rotated if key not in work.evicted]

    def shorten(self, work: Work, record: Record) -> Record:
        work.metrics[ARCHIVED] += 1
        forget = work.state.watermark - self._bounds.lateness
        return self.keeper.shorten(record, self._bounds.tail_bytes, work.versions.next(), forget)

    def _evict(self, work: Work, records: Sequence[Record], rule: str) -> None:
        if records:
            self.keeper.put(records, work.versions.next())
            work.evicted.update((record.key, record) for record in records)
            work.metrics[rule] += len(records)

    def next_look(self, work: Work) -> int | None:
        """When the records touched longest ago are idle, if nothing comes; none is harmed by waiting longer."""
        first = [r.last[0] for r in islice(self.records.values(), _LOOKED_AT) if r.key not in work.evicted]
        last = min((*first, *(change.last[0] for change in work.changes.values())), default=None)
        if last is None:
            return None
        return max(last + self._bounds.idle + 1, work.state.watermark + self._bounds.look_every)
