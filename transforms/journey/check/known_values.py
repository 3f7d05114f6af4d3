"""What values the facts and features of conditions can have, and which is never above which.

Input: the declarations of facts and features. Output: a ``Ranges``. Errors, state: none.
"""

from __future__ import annotations

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
    return pairs + [(name, "events") for name in COUNTED]


RANGES: Final = Ranges(_domains(), _at_most())
"""Everything a stage condition may speak of."""
