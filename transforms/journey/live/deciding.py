"""Deciding for the persons of a batch together: few calls of the effect store, and none where nothing is asked.

Input: ``LivePerson``s whose journeys went on. Output: ``Decided``. Time domain: event time, microseconds; ``at`` of a
standing is the greatest version of a strand message, so that whoever has a strand last is noted last. Errors: those of
the store. State: in each ``LivePerson``.

A person's history is read when its machine begins. Afterwards only one thing that deciding looks at is changed by
others: what became of actions, since what was never sent uses up no cap and starts no cooldown. So as long as an own
decision whose action is not settled can still count, the history is read again whenever the policy is asked. A strand
that comes with decisions of its own makes the journey fold again, with a new machine.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from contracts.event import HOUR
from contracts.exchange import Decision, History, Label, LearnInput, LoggedDecision
from transforms.decide.decide import DecideWalk
from transforms.decide.rules import PolicySet
from transforms.journey.holdings import Holdings, apart
from transforms.journey.live.machine import Machine
from transforms.journey.live.messages import PersonRecord
from transforms.journey.live.stating import Stated
from transforms.journey.unsettled import unsettled
from transforms.journey.worker import JourneySettings
from transforms.labels import MATURITY, labels, logged_decisions
from transforms.stores.effects import IN_DOUBT, PENDING, EffectStore, Standing


@dataclass(slots=True)
class LivePerson:
    """A person whose machine is kept.

    Attributes:
        stated: what was stated of it.
        going: ids of decisions that left from here, so that a journey folded again does not send them again.
        counted: see ``decide.decide_journey``.
        open: own decisions whose action may not be settled, with their time.
        maturing: (when, decision, what an experiment logged) of decisions without a label so far; a heap.
        matured: the last instant at which one got its label; what comes next must come later.
        noted: strands and consent as last told to the store.
    """

    machine: Machine
    stated: Stated = field(default_factory=dict)
    going: set[str] = field(default_factory=set)
    counted: frozenset[str] = frozenset()
    open: dict[str, int] = field(default_factory=dict)
    maturing: list[tuple[int, str, LoggedDecision | None]] = field(default_factory=list)
    matured: int = -(2**62)
    noted: tuple[tuple[str, ...], dict[str, bool]] | None = None

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

    def decide(self, persons: Sequence[tuple[LivePerson, PersonRecord]], *, silent: bool = False) -> Decided:
        """Decide for persons whose journeys were staged.

        ``silent``: they are only brought back to where they were, so the store knows them already.
        """
        result = Decided()
        held = {live.machine.person_id: record.holdings() for live, record in persons if self._asks(live)}
        if not silent:
            self._note(persons)
        histories = self._histories(held)
        made: list[Decision] = []
        for live, _ in persons:
            machine, part = live.machine, live.machine.part
            history = histories.get(machine.person_id)
            if machine.decide is None:
                result.again += self._begin(live, history or History(), silent)
            elif history is not None:
                machine.decide.learn(history, live.counted)
                self._settle(live, history)
            walk = machine.decide
            assert walk is not None
            made += walk.go_on(part.triggers, part.at, part.changes, part.outcomes, machine.horizon)
            for logged in part.logged:
                heapq.heappush(live.maturing, (logged.at + self._window, logged.decision_id, logged))
        result.new = self._store.claim_decisions(made) if made else []
        by_person = {live.machine.person_id: live for live, _ in persons}
        for asked, claimed in zip(made, result.new, strict=True):
            live = by_person[asked.person_id]
            live.going.add(claimed.decision_id)
            heapq.heappush(live.maturing, (claimed.at + self._window, claimed.decision_id, None))
            if claimed.channel is not None:
                live.open[claimed.decision_id] = claimed.at
        result.labels = self._labels(persons, histories)
        return result

    # --- what the store knows -----------------------------------------------------------------------------------

    def _asks(self, live: LivePerson) -> bool:
        """Whether the history must be read before this person's part is decided."""
        walk = live.machine.decide
        if walk is None:
            return True
        if not live.open:
            return False
        step = walk.book.next_instant
        if not live.machine.part.triggers and (step is None or step > live.machine.horizon):
            return False
        oldest = live.machine.horizon - self._memory
        live.open = {name: at for name, at in live.open.items() if at >= oldest}
        return bool(live.open)

    def _note(self, persons: Sequence[tuple[LivePerson, PersonRecord]]) -> None:
        standings = []
        for live, record in persons:
            consent = live.machine.fold.points[-1].consent
            noted = (record.holdings().current, consent) if live.noted is None else (live.noted[0], consent)
            if noted != live.noted:
                live.noted = noted
                standings.append(Standing(live.machine.person_id, noted[0], record.version, consent))
        if standings:
            self._store.note_persons(standings)
        outcomes = [outcome for live, _ in persons for outcome in live.machine.part.outcomes]
        if outcomes:
            self._store.put_outcomes(outcomes)

    def _histories(self, held: dict[str, Holdings]) -> dict[str, History]:
        histories: dict[str, History] = {}
        for group in apart(held) if held else ():
            histories.update(self._store.histories(group))
        return {person: held[person].own(history) for person, history in histories.items()}

    def _begin(self, live: LivePerson, history: History, silent: bool) -> list[Decision]:
        """Give a machine its past; return what is to be sent again."""
        settings, machine = self._settings, live.machine
        walk = machine.decide = DecideWalk(
            settings.policies, machine.person_id, machine.lineage, settings.ontology.version
        )
        waiting = unsettled(history, machine.horizon, settings.mode, settings.max_age)
        again = [decision for decision in waiting if decision.decision_id not in live.going]
        live.counted = frozenset(decision.decision_id for decision in waiting)
        live.going.update(live.counted)
        walk.remember(history, live.counted)
        self._settle(live, history)
        for decision in history.decisions:
            due = decision.at + self._window
            if not silent or due > machine.horizon:
                heapq.heappush(live.maturing, (due, decision.decision_id, None))
        return again

    def _settle(self, live: LivePerson, history: History) -> None:
        """Keep in mind only the decisions whose actions others may still change."""
        done = {a.decision_id for a in history.actions if a.status not in (PENDING, IN_DOUBT)}
        done -= live.counted
        live.open = {d.decision_id: d.at for d in history.decisions if d.channel and d.decision_id not in done}

    # --- labels -------------------------------------------------------------------------------------------------

    def _labels(
        self, persons: Sequence[tuple[LivePerson, PersonRecord]], known: dict[str, History]
    ) -> dict[str, list[Label]]:
        """Labels of the decisions that matured by the horizon of their person; by what was really done."""
        matured: dict[str, list[tuple[str, LoggedDecision | None]]] = {}
        asked: dict[str, Holdings] = {}
        for live, record in persons:
            person, horizon = live.machine.person_id, live.machine.horizon
            while live.maturing and live.maturing[0][0] <= horizon:
                live.matured, name, logged = heapq.heappop(live.maturing)
                matured.setdefault(person, []).append((name, logged))
                if logged is None and person not in known:
                    asked[person] = record.holdings()
        if not matured:
            return {}
        histories = {**known, **self._histories(asked)}
        found: dict[str, list[Label]] = {}
        for live, _ in persons:
            if names := matured.get(live.machine.person_id):
                history = histories.get(live.machine.person_id, History())
                found[live.machine.person_id] = self._label(live, names, history)
        return found

    def _label(
        self, live: LivePerson, matured: Iterable[tuple[str, LoggedDecision | None]], history: History
    ) -> list[Label]:
        machine = live.machine
        own = {name for name, logged in matured if logged is None}
        done = {a.decision_id: a for a in history.actions if a.status not in (PENDING, IN_DOUBT)}
        for name in own.difference(done):
            # What is not done yet is looked at again, ever more seldom.
            at = next((d.at for d in history.decisions if d.decision_id == name), machine.horizon - self._window)
            wait = max(HOUR, machine.horizon - at - self._window)
            heapq.heappush(live.maturing, (machine.horizon + wait, name, None))
        own &= done.keys()
        decisions = [logged for _, logged in matured if logged is not None]
        settled = [decision for decision in history.decisions if decision.decision_id in own]
        decisions += logged_decisions(settled, done, assume_sent=False)
        given = LearnInput(machine.person_id, machine.horizon, tuple(decisions), tuple(machine.fold.outcomes))
        return list(labels(given, self._window))


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
