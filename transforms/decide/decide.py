"""Deciding along a journey: its moments in order, merged with the waits of plans; one decision a moment and slot.

Input: the moments of one journey, what was decided before (``History``), its outcomes. Output: ``DecideResult``.
Time domain: event time, UTC microseconds, up to the horizon. Errors: ``CheckFailedError`` from ``replay`` alone. State:
none but that of a ``DecideWalk`` under way; the same input gives the same output, at once or in parts. It does not
carry anything out, and it does not correct the past: nothing is decided at or before the last decided point.
"""

from __future__ import annotations

import dataclasses
import hashlib
from bisect import bisect_right, insort
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from contracts.errors import CheckFailedError
from contracts.exchange import Decision, History, Outcome, Trigger
from transforms.decide import asking
from transforms.decide.asking import Choice, Facts, Moment, Slot, Verdict
from transforms.decide.plans import PlanBook, PlanRun, PlanState
from transforms.decide.rules import NOTHING, PolicySet

# Actions that never reached the person: they use up no cap and start no cooldown.
_UNSENT = frozenset({"suppressed", "failed"})


@dataclass(frozen=True, slots=True)
class DecideResult:
    """What came of a walk.

    Args:
        decisions: new ones, ascending by time.
        plans: every run of a plan, open and ended, in the order of their starts.
    """

    decisions: tuple[Decision, ...]
    plans: tuple[PlanState, ...]


def decide_journey(
    policies: PolicySet,
    person_id: str,
    lineage: str,
    triggers: Sequence[Trigger],
    at: Callable[[int], Trigger],
    stage_changes: Sequence[tuple[int, str]],
    history: History,
    horizon: int,
    ontology_version: Callable[[int], str],
    outcomes: Sequence[Outcome] = (),
    counted: Collection[str] = (),
) -> DecideResult:
    """Decide at every moment of a journey that was not decided before.

    Args:
        policies: the policies in force.
        person_id: whose journey it is.
        lineage: the strand of the journey's first event. A login gives the person another id, but not another lineage;
            experiments go by it.
        triggers: all transitions and session starts, ascending by time; also those before the last decided point,
            since plans that run now may have started there.
        at: the journey as of an instant, as a trigger of kind ``step``.
        stage_changes: (instant, stage entered) of every move, ascending.
        history: decisions and actions of the person's strands.
        horizon: nothing after it is decided.
        ontology_version: that in force at an instant, recorded with each decision.
        outcomes: of the journey; complaints and the like suppress.
        counted: ids of stored decisions that use up caps and start cooldowns though their action was not sent, since
            it still may be: what a dry run recorded and a live run takes up.
    """
    walk = DecideWalk(policies, person_id, lineage, ontology_version)
    walk.remember(history, counted)
    decisions = walk.go_on(triggers, at, stage_changes, outcomes, horizon)
    return DecideResult(decisions, walk.book.finish(horizon))


def decision_id(anchor_strand: str, point: str, slot: str) -> str:
    """Id of the decision at an evaluation point: the same in every refold, whoever the person is by then."""
    text = f"{anchor_strand}\0{point}\0{slot}"
    return "d_" + hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def replay(decision: Decision, policies: PolicySet) -> Decision:
    """Decide again from a decision's own record; equal to it when the record tells the truth.

    Raises:
        CheckFailedError: it was made by another policy version.
    """
    if decision.policy_version != policies.version:
        raise CheckFailedError(
            f"decision {decision.decision_id} was made by policy {decision.policy_version}, not {policies.version}",
            hint="replay it with the policy files of that version",
        )
    facts = decision.facts
    from_stage = facts.get(asking.FROM_STAGE)
    confidence = facts.get(asking.CONFIDENCE)
    now = asking.moment(
        policies,
        kind=decision.trigger,
        at=decision.at,
        stage=decision.stage,
        from_stage=str(from_stage) if from_stage is not None else None,
        confidence=float(confidence) if confidence is not None else 0.0,
        decided_by=str(facts.get(asking.DECIDED_BY, "")),
        features=decision.features,
        facts={name: value for name, value in facts.items() if not name.startswith("policy.")},
        consent=decision.consent,
    )
    step = (decision.plan, decision.plan_step) if decision.plan is not None and decision.plan_step is not None else None
    asked = asking.asking_for(policies, now.kind, now.stage, now.from_stage, step)
    slot = next((slot for slot in asked.slots if slot.name == decision.slot), None)
    if slot is None:
        raise CheckFailedError(f"policy {policies.version} has no slot {decision.slot!r} at a {decision.trigger}")
    choice = asking.choose(policies, slot, asked.verdicts(now), now, facts, str(facts.get(asking.LINEAGE, "")))
    return dataclasses.replace(decision, **_chosen(choice))


