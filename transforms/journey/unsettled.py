"""What the history of a person still asks for: decisions that were stored and not yet carried out. Pure."""

from __future__ import annotations

from typing import Literal

from contracts.exchange import Decision, History
from transforms.stores.effects import DRY_RUN, IN_DOUBT, PENDING


def unsettled(history: History, horizon: int, mode: Literal["live", "dry-run"], max_age: int) -> list[Decision]:
    """Stored decisions that the act stage has still to settle: cut off, pending, in doubt, or so far only dry.

    Args:
        history: what was decided and done.
        horizon: the present; with ``max_age``, microseconds, the time back to which a dry decision is still sent.
        mode: as in ``transforms.actions``.
    """
    actions = {action.decision_id: action for action in history.actions}
    found = []
    for decision in history.decisions:
        action = actions.get(decision.decision_id)
        dry = mode == "live" and action is not None and action.reason == DRY_RUN and decision.at >= horizon - max_age
        if action is None or action.status in (PENDING, IN_DOUBT) or dry:
            found.append(decision)
    return found
