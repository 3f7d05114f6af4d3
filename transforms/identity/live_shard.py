"""The streaming strand stage: the actor core of one shard (``transforms.actor.core.ActorCore``).

Pure but for two stores behind their protocols. Input: packed ``ShardInput`` (``contracts.wire.pack_compressed``).
Outputs of a step, by tag:

- ``messages``: ``StrandMessage``, in the order of their versions;
- ``dead_letters``: ``DeadLetter`` of conflicting payloads;
- ``log`` and ``erased``: ``ShardInput`` of events to add to the event log, and of those that must leave it;
- ``purges``: ``Purge`` of erased strands;
- ``counts``: (shard, source, kind, n): how many events of a source met a fate, in this stream, told again when changed;
- ``metrics``: (name, n) to count up: ``EVICTED_IDLE``, ``EVICTED_BYTES``, ``ARCHIVED``, ``READ_BACK``, ``REFOLDED``.

State: the records of the shard (``live_records``), the shard's own under the empty key. Each step looks at the mailbox
of the identity store once; what it says of a primary identifier that no record is of is not remembered, since the store
is asked of a strand when it is first seen.

**Bounds** (``Bounds``). A record goes to the record store when its last event lies ``idle`` behind the watermark, or
when the shard holds more than ``shard_bytes`` and others were touched since. Of a record of more than twice
``tail_bytes`` the oldest chunks go to archives of their own, down to ``tail_bytes``: they are read back when events
are no longer in order, or move. The ids of archived events are kept for ``lateness``. A record in the record store is
never removed when it is read back, so a checkpoint of before finds it; one that an attempt left whose log was lost is
cut to what this shard knows of, and what it had told is told again.

Time domain: records are in event time, ``now`` and ``next_poll`` in processing time. Errors: those of the stores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec

from contracts import wire
from contracts.event import HOUR, MINUTE, SECOND, Identifier
from contracts.exchange import Assignment, ShardInput, StrandEvent
from transforms.actor.core import Entry, Step
from transforms.identity.live_change import Change
from transforms.identity.live_eviction import ARCHIVED, EVICTED_BYTES, EVICTED_IDLE, READ_BACK, Evicted, Keeper
from transforms.identity.live_growth import grow
from transforms.identity.live_records import (
    Record,
    ShardState,
    Whole,
    key_of,
    pack_entry,
    pack_state,
    record_of,
    unpack_entry,
    unpack_state,
)
from transforms.identity.live_strands import Folding, refold
from transforms.identity.live_telling import Logins, Versions
from transforms.identity.rules import Carry, StrandKey
from transforms.identity.strands import Rejects
from transforms.stores.identity import IdentityStore
from transforms.stores.records import RecordStore

MESSAGES, DEAD_LETTERS, LOG, ERASED, PURGES, COUNTS, METRICS = (
    "messages", "dead_letters", "log", "erased", "purges", "counts", "metrics",
)  # fmt: skip
REFOLDED = "strand_refolded"

__all__ = ["ARCHIVED", "EVICTED_BYTES", "EVICTED_IDLE", "READ_BACK", "REFOLDED", "Bounds", "StrandCore"]

STATE_KEY = b""
_PAGE = 1_000
_PAGES = 20
_LOOKED_AT = 200
"""Records that are looked at for idleness in one step, beside those that are evicted."""
_GARBAGE_KEPT = HOUR
"""Processing time for which the record store keeps what nothing refers to: longer than any checkpoint is old."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a shard holds at most. Times in microseconds: ``lateness``, ``idle`` and ``look_every`` of event time,
    ``poll_every`` of processing time."""

    lateness: int = 48 * HOUR
    idle: int = 48 * HOUR + 30 * MINUTE
    tail_bytes: int = 512 * 1024
    shard_bytes: int = 256 * 1024 * 1024
    look_every: int = 10 * MINUTE
    poll_every: int = SECOND


@dataclass(slots=True)
class _Work:
    """One step while it is built."""

    state: ShardState
    versions: Versions
    now: int
    outputs: list[tuple[str, Any]] = field(default_factory=list)
    changes: dict[str, Change] = field(default_factory=dict)
    evicted: dict[str, Record] = field(default_factory=dict)
    shortened: dict[str, Record] = field(default_factory=dict)
    rotated: list[str] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    metrics: Counter[str] = field(default_factory=Counter)
    is_behind: bool = False


class StrandCore:
    """The actor core of one strand shard.

    Args:
        shard: its number.
        identity: the identity store.
        records: the record store.
        box: makes dead letters.
        schema_id: of the event schema, for dead letters.
        carries: how devices are carried (``IdentityRules.carries``).
        bounds: what to hold.
    """

    def __init__(
        self,
        shard: int,
        identity: IdentityStore,
        records: RecordStore,
        box: Rejects,
        schema_id: str = "",
        carries: dict[str, Carry] | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self._shard = shard
        self._bounds = bounds or Bounds()
        self._how = Folding(box, schema_id, carries or {})
        self.adopt(identity, records)
        self._records: dict[str, Record] = {}
        """By key, the one longest untouched first."""
        self._long: set[str] = set()
        self._size = 0
        self._state = ShardState()
        self._is_new, self._is_restored = True, False

    def adopt(self, identity: IdentityStore, records: RecordStore) -> None:
        """Use these connections from now on."""
        self._identity = identity
        self._keeper = Keeper(self._shard, records)

    # --- the log ------------------------------------------------------------------------------------------------

    def restore(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if entry.key == STATE_KEY:
                self._state = unpack_state(entry.data)
                self._is_new, self._is_restored = False, True
                continue
            key, content = entry.key.decode(), unpack_entry(entry.data)
            if isinstance(content, Whole):
                self._records[key] = record_of(content)
                continue
            record = self._records.get(key)
            if record is None:
                assert content.head is not None  # the first change of a record has its head
                self._records[key] = record = record_of(Whole(content.head, []))
            elif content.head is not None:
                record.head = content.head
                record.strands = {strand.login: strand for strand in content.head.strands}
            record.take(content.chunk)
        for key, record in self._records.items():
            self._size += record.size
            self._note_length(key, record)
            self._note_ids(record, self._state)

    def live(self, key: bytes) -> bytes | None:
        if key == STATE_KEY:
            return pack_state(self._state)
        record = self._records.get(key.decode())
        return None if record is None else record.live()

    def commit(self, step: Step) -> None:
        work: _Work = step.pending
        for key in (*work.changes, *work.shortened):
            old = self._records.pop(key, None)
            if old is not None:
                self._size -= old.size
            record = work.changes[key].apply() if key in work.changes else work.shortened[key]
            self._records[key] = record
            self._size += record.size
            self._note_length(key, record)
        for key in work.evicted:
            self._size -= self._records.pop(key).size
            self._long.discard(key)
        for key in work.rotated:
            self._records[key] = self._records.pop(key)
        self._state = work.state
        self._is_new = self._is_restored = False

    def _note_length(self, key: str, record: Record) -> None:
        if record.size > 2 * self._bounds.tail_bytes and len(record.chunks) > 1:
            self._long.add(key)
        else:
            self._long.discard(key)

    def _note_ids(self, record: Record, state: ShardState) -> None:
        """Whether ids that a duplicate may come of lie in archives, after a record was read."""
        forget = state.watermark - self._bounds.lateness
        record.ids_missing = any(archive.last_time >= forget for archive in record.head.archives)

    # --- steps --------------------------------------------------------------------------------------------------

    def handle(self, batch: Sequence[bytes], now: int) -> Step:
        events: dict[Identifier, list[StrandEvent]] = {}
        told: dict[Identifier, dict[Logins, Assignment]] = {}
        for packed in batch:
            content = wire.unpack_compressed(ShardInput, packed)
            for event in content.events:
                events.setdefault(event.primary, []).append(event)
            for assignment in content.assignments:
                _put(told, assignment)
        work = self._begin(now)
        self._take(work, events, told)
        return self._end(work)

    def poll(self, now: int) -> Step:
        work = self._begin(now)
        self._take(work, {}, {})
        return self._end(work)

    def advance(self, watermark: int, now: int) -> Step:
        work = self._begin(now)
        work.state.watermark = max(work.state.watermark, watermark)
        self._take(work, {}, {})
        self._evict_idle(work)
        return self._end(work)

    def drain(self, now: int) -> Step:
        """The last step: the mailbox to its end."""
        work = self._begin(now)
        while True:
            work.is_behind = False
            self._take(work, {}, {})
            if not work.is_behind:
                return self._end(work)

    def _begin(self, now: int) -> _Work:
        state = msgspec.structs.replace(self._state)
        if self._is_new:
            state.sequence = self._keeper.sequence()
        versions = Versions(state.version, now)
        if self._is_restored and now > state.version:
            # whatever was given a version in between is of an attempt whose log was lost
            state.gaps = [*state.gaps, (state.version, now)]
        return _Work(state, versions, now)

    def _end(self, work: _Work) -> Step:
        self._bound(work)
        self._collect_garbage(work)
        state = work.state
        state.version = work.versions.last
        entries: list[Entry] = []
        for key, change in work.changes.items():
            if change.entry is not None:
                entries.append(Entry(key.encode(), pack_entry(change.entry)))
            else:
                assert change.record is not None
                entries.append(Entry(key.encode(), change.record.live(), whole=True))
        entries += [Entry(key.encode(), record.live(), whole=True) for key, record in work.shortened.items()]
        self._tell_counts(work)
        work.outputs.extend((METRICS, item) for item in sorted((+work.metrics).items()))
        if self._is_new or state != self._state:
            entries.append(Entry(STATE_KEY, pack_state(state), whole=True))
        return Step(
            tuple(work.outputs),
            tuple(entries),
            tuple(key.encode() for key in work.evicted),
            self._next_look(work),
            work.now if work.is_behind else work.now + self._bounds.poll_every,
            work,
        )

    def _next_look(self, work: _Work) -> int | None:
        """When the records touched longest ago are idle, if nothing comes; none is harmed by waiting longer."""
        first = [r.last[0] for r in islice(self._records.values(), _LOOKED_AT) if r.key not in work.evicted]
        last = min((*first, *(change.last[0] for change in work.changes.values())), default=None)
        if last is None:
            return None
        return max(last + self._bounds.idle + 1, work.state.watermark + self._bounds.look_every)

    def _tell_counts(self, work: _Work) -> None:
        changed = {name: n for name, n in work.counts.items() if n}
        if not changed:
            return
        counts = {(source, kind): n for source, kind, n in work.state.counts}
        for (source, kind), n in sorted(changed.items()):
            counts[source, kind] = total = counts.get((source, kind), 0) + n
            work.outputs.append((COUNTS, (self._shard, source, kind, total)))
        work.state.counts = [(source, kind, n) for (source, kind), n in sorted(counts.items())]

    # --- events and assignments ---------------------------------------------------------------------------------

    def _take(
        self,
        work: _Work,
        events: dict[Identifier, list[StrandEvent]],
        told: dict[Identifier, dict[Logins, Assignment]],
    ) -> None:
        self._read_mailbox(work, told)
        primaries = {**dict.fromkeys(events), **dict.fromkeys(told)}
        if not primaries:
            return
        keys = {primary: key_of(primary) for primary in primaries}
        current = {key: change.record for key, change in work.changes.items() if change.record is not None}
        held = {key: current.get(key) or self._records.get(key) for key in keys.values()}
        read = self._keeper.read([key for key, record in held.items() if record is None], work.state.gaps)
        work.metrics[READ_BACK] += len(read)
        for evicted in read.values():
            self._note_ids(evicted.record, work.state)
        self._ask(events, told, held, read, keys)
        for primary, key in keys.items():
            was_read = read.get(key)
            record = held[key] if was_read is None else was_read.record
            found = events.get(primary, ())
            if record is None and not found:
                continue
            # an assignment of a strand that is not there is asked for when it is first seen
            logins = {event.login for event in found} | (set() if record is None else set(record.strands))
            mine = {login: a for login, a in told.get(primary, {}).items() if login in logins}
            self._take_one(work, record, was_read, primary, found, mine)

    def _read_mailbox(self, work: _Work, told: dict[Identifier, dict[Logins, Assignment]]) -> None:
        for _ in range(_PAGES):
            page = self._identity.assignments_since(self._shard, work.state.sequence, _PAGE)
            for assignment in page:
                _put(told, assignment)
            if page:
                work.state.sequence = page[-1].sequence
            if len(page) < _PAGE:
                return
        work.is_behind = True

    def _ask(
        self,
        events: dict[Identifier, list[StrandEvent]],
        told: dict[Identifier, dict[Logins, Assignment]],
        held: dict[str, Record | None],
        read: dict[str, Evicted],
        keys: dict[Identifier, str],
    ) -> None:
        """Ask the store of strands that are first seen, and were not in the mailbox just now."""
        unknown: set[StrandKey] = set()
        for primary, found in events.items():
            evicted = read.get(keys[primary])
            record = held[keys[primary]] if evicted is None else evicted.record
            strands = {} if record is None else record.strands
            mine = told.get(primary, {})
            for event in found:
                if event.login not in strands and event.login not in mine:
                    unknown.add(StrandKey(primary, event.login))
        if unknown:
            for assignment in self._identity.assignments_of(unknown).values():
                _put(told, assignment)

    def _take_one(
        self,
        work: _Work,
        record: Record | None,
        evicted: Evicted | None,
        primary: Identifier,
        events: Sequence[StrandEvent],
        assignments: dict[Logins, Assignment],
    ) -> None:
        moved = False
        if record is not None:
            for login, assignment in list(assignments.items()):
                strand = record.strands.get(login)
                if strand is None:
                    continue
                if strand.assignment is not None and assignment.sequence <= strand.assignment.sequence:
                    del assignments[login]
                else:
                    moved = True
        if not events and not moved and not (record is not None and record.distrusted):
            return
        is_apart = evicted is not None
        if record is not None and record.key in self._long and record.key not in work.changes:
            record, is_apart = self._shorten(work, record), True
        change = None if moved or not events else grow(record, events, assignments, work.versions)
        if change is None:
            archived: Sequence[bytes] = ()
            if record is not None and record.head.archives:
                archived = self._keeper.archived(record, work.state.gaps if record.distrusted else ())
            change = refold(record, primary, events, assignments, work.versions, self._how, archived)
            work.metrics[REFOLDED] += 1
        elif is_apart:
            change = _whole(change)
        if is_apart:
            # the log does not have it as it was changed, so it needs it whole
            change.entry = None
        if evicted is not None:
            assert change.record is not None
            change.record.head.copied = True
        self._put_change(work, change, is_new=record is None)

    def _put_change(self, work: _Work, change: Change, *, is_new: bool) -> None:
        if change.key in work.changes:
            # a second look within one step: what the first one said is said already
            change.entry = None
        if not is_new or change.record is None or change.record.events:
            work.changes[change.key] = change
        work.counts.update(change.counts)
        out = work.outputs
        out.extend((MESSAGES, message) for message in change.messages)
        out.extend((DEAD_LETTERS, letter) for letter in change.dead_letters)
        out.extend((PURGES, purge) for purge in change.purges)
        if change.log:
            out.append((LOG, ShardInput(events=tuple(change.log))))
        if change.erased:
            out.append((ERASED, ShardInput(events=tuple(change.erased))))
        due = work.now + _GARBAGE_KEPT
        work.state.garbage = [
            *work.state.garbage, *((self._keeper.archive_key(change.key, n), due) for n in change.garbage),
        ]  # fmt: skip
        record = change.record
        if change.erased and record is not None and record.head.copied:
            self._keeper.put([record], work.versions.next())

    # --- bounds -------------------------------------------------------------------------------------------------

    def _evict_idle(self, work: _Work) -> None:
        limit = work.state.watermark - self._bounds.idle
        found: list[Record] = []
        looked = 0
        for key, record in self._records.items():
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

    def _bound(self, work: _Work) -> None:
        """Archive what is long and evict what is too much."""
        for key in sorted(self._long - work.changes.keys() - work.evicted.keys()):
            work.shortened[key] = self._shorten(work, self._records[key])
        size = self._size - sum(record.size for record in work.evicted.values())
        for key, change in work.changes.items():
            if change.grown is not None and change.entry is not None:
                size += len(change.entry.chunk)
            elif change.record is not None:
                size += change.record.size - (self._records[key].size if key in self._records else 0)
        if size <= self._bounds.shard_bytes:
            return
        found = []
        for key, record in self._records.items():
            if size <= self._bounds.shard_bytes:
                break
            if key not in work.changes and key not in work.shortened and key not in work.evicted:
                found.append(record)
                size -= record.size
        self._evict(work, found, EVICTED_BYTES)
        work.rotated = [key for key in work.rotated if key not in work.evicted]

    def _shorten(self, work: _Work, record: Record) -> Record:
        work.metrics[ARCHIVED] += 1
        forget = work.state.watermark - self._bounds.lateness
        return self._keeper.shorten(record, self._bounds.tail_bytes, work.versions.next(), forget)

    def _evict(self, work: _Work, records: Sequence[Record], rule: str) -> None:
        if records:
            self._keeper.put(records, work.versions.next())
            work.evicted.update((record.key, record) for record in records)
            work.metrics[rule] += len(records)

    def _collect_garbage(self, work: _Work) -> None:
        due = [key for key, at in work.state.garbage if at <= work.now]
        if due:
            self._keeper.delete(due)
            work.state.garbage = [item for item in work.state.garbage if item[1] > work.now]


def _put(told: dict[Identifier, dict[Logins, Assignment]], assignment: Assignment) -> None:
    mine = told.setdefault(assignment.primary, {})
    held = mine.get(assignment.login)
    if held is None or assignment.sequence > held.sequence:
        mine[assignment.login] = assignment


def _whole(change: Change) -> Change:
    """A change in order, of a record that is not in the log: the record itself, with the change in it."""
    change.record = change.apply()
    change.grown = change.entry = None
    return change