def _chosen(choice: Choice) -> dict[str, Any]:
    rule = choice.rule
    return {
        "chosen": rule.name if rule else NOTHING,
        "channel": rule.channel if rule else None,
        "template": rule.action if rule else None,
        "purpose": rule.purpose if rule else None,
        "candidates": choice.candidates,
        "reason": choice.reason,
        "propensity": choice.propensity,
    }


class DecideWalk:
    """A walk along one journey, up to an instant and then on. Arguments as of ``decide_journey``.

    Attributes:
        book: the runs of plans.
        stepped: the instant of the last step of a plan; what comes next must come later.
    """

    def __init__(
        self, policies: PolicySet, person_id: str, lineage: str, ontology_version: Callable[[int], str]
    ) -> None:
        self.policies = policies
        self.person_id = person_id
        self.lineage = lineage
        self.book = PlanBook()
        self.ontology_version = ontology_version
        self.stepped = -(2**62)
        self._at: Callable[[int], Trigger] = nowhere
        self._made: list[Decision] = []
        self._last_decided: int | None = None
        self._known: set[str] = set()
        self._contacts: list[tuple[int, str, str, str]] = []
        self._last: dict[str, int] = {}
        self._outcomes: dict[str, list[int]] = {rule.after: [] for rule in policies.suppressions}

    def remember(self, history: History, counted: Collection[str]) -> None:
        """Take in the past, before anything else: what was decided, and what of it reached the person."""
        self._last_decided = history.last_decided
        self._known.update(decision.decision_id for decision in history.decisions)
        unsent = {action.decision_id for action in history.actions if action.status in _UNSENT}.difference(counted)
        for decision in history.decisions:
            if decision.channel is not None and decision.decision_id not in unsent:
                self._note(decision.at, decision.chosen, decision.channel, decision.decision_id)

    def learn(self, statuses: Mapping[str, str]) -> None:
        """Hear what became of actions, by decision, the walk's own among them: what was not sent uses up nothing."""
        unsent = {name for name, status in statuses.items() if status in _UNSENT}
        if unsent:
            contacts = [contact for contact in self._contacts if contact[3] not in unsent]
            self._contacts.clear()
            self._last.clear()
            for at, channel, name, made in contacts:
                self._note(at, name, channel, made)

    def go_on(
        self,
        triggers: Sequence[Trigger],
        at: Callable[[int], Trigger],
        stage_changes: Sequence[tuple[int, str]],
        outcomes: Sequence[Outcome],
        horizon: int,
    ) -> tuple[Decision, ...]:
        """Decide at more moments and at the steps of plans up to and including ``horizon``; return what was decided.

        Args:
            triggers, stage_changes, outcomes: those that came since, after what was given before.
            at: the journey as of an instant since the horizon before.
            horizon: not before an earlier one.
        """
        self._at = at
        self._made = []
        self.book.learn(stage_changes)
        for outcome in outcomes:
            if outcome.kind in self._outcomes:
                insort(self._outcomes[outcome.kind], outcome.at)
        for trigger in sorted(triggers, key=attrgetter("at")):
            if trigger.at > horizon:
                break
            self.steps(trigger.at, inclusive=False)
            self.trigger(trigger)
        self.steps(horizon, inclusive=True)
        return tuple(self._made)

    def forget(self) -> None:
        """Give up what was handed out, and the runs of plans that ended."""
        self._made = []
        self._at = nowhere
        self.book.forget()

    # --- moments --------------------------------------------------------------------------------------------

    def trigger(self, trigger: Trigger) -> None:
        """A transition or the start of a session: plans end, candidates are asked, plans start."""
        if trigger.kind == "transition":
            self.book.move(trigger.at, trigger.stage)
        asked = asking.asking_for(self.policies, trigger.kind, trigger.stage, trigger.from_stage)
        deciding = self._is_open(trigger.at)
        if not (deciding and asked.slots) and not asked.starts and not (asked.exits and self.book.open):
            return
        now = self._moment(trigger)
        verdicts = asked.verdicts(now)
        for run in self.book.open:
            self._leave(run, trigger.at, asked.exits, verdicts)
        self.book.sweep()
        if deciding:
            for slot in asked.slots:
                self._decide(trigger, trigger, now, slot, verdicts, None)
        for plan, condition in asked.starts:
            if self.book.may_start(plan, trigger.at) and (condition is None or verdicts[condition] is True):
                self.book.start(plan, trigger)

    def steps(self, until: int, *, inclusive: bool) -> None:
        """The steps of plans that are due up to ``until``, each at its instant."""
        while (run := self.book.next_due(until, inclusive=inclusive)) is not None:
            due = self.stepped = run.due_at
            if self._is_open(due) or run.plan.exit_when is not None:
                self._step(run, due)
            if run.ended_at is None:
                run.advance()
            self.book.sweep()

    def _step(self, run: PlanRun, due: int) -> None:
        trigger = self._at(due)
        step = (run.plan.name, run.next_step)
        asked = asking.asking_for(self.policies, "step", trigger.stage, trigger.from_stage, step)
        now = self._moment(trigger)
        verdicts = asked.verdicts(now)
        self._leave(run, due, asked.exits, verdicts)
        if run.ended_at is None and self._is_open(due):
            for slot in asked.slots:
                self._decide(trigger, run.start, now, slot, verdicts, step)

    def _leave(self, run: PlanRun, at: int, exits: asking.Exits, verdicts: Sequence[Verdict]) -> None:
        index = exits.get(run.plan.name)
        if index is not None and verdicts[index] is True:
            run.end(at, "exit")

    # --- deciding -------------------------------------------------------------------------------------------

    def _is_open(self, at: int) -> bool:
        return self._last_decided is None or at > self._last_decided

    def _moment(self, trigger: Trigger) -> Moment:
        return asking.moment(
            self.policies,
            kind=trigger.kind,
            at=trigger.at,
            stage=trigger.stage,
            from_stage=trigger.from_stage,
            confidence=trigger.confidence,
            decided_by=trigger.decided_by,
            features=trigger.features,
            facts=trigger.facts,
            consent=trigger.consent,
        )

    def _decide(
        self,
        trigger: Trigger,
        origin: Trigger,
        now: Moment,
        slot: Slot,
        verdicts: Sequence[Verdict],
        step: tuple[str, int] | None,
    ) -> None:
        """Ask one slot. A step of a plan belongs to the moment that started the plan (``origin``): its id stays the
        same when the events before its instant change."""
        made = decision_id(origin.anchor_strand, origin.point, slot.name)
        if made in self._known:
            return
        past = {} if slot.settled else self._past(trigger.at, slot)
        choice = asking.choose(self.policies, slot, verdicts, now, past, self.lineage)
        facts: Facts = {**trigger.facts, **past}
        facts[asking.CONFIDENCE] = trigger.confidence
        facts[asking.DECIDED_BY] = trigger.decided_by
        if trigger.from_stage is not None:
            facts[asking.FROM_STAGE] = trigger.from_stage
        rule = choice.rule
        self._known.add(made)
        self._made.append(
            Decision(
                decision_id=made,
                person_id=self.person_id,
                anchor_strand=origin.anchor_strand,
                at=trigger.at,
                slot=slot.name,
                trigger=trigger.kind,
                stage=trigger.stage,
                plan=step[0] if step else None,
                plan_step=step[1] if step else None,
                policy_version=self.policies.version,
                model_version=trigger.model_version,
                ontology_version=self.ontology_version(trigger.at),
                features=trigger.features,
                facts=facts,
                consent=trigger.consent,
                session_id=trigger.session_id,
                anchor_at=origin.anchor_at,
                **_chosen(choice),
            )
        )
        if rule is not None:
            self._note(trigger.at, rule.name, rule.channel, made)

    def _note(self, at: int, name: str, channel: str, made: str) -> None:
        insort(self._contacts, (at, channel, name, made))
        self._last[name] = max(at, self._last.get(name, at))

    def _past(self, at: int, slot: Slot) -> Facts:
        """What the policy's guards look at, as facts: counts of caps, cooldowns that last, suppressions in force,
        and under a holdout the lineage."""
        past: Facts = {asking.LINEAGE: self.lineage} if self.policies.holdout else {}
        for cap in self.policies.caps:
            count = 0
            for contact, channel, _, _ in reversed(self._contacts):
                if contact <= at - cap.per:
                    break
                if contact <= at and channel in cap.channels:
                    count += 1
            past[asking.CAP + cap.name] = count
        for rule in slot.cooling:
            last = self._last.get(rule.name)
            if last is not None and at - last < rule.cooldown:
                past[asking.LAST + rule.name] = last
        for suppression in self.policies.suppressions:
            times = self._outcomes[suppression.after]
            index = bisect_right(times, at)
            if index and at - times[index - 1] < suppression.duration:
                past[asking.SUPPRESSED + suppression.name] = times[index - 1]
        return past


def nowhere(at: int) -> Trigger:
    """The journey before it began. Raises LookupError."""
    raise LookupError(f"the walk has not begun, so nothing is known of {at}")
