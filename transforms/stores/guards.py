"""What is checked again in the transaction that claims an action: consent, opt-outs, duplicates, caps.

The decision has checked the same against what it knew; between the two, another strand of the person, another process
or a merge may have acted. So these are counted over all that the person holds now, in the store.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from contracts.exchange import Action
from transforms.stores.database import Transaction
from transforms.stores.effects import OPT_OUTS, SUPPRESSED, Guards, PlannedAction

LIVE = "status IN ('pending', 'sending', 'sent', 'in_doubt')"
"""Actions that reached, or may reach, the customer: what caps and duplicates count."""

# Of a strand that was another's before, only what came of its events since is the person's.
_PERSONS_ACTIONS = f"""
    SELECT action_id, channel, template, decided_at FROM actions WHERE person_id = ? AND {LIVE}
    UNION SELECT action_id, channel, template, decided_at
    FROM strands JOIN actions ON actions.anchor_strand = strands.strand_id
    WHERE strands.person_id = ? AND coalesce(anchor_at, decided_at) >= since AND {LIVE}
"""
_PERSONS_OPT_OUTS = f"""
    SELECT kind, at, (SELECT channel FROM actions WHERE actions.action_id = outcomes.action_id) FROM outcomes
    WHERE person_id = ? AND kind IN {OPT_OUTS}
    UNION SELECT kind, outcomes.at, (SELECT channel FROM actions WHERE actions.action_id = outcomes.action_id)
    FROM strands JOIN outcomes ON outcomes.anchor_strand = strands.strand_id
    WHERE strands.person_id = ? AND outcomes.at >= since AND kind IN {OPT_OUTS}
"""


class Live(NamedTuple):
    """An action of the person that was, or may have been, sent."""

    action_id: str
    channel: str
    template: str
    decided_at: int


class OptOut(NamedTuple):
    """A complaint or an unsubscription; ``channel`` is None when the action it answers is unknown: it means all."""

    kind: str
    at: int
    channel: str | None


def checked(tx: Transaction, plan: PlannedAction, guards: Guards) -> Action:
    """The action, suppressed if consent, an opt-out, a duplicate or a cap of its person forbids it now."""
    action = plan.action
    person = (action.person_id,)
    standing = tx.one("SELECT at, consent FROM persons WHERE person_id = ?", person)
    reason = forbidden(
        plan,
        guards,
        consent=json.loads(standing[1]) if standing and standing[0] >= plan.decided_at else {},
        opt_outs=[OptOut(*found) for found in tx.all(_PERSONS_OPT_OUTS, person * 2)],
        live=[Live(*found) for found in tx.all(_PERSONS_ACTIONS, person * 2)],
    )
    return action if reason is None else replace(action, status=SUPPRESSED, reason=reason)


def forbidden(
    plan: PlannedAction,
    guards: Guards,
    *,
    consent: Mapping[str, bool],
    opt_outs: Iterable[OptOut],
    live: Iterable[Live],
) -> str | None:
    """Why an action must not be sent, None if it may.

    Args:
        plan: the action, under its current person.
        guards: caps and the window of duplicates.
        consent: what the person stated after the decision; empty when nothing newer is known.
        opt_outs: the person's, in any order.
        live: the person's actions, in any order; the action itself may be among them and does not count.
    """
    action, at = plan.action, plan.decided_at
    if plan.purpose is not None and not consent.get(plan.purpose, True):
        return f"consent: {plan.purpose} was withdrawn after the decision"
    for opt_out in opt_outs:
        if opt_out.at > at and opt_out.channel in (None, action.channel):
            return f"suppressed: {opt_out.kind} on {action.channel} after the decision"
    others = [other for other in live if other.action_id != action.action_id]
    for other in others:
        same = other.channel == action.channel and other.template == action.template
        if same and abs(other.decided_at - at) < guards.duplicate_window:
            return f"duplicate: action {other.action_id} carries the same"
    for cap in guards.caps:
        if cap.channels and action.channel not in cap.channels:
            continue
        used = sum(
            at - cap.per < other.decided_at <= at and (not cap.channels or other.channel in cap.channels)
            for other in others
        )
        if used >= cap.maximum:
            return f"cap: {used} of {cap.maximum} actions are used"
    return None
