"""The streaming journey stage: the actor core of one shard of persons (``transforms.actor.core.ActorCore``).

Input: packed ``StrandMessages`` (``contracts.wire.pack``). Outputs of a step, by tag:

- ``stated``: ``StatedRows`` of events, sessions, transitions, outcomes, features, scores, labels, journeys, persons and
  decisions;
- ``decisions``: ``Decision``s to carry out;
- ``online``: ``OnlineFeatures``;
- ``metrics``: (name, n) to count up: the counts of ``LiveJourneys`` and ``EVICTED_IDLE``, ``EVICTED_BYTES``,
  ``RESTED``, ``READ_BACK``, ``STATED_AGAIN``, ``ARCHIVED``, ``ARCHIVE_READ_BACK``, ``NOT_FOLLOWED`` (polls while others
  are in force than can be followed).

State: records and machines of the shard, see ``journeys``; what time alone will do, and when; who is asleep. The log
holds messages (``entries``), under the person's id; the empty key holds watermark and revision that were served, and
``FOLDED_KEY`` by which activations the shard was folded. Each call looks whether there are others (``following``); then
a poll follows the other until all were folded again, and until then nobody is put away.

**Bounds**, looked at by ``poll``, every ``Bounds.look_every``, and at once when a shard is over them. Machines beyond
``machine_bytes``, those longest untouched first, are given up and made again from their events when needed. A person
whom nothing is due for and nobody touched for ``idle`` goes to the record store, and out of memory and log. Beyond
``shard_bytes`` so do others, longest untouched first; of them the log keeps when they are due. Of a person whose events
take more than twice ``tail_bytes`` the older ones go to archives (``archiving``). Marks of departed strands and early
messages expire (``messages.KEPT``). Without a record store nothing leaves: that is for shards of one person.

A record stays in the record store when it is read back, so a checkpoint of before finds it; it is not written again
before ``settled``, which is longer than any checkpoint that an engine goes back to is old. A record of a person whom
the log does not name may be that of an attempt whose log was lost, and what it stated with it: read back, it is stated
again as a whole. What was erased before it was put away nobody would take back then, so a person of whom something was
erased is not put away before ``settled`` either.

Time domain: records are in event time, ``now`` and ``next_poll`` in processing time. Errors: those of the stores, and
of packed messages that are none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from contracts import wire
from contracts.exchange import APPEND, MAX_TIME, MIN_TIME, StrandMessage, StrandMessages
from transforms.actor.core import Entry, Step
from transforms.journey.dated import NOTHING, Activated
from transforms.journey.live.archiving import Archiving
from transforms.journey.live.entries import (
    ASLEEP,
    RECORD,
    SERVED,
    TAKEN,
    Folded,
    LogEntry,
    pack_entry,
    pack_folded,
    read_log,
)
from transforms.journey.live.following import InForce
from transforms.journey.live.journeys import LiveJourneys
from transforms.journey.live.keeping import Bounds, Keeping
from transforms.journey.live.messages import PersonRecord, Reading, as_messages, event_of
from transforms.journey.live.paging import EVICTED_BYTES, EVICTED_IDLE, PAGE, Paging
from transforms.journey.live.stored import record_of
from transforms.journey.live.work import Pending, Work
from transforms.stores.effects import EffectStore
from transforms.stores.records import RecordStore, StoredRecord

STATED, DECISIONS, ONLINE, METRICS = "stated", "decisions", "online", "metrics"
RESTED, NOT_FOLLOWED = "rested", "not_followed"
__all__ = ["DECISIONS", "EVICTED_BYTES", "EVICTED_IDLE", "METRICS", "ONLINE", "STATED", "Bounds", "JourneyCore"]

_SHARD_KEY, FOLDED_KEY = b"", b"\0folded by"


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
        in_force: the registries; None: what the journeys are folded by stays in force.
        renewed: told of the activations by which all of the shard were folded again.
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
        in_force: InForce | None = None,
        renewed: Callable[[Activated], None] = lambda _: None,
    ) -> None:
        self.journeys = journeys
        self._horizon = horizon
        self._is_ending = is_ending
        self._handed_to = handed_to
        self.shard = shard
        self._records = records
        self._bounds = bounds
        self._asleep: dict[str, int] = {}
        self._woken_now: set[str] = set()
        self._archiving = Archiving(shard, records, bounds.tail_bytes, bounds.settled)
        journeys.reading = Reading(self._archiving.read)
        self._keeping = Keeping(journeys, bounds, self._archiving.is_long)
        self._paging = Paging(journeys, shard, self._hold)
        self._next_poll = 0
        self._in_force = in_force
        self._renewed = renewed
        self._logged = Folded(NOTHING)
        self._looked_ahead = False

    def adopt(
        self,
        store: EffectStore,
        records: RecordStore | None,
        horizon: Callable[[], int],
        is_ending: Callable[[], bool],
        in_force: InForce | None,
        renewed: Callable[[Activated], None],
    ) -> None:
        """Use these from now on: what made the core may have closed its own."""
        self.journeys.adopt(store)
        self._records = records
        self._archiving.adopt(records)
        self._horizon = horizon
        self._is_ending = is_ending
        self._in_force = in_force
        self._renewed = renewed

    # --- the log ------------------------------------------------------------------------------------------------

    def restore(self, entries: Iterable[Entry]) -> None:
        """Build the records from the log. Raises StateVersionError for entries of a later version."""
        found = read_log(data for _, data, _ in entries)
        journeys = self.journeys
        if found.served is not None:
            journeys.watermark = max(journeys.watermark, MIN_TIME if found.served.due is None else found.served.due)
            journeys.revision = found.served.stored
        self._asleep = found.asleep
        for person, due in found.dues.items():
            journeys.dues.put(person, due)
        for record in found.records.values():
            journeys.hold(record)
            self._keeping.restored(record.person_id)
        if found.folded is not None:
            self._resume(found.folded, found.numbers)

    def live(self, key: bytes) -> bytes | None:
        """The committed record of a key as a whole entry."""
        if key == _SHARD_KEY:
            return self._served()
        if key == FOLDED_KEY:
            return pack_folded(self._logged)
        person = key.decode()
        due = self.journeys.dues.of(person)
        if person in self._asleep:
            return pack_entry(LogEntry(ASLEEP, person, due, stored=self._asleep[person]))
        record = self.journeys.records.get(person)
        number = self._number(person)
        return None if record is None else pack_entry(LogEntry(RECORD, person, due, as_messages(record), number))

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
            return self._step(Pending(now=now), Counter())
        due = self.journeys.dues.up_to(watermark, PAGE)
        return self._woken(due, lambda doubtful: self.journeys.advance(watermark, now, PAGE, doubtful), now)

    def poll(self, now: int) -> Step:
        """Let expire what expires, and keep the bounds."""
        self._forget()
        self._look()
        work = self.journeys.sweep(now)
        pending = Pending([work], now=now)
        counts: Counter[str] = Counter()
        self._next_poll = now + self._bounds.look_every
        if self.journeys.following.is_ongoing:
            self._renew(pending, counts)
        # before anything is archived, which may be what nobody referred to until now
        self._archiving.delete_unused(now)
        self._archiving.shorten(self._keeping.long, self.journeys.records, pending)
        if not self.journeys.following.is_ongoing:
            self._put_away(pending, counts, now)
        pending.rested = self._keeping.resting()
        counts[RESTED] += len(pending.rested)
        counts[NOT_FOLLOWED] += self._in_force is not None and self._in_force.refusal != ""
        return self._step(pending, counts)

    def drain(self, now: int) -> Step:
        """Fold every person up to the final horizon, those in the record store too, and state where they stand.

        What was activated meanwhile has to be known, so it is called again when that is not what all were folded by.
        """
        self._forget()
        self._look(at_once=True)
        pending, counts = Pending(now=now, renewed=True), Counter[str]()
        self._paging.drain(self._records, self._horizon(), pending, counts)
        activated = self.journeys.force.activated
        self._renewed(activated)
        again = self._in_force is not None and self._in_force.known(at_once=True) != activated
        return replace(self._step(pending, counts), again=again)

    def commit(self, step: Step) -> None:
        """Swap in what the step built."""
        pending = step.pending
        if not isinstance(pending, Pending):
            return
        self._woken_now = set()
        kept: set[str] = set()
        for work in pending.works:
            for person, record in work.records.items():
                self._archiving.swap_in(self.journeys.records.get(person), record, pending.now)
            self.journeys.commit(work)
            kept.update(work.records, work.touched)
            for person in (*work.records, *work.touched):
                self._asleep.pop(person, None)
                self._keeping.touched(person, pending.now)
            for person, messages in work.taken.items():
                if any(message.erased_until is not None for message in messages):
                    self._keeping.stays(person, pending.now)
        for person in pending.woken & kept:
            self._keeping.stays(person, pending.now)
        for person in pending.woken - kept:
            self._release(person)
        for person in pending.rested:
            self.journeys.rest(person)
            self._keeping.weigh(person)
        for person, record in pending.shortened.items():
            self._archiving.swap_in(None, record, pending.now)
            self.journeys.hold(record)
            self._keeping.weigh(person)
        for person, version in pending.asleep.items():
            self._asleep[person] = version
            self._release(person)
        for person, due in pending.dues.items():
            self.journeys.dues.put(person, due)
        for person in pending.gone:
            self._asleep.pop(person, None)
            self._release(person)
            self.journeys.dues.put(person, None)
        if self._keeping.is_over or self._keeping.long:
            self._next_poll = 0
        self.journeys.following.turn(pending.place, pending.after, renewed=pending.renewed)
        self._logged = pending.folded or self._logged

    # --- inside -------------------------------------------------------------------------------------------------

    def _woken(self, persons: Iterable[str], do: Callable[[set[str]], Work], now: int) -> Step:
        """Read back who is not here, work, and make the step of it."""
        pending, counts = Pending(now=now), Counter[str]()
        self._forget()
        self._look()
        self._woken_now = pending.woken
        doubtful = self._paging.read_back(self._records, persons, self._asleep, pending.woken, counts)
        pending.works.append(do(doubtful))
        return self._step(pending, counts)

    def _forget(self) -> None:
        """Release what was read back for a step that failed or was never committed."""
        self._archiving.begin()
        for person in self._woken_now:
            self.journeys.release(person)
        self._woken_now = set()

    def _hold(self, stored: StoredRecord) -> None:
        # whom the log does not name, whoever handed over has stated, up to there and no further
        known = stored.key.key in self._asleep
        self.journeys.hold(record_of(stored), None if known else self._handed_to)

    def _look(self, *, at_once: bool = False) -> None:
        """Begin to fold all again if others are activated than they were folded by, and to await those to come."""
        port, journeys = self._in_force, self.journeys
        if port is None or journeys.following.is_ongoing:
            return
        known = port.known(at_once=at_once)
        if known != journeys.force.activated:
            self._follow(port, known)
            self._next_poll = 0
        elif not self._looked_ahead and journeys.look_ahead():
            self._next_poll = 0
        self._looked_ahead = True

    def _follow(self, port: InForce, known: Activated) -> None:
        for person in self.journeys.follow(port.force(known), port.since(self.journeys.force.activated, known)):
            self._keeping.weigh(person)

    def _resume(self, folded: Folded, numbers: Mapping[str, int]) -> None:
        """Go on from what the log says; ``numbers``: of records that each person was folded by."""
        self._logged = folded
        if self._in_force is not None:
            self.journeys.fold_by(self._in_force.force(folded.by))
            if folded.to is not None:
                self._follow(self._in_force, folded.to)
                renewed = [person for person, number in numbers.items() if number == sum(folded.to)]
                self.journeys.following.resume(folded.after, renewed)

    def _renew(self, pending: Pending, counts: Counter[str]) -> None:
        """Fold some again who are still to be; the next poll, at once, goes on."""
        self._paging.renew(self._records, self._asleep, pending, counts)
        if pending.renewed:
            self._renewed(self.journeys.force.activated)
        else:
            self._next_poll = pending.now

    def _put_away(self, pending: Pending, counts: Counter[str], now: int) -> None:
        """Put persons into the record store: idle ones for whom nothing is due, and whoever is too much."""
        if self._records is None:
            return
        leaving = self._keeping.leaving(now, PAGE)
        if len(leaving) == PAGE:
            self._next_poll = now
        for person in pending.shortened:
            # the next look, which is at once, puts away the shorter record
            leaving.pop(person, None)
        self._paging.put_away(self._records, leaving, pending, counts)

    def _step(self, pending: Pending, counts: Counter[str]) -> Step:
        counts.update(self._archiving.counts)
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
        for person, record in pending.shortened.items():
            due = self.journeys.dues.of(person)
            entries.append(_entry(LogEntry(RECORD, person, due, as_messages(record), self._number(person)), whole=True))
        for person, version in pending.asleep.items():
            due = pending.dues.get(person, self.journeys.dues.of(person))
            entries.append(_entry(LogEntry(ASLEEP, person, due, stored=version), whole=True))
        dropped += [person.encode() for person in pending.gone]
        pending.folded = self.journeys.following.folded(
            self.journeys.force.activated, pending.after, renewed=pending.renewed
        )
        if pending.folded != self._logged:
            entries.append(Entry(FOLDED_KEY, pack_folded(pending.folded), True))
        if entries:
            entries.append(Entry(_SHARD_KEY, self._served(), True))
        outputs += [(METRICS, (name, n)) for name, n in counts.items() if n]
        return Step(tuple(outputs), tuple(entries), tuple(dropped), self._next_due(pending), self._next_poll, pending)

    def _served(self) -> bytes:
        return pack_entry(LogEntry(SERVED, "", self.journeys.watermark, stored=self.journeys.revision))

    def _entry(self, person: str, record: PersonRecord, work: Work, woken: set[str]) -> Entry:
        due = work.due.get(person, self.journeys.dues.of(person))
        number = sum(self.journeys.force.activated) if person in work.touched else self._number(person)
        taken = tuple(work.taken.get(person, ()))
        # a message that holds a strand whole would bring back to the log what lies in its archives
        is_shorter = record.has_archives and any(message.kind != APPEND for message in taken)
        if is_shorter or person in woken or (person in work.records and person not in work.taken):
            return _entry(LogEntry(RECORD, person, due, as_messages(record), number), whole=True)
        return _entry(LogEntry(TAKEN, person, due, taken, number), whole=False)

    def _number(self, person: str) -> int:
        return self.journeys.following.number(person, self.journeys.force.activated)

    def _next_due(self, pending: Pending) -> int | None:
        """When time alone does something next, once this is committed; at the end of the stream nothing does."""
        if self._is_ending():
            return None
        changed = {person for work in pending.works for person in work.live}
        gone = set(pending.gone)
        due = [at for work in pending.works for at in work.due.values() if at is not None]
        first = self.journeys.dues.first_without(changed | gone)
        return min(due if first is None else [*due, first], default=None)

    def _release(self, person: str) -> None:
        self.journeys.release(person)
        self._keeping.weigh(person)


def _entry(entry: LogEntry, *, whole: bool) -> Entry:
    return Entry(entry.person_id.encode(), pack_entry(entry), whole)
