"""The features that are more than a counter: one pure function of state, counters and moment gives them all.

Unit: as the declaration says. Time domain: event time, UTC microseconds. They are computed together because a vector is
asked for at every event of every journey, and a call for each of them would cost more than what it computes.
"""

from __future__ import annotations

import math
from operator import itemgetter

from contracts.event import DAY, MINUTE
from features.state import COUNTER, MONTH, WEEK, FeatureState

ACTIVITY_CAP_DAYS = 60.0
CONVERSION_CAP_DAYS = 365.0

_counted = itemgetter(
    COUNTER["activity", WEEK],
    COUNTER["activity", MONTH],
    COUNTER["product", WEEK],
    COUNTER["product", MONTH],
    COUNTER["session", MONTH],
    COUNTER["touch", MONTH],
    COUNTER["email_touch", MONTH],
    COUNTER["human_touch", MONTH],
    COUNTER["email_response", MONTH],
)

MADE: tuple[str, ...] = (
    "active_days_30d",
    "trend_7d_30d",
    "days_since_first",
    "days_since_activity",
    "session_events",
    "conversions",
    "days_since_conversion",
    "email_response_30d",
    "email_share_30d",
    "human_share_30d",
    "hand_held_share",
    "hour_regularity",
    "known",
    "trouble",
    "conversion_value",
    "events_per_session_30d",
    "session_minutes",
    "minutes_per_session",
    "single_event_share",
    "session_kinds",
    "days_between_sessions",
    "product_trend_7d_30d",
    "days_since_pricing",
    "carts_since_conversion",
    "days_since_email_response",
    "device_classes",
    "consent_share",
    "days_since_refusal",
)
"""The features that ``made_values`` gives, in its order."""


def made_values(state: FeatureState, counts: list[float], at: int) -> tuple[float, ...]:
    """The values of ``MADE`` as of a moment.

    Args:
        state: the journey's events up to ``at``, observed.
        counts: those of ``FeatureState.advance(at)``.
        at: the moment.
    """
    activity_week, activity_month, product_week, product_month, sessions_month, touches, mails, human, responses = (
        _counted(counts)
    )
    first, last, start = state.first_time, state.last_activity, state.session_start
    activities, sessions = state.activity_total, state.sessions
    return (
        float(state.active_days_at(at)),
        activity_week * 30.0 / (7.0 * activity_month) if activity_month else 0.0,
        0.0 if first is None else (at - first) / DAY,
        _days_since(last, at, ACTIVITY_CAP_DAYS),
        state.session_events,
        state.conversions,
        _days_since(state.last_conversion, at, CONVERSION_CAP_DAYS),
        min(1.0, responses / mails) if mails else 0.0,
        mails / touches if touches else 0.0,
        human / touches if touches else 0.0,
        state.hand_held / activities if activities else 0.0,
        min(1.0, math.hypot(state.clock_x, state.clock_y) / activities) if activities else 0.0,
        state.known,
        state.trouble,
        state.conversion_value,
        activity_month / sessions_month if sessions_month else 0.0,
        0.0 if start is None or last is None else (last - start) / MINUTE,
        state.dwell / MINUTE / sessions if sessions else 0.0,
        state.single_event_share,
        state.session_kinds,
        state.days_between_sessions,
        product_week * 30.0 / (7.0 * product_month) if product_month else 0.0,
        _days_since(state.last_pricing, at, ACTIVITY_CAP_DAYS),
        state.carts,
        _days_since(state.last_response, at, ACTIVITY_CAP_DAYS),
        float(len(state.device_classes)),
        state.consent_share,
        _days_since(state.last_refusal, at, CONVERSION_CAP_DAYS),
    )


def _days_since(last: int | None, at: int, cap: float) -> float:
    return cap if last is None else min((at - last) / DAY, cap)
