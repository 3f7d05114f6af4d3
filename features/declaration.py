"""How one feature is declared: name, kind, window, owner, default, and the function that computes it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from features.state import COUNTER, FeatureState

BOUNDS: dict[str, tuple[float | None, float | None]] = {
    "count": (0.0, None),
    "days": (0.0, None),
    "minutes": (0.0, None),
    "ratio": (0.0, None),
    "share": (0.0, 1.0),
    "flag": (0.0, 1.0),
    "amount": (None, None),
}
"""The kinds of number and the range that each keeps; the gate of the training set checks it."""

Value = Callable[[FeatureState, list[float], int], float]
"""(state, its counters as of the moment, moment) to the feature's value."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature, declared once.

    Attributes:
        name: column, Feast field and key in policies.
        kind: one of ``BOUNDS``; every feature is a float64, never null.
        description: what it says, with its unit.
        owner: the team that answers for it.
        window: how far it looks back, microseconds; None for the whole journey.
        default: its value for a journey without any event.
        since: the version of the vector that brought it, 1 for ``journey:v1``; later versions keep it as it is.
        from_stage: it is derived from the stage, so it is for policies alone.
        model_input: whether the stage classifier may use it; otherwise it is for policies and analysis.
        value: the index of a counter of ``FeatureState``, or a pure function of state, counters and moment.
    """

    name: str
    kind: str
    description: str
    owner: str
    window: int | None
    default: float
    model_input: bool
    value: int | Value
    since: int = 1
    from_stage: bool = False

    def __post_init__(self) -> None:
        if self.from_stage and self.model_input:
            raise ValueError(f"feature {self.name} is derived from the stage, so no model may read it")

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """Least and greatest value it can have; None where there is no limit."""
        return BOUNDS[self.kind]


def count(
    name: str, what: str, window: int, description: str, owner: str, *, model_input: bool = True, since: int = 1
) -> Feature:
    """A feature that is a counter of ``FeatureState``."""
    return Feature(name, "count", description, owner, window, 0.0, model_input, COUNTER[what, window], since)


def made(
    name: str,
    kind: str,
    description: str,
    owner: str,
    value: Value,
    *,
    window: int | None = None,
    default: float = 0.0,
    model_input: bool = True,
    since: int = 1,
) -> Feature:
    """A feature that is a function of state, counters and moment."""
    return Feature(name, kind, description, owner, window, default, model_input, value, since)
