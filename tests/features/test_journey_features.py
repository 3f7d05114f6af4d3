"""The features: each one against a plain recount, pure, bounded, and pinned."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.event import DAY, MINUTE, Event, Scalar
from contracts.tables import feature_tables
from features import documentation, state
from features.journey_features import (
    BOUNDS,
    FEATURE_NAMES,
    FEATURE_VERSION,
    FEATURES,
    MODEL_INPUT_NAMES,
    MODEL_INPUTS,
    FeatureState,
    declaration_hash,
    feature_columns,
    named,
    vector,
)

ROOT = Path(__file__).resolve().parents[2]
START = 1_700_000_000_000_000
Seen = tuple[Event, tuple[str, ...], bool, bool]

BEHAVIOURS = sorted({b for group in (state.GROUPS | state.TOTALS).values() for b in group} | {"advocacy"})


def event(time: int, channel: str = "web", device: str | None = None, value: float | None = None) -> Event:
    properties: dict[str, Scalar] = {} if value is None else {"value": value}
    return Event(f"e{time}", "x", time, time, "s", channel, (), device_class=device, properties=properties)


STEPS = (0, 1, MINUTE, 20 * MINUTE, DAY // 3, DAY, 7 * DAY, 30 * DAY, 31 * DAY)


def journey_of(size: int, seed: int) -> list[Seen]:
    """A journey full of ties and edges of windows. Drawn from a seed: hypothesis would take longer than the test."""
    chance = random.Random(seed)
    time, journey = START, []
    for _ in range(size):
        time += chance.choice(STEPS)
        seen = event(
            time,
            chance.choice(("web", "email", "call", "store", "odd")),
            chance.choice((None, "mobile", "tablet", "desktop")),
            chance.choice((None, 10.0, 2.5)),
        )
        shown = tuple(chance.sample(BEHAVIOURS, chance.randrange(3)))
        journey.append((seen, shown, chance.random() < 0.4, chance.random() < 0.7))
    return journey


journeys = st.builds(journey_of, st.integers(0, 40), st.integers(0, 2**32))


def observe(folded: FeatureState, seen: Seen) -> None:
    """As the journey's fold does it: the value of a conversion comes with it."""
    folded.observe(*seen, value=stated(seen))


def stated(seen: Seen) -> float | None:
    value = seen[0].properties.get("value")
    return value if isinstance(value, float) and "conversion" in seen[1] else None


def fold(journey: Sequence[Seen]) -> FeatureState:
    folded = FeatureState()
    for seen in journey:
        observe(folded, seen)
    return folded


