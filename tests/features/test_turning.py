"""Between two instants that are computed, no feature that a stage condition may use changes by itself."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.event import DAY, HOUR, MINUTE, SECOND, Event, Identifier
from features.journey_features import FEATURE_NAMES, vector
from features.state import FeatureState
from features.turning import TURNS, UNTIMED, next_turn

T0 = 1_704_067_200_000_000
SHOWN = ("content_view", "product_view", "pricing_view", "cart", "conversion", "email_open", "support", "usage")
USABLE = tuple(name for name in FEATURE_NAMES if name in TURNS)


def life(seed: int) -> tuple[FeatureState, int]:
    rng, state, at = random.Random(seed), FeatureState(), T0
    for number in range(rng.randrange(1, 30)):
        at += rng.choice((0, SECOND, MINUTE, 9 * HOUR, 2 * DAY, 9 * DAY))
        channel = rng.choice(("web", "email", "call"))
        event = Event(f"e{number}", "x", at, at, "t", channel, (Identifier("anonymous_id", "a"),))
        state.observe(event, (rng.choice(SHOWN),), rng.random() < 0.3)
    return state, at


def usable(state: FeatureState, at: int) -> tuple[float, ...]:
    values = dict(zip(FEATURE_NAMES, vector(state, at), strict=True))
    return tuple(values[name] for name in USABLE)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), shares=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=4))
def test_no_usable_feature_changes_before_its_next_turn(seed: int, shares: list[float]) -> None:
    state, at = life(seed)
    turns = 0
    while (due := next_turn(state, at, USABLE)) is not None:
        assert due > at
        now = usable(state, at)
        for share in (*shares, 1 - 1e-15):
            assert usable(state, min(due - 1, at + int((due - at) * share))) == now
        at, turns = due, turns + 1
    assert turns
    assert usable(state, at) == usable(state, at + 400 * DAY), "after the last turn nothing changes any more"


def test_a_count_falls_when_its_event_is_as_old_as_the_window() -> None:
    state = FeatureState()
    state.observe(Event("e", "x", T0, T0, "t", "web", (Identifier("anonymous_id", "a"),)), ("pricing_view",), True)
    assert next_turn(state, T0, ("pricing_views_30d",)) == T0 + 30 * DAY
    assert next_turn(state, T0, ("events_1d", "pricing_views_30d")) == T0 + DAY
    assert next_turn(state, T0 + DAY, ("events_1d",)) is None
    assert next_turn(state, T0, ("cart_7d", "conversions")) is None, "no event fed it"


def test_ages_and_days_of_activity_have_no_computed_instant() -> None:
    assert set(UNTIMED) >= {"days_since_first", "days_since_activity", "days_since_conversion", "active_days_30d"}
    assert not set(UNTIMED) & set(TURNS)
    assert set(UNTIMED) | set(TURNS) == set(FEATURE_NAMES)
