"""Deciding for the persons of a batch together: few calls of the effect store, and none where nothing is asked.

Input: ``LivePerson``s whose journeys went on. Output: ``Decided``. Time domain: event time, microseconds; ``at`` of a
standing is the greatest version of a strand message, so that whoever has a strand last is noted last. Errors: those of
the store. State: in each ``LivePerson``.

A person's history is read when its machine begins. Afterwards only one thing that deciding looks at is changed by
others: what became of actions, since what was never sent uses up no cap and starts no cooldown. So as long as an own
decision whose action is not settled can still count, its action is looked up whenever the policy is asked. A strand
that comes with decisions of its own makes the journey fold again, with a new machine.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from contracts.event import HOUR
from contracts.exchange import MIN_TIME, Decision, History, Label, LearnInput, LoggedDecision
from transforms.decide.decide import DecideWalk
from transforms.decide.rules import PolicySet
from transforms.journey.dated import DatedOntologies
from transforms.journey.holdings import apart
from transforms.journey.live.machine import Machine
from transforms.journey.live.messages import PersonRecord
from transforms.journey.live.stating import UNSURE, Stated
from transforms.journey.unsettled import unsettled
from transforms.journey.worker import JourneySettings
from transforms.labels import MATURITY, POLICY, as_done, as_meant, labels
from transforms.stores.effects import IN_DOUBT, PENDING, EffectStore, Standing

_GIVEN_UP = 8
"""Windows after which the label of an action that is still not settled is not waited for any more."""


@dataclass(slots=True)
class LivePerson:
    """A person whose machine is kept.

    Attributes:
        stated: what was stated of it.
        going: ids of decisions that left from here, so that a journey folded again does not send them again.
        open: own decisions whose action may not be settled.
        maturing: (when, decision id, decision) of decisions without a label so far; a heap.
        matured: the last instant at which one got its label; what comes next must come later.
        noted: the standing last told to the store; None when the strands held are others since.
    """

    machine: Machine
    stated: Stated = field(default_factory=dict)
    going: set[str] = field(default_factory=set)
    open: list[LoggedDecision] = field(default_factory=list)
    maturing: list[tuple[int, str, LoggedDecision]] = field(default_factory=list)
    matured: int = -(2**62)
    noted: Standing | None = None

    def doubt(self, sure: Stated | None = None) -> None:
        """Nothing that was stated counts as such, but for what is sure; which keys there are is known."""
        kept = sure or {}
        for table, known in self.stated.items():
            known_surely = kept.get(table, {})
            for key, mark in list(known.items()):
                if known_surely.get(key) != mark:
                    known[key] = UNSURE

    def next_instant(self) -> int | None:
        """When time alone does something next, or earlier."""
        due = self.machine.next_instant()
        if self.maturing and (due is None or self.maturing[0][0] < due):
            return self.maturing[0][0]
        return due


@dataclass(slots=True)
class Decided:
    """``new`` were claimed now, ``again`` before, and go out again; labels are of decisions that matured."""

    new: list[Decision] = field(default_factory=list)
    again: list[Decision] = field(default_factory=list)
    labels: dict[str, list[Label]] = field(default_factory=dict)


class Deciding:
    """Decides under fixed settings.

    Args:
        settings: policies in force, ``mode`` and ``max_age``.
        store: the effect store.
        window: the maturity window of labels, microseconds of event time.
    """

    def __init__(self, settings: JourneySettings, store: EffectStore, window: int = MATURITY) -> None:
        self._settings = settings
        self._store = store
        self._window = window
        self._memory = _memory_of(settings.policies)
        self._version_at = settings.ontologies.version_at

    def adopt(self, store: EffectStore) -> None:
        """Ask this store from now on."""
        self._store = store

    def follow(self, ontologies: DatedOntologies) -> None:
        """Name with decisions of machines to come the ontology that these say is in force."""
        self._version_at = ontologies.version_at

    def decide(self, persons: Sequence[tuple[LivePerson, PersonRecord]], *, silent: bool = False) -> Decided:
        """Decide for persons whose journeys were staged.

        ``silent``: they are only brought back to where they were, so the store knows them already.
        """
        result = Decided()
        histories = self._histories(persons)
        self._look_up([live for live, _ in persons if self._asks(live)])
        made: list[Decision] = []
        for live, _ in persons:
            machine, part = live.machine, live.machine.part
            walk = machine.decide
            if walk is None:
                history = histories.get(machine.person_id, History())
                walk = self._begin(live, history, silent, result.again)
            made += walk.go_on(part.triggers, part.at, part.changes, part.outcomes, machine.horizon)
            for logged in part.logged:
                heapq.heappush(live.maturing, (logged.at + self._window, logged.decision_id, logged))
        result.new = self._claim(persons, made, silent=silent)
        by_person = {live.machine.person_id: live for live, _ in persons}
        claimed_by_id = {decision.decision_id: decision for decision in result.new}
        for asked in made:
            claimed = claimed_by_id.get(asked.decision_id)
            if claimed is None:
                continue
            live = by_person[asked.person_id]
            live.going.add(claimed.decision_id)
            meant = as_meant(claimed)
            heapq.heappush(live.maturing, (claimed.at + self._window, claimed.decision_id, meant))
            if claimed.channel is not None:
                live.open.append(meant)
        result.labels = self._labels([live for live, _ in persons])
        return result

    # --- what the store knows -----------------------------------------------------------------------------------

    def _asks(self, live: LivePerson) -> bool:
        """Whether the policy will be asked for this person while it is open what became of some actions."""
        walk = live.machine.decide
        if walk is None or not live.open:
            return False
        step = walk.book.next_instant
        if not live.machine.part.triggers and (step is None or step > live.machine.horizon):
            return False
        oldest = live.machine.horizon - self._memory
        live.open = [decision for decision in live.open if decision.at >= oldest]
        return bool(live.open)

    def _look_up(self, asking: Sequence[LivePerson]) -> None:
        """Tell walks what became of actions since."""
        if not asking:
            return
        statuses = self._settled(decision for live in asking for decision in live.open)
        for live in asking:
            known = {d.decision_id: status for d in live.open if (status := statuses.get(d.decision_id))}
            live.open = [decision for decision in live.open if decision.decision_id not in known]
            if live.machine.decide is not None:
                live.machine.decide.learn(known)

    def _settled(self, decisions: Iterable[LoggedDecision]) -> dict[str, str]:
        """The status of the action of each decision, where it will not change any more."""
        wanted = [decision.action_id for decision in decisions if decision.action_id is not None]
        found = self._store.find_actions(wanted) if wanted else {}
        return {a.decision_id: a.status for a in found.values() if a.status not in (PENDING, IN_DOUBT)}

    def _claim(
        self, persons: Sequence[tuple[LivePerson, PersonRecord]], made: Sequence[Decision], *, silent: bool
    ) -> list[Decision]:
        """Claim decisions and, in the same commit, tell the store what is new of who decided."""
        if silent:
            return self._store.claim_decisions(made)
        standings: dict[str, Standing] = {}
        for live, record in persons:
            person, consent = live.machine.person_id, live.machine.fold.points[-1].consent
            if live.noted is None:
                standings[person] = record.holdings().standing(person, record.version, consent)
            elif live.noted.consent != consent:
                standings[person] = replace(live.noted, at=record.version, consent=consent)
        outcomes = [outcome for live, _ in persons for outcome in live.machine.part.outcomes]
        claimed = self._store.claim_decisions(made, standings=standings.values(), outcomes=outcomes)
        for live, _ in persons:
            live.noted = standings.get(live.machine.person_id, live.noted)
        return claimed

    def _histories(self, persons: Sequence[tuple[LivePerson, PersonRecord]]) -> dict[str, History]:
        """Of those whose machine begins."""
        held = {live.machine.person_id: r.holdings() for live, r in persons if live.machine.decide is None}
        histories: dict[str, History] = {}
        for group in apart(held) if held else ():
            histories.update(self._store.histories(group))
        return {person: held[person].own(history) for person, history in histories.items()}

    def _begin(self, live: LivePerson, history: History, silent: bool, again: list[Decision]) -> DecideWalk:
        """Give a machine its past; add to ``again`` what is to be sent again."""
        settings, machine = self._settings, live.machine
        walk = machine.decide = DecideWalk(settings.policies, machine.person_id, machine.lineage, self._version_at)
        waiting = unsettled(history, machine.horizon, settings.mode, settings.max_age)
        again += [decision for decision in waiting if decision.decision_id not in live.going]
        counted = frozenset(decision.decision_id for decision in waiting)
        live.going.update(counted)
        walk.remember(history, counted)
        for decision in history.decisions:
            meant = as_meant(decision)
            due = decision.at + self._window
            if decision.channel is not None and decision.decision_id in counted:
                live.open.append(meant)
            if not silent or due > machine.horizon:
                heapq.heappush(live.maturing, (due, decision.decision_id, meant))
        return walk

    # --- labels -------------------------------------------------------------------------------------------------

    def _labels(self, persons: Sequence[LivePerson]) -> dict[str, list[Label]]:
        """Labels of the decisions that matured by the horizon of their person; by what was really done."""
        matured: dict[str, list[LoggedDecision]] = {}
        for live in persons:
            while live.maturing and live.maturing[0][0] <= live.machine.horizon:
                live.matured, _, decision = heapq.heappop(live.maturing)
                matured.setdefault(live.machine.person_id, []).append(decision)
        if not matured:
            return {}
        statuses = self._settled(d for found in matured.values() for d in found if d.origin == POLICY)
        return {
            live.machine.person_id: self._label(live, found, statuses)
            for live in persons
            if (found := matured.get(live.machine.person_id))
        }

    def _label(self, live: LivePerson, matured: Iterable[LoggedDecision], statuses: Mapping[str, str]) -> list[Label]:
        machine = live.machine
        decisions = []
        for decision in matured:
            status = statuses.get(decision.decision_id)
            if decision.origin != POLICY:
                decisions.append(decision)
            elif status is not None:
                decisions.append(as_done(decision, status))
            elif machine.horizon <= decision.at + _GIVEN_UP * self._window:
                # What is not done yet is looked at again, ever more seldom, and at last left to the next bounded run.
                wait = max(HOUR, machine.horizon - decision.at - self._window)
                heapq.heappush(live.maturing, (machine.horizon + wait, decision.decision_id, decision))
        given = LearnInput(machine.person_id, machine.horizon, tuple(decisions), tuple(machine.fold.outcomes))
        return list(labels(given, self._window))


def not_erased(decisions: Iterable[Decision], erased: Iterable[Mapping[str, int]]) -> list[Decision]:
    """What is left of decisions when those under erased events, by strand up to when, are taken out.

    Where the erasure is heard of before the store is purged, bringing a machine back finds what was not sent yet.
    """
    until: dict[str, int] = {}
    for strand, at in (pair for some in erased for pair in some.items()):
        until[strand] = max(at, until.get(strand, at))
    return [decision for decision in decisions if decision.held_at > until.get(decision.anchor_strand, MIN_TIME)]


def _memory_of(policies: PolicySet) -> int:
    """How long a decision can count against a cap or a cooldown."""
    return max(
        (
            *(cap.per for cap in policies.caps),
            *(rule.cooldown for rule in policies.candidates),
            *(plan.cooldown for plan in policies.plans),
        ),
        default=0,
    )
