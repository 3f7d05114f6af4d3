"""What is checked again in the transaction that claims an action: consent, opt-outs, duplicates, caps.

The decision has checked the same against what it knew; between the two, another strand of the person, another process
or a merge may have acted. So these are counted over all that the person holds now, in the store.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace

from contracts.exchange import Action
from transforms.stores.effects import OPT_OUTS, SUPPRESSED, Guards, PlannedAction, SendCap

LIVE = "status IN ('pending', 'sending', 'sent', 'in_doubt')"
"""Actions that reached, or may reach, the customer: what caps and duplicates count."""

_OTHERS = f"{LIVE} AND action_id != :self"
# The person's rows, whichever strand of the person they were made under and whatever the person was called then.
_OF_PERSON = "(person_id = :person OR anchor_strand IN (SELECT strand_id FROM strands WHERE person_id = :person))"


def checked(connection: sqlite3.Connection, plan: PlannedAction, guards: Guards) -> Action:
    """The action under its current person, suppressed if consent, an opt-out, a duplicate or a cap forbids it now."""
    row = connection.execute(
        "SELECT person_id FROM strands WHERE strand_id = ?", (plan.action.anchor_strand,)
    ).fetchone()
    action = plan.action if row is None else replace(plan.action, person_id=row[0])
    reason = (
        _withdrawn(connection, action, plan)
        or _opted_out(connection, action, plan.decided_at)
        or _duplicate(connection, action, plan.decided_at, guards.duplicate_window)
        or next((why for cap in guards.caps if (why := _capped(connection, action, plan.decided_at, cap))), None)
    )
    return action if reason is None else replace(action, status=SUPPRESSED, reason=reason)


def _withdrawn(connection: sqlite3.Connection, action: Action, plan: PlannedAction) -> str | None:
    if plan.purpose is None:
        return None
    row = connection.execute(
        "SELECT consent FROM persons WHERE person_id = ? AND at >= ?", (action.person_id, plan.decided_at)
    ).fetchone()
    if row is None or json.loads(row[0]).get(plan.purpose, True):
        return None
    return f"consent: {plan.purpose} was withdrawn after the decision"


def _opted_out(connection: sqlite3.Connection, action: Action, decided_at: int) -> str | None:
    row = connection.execute(
        f"SELECT kind FROM outcomes WHERE {_OF_PERSON} AND kind IN {OPT_OUTS} AND at > :since AND coalesce("
        " (SELECT channel FROM actions WHERE actions.action_id = outcomes.action_id), :channel) = :channel LIMIT 1",
        {"person": action.person_id, "since": decided_at, "channel": action.channel},
    ).fetchone()
    return f"suppressed: {row[0]} on {action.channel} after the decision" if row else None


def _duplicate(connection: sqlite3.Connection, action: Action, decided_at: int, window: int) -> str | None:
    if not window:
        return None
    row = connection.execute(
        f"SELECT action_id FROM actions WHERE {_OF_PERSON} AND {_OTHERS} AND channel = :channel"
        " AND template = :template AND decided_at > :since AND decided_at < :until LIMIT 1",
        {
            "person": action.person_id,
            "self": action.action_id,
            "channel": action.channel,
            "template": action.template,
            "since": decided_at - window,
            "until": decided_at + window,
        },
    ).fetchone()
    return f"duplicate: action {row[0]} carries the same" if row else None


def _capped(connection: sqlite3.Connection, action: Action, decided_at: int, cap: SendCap) -> str | None:
    if cap.channels and action.channel not in cap.channels:
        return None
    sent: int = connection.execute(
        f"SELECT count(*) FROM actions WHERE {_OF_PERSON} AND {_OTHERS} AND decided_at > :since"
        " AND decided_at <= :until AND (:everywhere OR channel IN (SELECT value FROM json_each(:channels)))",
        {
            "person": action.person_id,
            "self": action.action_id,
            "since": decided_at - cap.per,
            "until": decided_at,
            "everywhere": not cap.channels,
            "channels": json.dumps(cap.channels),
        },
    ).fetchone()[0]
    return f"cap: {sent} of {cap.maximum} actions are used" if sent >= cap.maximum else None
