"""What a decision led to: outcomes joined to decisions within a maturity window, with explicit negatives.

A decision is matured once the horizon has passed ``at + window``; before that it gives no label, not even a positive
one: conversions that are seen early, while failures cannot be, would make every young decision look good.

Joined are outcomes of the kind ``converted`` in ``(at, at + window]``: one that names an action concerns the decision
of that action alone, one that names none concerns every decision of the person whose window holds it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from contracts.event import DAY
from contracts.exchange import Action, Decision, Label, LearnInput, LoggedDecision
from transforms.actions import NOTHING, action_id_of
from transforms.stores.effects import IN_DOUBT, PENDING, SENT

MATURITY = 7 * DAY
"""The default window, in microseconds."""

CONVERTED, NONE = "converted", "none"

POLICY = "policy"
"""``LoggedDecision.origin`` of our own decisions."""


def labels(learn_input: LearnInput, window: int = MATURITY) -> tuple[Label, ...]:
    """The labels of one person's matured decisions, ascending by (decided_at, decision_id).

    The order and the repetition of decisions and outcomes change nothing. Of several conversions the first counts.
    """
    answered: dict[str, list[int]] = defaultdict(list)
    general: list[int] = []
    for outcome in learn_input.outcomes:
        if outcome.kind != CONVERTED:
            continue
        if outcome.action_id is None:
            general.append(outcome.at)
        else:
            answered[outcome.action_id].append(outcome.at)
    decisions = {decision.decision_id: decision for decision in sorted(learn_input.decisions, key=_order, reverse=True)}
    found = []
    for decision in sorted(decisions.values(), key=_order):
        matured_at = decision.at + window
        if matured_at > learn_input.horizon:
            continue
        own = answered.get(decision.action_id, []) if decision.action_id is not None else []
        at = min((time for times in (own, general) for time in times if decision.at < time <= matured_at), default=None)
        found.append(
            Label(
                decision_id=decision.decision_id,
                person_id=learn_input.person_id,
                arm=decision.arm,
                propensity=decision.propensity,
                origin=decision.origin,
                outcome=NONE if at is None else CONVERTED,
                decided_at=decision.at,
                at=matured_at if at is None else at,
                matured_at=matured_at,
            )
        )
    return tuple(found)


def logged_decisions(
    decisions: Iterable[Decision], actions: Mapping[str, Action], *, assume_sent: bool
) -> tuple[LoggedDecision, ...]:
    """Our own decisions as learning sees them: by what was really done, not by what was meant.

    Args:
        decisions: of one person.
        actions: decision id to its action, as far as known.
        assume_sent: whether a decision without a known action was carried out; False in a dry run.

    A decision that was suppressed or failed did nothing, so its arm is ``nothing``; it was bound to, so its propensity
    is 1. One in doubt or pending teaches nothing yet and is left out.
    """
    learned = []
    for decision in decisions:
        action = actions.get(decision.decision_id)
        status = action.status if action is not None else SENT if assume_sent else None
        if status not in (IN_DOUBT, PENDING):
            learned.append(as_done(as_meant(decision), status))
    return tuple(learned)


def as_meant(decision: Decision) -> LoggedDecision:
    """What learning needs of a decision, before anything is known of its action."""
    channel = NOTHING if decision.chosen == NOTHING or decision.channel is None else decision.channel
    return LoggedDecision(
        decision_id=decision.decision_id,
        action_id=action_id_of(decision.decision_id, channel),
        arm=NOTHING if channel == NOTHING else decision.chosen,
        at=decision.at,
        propensity=decision.propensity,
        origin=POLICY,
    )


def as_done(meant: LoggedDecision, status: str | None) -> LoggedDecision:
    """The same by what became of its action: one that was not sent did nothing, and was bound to."""
    if status != SENT and meant.arm != NOTHING:
        return replace(meant, arm=NOTHING, propensity=1.0)
    return meant


def done_by_person(decisions: Sequence[Decision], actions: Sequence[Action], horizon: int) -> tuple[LearnInput, ...]:
    """What was just done, one ``LearnInput`` a person, ascending; ``actions`` are parallel to ``decisions``."""
    by_person: dict[str, list[LoggedDecision]] = defaultdict(list)
    for decision, action in zip(decisions, actions, strict=True):
        by_person[action.person_id].extend(
            logged_decisions([decision], {decision.decision_id: action}, assume_sent=False)
        )
    return tuple(LearnInput(person, horizon, tuple(done), ()) for person, done in sorted(by_person.items()) if done)


def merged(inputs: Iterable[LearnInput]) -> list[LearnInput]:
    """What several stages contribute for the same persons, one ``LearnInput`` each, ascending by person."""
    by_person: dict[str, list[LearnInput]] = defaultdict(list)
    for item in inputs:
        by_person[item.person_id].append(item)
    return [
        LearnInput(
            person,
            max(item.horizon for item in items),
            tuple(decision for item in items for decision in item.decisions),
            tuple(outcome for item in items for outcome in item.outcomes),
        )
        for person, items in sorted(by_person.items())
    ]


def _order(decision: LoggedDecision) -> tuple[int, str, str, str]:
    return (decision.at, decision.decision_id, decision.arm, decision.origin)
