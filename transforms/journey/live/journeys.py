"""The journeys of one shard of persons while they happen: messages and time in; rows, decisions and features out.

Input: ``StrandMessage``s in any order (``apply``), the watermark (``advance``), at the end a final horizon (``drain``).
Output: ``Work``, which takes effect only when it is given to ``commit``; until then the records are the old ones, and
journeys that were at work are made again from their events. Time domain: event time, microseconds; ``now`` is the wall
clock in microseconds. Ports: the model scores all new points of a batch in one call, the effect store remembers
decisions. Errors: those of the store; a journey itself cannot fail. State: records, and for those lately touched the
running machines.

An event that comes next is taken by the machines; anything else makes the journey fold again from its events. Both give
the same rows, those of the bounded host. The horizon of a person is the greatest of the watermark, the own latest event
and the horizon before.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

from contracts.event import Event
from contracts.exchange import MAX_TIME, MIN_TIME, OnlineFeatures, StrandMessage
from contracts.tables import EVENTS
from transforms.journey.dated import machinery
from transforms.journey.fold import event_order
from transforms.journey.functions import FUNCTIONS
from transforms.journey.live.deciding import Deciding, LivePerson
from transforms.journey.live.machine import Machine
from transforms.journey.live.messages import PersonRecord, by_person, event_of, expired, take
from transforms.journey.live.stating import UNSURE, Sheet, Stating, decisions_sheet
from transforms.journey.live.work import Job, Work
from transforms.journey.worker import JourneySettings, Score
from transforms.labels import MATURITY
from transforms.stores.effects import EffectStore

_AT_ONCE = 500
"""Persons that are folded together when many are due at once."""


class LiveJourneys:
    """The journeys of one shard. Not shared between threads.

    Args:
        settings: what is in force; ``revision`` is not used.
        score: the model as a port; None when no model was ever activated.
        store: the effect store.
        window: maturity of labels, microseconds of event time.

    Counts of ``Work``: ``messages``, ``dropped`` (older or repeated), ``early`` (waiting after the batch), ``expired``
    (waited in vain: a defect of whoever sent them), ``began``, ``went_on``, ``folded_again``, ``brought_back``
    (machines made again where there was none), ``retired``, ``by_time`` (persons whom time alone touched).
    """

    def __init__(
        self, settings: JourneySettings, score: Score | None, store: EffectStore, window: int = MATURITY
    ) -> None:
        self._ontologies = settings.ontologies
        self._fold, self._paths = machinery(self._ontologies, FUNCTIONS, settings.lateness)
        self._score = score
        self._deciding = Deciding(settings, store, window)
        self._stating = Stating(settings.features, settings.scores)
        self.revision = 0
        self._due: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []
        self._waiting: set[str] = set()
        self._stated_to: dict[str, int] = {}
        self.records: dict[str, PersonRecord] = {}
        self.live: dict[str, LivePerson] = {}
        self.watermark = MIN_TIME

    def adopt(self, store: EffectStore, score: Score | None) -> None:
        """Use these from now on."""
        self._deciding.adopt(store)
        self._score = score

    # --- what comes in ------------------------------------------------------------------------------------------

    def apply(
        self, messages: Sequence[StrandMessage], now: int, unknown: frozenset[str] | set[str] = frozenset()
    ) -> Work:
        """Take messages.

        ``unknown``: persons of whom it is not known whether what their record holds was stated; all of it is stated
        again.
        """
        work = Work()
        jobs: list[Job] = []
        grouped = by_person(messages)
        found = {person: take(self._record(person), sent) for person, sent in grouped.items()}
        changed = [person for person, taken in found.items() if taken.changed or person in unknown]
        self._bring_back(changed, work)
        sheet = Sheet()
        retired: list[str] = []
        for person, taken in found.items():
            work.counts["messages"] += len(grouped[person])
            work.counts["dropped"] += taken.dropped
            record, lost = expired(taken.record, now)
            work.counts["early"] += len(record.early)
            work.counts["expired"] += lost
            if record is not self._record(person):
                work.records[person] = record
                work.taken[person] = grouped[person]
            elif person in unknown:
                work.records[person] = record
            if not taken.changed and person not in unknown:
                continue
            live = self._take_out(person, work)
            if taken.missed or person in unknown:
                taken.replaced = True
                _doubt(live)
            erased = [(event_of(event).event_id, strand) for event, strand in taken.erased]
            if record.has_events:
                jobs.append(self._job(person, record, live, taken.new, taken.replaced, erased))
                if taken.moved:
                    jobs[-1].live.noted = None
            elif live is not None:
                self._stating.retire(sheet, person, record, live.stated, live.machine, erased)
                retired.append(person)
            else:
                self._stating.erase(sheet, record, {}, erased)
        self._work_on(jobs, work, sheet)
        return self._finished(work, sheet, now, jobs, retired)

    def advance(self, watermark: int, now: int, most: int = _AT_ONCE) -> Work:
        """Do what is due by time alone up to the watermark, for the ``most`` persons that are due first.

        A watermark at the end of time does nothing: what it means is said by ``drain``. Call again while ``next_due``
        is not after the watermark. Persons must have their records here.
        """
        work, sheet = Work(), Sheet()
        if watermark >= MAX_TIME:
            return self._finished(work, sheet, now, [], [])
        self.watermark = max(self.watermark, watermark)
        jobs = self._by_time(self.due_persons(self.watermark, most), self.watermark, work)
        self._work_on(jobs, work, sheet)
        work.counts["by_time"] += len(jobs)
        return self._finished(work, sheet, now, jobs, [])

    def drain(self, persons: Iterable[str], horizon: int, now: int) -> Work:
        """Fold persons up to the final horizon and state where they stand there.

        The watermark stays: it says up to where everybody was stated before, those too who are drained after these.
        """
        work, sheet = Work(), Sheet()
        jobs = self._by_time([p for p in persons if self._record(p).has_events], horizon, work)
        self._work_on(jobs, work, sheet)
        return self._finished(work, sheet, now, jobs, [])

    def state_again(self, persons: Iterable[str], now: int) -> Work:
        """State all rows of persons of whom it is not known what was stated."""
        work, sheet = Work(), Sheet()
        jobs = []
        for person in persons:
            if (record := self._record(person)).has_events:
                _doubt(live := self._take_out(person, work))
                jobs.append(self._job(person, record, live, [], True, ()))
        self._work_on(jobs, work, sheet)
        return self._finished(work, sheet, now, jobs, [])

    def sweep(self, now: int) -> Work:
        """Forget what is kept no longer of persons who left, and messages that waited in vain."""
        work = Work()
        for person in sorted(self._waiting):
            before = self._record(person)
            record, lost = expired(before, now)
            work.counts["expired"] += lost
            if record is not before:
                work.records[person] = record if record.strands or record.early else None
        return work

    def commit(self, work: Work) -> None:
        """Make the work's records and machines those of the shard."""
        for person, record in work.records.items():
            self._waiting.discard(person)
            if record is None:
                self.records.pop(person, None)
            else:
                self.records[person] = record
                if record.early or not record.has_events:
                    self._waiting.add(person)
        for person, live in work.live.items():
            if live is None:
                self._forget_due(person)
            else:
                self.live[person] = live
                self._remember_due(person, work.due[person])

    # --- what the shard holds -----------------------------------------------------------------------------------

    def next_due(self) -> int | None:
        """The earliest instant at which time alone may do something in this shard."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def next_due_without(self, persons: Collection[str]) -> int | None:
        """The earliest instant for others than some."""
        passed: list[tuple[int, str]] = []
        while (first := self.next_due()) is not None and self._heap[0][1] in persons:
            passed.append(heapq.heappop(self._heap))
        for entry in passed:
            heapq.heappush(self._heap, entry)
        return first

    def due_of(self, person: str) -> int | None:
        """That of one person."""
        return self._due.get(person)

    def due_persons(self, watermark: int, most: int = _AT_ONCE) -> list[str]:
        """The persons that ``advance`` would do first."""
        found: list[tuple[int, str]] = []
        while len(found) < most and (first := self.next_due()) is not None and first <= watermark:
            found.append(heapq.heappop(self._heap))
        for entry in found:
            heapq.heappush(self._heap, entry)
        return list(dict.fromkeys(person for _, person in found))

    def hold(self, record: PersonRecord, stated_to: int | None = None) -> None:
        """Take in a record that was held elsewhere; ``stated_to``: up to when, where that is not the watermark."""
        self.records[record.person_id] = record
        if stated_to is not None:
            self._stated_to[record.person_id] = stated_to
        if record.early or not record.has_events:
            self._waiting.add(record.person_id)

    def wake_at(self, person: str, due: int | None) -> None:
        """When time alone does something for a person whose record is not here, or has no machine."""
        self._remember_due(person, due)

    def await_activation(self, persons: Iterable[str]) -> None:
        """Wake persons at the next activation of an ontology: it may have been recorded after they were last due."""
        begins = self._ontologies.next_begin(self.watermark)
        if begins is None:
            return
        for person in persons:
            self._remember_due(person, min(begins, self._due.get(person, MAX_TIME)))

    def release(self, person: str) -> None:
        """Give up record and machine of a person; when it is due stays known."""
        self._waiting.discard(person)
        self._stated_to.pop(person, None)
        self.records.pop(person, None)
        self.live.pop(person, None)

    def rest(self, person: str) -> None:
        """Give up the machine alone."""
        self.live.pop(person, None)

    # --- inside -------------------------------------------------------------------------------------------------

    def _record(self, person: str) -> PersonRecord:
        return self.records.get(person) or PersonRecord(person)

    def _take_out(self, person: str, work: Work) -> LivePerson | None:
        """A person's machine, which is no longer the shard's: should the work fail, another is made."""
        live = work.live.pop(person, None) or self.live.pop(person, None)
        work.live[person] = None
        return live

    def _new(self, person: str) -> LivePerson:
        return LivePerson(Machine(self._fold, self._paths, person))

    def _job(
        self,
        person: str,
        record: PersonRecord,
        live: LivePerson | None,
        new: list[tuple[bytes, str]],
        replaced: bool,
        erased: Sequence[tuple[str, str]],
    ) -> Job:
        """Going on, where the machine can; else folding again."""
        if live is not None and not replaced:
            events = _events(new)
            # One event_id of two devices is stated once, which takes a look at both.
            known = live.stated.get(EVENTS.name, {})
            twice = any(event.event_id in known for event, _ in events)
            if not events or (
                not twice and events[0][0].event_time > live.matured and live.machine.comes_next(*events[0])
            ):
                horizon = max(self.watermark, live.machine.horizon, *(event.event_time for event, _ in events[-1:]))
                return Job(live, record, events, horizon)
        events = _events(record.events())
        again = self._new(person)
        horizon = max(self.watermark, events[-1][0].event_time)
        if live is not None:
            again.stated, again.going = live.stated, live.going
            horizon = max(horizon, live.machine.horizon)
        return Job(again, record, events, horizon, True, None if live is None else live.machine, erased)

    def _bring_back(self, persons: Iterable[str], work: Work) -> None:
        """Make the machines of persons that have none, as far as they were: up to the watermark, if nothing is due."""
        jobs = []
        for person in persons:
            record = self._record(person)
            if person not in self.live and person not in work.live and record.has_events:
                events = _events(record.events())
                due = self._due.get(person, MAX_TIME)
                stated_to = self._stated_to.get(person, self.watermark)
                served = max(events[-1][0].event_time, min(stated_to, due - 1))
                jobs.append(Job(self._new(person), record, events, served))
        self._work_on(jobs, work, None)
        work.counts["brought_back"] += len(jobs)
        for job in jobs:
            work.live[job.live.machine.person_id] = job.live

    def _by_time(self, persons: Sequence[str], horizon: int, work: Work) -> list[Job]:
        self._bring_back(persons, work)
        jobs = []
        for person in persons:
            live = self._take_out(person, work)
            if live is not None:
                jobs.append(Job(live, self._record(person), [], max(horizon, live.machine.horizon)))
        return jobs

    def _work_on(self, jobs: Sequence[Job], work: Work, sheet: Sheet | None) -> None:
        """Fold, score, stage, decide and state some persons together; without a sheet they state nothing."""
        if not jobs:
            return
        points = [(job, job.live.machine.fold_on(job.events, job.horizon)) for job in jobs]
        times = [point.at for _, found in points for point in found]
        versions: Sequence[str | None] = ()
        rows: Any = None
        if self._score is not None and times:
            matrix = np.array([point.vector for _, found in points for point in found], dtype=np.float64)
            versions, probabilities = self._score(np.array(times, dtype=np.int64), matrix)
            rows = probabilities.tolist()
        start = 0
        for job, found in points:
            end = start + len(found)
            job.live.machine.stage_on(
                None if rows is None else rows[start:end], None if rows is None else versions[start:end]
            )
            start = end
        decided = self._deciding.decide([(job.live, job.record) for job in jobs], silent=sheet is None)
        work.decisions += decided.again
        work.decisions += decided.new
        for job in jobs:
            live = job.live
            person = live.machine.person_id
            labels = decided.labels.get(person, ())
            if job.whole and sheet is not None:
                self._stating.state_whole(sheet, live.machine, job.record, live.stated, labels, job.old, job.erased)
                work.counts["folded_again" if job.old is not None else "began"] += 1
            else:
                self._stating.state(sheet, live.machine, job.record, live.stated, labels)
                work.counts["went_on"] += sheet is not None

    def _finished(self, work: Work, sheet: Sheet, now: int, jobs: Sequence[Job], retired: Sequence[str]) -> Work:
        self.revision = max(now, self.revision + 1)
        decisions_sheet(sheet, work.decisions)
        work.stated = sheet.stated(self.revision)
        for job in jobs:
            work.live[job.live.machine.person_id] = job.live
        for person, live in work.live.items():
            work.due[person] = None if live is None else live.next_instant()
        work.touched = tuple(job.live.machine.person_id for job in jobs)
        vectors = tuple(
            (machine.person_id, self.revision, machine.fold.points[-1].at, machine.fold.points[-1].vector)
            for job in jobs
            if (machine := job.live.machine).part.points
        )
        if vectors or retired:
            work.online = OnlineFeatures(vectors, tuple(retired))
        work.counts["retired"] += len(retired)
        return work

    def _remember_due(self, person: str, due: int | None) -> None:
        if due is None:
            self._due.pop(person, None)
        elif self._due.get(person) != due:
            self._due[person] = due
            heapq.heappush(self._heap, (due, person))

    def _forget_due(self, person: str) -> None:
        self._due.pop(person, None)


def _doubt(live: LivePerson | None) -> None:
    """Nothing that was stated counts as such; which keys there are is known."""
    if live is not None:
        live.stated = {table: dict.fromkeys(known, UNSURE) for table, known in live.stated.items()}


def _events(packed: Iterable[tuple[bytes, str]]) -> list[tuple[Event, str]]:
    """Unpacked and in order."""
    found = [(event_of(event), strand) for event, strand in packed]
    found.sort(key=event_order)
    return found
