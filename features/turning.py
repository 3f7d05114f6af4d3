"""When a feature changes although nothing happens: what a stage condition may use, and where it may turn.

Purpose: a condition on a feature is exact when every instant at which it can turn is known. Input: names of features,
the journey's ``FeatureState``, a moment. Output: the next such instant. Units: microseconds, event time. Errors: none.
State: none.

Between two events a count of a window falls when an event leaves the window, at that event's time plus the window's
length; what is made of such counts changes with them. Totals change with events alone. Ages in days grow all the time,
and days of activity end at midnight: of those no instant is computed, so a stage condition may not use them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from features.journey_features import FEATURES
from features.state import COUNTER, MONTH, WEEK, FeatureState

_MADE_OF: Final[Mapping[str, tuple[tuple[str, int], ...]]] = {
    "trend_7d_30d": (("activity", WEEK), ("activity", MONTH)),
    "email_response_30d": (("email_touch", MONTH), ("email_response", MONTH)),
    "email_share_30d": (("touch", MONTH), ("email_touch", MONTH)),
    "human_share_30d": (("touch", MONTH), ("human_touch", MONTH)),
    "session_events": (),
    "conversions": (),
    "hand_held_share": (),
    "hour_regularity": (),
    "known": (),
    "trouble": (),
    "conversion_value": (),
}
"""Feature to the counters that it is made of; nothing where it changes with events alone."""


def _turns() -> dict[str, frozenset[int]]:
    found: dict[str, frozenset[int]] = {}
    for feature in FEATURES:
        if feature.counter is not None:
            found[feature.name] = frozenset((feature.counter,))
        elif feature.name in _MADE_OF:
            found[feature.name] = frozenset(COUNTER[counted] for counted in _MADE_OF[feature.name])
    return found


TURNS: Final[Mapping[str, frozenset[int]]] = _turns()
"""Features of which every change is at a computed instant, with the counters whose fall is one."""

UNTIMED: Final[tuple[str, ...]] = tuple(feature.name for feature in FEATURES if feature.name not in TURNS)
"""Features that change by time alone at instants nobody computes."""


def next_turn(state: FeatureState, at: int, names: Iterable[str]) -> int | None:
    """The first instant after ``at`` at which one of the features can change by itself; None when none will.

    Args:
        state: the journey's events up to ``at``, observed.
        at: not before the last of them.
        names: of features in ``TURNS``.
    """
    counters = frozenset(counter for name in names for counter in TURNS[name])
    return state.next_fall(at, counters) if counters else None
