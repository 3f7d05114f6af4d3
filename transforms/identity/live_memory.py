"""The records that a streaming strand shard holds in memory, and when which of them leave it.

Records are in the order in which they were touched, so that what was longest untouched is found first. A step names
what leaves; it leaves when the step is swapped in. Pure but for the record store.

An engine that goes back to a checkpoint of before reads what the record store had then. Events that are there it can
tell from those that came since; what is missing, since it was erased, it cannot know to have been there, and would not
say again that it is erased. So of a record of which something was erased the older state in the record store stays for
``KEPT``: until then the record is neither put away nor written over it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice

from contracts.event import HOUR
from transforms.actor.core import Entry
from transforms.identity.live_eviction import ARCHIVED, EVICTED_BYTES, EVICTED_IDLE, Keeper
from transforms.identity.live_records import Record, ShardState, Whole, record_of, unpack_entry
from transforms.identity.live_step import Bounds, Work

KEPT = HOUR
"""Of the clock: how long the record store keeps what only a checkpoint of before refers to; longer than any is old."""
_LOOKED_AT = 200
"""Records that are looked at for idleness in one step, beside those that are evicted."""


class ShardMemory:
    """The records of a shard by key.

    Args:
        bounds: what to hold.
        keeper: where the rest goes.
    """

    def __init__(self, bounds: Bounds, keeper: Keeper) -> None:
        # what leaves is at the front, where a plain dict walks over all that left before
        self.records: OrderedDict[str, Record] = OrderedDict()
        self.long: set[str] = set()
        """Those with more than the tail they should have."""
        self._kept: dict[str, int] = {}
        """Those whose older state in the record store stays, and until when."""
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
            self._note(key, record)
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
            self._note(key, record, work.now)
        for key in work.settled:
            del self._kept[key]
        for key in work.evicted:
            self._size -= self.records.pop(key).size
            self.long.discard(key)
        for key in work.rotated:
            self.records.move_to_end(key)

    def _note(self, key: str, record: Record, now: int = 0) -> None:
        if record.head.kept_until > now:
            self._kept[key] = record.head.kept_until
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
            if record.last[0] < limit and key not in self._kept:
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
            if not (key in work.changes or key in work.shortened or key in work.evicted or key in self._kept):
                found.append(record)
                size -= record.size
        self._evict(work, found, EVICTED_BYTES)
        work.rotated = [key for key in work.rotated if key not in work.evicted]

    @staticmethod
    def keep(record: Record, now: int) -> None:
        """Let the older state of a record that was just made stay in the record store for a while."""
        record.head.kept_until = now + KEPT

    def settle(self, work: Work) -> None:
        """Write over older states that have stayed long enough, and remove archives that nothing refers to."""
        busy = {*work.changes, *work.shortened, *work.evicted}
        work.settled = [key for key, until in self._kept.items() if until <= work.now and key not in busy]
        if work.settled:
            self.keeper.put([self.records[key] for key in work.settled], work.versions.next())
        waiting = self._kept.keys() - set(work.settled)
        due = {key for key, at in work.state.garbage if at <= work.now and self.keeper.record_of(key) not in waiting}
        if due:
            self.keeper.delete(sorted(due))
            work.state.garbage = [item for item in work.state.garbage if item[0] not in due]

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
        """When the records touched longest ago are idle, if nothing comes; none is harmed by waiting longer.

        Those that stay for a while do not count: no event time, however late, lets them go.
        """
        gone = self._kept.keys() - set(work.settled) | work.evicted.keys()
        first = [r.last[0] for r in islice(self.records.values(), _LOOKED_AT) if r.key not in gone]
        changed = (c for c in work.changes.values() if c.record is None or c.record.head.kept_until <= work.now)
        last = min((*first, *(change.last[0] for change in changed if change.key not in gone)), default=None)
        if last is None:
            return None
        return max(last + self._bounds.idle + 1, work.state.watermark + self._bounds.look_every)
