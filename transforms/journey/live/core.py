"""The streaming journey stage: the actor core of one shard of persons (``transforms.actor.core.ActorCore``).

Input: packed ``StrandMessages`` (``contracts.wire.pack``). Outputs of a step, by tag:

- ``stated``: ``StatedRows`` of events, sessions, transitions, outcomes, features, scores, labels, journeys, persons and
  decisions;
- ``decisions``: ``Decision``s to carry out;
- ``online``: ``OnlineFeatures``;
- ``metrics``: (name, n) to count up: the counts of ``LiveJourneys`` and ``EVICTED_IDLE``, ``EVICTED_BYTES``,
  ``RESTED``, ``READ_BACK``, ``STATED_AGAIN``.

State: records and machines of the shard, see ``journeys``; what time alone will do, and when; who is asleep. The log
holds messages (``entries``), under the person's id; the empty key holds watermark and revision that were served.

**Bounds**, looked at by ``poll``, every ``Bounds.look_every``, and at once when a shard is over them. Machines beyond
``machine_bytes``, those longest untouched first, are given up and made again from their events when needed. A person
whom nothing is due for and nobody touched for ``idle`` goes to the record store, and out of memory and log. Beyond
``shard_bytes`` so do others, longest untouched first; of them the log keeps when they are due. Marks of departed
strands and early messages expire (``messages.KEPT``). Without a record store nothing leaves: that is for shards of one
person.

A record stays in the record store when it is read back, so a checkpoint of before finds it; it is not written again
before ``settled``, which is longer than any checkpoint that an engine goes back to is old. A record of a person whom
the log does not name may be that of an attempt whose log was lost, and what it stated with it: read back, it is stated
again as a whole.

Time domain: records are in event time, ``now`` and ``next_poll`` in processing time. Errors: those of the stores, and
of packed messages that are none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from contracts import wire
from contracts.exchange import MAX_TIME, MIN_TIME, StrandMessage, StrandMessages
from transforms.actor.core import Entry, Step
from transforms.journey.live.entries import (
    ASLEEP,
    RECORD,
    SERVED,
    TAKEN,
    LogEntry,
    pack_entry,
    unpack_entry,
)
from transforms.journey.live.journeys import LiveJourneys
from transforms.journey.live.keeping import Bounds, Keeping
from transforms.journey.live.messages import PersonRecord, as_messages, event_of, take
from transforms.journey.live.stored import STAGE, record_of, stored_record
from transforms.journey.live.work import Work
from transforms.journey.worker import Score
from transforms.stores.effects import EffectStore
from transforms.stores.records import RecordKey, RecordStore, StoredRecord

STATED, DECISIONS, ONLINE, METRICS = "stated", "decisions", "online", "metrics"
EVICTED_IDLE, EVICTED_BYTES, RESTED, READ_BACK, STATED_AGAIN = (
    "evicted_idle", "evicted_bytes", "rested", "read_back", "stated_again",
)  # fmt: skip
__all__ = ["DECISIONS", "METRICS", "ONLINE", "STATED", "Bounds", "JourneyCore"]

_PAGE = 500
_SHARD_KEY = b""


@dataclass(slots=True)
class _Pending:
    """What ``commit`` does: work, records that were read back for it, who falls asleep, whose machines rest."""

    works: list[Work] = field(default_factory=list)
    woken: set[str] = field(default_factory=set)
    asleep: dict[str, int] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    rested: list[str] = field(default_factory=list)
    now: int = 0


class JourneyCore:
    """``ActorCore`` of the journey stage.

    Args:
        journeys: a new ``LiveJourneys``.
        horizon: the greatest accepted event time of the stream, asked at its end.
        shard: number of the shard, in the record store.
        records: the record store; None: nothing leaves memory and log.
        bounds: see there.
        is_ending: whether the stream comes to its end, so that the watermark jumps to the end of time.
        handed_to: up to which event time the rows of whom this stream took over were stated; None: it took nobody over.
    """

    def __init__(
        self,
        journeys: LiveJourneys,
        horizon: Callable[[], int],
        shard: int = 0,
        records: RecordStore | None = None,
        bounds: Bounds = Bounds(),  # noqa: B008  # it is frozen
        is_ending: Callable[[], bool] = lambda: False,
        handed_to: int | None = None,
    ) -> None:
        self.journeys = journeys
        self._horizon = horizon
        self._is_ending = is_ending
        self._handed_to = handed_to
        self._shard = shard
        self._records = records
        self._bounds = bounds
        self._asleep: dict[str, int] = {}
        self._woken_now: set[str] = set()
        self._keeping = Keeping(journeys, bounds)
        self._next_poll = 0

    def adopt(
        self,
        store: EffectStore,
        records: RecordStore | None,
        score: Score | None,
        horizon: Callable[[], int],
        is_ending: Callable[[], bool],
    ) -> None:
        """Use these from now on: what made the core may have closed its own."""
        self.journeys.adopt(store, score)
        self._records = records
        self._horizon = horizon
        self._is_ending = is_ending

    # --- the log ------------------------------------------------------------------------------------------------

    def restore(self, entries: Iterable[Entry]) -> None:
        """Build the records from the log. Raises StateVersionError for entries of a later version."""
        found: dict[str, PersonRecord] = {}
        for _, data, _ in entries:
            entry = unpack_entry(data)
            person = entry.person_id
            if entry.kind == SERVED:
                self.journeys.watermark = max(self.journeys.watermark, MIN_TIME if entry.due is None else entry.due)
                self.journeys.revision = entry.stored
                continue
            if entry.kind == ASLEEP:
                found.pop(person, None)
                self._asleep[person] = entry.stored
            else:
                held = None if entry.kind == RECORD else found.get(person)
                found[person] = take(held or PersonRecord(person), entry.messages).record
                self._asleep.pop(person, None)
            self.journeys.wake_at(person, entry.due)
        for record in found.values():
            self.journeys.hold(record)
            self._keeping.restored(record.person_id)
        self.journeys.await_activation((*found, *self._asleep))

    def live(self, key: bytes) -> bytes | None:
        """The committed record of a key as a whole entry."""
        if key == _SHARD_KEY:
            return pack_entry(LogEntry(SERVED, "", self.journeys.watermark, stored=self.journeys.revision))
        person = key.decode()
        due = self.journeys.due_of(person)
        if person in self._asleep:
            return pack_entry(LogEntry(ASLEEP, person, due, stored=self._asleep[person]))
        record = self.journeys.records.get(person)
        return None if record is None else pack_entry(LogEntry(RECORD, person, due, as_messages(record)))

    # --- steps --------------------------------------------------------------------------------------------------

    def handle(self, batch: Sequence[bytes], now: int) -> Step:
        """Take packed ``StrandMessages``. Raises ``msgspec.DecodeError`` or ``ValidationError`` for what is none."""
        messages: list[StrandMessage] = []
        for data in batch:
            messages += wire.unpack(StrandMessages, data).messages
        for message in messages:
            for event in message.events:
                # found out before anything is built, so that the poison element alone is put aside
                event_of(event)
        return self._woken(
            {message.person_id for message in messages},
            lambda doubtful: self.journeys.apply(messages, now, doubtful),
            now,
        )

    def advance(self, watermark: int, now: int) -> Step:
        """Do what is due by time alone, of some hundred persons at most: ``next_event_time`` says if there is more.

        At the end time jumps: what would then be due lies after all that happened, and ``drain`` says where all stand.
        """
        if watermark >= MAX_TIME or self._is_ending():
            return self._step(_Pending(now=now), Counter())
        due = self.journeys.due_persons(watermark, _PAGE)
        return self._woken(due, lambda _: self.journeys.advance(watermark, now, _PAGE), now)

    def poll(self, now: int) -> Step:
        """Let expire what expires, and keep the bounds."""
        self._forget()
        work = self.journeys.sweep(now)
        pending = _Pending([work], now=now)
        counts: Counter[str] = Counter()
        self._next_poll = now + self._bounds.look_every
        self._put_away(pending, counts, now)
        pending.rested = self._keeping.resting()
        counts[RESTED] += len(pending.rested)
        return self._step(pending, counts)

    def drain(self, now: int) -> Step:
        """Fold every person up to the final horizon, those in the record store too, and state where they stand."""
        self._forget()
        horizon = self._horizon()
        pending, counts = _Pending(now=now), Counter[str]()
        for some in _slices(sorted(self.journeys.records)):
            pending.works.append(self.journeys.drain(some, horizon, now))
        if self._records is not None:
            here = set(self.journeys.records)
            page: list[StoredRecord] = []
            for stored in self._records.of_shard(STAGE, self._shard):
                if stored.key.key not in here:
                    page.append(stored)
                if len(page) == _PAGE:
                    self._drain_stored(page, horizon, now, pending, counts)
                    page = []
            self._drain_stored(page, horizon, now, pending, counts)
        return self._step(pending, counts)

    def commit(self, step: Step) -> None:
        """Swap in what the step built."""
        pending = step.pending
        if not isinstance(pending, _Pending):
            return
        self._woken_now = set()
        kept: set[str] = set()
        for work in pending.works:
            self.journeys.commit(work)
            kept.update(work.records, work.touched)
            for person in (*work.records, *work.touched):
                self._asleep.pop(person, None)
                self._keeping.touched(person, pending.now)
        for person in pending.woken & kept:
            self._keeping.read_back(person, pending.now)
        for person in pending.woken - kept:
            self._release(person)
        for person in pending.rested:
            self.journeys.rest(person)
            self._keeping.weigh(person)
        for person, version in pending.asleep.items():
            self._asleep[person] = version
            self._release(person)
        for person in pending.gone:
            self._release(person)
            self.journeys.wake_at(person, None)
        if self._keeping.is_over:
            self._next_poll = 0

    # --- inside -------------------------------------------------------------------------------------------------

    def _woken(self, persons: Iterable[str], do: Callable[[set[str]], Work], now: int) -> Step:
        """Read back who is not here, work, and make the step of it."""
        pending, counts = _Pending(now=now), Counter[str]()
        self._forget()
        self._woken_now = pending.woken
        doubtful = self._read_back(persons, pending.woken, counts)
        pending.works.append(do(doubtful))
        return self._step(pending, counts)

    def _forget(self) -> None:
        """Release what was read back for a step that failed or was never committed."""
        for person in self._woken_now:
            self.journeys.release(person)
        self._woken_now = set()

    def _read_back(self, persons: Iterable[str], woken: set[str], counts: Counter[str]) -> set[str]:
        """Hold the records of persons who are not here; return those of whom it is unsure what was stated."""
        absent = sorted(person for person in persons if person not in self.journeys.records)
        if self._records is None or not absent:
            return set()
        doubtful = set()
        found = self._records.get([RecordKey(STAGE, self._shard, person) for person in absent])
        for key, stored in found.items():
            self._hold(stored)
            woken.add(key.key)
            if self._asleep.get(key.key) != stored.version:
                doubtful.add(key.key)
        counts[READ_BACK] += len(found)
        counts[STATED_AGAIN] += len(doubtful)
        return doubtful

    def _hold(self, stored: StoredRecord) -> None:
        # whom the log does not name, whoever handed over has stated, up to there and no further
        known = stored.key.key in self._asleep
        self.journeys.hold(record_of(stored), None if known else self._handed_to)

    def _drain_stored(
        self, page: Sequence[StoredRecord], horizon: int, now: int, pending: _Pending, counts: Counter[str]
    ) -> None:
        """Persons of the record store are folded and given up again, so that memory holds a page of them."""
        if not page:
            return
        for stored in page:
            self._hold(stored)
        try:
            work = self.journeys.drain([stored.key.key for stored in page], horizon, now)
        finally:
            for stored in page:
                self.journeys.release(stored.key.key)
        work.live.clear()
        work.touched = ()
        counts[READ_BACK] += len(page)
        pending.works.append(work)

    def _put_away(self, pending: _Pending, counts: Counter[str], now: int) -> None:
        """Put persons into the record store: idle ones for whom nothing is due, and whoever is too much."""
        if self._records is None:
            return
        leaving = self._keeping.leaving(now, _PAGE)
        if len(leaving) == _PAGE:
            self._next_poll = now
        put = self._records.put([stored_record(self.journeys.records[person], self._shard, now) for person in leaving])
        for (person, idle), became in zip(leaving.items(), put, strict=True):
            if became != "stored":
                continue
            counts[EVICTED_IDLE if idle else EVICTED_BYTES] += 1
            if self.journeys.due_of(person) is None:
                pending.gone.append(person)
            else:
                pending.asleep[person] = now

    def _step(self, pending: _Pending, counts: Counter[str]) -> Step:
        outputs: list[tuple[str, Any]] = []
        entries: list[Entry] = []
        dropped: list[bytes] = []
        for work in pending.works:
            counts.update(work.counts)
            outputs += [(STATED, stated) for stated in work.stated]
            outputs += [(DECISIONS, decision) for decision in work.decisions]
            if work.online is not None:
                outputs.append((ONLINE, work.online))
            for person, record in work.records.items():
                if record is None:
                    dropped.append(person.encode())
                else:
                    entries.append(self._entry(person, record, work, pending.woken))
            entries += [
                self._entry(person, self.journeys.records[person], work, pending.woken)
                for person in work.touched
                if person not in work.records
            ]
        for person, version in pending.asleep.items():
            due = self.journeys.due_of(person)
            entries.append(_entry(LogEntry(ASLEEP, person, due, stored=version), whole=True))
        dropped += [person.encode() for person in pending.gone]
        if entries:
            entries.append(
                Entry(
                    _SHARD_KEY,
                    pack_entry(LogEntry(SERVED, "", self.journeys.watermark, stored=self.journeys.revision)),
                    True,
                )
            )
        outputs += [(METRICS, (name, n)) for name, n in counts.items() if n]
        return Step(tuple(outputs), tuple(entries), tuple(dropped), self._next_due(pending), self._next_poll, pending)

    def _entry(self, person: str, record: PersonRecord, work: Work, woken: set[str]) -> Entry:
        due = work.due.get(person, self.journeys.due_of(person))
        if person in woken or (person in work.records and person not in work.taken):
            return _entry(LogEntry(RECORD, person, due, as_messages(record)), whole=True)
        return _entry(LogEntry(TAKEN, person, due, tuple(work.taken.get(person, ()))), whole=False)

    def _next_due(self, pending: _Pending) -> int | None:
        """When time alone does something next, once this is committed; at the end of the stream nothing does."""
        if self._is_ending():
            return None
        changed = {person for work in pending.works for person in work.live}
        gone = set(pending.gone)
        due = [at for work in pending.works for at in work.due.values() if at is not None]
        first = self.journeys.next_due_without(changed | gone)
        return min(due if first is None else [*due, first], default=None)

    def _release(self, person: str) -> None:
        self.journeys.release(person)
        self._keeping.weigh(person)


def _entry(entry: LogEntry, *, whole: bool) -> Entry:
    return Entry(entry.person_id.encode(), pack_entry(entry), whole)


def _slices(persons: Sequence[str]) -> Iterable[list[str]]:
    rest = iter(persons)
    while some := list(islice(rest, _PAGE)):
        yield some
