"""The features that are more than a counter: each a pure function of state, counters and moment.

Unit: as the declaration says. ``counts`` are those of ``FeatureState.advance(at)``. Time domain: event time, UTC
microseconds.
"""

from __future__ import annotations

import math

from contracts.event import DAY, MINUTE
from features.state import COUNTER, MONTH, WEEK, FeatureState

ACTIVITY_CAP_DAYS = 60.0
CONVERSION_CAP_DAYS = 365.0

_ACTIVITY_WEEK, _ACTIVITY_MONTH = COUNTER["activity", WEEK], COUNTER["activity", MONTH]
_TOUCH, _EMAIL_TOUCH, _HUMAN_TOUCH = (COUNTER[what, MONTH] for what in ("touch", "email_touch", "human_touch"))
_EMAIL_RESPONSE = COUNTER["email_response", MONTH]


def active_days(state: FeatureState, counts: list[float], at: int) -> float:
    return float(state.active_days_at(at))


def trend(state: FeatureState, counts: list[float], at: int) -> float:
    month = counts[_ACTIVITY_MONTH]
    return counts[_ACTIVITY_WEEK] * 30.0 / (7.0 * month) if month else 0.0


def days_since_first(state: FeatureState, counts: list[float], at: int) -> float:
    return 0.0 if state.first_time is None else (at - state.first_time) / DAY


def days_since_activity(state: FeatureState, counts: list[float], at: int) -> float:
    last = state.last_activity
    return ACTIVITY_CAP_DAYS if last is None else min((at - last) / DAY, ACTIVITY_CAP_DAYS)


def session_events(state: FeatureState, counts: list[float], at: int) -> float:
    return float(state.session_events)


def conversions(state: FeatureState, counts: list[float], at: int) -> float:
    return float(state.conversions)


def days_since_conversion(state: FeatureState, counts: list[float], at: int) -> float:
    last = state.last_conversion
    return CONVERSION_CAP_DAYS if last is None else min((at - last) / DAY, CONVERSION_CAP_DAYS)


def email_response(state: FeatureState, counts: list[float], at: int) -> float:
    mails = counts[_EMAIL_TOUCH]
    return min(1.0, counts[_EMAIL_RESPONSE] / mails) if mails else 0.0


def email_share(state: FeatureState, counts: list[float], at: int) -> float:
    return counts[_EMAIL_TOUCH] / counts[_TOUCH] if counts[_TOUCH] else 0.0


def human_share(state: FeatureState, counts: list[float], at: int) -> float:
    return counts[_HUMAN_TOUCH] / counts[_TOUCH] if counts[_TOUCH] else 0.0


def hand_held_share(state: FeatureState, counts: list[float], at: int) -> float:
    return state.hand_held / state.activity_total if state.activity_total else 0.0


def hour_regularity(state: FeatureState, counts: list[float], at: int) -> float:
    total = state.activity_total
    return min(1.0, math.hypot(state.clock_x, state.clock_y) / total) if total else 0.0


def known(state: FeatureState, counts: list[float], at: int) -> float:
    return 1.0 if state.known else 0.0


def trouble(state: FeatureState, counts: list[float], at: int) -> float:
    return float(state.trouble)


def conversion_value(state: FeatureState, counts: list[float], at: int) -> float:
    return state.conversion_value


_SESSION_MONTH = COUNTER["session", MONTH]
_PRODUCT_WEEK, _PRODUCT_MONTH = COUNTER["product", WEEK], COUNTER["product", MONTH]


def _days_since(last: int | None, at: int, cap: float) -> float:
    return cap if last is None else min((at - last) / DAY, cap)


def events_per_session(state: FeatureState, counts: list[float], at: int) -> float:
    sessions = counts[_SESSION_MONTH]
    return counts[_ACTIVITY_MONTH] / sessions if sessions else 0.0


def session_minutes(state: FeatureState, counts: list[float], at: int) -> float:
    start, last = state.session_start, state.last_activity
    return 0.0 if start is None or last is None else (last - start) / MINUTE


def minutes_per_session(state: FeatureState, counts: list[float], at: int) -> float:
    return state.dwell / MINUTE / state.sessions if state.sessions else 0.0


def single_event_share(state: FeatureState, counts: list[float], at: int) -> float:
    return state.bounced / (state.sessions - 1) if state.sessions > 1 else 0.0


def session_kinds(state: FeatureState, counts: list[float], at: int) -> float:
    return float(state.session_groups.bit_count())


def days_between_sessions(state: FeatureState, counts: list[float], at: int) -> float:
    first, last = state.first_session, state.session_start
    if first is None or last is None or state.sessions < 2:
        return 0.0
    return (last - first) / DAY / (state.sessions - 1)


def product_trend(state: FeatureState, counts: list[float], at: int) -> float:
    month = counts[_PRODUCT_MONTH]
    return counts[_PRODUCT_WEEK] * 30.0 / (7.0 * month) if month else 0.0


def days_since_pricing(state: FeatureState, counts: list[float], at: int) -> float:
    return _days_since(state.last_pricing, at, ACTIVITY_CAP_DAYS)


def carts_since_conversion(state: FeatureState, counts: list[float], at: int) -> float:
    return float(state.carts)


def days_since_email_response(state: FeatureState, counts: list[float], at: int) -> float:
    return _days_since(state.last_response, at, ACTIVITY_CAP_DAYS)


def device_classes(state: FeatureState, counts: list[float], at: int) -> float:
    return float(len(state.device_classes))


def consent_share(state: FeatureState, counts: list[float], at: int) -> float:
    return state.consent_share


def days_since_refusal(state: FeatureState, counts: list[float], at: int) -> float:
    return _days_since(state.last_refusal, at, CONVERSION_CAP_DAYS)
