"""The features: each one against a plain recount, pure, bounded, and pinned."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import ModelError
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
    STAGE_DERIVED,
    VERSIONS,
    FeatureState,
    declaration_hash,
    feature_columns,
    model_inputs,
    named,
    refuse_as_inputs,
    vector,
)
from features.provenance import PROVENANCE
from transforms.journey.facts import FACTS

ROOT = Path(__file__).resolve().parents[2]
START = 1_700_000_000_000_000
Seen = tuple[Event, tuple[str, ...], bool, bool]

BEHAVIOURS = sorted({b for group in (state.GROUPS | state.TOTALS).values() for b in group} | {"advocacy"})


def event(
    time: int,
    channel: str = "web",
    device: str | None = None,
    value: float | None = None,
    consent: dict[str, bool] | None = None,
) -> Event:
    properties: dict[str, Scalar] = {} if value is None else {"value": value}
    return Event(
        f"e{time}", "x", time, time, "s", channel, (), device_class=device, properties=properties, consent=consent or {}
    )


STEPS = (0, 1, MINUTE, 20 * MINUTE, DAY // 3, DAY, 7 * DAY, 30 * DAY, 31 * DAY)


def journey_of(size: int, seed: int) -> list[Seen]:
    """A journey full of ties and edges of windows; its first activity begins a session. Drawn from a seed: hypothesis
    would take longer than the test."""
    chance = random.Random(seed)
    time = START
    journey: list[Seen] = []
    for _ in range(size):
        time += chance.choice(STEPS)
        seen = event(
            time,
            chance.choice(("web", "email", "call", "store", "odd")),
            chance.choice((None, "mobile", "tablet", "desktop")),
            chance.choice((None, 10.0, 2.5)),
            chance.choice(({}, {}, {"email": True}, {"email": False, "ads": True})),
        )
        shown = tuple(chance.sample(BEHAVIOURS, chance.randrange(3)))
        activity = chance.random() < 0.7
        began = activity and (chance.random() < 0.4 or not any(before[3] for before in journey))
        journey.append((seen, shown, began, activity))
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
    sessions: list[list[Seen]] = []  # the activity of each
    for seen in journey:
        if seen[2]:
            sessions.append([])
        if seen[3]:
            sessions[-1].append(seen)
    begins = [e.event_time for e, _, began, _ in journey if began]
    dwell = sum(s[-1][0].event_time - s[0][0].event_time for s in sessions)
    looks = [(sum(began for _, _, began, _ in journey[: i + 1]), e) for i, e in shown_at(journey, "pricing")]
    returns = [e for (before, _), (now, e) in itertools.pairwise(looks) if 0 < before < now]
    devices = [e for e in active if e.device_class is not None]
    switches = [b for a, b in itertools.pairwise(devices) if a.device_class != b.device_class]
    stated_consent = [e for e, *_ in journey if e.consent]
    refusals = [e for e in stated_consent if not all(e.consent.values())]
    bought = max((i for i, _ in shown_at(journey, "conversion")), default=-1)
    kinds = ("research", "ad", "product", "comparison", "pricing", "cart", "checkout")
    latest = sessions[-1] if sessions else []

    def ago(events: Sequence[Event], cap: float) -> float:
        return min(cap, (at - events[-1].event_time) / DAY) if events else cap

    def recent(events: Sequence[Event]) -> float:
        return float(sum(e.event_time > at - 30 * DAY for e in events))

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
        "sessions_30d": float(sum(began for _, _, began, _ in month)),
        "events_per_session_30d": share(month_active, sum(began for _, _, began, _ in month)),
        "session_minutes": (active[-1].event_time - begins[-1]) / MINUTE if latest else 0.0,
        "minutes_per_session": share(dwell / MINUTE, len(sessions)),
        "single_event_share": share(sum(len(s) == 1 for s in sessions[:-1]), len(sessions) - 1),
        "session_kinds": float(sum(any(set(b) & set(state.GROUPS[k]) for _, b, *_ in latest) for k in kinds)),
        "days_between_sessions": share((begins[-1] - begins[0]) / DAY, len(begins) - 1) if begins else 0.0,
        "content_views_7d": shown(7 * DAY, "content"),
        "searches_7d": shown(7 * DAY, "search"),
        "product_views_30d": shown(30 * DAY, "product"),
        "product_trend_7d_30d": share(shown(7 * DAY, "product") / 7, shown(30 * DAY, "product") / 30),
        "pricing_views_7d": shown(7 * DAY, "pricing"),
        "pricing_returns_30d": recent(returns),
        "days_since_pricing": ago([e for _, e in shown_at(journey, "pricing")], 60.0),
        "carts_since_conversion": float(sum(i > bought for i, _ in shown_at(journey, "cart"))),
        "email_events_30d": float(mails),
        "email_clicks_30d": shown(30 * DAY, "email_click"),
        "days_since_email_response": ago([e for _, e in shown_at(journey, "email_response")], 60.0),
        "human_touches_30d": float(sum(e.channel in ("call", "store") for e, *_ in month)),
        "device_classes": float(len({e.device_class for e in devices})),
        "device_switches_30d": recent(switches),
        "trouble_30d": shown(30 * DAY, "trouble"),
        "consent_share": share(sum(stated_consent[-1].consent.values()), len(stated_consent[-1].consent))
        if stated_consent
        else 0.0,
        "days_since_refusal": ago(refusals, 365.0),
    }


def shown_at(journey: Sequence[Seen], group: str) -> list[tuple[int, Event]]:
    """(place, event) of the events that show a group."""
    members = set((state.GROUPS | state.TOTALS)[group])
    return [(place, seen[0]) for place, seen in enumerate(journey) if members & set(seen[1])]


HOUR = 60 * MINUTE
WORKED: tuple[Seen, ...] = (
    (event(START, "ads", "mobile", consent={"email": True, "ads": False}), ("ad_click",), True, True),
    (event(START + 10 * MINUTE, "web", "mobile"), ("search",), False, True),
    (event(START + 30 * MINUTE, "web", "mobile"), ("content_view",), False, True),
    (event(START + 20 * DAY, "web", "desktop"), ("pricing_view",), True, True),
    (event(START + 28 * DAY, "web", "mobile", consent={"email": True}), ("product_view",), True, True),
    (event(START + 28 * DAY + 5 * MINUTE, "web", "mobile"), ("pricing_view",), False, True),
    (event(START + 28 * DAY + 15 * MINUTE, "web", "mobile"), ("pricing_view",), False, True),
    (event(START + 28 * DAY + 20 * MINUTE, "web", "mobile"), ("cart",), False, True),
    (event(START + 29 * DAY, "email"), (), False, False),
    (event(START + 29 * DAY, "email"), ("email_open",), True, True),
    (event(START + 29 * DAY + 1, "email"), ("email_click",), False, True),
    (event(START + 29 * DAY + HOUR, "call"), ("email_negative",), False, False),
)
"""Four sessions: an ad and a search on the phone; one look at prices on the desktop; products, prices and the cart on
the phone; a mail. Then a call that opts out."""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sessions_30d", 4.0),  # all four begin within 30 days of the end, day 29 and a half
        ("events_per_session_30d", 10 / 4),  # twelve events, of which a delivery and the call are no activity
        ("session_minutes", 1 / 60_000_000),  # open and click, one microsecond apart
        ("minutes_per_session", (30 + 0 + 20 + 1 / 60_000_000) / 4),
        ("single_event_share", 1 / 3),  # the desktop session, of the three before the latest
        ("session_kinds", 0.0),  # a mail is no kind of interest
        ("days_between_sessions", 29 / 3),
        ("content_views_7d", 0.0),
        ("searches_7d", 0.0),
        ("product_views_30d", 1.0),
        ("product_trend_7d_30d", (1 / 7) / (1 / 30)),
        ("pricing_views_7d", 2.0),
        ("pricing_returns_30d", 1.0),  # the first look of the third session; the next is in the same session
        ("days_since_pricing", 1.5 - 15 / 1440),
        ("carts_since_conversion", 1.0),
        ("email_events_30d", 3.0),
        ("email_clicks_30d", 1.0),
        ("days_since_email_response", 0.5 - 1 / DAY),
        ("human_touches_30d", 1.0),
        ("device_classes", 2.0),
        ("device_switches_30d", 2.0),  # phone to desktop and back
        ("trouble_30d", 1.0),
        ("consent_share", 1.0),  # the latest statement grants the one purpose it names
        ("days_since_refusal", 29.5),
        ("events_1d", 2.0),
        ("events_7d", 6.0),
        ("events_30d", 10.0),
        ("sessions_7d", 2.0),
        ("active_days_30d", 3.0),  # of four; the first was 30 calendar days ago
        ("trend_7d_30d", (6 / 7) / (10 / 30)),
        ("days_since_first", 29.5),
        ("days_since_activity", 0.5 - 1 / DAY),
        ("session_events", 2.0),
        ("research_7d", 0.0),
        ("ads_30d", 1.0),
        ("product_views_7d", 1.0),
        ("comparisons_30d", 0.0),
        ("pricing_views_30d", 3.0),
        ("cart_7d", 1.0),
        ("checkout_30d", 0.0),
        ("contacts_30d", 0.0),
        ("conversions", 0.0),
        ("days_since_conversion", 365.0),
        ("usage_30d", 0.0),
        ("support_30d", 0.0),
        ("email_response_30d", 2 / 3),
        ("email_share_30d", 3 / 12),
        ("human_share_30d", 1 / 12),
        ("hand_held_share", 7 / 10),
        ("known", 0.0),
        ("trouble", 1.0),
        ("conversion_value", 0.0),
    ],
)
def test_a_feature_has_the_value_worked_out_by_hand(name: str, expected: float) -> None:
    assert named(vector(fold(WORKED), START + 29 * DAY + DAY // 2))[name] == pytest.approx(expected, abs=1e-12)


def test_activity_at_one_hour_of_the_day_is_regular_and_at_opposite_hours_is_not() -> None:
    same = [(event(START + n * DAY), (), True, True) for n in range(3)]
    assert named(vector(fold(same), START + 2 * DAY))["hour_regularity"] == pytest.approx(1.0)
    opposite = [(event(START + n * DAY // 2), (), True, True) for n in range(4)]
    assert named(vector(fold(opposite), START + 2 * DAY))["hour_regularity"] == pytest.approx(0.0, abs=1e-12)


def test_versions_stand_side_by_side_and_the_older_is_the_begin_of_the_newer() -> None:
    assert list(VERSIONS) == ["journey:v1", "journey:v2"]
    assert VERSIONS[FEATURE_VERSION] == FEATURES
    assert VERSIONS["journey:v1"] == FEATURES[:29]
    assert model_inputs("journey:v1") == MODEL_INPUT_NAMES[:27]


def test_what_derives_from_the_stage_is_refused_as_a_model_input() -> None:
    with pytest.raises(ValueError, match="derived from the stage"):
        dataclasses.replace(FEATURES[0], name="days_in_stage", from_stage=True)
    for name in (*STAGE_DERIVED, "trouble"):
        with pytest.raises(ModelError, match="no model may read it"):
            refuse_as_inputs([*MODEL_INPUT_NAMES, name])
    refuse_as_inputs(MODEL_INPUT_NAMES)
    assert set(STAGE_DERIVED) <= set(FACTS)  # policies see them
    assert not set(STAGE_DERIVED) & set(FEATURE_NAMES)


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
    assert len(FEATURES) >= 40
    assert len(set(FEATURE_NAMES)) == len(FEATURES)
    assert {feature.kind for feature in FEATURES} <= set(BOUNDS)
    assert all(feature.description.endswith(".") and feature.owner for feature in FEATURES)
    assert not [name for name in FEATURE_NAMES if "stage" in name]
    assert tuple(FEATURE_NAMES[index] for index in MODEL_INPUTS) == MODEL_INPUT_NAMES
    features, _ = feature_tables(feature_columns(), ())
    made_by = tuple(name for name, _, _ in PROVENANCE)
    assert features.column_names == ("person_id", "at", "created", *FEATURE_NAMES, *made_by)


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
    assert (FEATURE_VERSION, declaration_hash()) == ("journey:v2", "1bf7dcdf1525f0e7")
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
        "sessions_30d": 4.0,
        "events_per_session_30d": 2.5,
        "minutes_per_session": 1080.0,
        "days_between_sessions": 1.5,
        "product_views_30d": 1.0,
        "product_trend_7d_30d": 4.285714,
        "pricing_views_7d": 1.0,
        "days_since_pricing": 3.5,
        "email_events_30d": 1.0,
        "days_since_email_response": 4.0,
        "human_touches_30d": 1.0,
        "device_classes": 2.0,
        "device_switches_30d": 1.0,
        "days_since_refusal": 365.0,
    }


def test_the_page_of_features_is_current() -> None:
    page = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")
    assert page == documentation.markdown(), "run `wayline features list --markdown > docs/features.md`"
