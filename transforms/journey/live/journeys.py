"""The journeys of one shard of persons while they happen: messages and time in; rows, decisions and features out.

Input: ``StrandMessage``s in any order (``apply``), the watermark (``advance``), at the end a final horizon (``drain``).
Output: ``Work``, which takes effect only when it is given to ``commit``; until then the records are the old ones, and
journeys that were at work are made again from their events. Time domain: event time, microseconds; ``now`` is the wall
clock in microseconds. Ports: the model scores all new points of a batch in one call, the effect store remembers
decisions. Errors: those of the store; a journey itself cannot fail. State: records, and for those lately touched the
running machines.

An event that comes next is taken by the machines; anything else makes the journey fold again from its events. Both give
the same rows, those of the bounded host. The horizon of a person is the greatest of the watermark, the own latest event
and the horizon before. When others are activated (``follow``), who was folded beyond their date is folded again:
``following`` has the rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from copy import copy
from typing import Any

import numpy as np

from contracts.exchange import MAX_TIME, MIN_TIME, OnlineFeatures, StrandMessage
from contracts.tables import EVENTS
from transforms.journey.live.deciding import Deciding, LivePerson, not_erased
from transforms.journey.live.dues import Dues
from transforms.journey.live.following import Folding, Following, Force
from transforms.journey.live.machine import Machine
from transforms.journey.live.messages import PersonRecord, Reading, by_person, event_of, expired, ordered
from transforms.journey.live.stating import Sheet, Stating, decisions_sheet, key_of_event
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
    (machines made again where there was none), ``retired``, ``by_time`` (persons whom time alone touched), ``renewed``
    (folded again by what is in force now).
    """

    def __init__(
        self, settings: JourneySettings, score: Score | None, store: EffectStore, window: int = MATURITY
    ) -> None:
        self._lateness = settings.lateness
        self._folding = Folding.by(Force(settings.activated, settings.ontologies, score), settings.lateness)
        self.following = Following()
        self._deciding = Deciding(settings, store, window)
        self._stating = Stating(settings.features, settings.scores)
        self.revision = 0
        self.dues = Dues()
        self._waiting: set[str] = set()
        self._stated_to: dict[str, int] = {}
        self.records: dict[str, PersonRecord] = {}
        self.live: dict[str, LivePerson] = {}
        self.watermark = MIN_TIME
        self.reading = Reading()

    def adopt(self, store: EffectStore) -> None:
        """Use it from now on."""
        self._deciding.adopt(store)

    # --- what is in force ---------------------------------------------------------------------------------------

    @property
    def force(self) -> Force:
        """What journeys are folded by."""
        return self._folding.force

    def fold_by(self, force: Force) -> None:
        """Fold by it what is not folded yet; before anything else is done."""
        self._folding = Folding.by(force, self._lateness)
        self._deciding.follow(force.ontologies)

    def follow(self, force: Force, since: int) -> list[str]:
        """Fold by it from now on; who was folded up to ``since`` by another will be folded again, see ``renew``.

        Returns persons whose machines were given up, since they know nothing of what comes.
        """
        before = self._folding
        self.fold_by(force)
        self.following.begin(before, since, self.records)
        if before.force.ontologies == force.ontologies:
            return []
        rested = [person for person, live in self.live.items() if live.machine.horizon < since]
        for person in rested:
            self.rest(person)
        return rested

    def look_ahead(self) -> bool:
        """Have everybody woken at the next activation of an ontology, if there is one to come; see ``renew``."""
        begins = self.force.ontologies.next_begin(self.watermark)
        if begins is None:
            return False
        self.following.begin(self._folding, begins, self.records)
        return True

    def reach(self, person: str, last: int) -> int:
        """How far a person was folded and stated, at most; ``last``: the time of the latest event."""
        live = self.live.get(person)
        due = self.dues.of(person)
        served = self.watermark if due is None else min(self.watermark, due - 1)
        return max(last, served, served if live is None else live.machine.horizon)

    def renew(self, persons: Sequence[str], now: int) -> Work:
        """Fold persons again, as far as they were, if what they were folded by is not in force any more.

        Who was not folded as far as that matters is woken when it does. They must have their records here.
        """
        work, sheet = Work(), Sheet()
        far = [person for person in persons if self._is_owed(person)]
        self.await_activation(set(persons).difference(far))
        jobs = self._by_time(far, MIN_TIME, work)
        self._work_on(jobs, work, sheet)
        work.counts["renewed"] += len(jobs)
        return self._finished(work, sheet, now, jobs, [])

    def _is_owed(self, person: str) -> bool:
        """Whether what was stated of a person followed from what is not in force any more."""
        if not self.following.owes(person):
            return False
        live = self.live.get(person)
        if live is not None:
            return live.machine.horizon >= self.following.since
        record = self._record(person)
        return record.has_events and self.reach(person, record.last_time) >= self.following.since

    # --- what comes in ------------------------------------------------------------------------------------------

    def apply(self, messages: Sequence[StrandMessage], now: int, unknown: Set[str] = frozenset()) -> Work:
        """Take messages.

        ``unknown``: persons of whom it is not known whether what their record holds was stated; all of it is stated
        again.
        """
        work = Work()
        jobs: list[Job] = []
        grouped = by_person(messages)
        found = {person: self.reading.take(self._record(person), sent) for person, sent in grouped.items()}
        changed = [person for person, taken in found.items() if taken.changed or person in unknown]
        self._bring_back(changed, work)
        work.decisions = not_erased(work.decisions, (taken.until for taken in found.values()))
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
            owed = self._is_owed(person)
            live = self._take_out(person, work)
            taken.replaced = taken.replaced or owed
            if taken.missed or person in unknown:
                taken.replaced = True
                if live is not None:
                    live.doubt()
            erased = [(event_of(event).event_id, strand) for event, strand in taken.erased]
            if record.has_events:
                jobs.append(self._job(person, record, live, taken.new, taken.replaced, erased))
                if taken.moved or erased:
                    jobs[-1].live.noted = None
            elif live is not None:
                self._stating.retire(sheet, person, record, live.stated, live.machine, erased)
                retired.append(person)
            else:
                self._stating.erase(sheet, record, {}, erased)
        self._work_on(jobs, work, sheet)
        return self._finished(work, sheet, now, jobs, retired)

    def advance(self, watermark: int, now: int, most: int = _AT_ONCE, unknown: Set[str] = frozenset()) -> Work:
        """Do what is due by time alone up to the watermark, for the ``most`` persons that are due first.

        A watermark at the end of time does nothing: what it means is said by ``drain``. Call again while
        ``dues.first`` is not after the watermark. Persons must have their records here; ``unknown`` as of ``apply``.
        """
        work, sheet = Work(), Sheet()
        if watermark >= MAX_TIME:
            return self._finished(work, sheet, now, [], [])
        self.watermark = max(self.watermark, watermark)
        jobs = self._by_time(self.dues.up_to(self.watermark, most), self.watermark, work, unknown)
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
        self.following.done(work.live)
        for person, record in work.records.items():
            self._waiting.discard(person)
            if record is None:
                self.records.pop(person, None)
            else:
                self.records[person] = record
                if record.early or not record.has_events:
                    self._waiting.add(person)
        for person, live in work.live.items():
            self.dues.put(person, None if live is None else work.due[person])
            if live is not None:
                self.live[person] = live

    # --- what the shard holds -----------------------------------------------------------------------------------

    def hold(self, record: PersonRecord, stated_to: int | None = None) -> None:
        """Take in a record that was held elsewhere; ``stated_to``: up to when, where that is not the watermark."""
        self.records[record.person_id] = record
        if stated_to is not None:
            self._stated_to[record.person_id] = stated_to
        if record.early or not record.has_events:
            self._waiting.add(record.person_id)

    def await_activation(self, persons: Iterable[str]) -> None:
        """Wake persons at the next activation of an ontology: it may have been recorded after they were last due."""
        begins = self.force.ontologies.next_begin(self.watermark)
        if begins is not None:
            for person in persons:
                self.dues.earlier(person, begins)

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

    def _new(self, person: str, folding: Folding | None = None) -> LivePerson:
        how = folding or self._folding
        return LivePerson(Machine(how.fold, how.paths, person))

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
            events = ordered(new)
            # One event_id of two devices is stated once, which takes a look at both.
            known = live.stated.get(EVENTS.name, {})
            twice = any(key_of_event(event.event_id) in known for event, _ in events)
            if not events or (
                not twice and events[0][0].event_time > live.matured and live.machine.comes_next(*events[0])
            ):
                horizon = max(self.watermark, live.machine.horizon, *(event.event_time for event, _ in events[-1:]))
                return Job(live, record, events, horizon)
        events = self.reading.events(record)
        again = self._new(person)
        horizon = max(self.watermark, events[-1][0].event_time)
        if live is not None:
            again.stated, again.going = live.stated, live.going
            horizon = max(horizon, live.machine.horizon)
        return Job(again, record, events, horizon, True, None if live is None else live.machine, erased)

    def _renewal(self, person: str, live: LivePerson, horizon: int) -> Job:
        """Folding again by what is in force now, not only as far as before."""
        record, again = self._record(person), self._new(person)
        again.stated, again.going = live.stated, live.going
        return Job(again, record, self.reading.events(record), horizon, True, live.machine)

    def _bring_back(self, persons: Iterable[str], work: Work) -> None:
        """Make the machines of persons that have none, as far as they were: up to the watermark, if nothing is due."""
        jobs: list[Job] = []
        owed: list[Job] = []
        for person in persons:
            record = self._record(person)
            if person not in self.live and person not in work.live and record.has_events:
                folding = self.following.before if self._is_owed(person) else None
                events = self.reading.events(record)
                stated_to = self._stated_to.get(person, self.watermark)
                served = max(events[-1][0].event_time, min(stated_to, (self.dues.of(person) or MAX_TIME) - 1))
                job = Job(self._new(person, folding), record, events, served)
                (jobs if folding is None else owed).append(job)
        self._work_on(jobs, work, None)
        if owed and self.following.before is not None:
            self._bring_back_owed(owed, self.following.before, work)
        work.counts["brought_back"] += len(jobs) + len(owed)
        for job in (*jobs, *owed):
            work.live[job.live.machine.person_id] = job.live

    def _bring_back_owed(self, jobs: Sequence[Job], before: Folding, work: Work) -> None:
        """Those who are folded again right after: what they may have stated by what is no more has to be known."""
        self._work_on(jobs, work, None, before)
        further = []
        for job in jobs:
            reach = self.reach(job.live.machine.person_id, job.horizon)
            if reach > job.horizon:
                known = {table: copy(stated) for table, stated in job.live.stated.items()}
                further.append((Job(job.live, job.record, [], reach), known))
        self._work_on([job for job, _ in further], work, None, before)
        for job, known in further:
            job.live.doubt(known)

    def _by_time(self, persons: Sequence[str], horizon: int, work: Work, unknown: Set[str] = frozenset()) -> list[Job]:
        self._bring_back(persons, work)
        jobs = []
        for person in persons:
            owed = self._is_owed(person) or person in unknown
            live = self._take_out(person, work)
            if live is not None:
                if person in unknown:
                    live.doubt()
                until = max(horizon, live.machine.horizon)
                jobs.append(self._renewal(person, live, until) if owed else Job(live, self._record(person), [], until))
        return jobs

    def _work_on(self, jobs: Sequence[Job], work: Work, sheet: Sheet | None, folding: Folding | None = None) -> None:
        """Fold, score, stage, decide and state some persons together; without a sheet they state nothing."""
        score = (folding or self._folding).force.score
        if not jobs:
            return
        points = [(job, job.live.machine.fold_on(job.events, job.horizon)) for job in jobs]
        times = [point.at for _, found in points for point in found]
        versions: Sequence[str | None] = ()
        rows: Any = None
        if score is not None and times:
            matrix = np.array([point.vector for _, found in points for point in found], dtype=np.float64)
            versions, probabilities = score(np.array(times, dtype=np.int64), matrix)
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
        for job in jobs:
            job.live.machine.rest()
        if vectors or retired:
            work.online = OnlineFeatures(vectors, tuple(retired))
        work.counts["retired"] += len(retired)
        return work
