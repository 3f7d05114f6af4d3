"""How one feature is declared: name, kind, window, owner, default, source fields, where its value is found. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from features.state import COUNTER, COUNTERS
from features.values import MADE

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

TIME = ("event_time",)
ACTIVITY = ("name", *TIME)
"""What the ontology tells activities by, and when they were."""

SHOWN = ("name", "context.path")
"""What the ontology tells behaviours by."""

BEHAVIOUR = (*SHOWN, *TIME)
SESSION = (*ACTIVITY, "tracker_session_id", "context.campaign")
"""What tells sessions apart, under one rule of sessions or another."""

_COUNTED: dict[str, tuple[str, ...]] = {
    "activity": ACTIVITY,
    "touch": TIME,
    "email_touch": ("channel", *TIME),
    "human_touch": ("channel", *TIME),
    "session": SESSION,
    "pricing_return": (*SESSION, "context.path"),
    "device_switch": (*ACTIVITY, "device_class"),
}
"""The source fields of counters; those of every other are ``BEHAVIOUR``."""


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
        fields: fields of the events that it is computed from; no other field of an event changes it.
            ``context.campaign`` stands for all fields of the campaign. The order of events is that of their time.
        value: its place in the counters of ``FeatureState`` followed by what ``values.made_values`` makes.
    """

    name: str
    kind: str
    description: str
    owner: str
    window: int | None
    default: float
    model_input: bool
    fields: tuple[str, ...]
    value: int
    since: int = 1
    from_stage: bool = False

    def __post_init__(self) -> None:
        if self.from_stage and self.model_input:
            raise ValueError(f"feature {self.name} is derived from the stage, so no model may read it")

    @property
    def counter(self) -> int | None:
        """The index of the counter that it is; None when it is made."""
        return self.value if self.value < len(COUNTERS) else None

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """Least and greatest value it can have; None where there is no limit."""
        return BOUNDS[self.kind]


def count(
    name: str, what: str, window: int, description: str, owner: str, *, model_input: bool = True, since: int = 1
) -> Feature:
    """A feature that is a counter of ``FeatureState``."""
    fields = _COUNTED.get(what, BEHAVIOUR)
    return Feature(name, "count", description, owner, window, 0.0, model_input, fields, COUNTER[what, window], since)


def made(
    name: str,
    kind: str,
    description: str,
    owner: str,
    *,
    fields: tuple[str, ...],
    window: int | None = None,
    default: float = 0.0,
    model_input: bool = True,
    since: int = 1,
) -> Feature:
    """A feature of ``values.MADE``. Raises ValueError for any other name."""
    value = len(COUNTERS) + MADE.index(name)
    return Feature(name, kind, description, owner, window, default, model_input, fields, value, since)
