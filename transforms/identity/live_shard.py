"""The streaming strand stage: the actor core of one shard (``transforms.actor.core.ActorCore``).

Pure but for two stores behind their protocols. Input: packed ``ShardInput`` (``contracts.wire.pack_compressed``).
Outputs of a step, by tag:

- ``messages``: ``StrandMessage``, in the order of their versions;
- ``dead_letters``: ``DeadLetter`` of conflicting payloads;
- ``withdrawn``: those of before that no longer hold;
- ``log`` and ``erased``: ``ShardInput`` of events to add to the event log, and of those of which every copy must leave;
- ``purges``: ``Purge`` of erased strands;
- ``counts``: ``LedgerCount``: by how much the events of a source that met a fate became more, or fewer;
- ``metrics``: (name, n) to count up: ``EVICTED_IDLE``, ``EVICTED_BYTES``, ``ARCHIVED``, ``READ_BACK``, ``REFOLDED``.

State: the records of the shard (``live_records``), the shard's own under the empty key. Each step looks at the mailbox
of the identity store once; what it says of a primary identifier that no record is of is not remembered, since the store
is asked of a strand when it is first seen.

**Bounds** (``Bounds``). A record goes to the record store when its last event lies ``idle`` behind the watermark, or
when the shard holds more than ``shard_bytes`` and others were touched since. Of a record of more than twice
``tail_bytes`` the oldest chunks go to archives of their own, down to ``tail_bytes``: they are read back when events
are no longer in order, or move. The ids of archived events are kept for ``lateness``. A record in the record store is
never removed when it is read back, nor written over for an hour when something of it was erased, so a checkpoint of
before finds it (``live_memory``); one that an attempt left whose log was lost is cut to what this shard knows of, and
what it had told is told again.

Time domain: records are in event time, ``now`` and ``next_poll`` in processing time. Errors: those of the stores.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from contracts import wire
from contracts.event import Identifier
from contracts.exchange import Assignment, ErasedMark, LedgerCount, Link, ShardInput, StrandEvent
from transforms.actor.core import Entry, Step
from transforms.identity.live_change import Change
from transforms.identity.live_drain import Meeting, Round, after
from transforms.identity.live_eviction import READ_BACK, Evicted, Keeper
from transforms.identity.live_growth import grow
from transforms.identity.live_memory import KEPT, ShardMemory
from transforms.identity.live_records import (
    Record,
    ShardState,
    key_of,
    pack_entry,
    pack_state,
    unpack_state,
)
from transforms.identity.live_sightings import KEY as SIGHTINGS
from transforms.identity.live_sightings import Sightings
from transforms.identity.live_sightings import packed as pack_sightings
from transforms.identity.live_step import (
    COUNTS,
    DEAD_LETTERS,
    ERASED,
    LOG,
    MESSAGES,
    METRICS,
    PURGES,
    REFOLDED,
    WITHDRAWN,
    Bounds,
    Work,
    put_assignment,
)
from transforms.identity.live_strands import Folding, links_after_erasure, refold
from transforms.identity.live_telling import Logins, Versions
from transforms.identity.rules import IdentityRules, StrandKey
from transforms.identity.strands import Rejects
from transforms.stores.identity import IdentityStore
from transforms.stores.records import RecordStore

__all__ = [
    "COUNTS",
    "DEAD_LETTERS",
    "ERASED",
    "LOG",
    "MESSAGES",
    "METRICS",
    "PURGES",
    "STATE_KEY",
    "WITHDRAWN",
    "Bounds",
    "StrandCore",
]

STATE_KEY = b""
_GAPS = 1_000
"""Restores that are remembered: 20 bytes each, of all of the stream for most."""
_PAGE = 1_000
_PAGES = 20


class StrandCore:
    """The actor core of one strand shard.

    Args:
        shard: its number.
        identity: the identity store.
        records: the record store.
        box: makes dead letters.
        rules: the identity rules in force.
        schema_id: of the event schema, for dead letters.
        bounds: what to hold.
        meeting: where shards meet to drain.
    """

    def __init__(
        self,
        shard: int,
        identity: IdentityStore,
        records: RecordStore,
        box: Rejects,
        rules: IdentityRules,
        schema_id: str = "",
        bounds: Bounds | None = None,
        meeting: Meeting | None = None,
    ) -> None:
        self._shard = shard
        self._bounds = bounds or Bounds()
        self._how = Folding(box, schema_id, rules.carries(), rules)
        self._identity = identity
        self._keeper = Keeper(shard, records)
        self._memory = ShardMemory(self._bounds, self._keeper)
        self._state = ShardState()
        self._sightings = Sightings()
        self._is_new, self._is_restored = True, False
        self._meeting, self._round = meeting, Round()

    def adopt(self, identity: IdentityStore, records: RecordStore, meeting: Meeting | None = None) -> None:
        """Use these connections from now on."""
        self._identity, self._meeting = identity, meeting
        self._memory.keeper = self._keeper = Keeper(self._shard, records)

    def restore(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if entry.key == STATE_KEY:
                self._state = unpack_state(entry.data)
                self._is_new, self._is_restored = False, True
                continue
            if entry.key == SIGHTINGS:
                self._sightings.restore(entry)
                continue
            self._memory.restore(entry)
        self._memory.restored(self._state)

    def live(self, key: bytes) -> bytes | None:
        if key == STATE_KEY:
            return pack_state(self._state)
        if key == SIGHTINGS:
            return self._sightings.live()
        return self._memory.live(key)

    def commit(self, step: Step) -> None:
        work: Work = step.pending
        self._memory.swap_in(work)
        if work.has_told:
            self._sightings.forget()
        self._sightings.swap_in(work.sightings, work.now)
        self._state = work.state
        self._round = work.round or self._round
        self._is_new = self._is_restored = False

    # --- steps --------------------------------------------------------------------------------------------------

    def handle(self, batch: Sequence[bytes], now: int) -> Step:
        events: dict[Identifier, list[StrandEvent]] = {}
        told: dict[Identifier, dict[Logins, Assignment]] = {}
        sightings: list[Link] = []
        for packed in batch:
            content = wire.unpack_compressed(ShardInput, packed)
            for event in content.events:
                events.setdefault(event.primary, []).append(event)
            for assignment in content.assignments:
                put_assignment(told, assignment)
            sightings += content.sightings
        work = self._begin(now)
        work.sightings = sightings
        self._take(work, events, told)
        return self._end(work)

    def poll(self, now: int) -> Step:
        work = self._begin(now)
        if self._sightings.is_due(now):
            self._tell_sightings(work)
        self._take(work, {}, {})
        return self._end(work)

    def advance(self, watermark: int, now: int) -> Step:
        work = self._begin(now)
        work.state.watermark = max(work.state.watermark, watermark)
        self._take(work, {}, {})
        self._memory.evict_idle(work)
        return self._end(work)

    def drain(self, now: int) -> Step:
        """The last steps, in rounds with the other shards (``live_drain``): the mailbox to its end."""
        work = self._begin(now)
        is_behind = not self._round.is_through
        if is_behind:
            self._tell_sightings(work)
        while is_behind:
            work.is_behind, before = False, work.marked
            self._take(work, {}, {})
            # marks of what was erased may say that more is
            is_behind = work.is_behind or work.marked != before
        work.round, work.again = after(self._round, self._shard, self._meeting, work.told)
        return self._end(work)

    def _tell_sightings(self, work: Work) -> None:
        links = self._sightings.all()
        if links:
            self._identity.seen_again(links)
            work.has_told = work.told = True

    def _begin(self, now: int) -> Work:
        state = self._keeper.beginning() if self._is_new else msgspec.structs.replace(self._state)
        versions = Versions(state.version, now)
        if self._is_new:
            state.began = max(now, state.version + 1)
        if (self._is_new or self._is_restored) and now > state.version:
            # whatever was given a version in between is of an attempt whose log was lost
            state.gaps = [*state.gaps, (state.version, now)][-_GAPS:]
        return Work(state, versions, now)

    def _end(self, work: Work) -> Step:
        self._memory.bound(work)
        self._memory.settle(work)
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
        counts = sorted((name, n) for name, n in work.counts.items() if n)
        work.outputs.extend((COUNTS, LedgerCount(source, kind, n)) for (source, kind), n in counts)
        work.outputs.extend((METRICS, item) for item in sorted((+work.metrics).items()))
        dropped = [key.encode() for key in work.evicted]
        if work.has_told:
            dropped.append(SIGHTINGS)
        elif work.sightings:
            entries.append(Entry(SIGHTINGS, pack_sightings(work.sightings)))
        if self._is_new or state != self._state:
            entries.append(Entry(STATE_KEY, pack_state(state), whole=True))
        return Step(
            tuple(work.outputs),
            tuple(entries),
            tuple(dropped),
            self._memory.next_look(work),
            work.now if work.is_behind else work.now + self._bounds.poll_every,
            work,
            work.again,
        )

    # --- events and assignments ---------------------------------------------------------------------------------

    def _take(
        self,
        work: Work,
        events: dict[Identifier, list[StrandEvent]],
        told: dict[Identifier, dict[Logins, Assignment]],
    ) -> None:
        self._read_mailbox(work, told)
        primaries = {**dict.fromkeys(events), **dict.fromkeys(told)}
        if not primaries:
            return
        keys = {primary: key_of(primary) for primary in primaries}
        current = {key: change.record for key, change in work.changes.items() if change.record is not None}
        held = {key: current.get(key) or self._memory.records.get(key) for key in keys.values()}
        read = self._keeper.read([key for key, record in held.items() if record is None], work.state)
        work.metrics[READ_BACK] += len(read)
        for evicted in read.values():
            self._memory.note_ids(evicted.record, work.state)
        self._ask(events, told, held, read, keys)
        marks: list[ErasedMark] = []
        again: list[Link] = []
        for primary, key in keys.items():
            was_read = read.get(key)
            record = held[key] if was_read is None else was_read.record
            found = events.get(primary, ())
            if record is None and not found:
                continue
            # an assignment of a strand that is not there is asked for when it is first seen
            logins = {event.login for event in found} | (set() if record is None else set(record.strands))
            mine = {login: a for login, a in told.get(primary, {}).items() if login in logins}
            change = self._take_one(work, record, was_read, primary, found, mine)
            if change is not None:
                marks, again = marks + change.marks, again + change.sightings
        if marks:
            self._identity.keep_marks(marks)
            work.marked += len(marks)
        if again:
            self._identity.seen_again(again)
            work.told = True

    def _read_mailbox(self, work: Work, told: dict[Identifier, dict[Logins, Assignment]]) -> None:
        for _ in range(_PAGES):
            page = self._identity.assignments_since(self._shard, work.state.sequence, _PAGE)
            for assignment in page:
                put_assignment(told, assignment)
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
                put_assignment(told, assignment)

    def _take_one(
        self,
        work: Work,
        record: Record | None,
        evicted: Evicted | None,
        primary: Identifier,
        events: Sequence[StrandEvent],
        assignments: dict[Logins, Assignment],
    ) -> Change | None:
        """Take what is new of one primary identifier; return what changed."""
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
            return None
        is_apart = evicted is not None
        if record is not None and record.key in self._memory.long and record.key not in work.changes:
            record, is_apart = self._memory.shorten(work, record), True
        change = None if moved or not events else grow(record, events, assignments, work.versions)
        if change is None:
            archived: Sequence[bytes] = ()
            if record is not None and record.head.archives:
                archived = self._keeper.archived(record, work.state.gaps if record.distrusted else ())
            marks = self._marks_of(record, primary, assignments)
            change = refold(record, primary, events, assignments, work.versions, self._how, archived, marks)
            work.metrics[REFOLDED] += 1
        else:
            work.sightings += links_after_erasure(events, change.strands, self._how.rules)
            if is_apart:
                change = _whole(change)
        if is_apart:
            # the log does not have it as it was changed, so it needs it whole
            change.entry = None
        if evicted is not None:
            assert change.record is not None
            change.record.head.copied = True
        self._put_change(work, change, is_new=record is None)
        return change

    def _marks_of(
        self, record: Record | None, primary: Identifier, assignments: dict[Logins, Assignment]
    ) -> list[ErasedMark]:
        """What the store has of erased events of a device that is carried."""
        device = assignments.get(None)
        if device is None and record is not None and (strand := record.strands.get(None)) is not None:
            device = strand.assignment
        return self._identity.marks_of([primary]) if device is not None and device.carry else []

    def _put_change(self, work: Work, change: Change, *, is_new: bool) -> None:
        if change.key in work.changes:
            # a second look within one step: what the first one said is said already
            change.entry = None
        if not is_new or change.record is None or change.record.events:
            work.changes[change.key] = change
        work.counts.update(change.counts)
        out = work.outputs
        out.extend((MESSAGES, message) for message in change.messages)
        out.extend((DEAD_LETTERS, letter) for letter in change.dead_letters)
        out.extend((WITHDRAWN, letter) for letter in change.withdrawn)
        out.extend((PURGES, purge) for purge in change.purges)
        if change.log:
            out.append((LOG, ShardInput(events=tuple(change.log))))
        if change.erased:
            out.append((ERASED, ShardInput(events=tuple(change.erased))))
        due = work.now + KEPT
        work.state.garbage = [
            *work.state.garbage, *((self._keeper.archive_key(change.key, n), due) for n in change.garbage),
        ]  # fmt: skip
        record = change.record
        if record is not None and record.head.copied and (change.erased or change.garbage):
            self._memory.keep(record, work.now)


def _whole(change: Change) -> Change:
    """A change in order, of a record that is not in the log: the record itself, with the change in it."""
    change.record = change.apply()
    change.grown = change.entry = None
    return change
