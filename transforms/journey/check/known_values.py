"""What values the facts and features of conditions can have, and which is never above which.

Input: the declarations of facts and features. Output: a ``Ranges``. Errors, state: none.
"""

from __future__ import annotations

from itertools import permutations
from typing import Final

from features.journey_features import FEATURES
from features.turning import TURNS
from transforms.journey.check.ranges import Domain, Ranges
from transforms.journey.facts import COUNTED, EVENT_FACTS, SESSION_COUNTED

_WHOLE_KINDS: Final = frozenset({"count", "flag"})


def _domains() -> dict[str, Domain]:
    found: dict[str, Domain] = {}
    for feature in FEATURES:
        if feature.name in TURNS:
            low, high = feature.bounds
            found[feature.name] = Domain(
                float("-inf") if low is None else low,
                float("inf") if high is None else high,
                whole=feature.kind in _WHOLE_KINDS,
            )
    for name, (kind, _) in EVENT_FACTS.items():
        if kind == "bool":
            found[name] = Domain(options=frozenset({True, False}))
        elif kind == "string":
            found[name] = Domain(text=True)
        else:
            found[name] = Domain(0.0 if kind == "int" else float("-inf"), whole=kind == "int")
    found["events"] = Domain(1.0, whole=True)
    return found


def _at_most() -> list[tuple[str, str]]:
    whole = {behaviour: name for name, behaviour in COUNTED.items()}
    pairs = [(name, whole[behaviour]) for name, behaviour in SESSION_COUNTED.items() if behaviour in whole]
    pairs += [("session_events", "activities"), ("sessions", "activities"), ("activities", "events")]
    pairs += [("active_days", "activities"), ("channels", "activities"), ("conversions", "events")]
    pairs += [(name, "events") for name in COUNTED]
    counts = {f.name: f.window for f in FEATURES if f.name in TURNS and f.kind == "count" and f.window is not None}
    for (one, short), (other, long) in permutations(counts.items(), 2):
        if short < long and one.rpartition("_")[0] == other.rpartition("_")[0]:
            pairs.append((one, other))
    return [*pairs, *((name, fact) for name, fact in _OF_A_WINDOW.items() if name in counts)]


_OF_A_WINDOW: Final = {
    "sessions_30d": "sessions",
    "pricing_views_30d": "pricing_views",
    "comparisons_30d": "comparisons",
    "cart_7d": "cart_adds",
    "checkout_30d": "checkouts",
    "support_30d": "support_contacts",
}
"""Counts of a window, and the fact that counts the same over the whole journey."""

AT_MOST: Final = tuple(_at_most())
"""Pairs of names of which the first is never above the second."""
RANGES: Final = Ranges(_domains(), AT_MOST)
"""Everything a stage condition may speak of."""

GROWING: Final = frozenset(
    {"events", "activities", "sessions", "conversions", "journey_days", "active_days", "channels", *COUNTED}
    | {"is_known", "has_crm_record", "has_email", "has_phone"}
)
"""Facts that never fall, or stay true once they are."""
