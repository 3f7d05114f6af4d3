"""The journey features: what they are, and the one pure function that computes them.

Stream, backfill and training set all call ``FeatureState.observe`` for the events of a journey in (event time,
event_id) order, and ``vector`` at an evaluation point. ``FEATURES`` declares each feature once; the Feast repository,
the table columns and ``docs/features.md`` are made from it.

Nothing here looks at the stage: a classifier fed with its own answers would only confirm them. Features refer to
*behaviours* of the ontology, never to event names, so a renamed event changes the ontology alone.

Time domain: event time, UTC microseconds.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter

from contracts.event import DAY
from contracts.tables import REAL
from features.state import COUNTER, COUNTERS, GROUPS, MONTH, TOTALS, WEEK, FeatureState

__all__ = [
    "FEATURES",
    "FEATURE_NAMES",
    "FEATURE_VERSION",
    "MODEL_INPUTS",
    "MODEL_INPUT_NAMES",
    "Feature",
    "FeatureState",
    "declaration_hash",
    "feature_columns",
    "named",
    "vector",
]

FEATURE_VERSION = "journey:v1"
"""Changes whenever a vector could differ for the same events; models name the version they were trained on."""

ACTIVITY_CAP_DAYS = 60.0
CONVERSION_CAP_DAYS = 365.0

BOUNDS: dict[str, tuple[float | None, float | None]] = {
    "count": (0.0, None),
    "days": (0.0, None),
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

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """Least and greatest value it can have; None where there is no limit."""
        return BOUNDS[self.kind]


def _count(name: str, what: str, window: int, description: str, owner: str) -> Feature:
    return Feature(name, "count", description, owner, window, 0.0, True, COUNTER[what, window])


def _made(
    name: str,
    kind: str,
    description: str,
    owner: str,
    value: Value,
    *,
    window: int | None = None,
    default: float = 0.0,
    model_input: bool = True,
) -> Feature:
    return Feature(name, kind, description, owner, window, default, model_input, value)


_ACTIVITY_WEEK, _ACTIVITY_MONTH = COUNTER["activity", WEEK], COUNTER["activity", MONTH]
_TOUCH, _EMAIL_TOUCH, _HUMAN_TOUCH = (COUNTER[what, MONTH] for what in ("touch", "email_touch", "human_touch"))
_EMAIL_RESPONSE = COUNTER["email_response", MONTH]


def _active_days(state: FeatureState, counts: list[float], at: int) -> float:
    return float(state.active_days_at(at))


def _trend(state: FeatureState, counts: list[float], at: int) -> float:
    month = counts[_ACTIVITY_MONTH]
    return counts[_ACTIVITY_WEEK] * 30.0 / (7.0 * month) if month else 0.0


def _days_since_first(state: FeatureState, counts: list[float], at: int) -> float:
    return 0.0 if state.first_time is None else (at - state.first_time) / DAY


def _days_since_activity(state: FeatureState, counts: list[float], at: int) -> float:
    last = state.last_activity
    return ACTIVITY_CAP_DAYS if last is None else min((at - last) / DAY, ACTIVITY_CAP_DAYS)


def _session_events(state: FeatureState, counts: list[float], at: int) -> float:
    return float(state.session_events)


def _conversions(state: FeatureState, counts: list[float], at: int) -> float:
    return float(state.conversions)


def _days_since_conversion(state: FeatureState, counts: list[float], at: int) -> float:
    last = state.last_conversion
    return CONVERSION_CAP_DAYS if last is None else min((at - last) / DAY, CONVERSION_CAP_DAYS)


def _email_response(state: FeatureState, counts: list[float], at: int) -> float:
    mails = counts[_EMAIL_TOUCH]
    return min(1.0, counts[_EMAIL_RESPONSE] / mails) if mails else 0.0


def _email_share(state: FeatureState, counts: list[float], at: int) -> float:
    return counts[_EMAIL_TOUCH] / counts[_TOUCH] if counts[_TOUCH] else 0.0


def _human_share(state: FeatureState, counts: list[float], at: int) -> float:
    return counts[_HUMAN_TOUCH] / counts[_TOUCH] if counts[_TOUCH] else 0.0


def _hand_held_share(state: FeatureState, counts: list[float], at: int) -> float:
    return state.hand_held / state.activity_total if state.activity_total else 0.0


def _hour_regularity(state: FeatureState, counts: list[float], at: int) -> float:
    total = state.activity_total
    return min(1.0, math.hypot(state.clock_x, state.clock_y) / total) if total else 0.0


def _known(state: FeatureState, counts: list[float], at: int) -> float:
    return 1.0 if state.known else 0.0


def _trouble(state: FeatureState, counts: list[float], at: int) -> float:
    return float(state.trouble)


def _conversion_value(state: FeatureState, counts: list[float], at: int) -> float:
    return state.conversion_value


FEATURES: tuple[Feature, ...] = (
    _count("events_1d", "activity", DAY, "Activity in the last day.", "growth"),
    _count("events_7d", "activity", WEEK, "Activity in the last 7 days.", "growth"),
    _count("events_30d", "activity", MONTH, "Activity in the last 30 days.", "growth"),
    _count("sessions_7d", "session", WEEK, "Sessions begun in the last 7 days.", "growth"),
    _made("active_days_30d", "count", "UTC days with activity, of the last 30.", "growth", _active_days, window=MONTH),
    _made(
        "trend_7d_30d", "ratio", "Daily activity of 7 days over that of 30; 1: steady.", "growth", _trend, window=MONTH
    ),
    _made("days_since_first", "days", "Days since the first event.", "growth", _days_since_first),
    _made(
        "days_since_activity",
        "days",
        "Days since the last activity, at most 60; 60 when there was none.",
        "growth",
        _days_since_activity,
        default=ACTIVITY_CAP_DAYS,
    ),
    _made("session_events", "count", "Activity in the latest session so far.", "product", _session_events),
    _count("research_7d", "research", WEEK, "Content, categories and searches, 7 days.", "content"),
    _count("ads_30d", "ad", MONTH, "Advertisements seen and clicked, 30 days.", "ads"),
    _count("product_views_7d", "product", WEEK, "Looks at products and reviews, 7 days.", "product"),
    _count("comparisons_30d", "comparison", MONTH, "Comparisons made, 30 days.", "product"),
    _count("pricing_views_30d", "pricing", MONTH, "Looks at prices, 30 days.", "sales"),
    _count("cart_7d", "cart", WEEK, "Cart events, 7 days.", "sales"),
    _count("checkout_30d", "checkout", MONTH, "Checkout and payment steps, 30 days.", "sales"),
    _count("contacts_30d", "contact", MONTH, "Forms, sales talks and store visits, 30 days.", "sales"),
    _made("conversions", "count", "Conversions and renewals ever.", "sales", _conversions),
    _made(
        "days_since_conversion",
        "days",
        "Days since the last conversion or renewal, at most 365; 365 when there was none.",
        "sales",
        _days_since_conversion,
        default=CONVERSION_CAP_DAYS,
    ),
    _count("usage_30d", "usage", MONTH, "Use of what was bought and of the account, 30 days.", "success"),
    _count("support_30d", "support", MONTH, "Support contacts, 30 days.", "success"),
    _made(
        "email_response_30d",
        "share",
        "Opens and clicks among all e-mail events, 30 days.",
        "email",
        _email_response,
        window=MONTH,
    ),
    _made("email_share_30d", "share", "E-mail among all events, 30 days.", "email", _email_share, window=MONTH),
    _made(
        "human_share_30d", "share", "Calls and store among all events, 30 days.", "sales", _human_share, window=MONTH
    ),
    _made("hand_held_share", "share", "Activity on phone or tablet, whole journey.", "product", _hand_held_share),
    _made("hour_regularity", "share", "1: always at one hour (UTC) of the day; 0: at any.", "growth", _hour_regularity),
    _made("known", "flag", "1 once a login or a view of the account was seen.", "identity", _known),
    _made("trouble", "count", "Refunds, complaints and opt-outs ever.", "success", _trouble, model_input=False),
    _made(
        "conversion_value",
        "amount",
        "Sum of the stated values of conversions, in the currency of the source.",
        "sales",
        _conversion_value,
        model_input=False,
    ),
)
"""Every feature, in the order of the vector. Additions go to the end and change ``FEATURE_VERSION``."""

FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)

MODEL_INPUTS: tuple[int, ...] = tuple(index for index, feature in enumerate(FEATURES) if feature.model_input)
"""Indices into the vector of what the stage classifier reads, in this order."""

MODEL_INPUT_NAMES: tuple[str, ...] = tuple(FEATURE_NAMES[index] for index in MODEL_INPUTS)

_MADE: tuple[Value, ...] = tuple(feature.value for feature in FEATURES if not isinstance(feature.value, int))


def _positions() -> list[int]:
    """Where each feature stands in the counters followed by the made values."""
    made = iter(range(len(COUNTERS), len(COUNTERS) + len(_MADE)))
    return [feature.value if isinstance(feature.value, int) else next(made) for feature in FEATURES]


_in_order = itemgetter(*_positions())


def vector(state: FeatureState, at: int) -> tuple[float, ...]:
    """The features of a journey as of a moment, in the order of ``FEATURES``.

    Pure: the same events and moment give the same vector, whatever was asked before.

    Args:
        state: the journey's events up to ``at``, observed.
        at: evaluation point, UTC microseconds of event time, not before the last observed event.

    Raises:
        ValueError: an event after ``at`` has been observed.
    """
    counts = state.advance(at)
    values: tuple[float, ...] = _in_order([*counts, *[value(state, counts, at) for value in _MADE]])
    return values


def named(values: Sequence[float]) -> dict[str, float]:
    """A vector by feature name. Raises ValueError when its length is not that of the declaration."""
    return dict(zip(FEATURE_NAMES, values, strict=True))


def feature_columns() -> tuple[tuple[str, str, str], ...]:
    """(name, kind, doc) of each feature, as ``contracts.tables.feature_tables`` takes them."""
    return tuple((feature.name, REAL, feature.description) for feature in FEATURES)


def declaration_hash() -> str:
    """16 hex digits over version and declaration: equal hashes mean vectors of the same meaning."""
    stated = [
        FEATURE_VERSION,
        [[f.name, f.kind, f.description, f.owner, f.window, f.default, f.model_input] for f in FEATURES],
        list(GROUPS.items()),
        list(TOTALS.items()),
    ]
    return hashlib.blake2b(json.dumps(stated).encode(), digest_size=8).hexdigest()