def recount(journey: Sequence[Seen], at: int) -> dict[str, float]:
    """The features by their descriptions, each from the whole journey: slow, and without any state."""

    def within(window: int) -> list[Seen]:
        return [seen for seen in journey if at - window < seen[0].event_time <= at]

    def shown(window: int, group: str) -> float:
        members = (state.GROUPS | state.TOTALS)[group]
        return float(sum(any(b in members for b in behaviours) for _, behaviours, _, _ in within(window)))

    def share(part: float, whole: float) -> float:
        return part / whole if whole else 0.0

    month = within(30 * DAY)
    active = [e for e, _, _, activity in journey if activity]
    days = {e.event_time // DAY for e in active}
    session = 0.0
    for _, _, began, activity in journey:
        session = (0.0 if began else session) + float(activity)
    conversions = [e for e, behaviours, _, _ in journey if set(behaviours) & set(state.TOTALS["conversion"])]
    angles = [2 * math.pi * (e.event_time // MINUTE % 1440) / 1440 for e in active]
    mails = sum(e.channel == "email" for e, *_ in month)
    week_active = sum(activity for *_, activity in within(7 * DAY))
    month_active = sum(activity for *_, activity in month)
    return {
        "events_1d": float(sum(activity for *_, activity in within(DAY))),
        "events_7d": float(week_active),
        "events_30d": float(month_active),
        "sessions_7d": float(sum(began for _, _, began, _ in within(7 * DAY))),
        "active_days_30d": float(sum(at // DAY - 30 < day for day in days)),
        "trend_7d_30d": share(week_active / 7, month_active / 30),
        "days_since_first": (at - journey[0][0].event_time) / DAY if journey else 0.0,
        "days_since_activity": min(60.0, (at - active[-1].event_time) / DAY) if active else 60.0,
        "session_events": session,
        "research_7d": shown(7 * DAY, "research"),
        "ads_30d": shown(30 * DAY, "ad"),
        "product_views_7d": shown(7 * DAY, "product"),
        "comparisons_30d": shown(30 * DAY, "comparison"),
        "pricing_views_30d": shown(30 * DAY, "pricing"),
        "cart_7d": shown(7 * DAY, "cart"),
        "checkout_30d": shown(30 * DAY, "checkout"),
        "contacts_30d": shown(30 * DAY, "contact"),
        "conversions": float(len(conversions)),
        "days_since_conversion": min(365.0, (at - conversions[-1].event_time) / DAY) if conversions else 365.0,
        "usage_30d": shown(30 * DAY, "usage"),
        "support_30d": shown(30 * DAY, "support"),
        "email_response_30d": min(1.0, share(shown(30 * DAY, "email_response"), mails)),
        "email_share_30d": share(mails, len(month)),
        "human_share_30d": share(sum(e.channel in ("call", "store") for e, *_ in month), len(month)),
        "hand_held_share": share(sum(e.device_class in ("mobile", "tablet") for e in active), len(active)),
        "hour_regularity": share(math.hypot(sum(map(math.cos, angles)), sum(map(math.sin, angles))), len(active)),
        "known": float(shown(10**6 * DAY, "known") > 0),
        "trouble": shown(10**6 * DAY, "trouble"),
        "conversion_value": sum(stated(seen) or 0.0 for seen in journey),
    }


@settings(deadline=None, max_examples=200)
@given(journeys, st.sampled_from([0, 1, MINUTE, DAY, 7 * DAY, 30 * DAY, 400 * DAY]))
def test_every_feature_equals_a_plain_recount(journey: list[Seen], after: int) -> None:
    at = (journey[-1][0].event_time if journey else START) + after
    assert named(vector(fold(journey), at)) == pytest.approx(recount(journey, at), abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(journeys, st.lists(st.integers(0, 40 * DAY), max_size=4))
def test_asking_changes_nothing(journey: list[Seen], questions: list[int]) -> None:
    """Vectors at any later instants, in any order, leave the other answers and the later events as they are."""
    asked, silent = FeatureState(), FeatureState()
    for seen in journey:
        for state_ in (asked, silent):
            observe(state_, seen)
        for ahead in questions:
            at = seen[0].event_time + ahead
            assert vector(asked, at) == vector(fold(journey[: journey.index(seen) + 1]), at)
    end = journey[-1][0].event_time if journey else START
    assert vector(asked, end) == vector(silent, end)


@settings(deadline=None, max_examples=40)
@given(journeys)
def test_values_keep_the_bounds_of_their_kind(journey: list[Seen]) -> None:
    values = vector(fold(journey), journey[-1][0].event_time if journey else START)
    for feature, value in zip(FEATURES, values, strict=True):
        low, high = feature.bounds
        assert math.isfinite(value)
        assert low is None or value >= low
        assert high is None or value <= high


def test_a_journey_without_events_has_the_declared_defaults() -> None:
    assert vector(FeatureState(), START) == tuple(feature.default for feature in FEATURES)


def test_an_event_leaves_a_window_exactly_when_it_is_as_old_as_the_window() -> None:
    folded = fold([(event(START), ("cart",), True, True)])
    assert named(vector(folded, START + 7 * DAY - 1))["cart_7d"] == 1.0
    assert named(vector(folded, START + 7 * DAY))["cart_7d"] == 0.0


def test_events_out_of_order_are_refused() -> None:
    folded = fold([(event(START), (), True, True)])
    with pytest.raises(ValueError, match="sort the journey"):
        folded.observe(event(START - 1), (), False)


def test_a_moment_before_the_last_event_is_refused() -> None:
    with pytest.raises(ValueError, match="has been observed"):
        vector(fold([(event(START), (), True, True)]), START - 1)


def test_what_only_happened_to_the_customer_is_no_activity() -> None:
    delivered = (event(START, "email"), (), False, False)
    values = named(vector(fold([delivered]), START))
    assert values["events_1d"] == 0.0
    assert values["email_share_30d"] == 1.0
    assert values["days_since_activity"] == 60.0


def test_memory_is_bounded_by_the_events_of_thirty_days() -> None:
    folded = FeatureState()
    for number in range(20_000):
        folded.observe(event(START + number * DAY // 4), ("product_view",), number % 4 == 0)
    assert len(folded._times) < 1_000
    assert len(folded.active_days) <= 60


def test_the_declaration_is_sound() -> None:
    assert 20 <= len(FEATURES) <= 30
    assert len(set(FEATURE_NAMES)) == len(FEATURES)
    assert {feature.kind for feature in FEATURES} <= set(BOUNDS)
    assert all(feature.description.endswith(".") and feature.owner for feature in FEATURES)
    assert not [name for name in FEATURE_NAMES if "stage" in name]
    assert tuple(FEATURE_NAMES[index] for index in MODEL_INPUTS) == MODEL_INPUT_NAMES
    features, _ = feature_tables(feature_columns(), ())
    assert features.column_names == ("person_id", "at", "created", *FEATURE_NAMES)


def test_a_changed_meaning_needs_a_new_version() -> None:
    """Declaration and values of one journey, pinned: whoever changes them raises FEATURE_VERSION and pins anew."""
    journey = [
        (event(START + n * DAY // 2, channel, device, 20.0), (behaviour,), n % 3 == 0, True)
        for n, (channel, device, behaviour) in enumerate(
            [
                ("ads", "mobile", "ad_click"),
                ("web", "mobile", "category_view"),
                ("web", "desktop", "product_view"),
                ("web", "desktop", "login"),
                ("email", None, "email_open"),
                ("web", "desktop", "pricing_view"),
                ("web", "desktop", "cart"),
                ("web", "desktop", "checkout"),
                ("web", "desktop", "conversion"),
                ("call", None, "support"),
            ]
        )
    ]
    values = named(vector(fold(journey), START + 6 * DAY))
    assert (FEATURE_VERSION, declaration_hash()) == ("journey:v1", "69fce7b151d03241")
    assert {name: round(value, 6) for name, value in values.items() if value} == {
        "events_7d": 10.0,
        "events_30d": 10.0,
        "sessions_7d": 4.0,
        "active_days_30d": 6.0,
        "trend_7d_30d": 4.285714,
        "days_since_first": 6.0,
        "days_since_activity": 1.5,
        "session_events": 1.0,
        "research_7d": 1.0,
        "ads_30d": 1.0,
        "product_views_7d": 1.0,
        "pricing_views_30d": 1.0,
        "cart_7d": 1.0,
        "checkout_30d": 1.0,
        "conversions": 1.0,
        "days_since_conversion": 2.0,
        "support_30d": 1.0,
        "email_response_30d": 1.0,
        "email_share_30d": 0.1,
        "human_share_30d": 0.1,
        "hand_held_share": 0.2,
        "hour_regularity": 0.0,
        "known": 1.0,
        "conversion_value": 20.0,
    }


def test_the_page_of_features_is_current() -> None:
    page = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")
    assert page == documentation.markdown(), "run `wayline features list --markdown > docs/features.md`"
