"""The fold as a whole: order-free, as known at any time; points, outcomes, consent and triggers in their places."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.event import DAY, HOUR, MINUTE, SECOND, Event, Scalar
from features.journey_features import FEATURE_NAMES, FeatureState, vector
from transforms.journey.facts import FACTS, NEVER_DAYS
from transforms.journey.fold import FeatureFunctions, JourneyFold, named_facts
from transforms.journey.path import StagePaths
from transforms.journey.stages import Said

Make = Callable[..., Event]
NAMES = [
    "home",
    "blog_view",
    "product_view",
    "compare",
    "pricing_view",
    "add_to_cart",
    "remove_from_cart",
    "checkout_start",
    "demo_request",
    "purchase",
    "email_opened",
    "email_clicked",
    "feature_used",
    "never_heard_of",
    "page_ping",
]
WEEK = 7 * DAY


def journey(make: Make, start: int, seed: int, length: int = 25) -> list[tuple[Event, str]]:
    """Sessions with pauses of minutes to months, on two devices, some events at one instant."""
    rng = random.Random(seed)
    at, events = start + rng.randrange(WEEK), []
    for number in range(length):
        at += rng.choice([0, SECOND, MINUTE, 9 * MINUTE, 40 * MINUTE, DAY, 9 * DAY, 60 * DAY])
        strand = rng.choice(["s1", "s2"])
        who = (("anonymous_id", strand), ("user_id", "u")) if rng.random() < 0.3 else (("anonymous_id", strand),)
        name = rng.choice(NAMES)
        consent = {"email": rng.random() < 0.7} if rng.random() < 0.3 else {}
        events.append((make(name, at, event_id=f"e{rng.randrange(10**9)}-{number}", who=who, consent=consent), strand))
    return events


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), order=st.randoms(use_true_random=False))
def test_arrival_order_changes_nothing(bench: Any, event: Make, start: int, seed: int, order: random.Random) -> None:
    events = journey(event, start, seed)
    horizon = max(e.event_time for e, _ in events) + 30 * DAY
    shuffled = list(events)
    order.shuffle(shuffled)
    straight, other = bench.trace(events, horizon), bench.trace(shuffled, horizon)
    assert straight == other
    first, second = bench.paths.stage_path(straight), bench.paths.stage_path(other)
    assert first == second
    assert bench.paths.triggers(straight, first) == bench.paths.triggers(other, second)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), share=st.floats(0.05, 1.0))
def test_as_of_a_time_is_a_run_over_what_was_known_then(
    bench: Any, event: Make, start: int, seed: int, share: float
) -> None:
    events = journey(event, start, seed)
    first = min(e.event_time for e, _ in events)
    horizon = max(e.event_time for e, _ in events) + 30 * DAY
    then = first + int((horizon - first) * share)
    known = [(e, s) for e, s in events if e.event_time <= then]
    whole, part = bench.trace(events, horizon), bench.trace(known, then)
    whole_path, part_path = bench.paths.stage_path(whole), bench.paths.stage_path(part)
    assert part.points == tuple(point for point in whole.points if point.at <= then)
    assert part_path.transitions == tuple(t for t in whole_path.transitions if t.at <= then)
    assert bench.paths.standing_at(whole, whole_path.walk, then) == part_path.standing
    assert bench.paths.trigger_at(whole, whole_path, then) == bench.paths.trigger_at(part, part_path, then)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6))
def test_transitions_form_a_chain_in_time(bench: Any, event: Make, start: int, seed: int) -> None:
    events = journey(event, start, seed)
    path = bench.path(events, max(e.event_time for e, _ in events) + 400 * DAY)
    stage, at = None, 0
    for transition in path.transitions:
        assert transition.from_stage == stage
        assert transition.to_stage != stage
        assert transition.at > at
        stage, at = transition.to_stage, transition.at
    assert bench.ontology.stage_names[path.standing.stage] == stage
    assert path.standing.since == at


def test_events_at_one_instant_are_one_point(bench: Any, event: Make, start: int) -> None:
    trace = bench.trace([event("home", start), event("purchase", start), event("search", start + SECOND)])
    assert [(p.at, p.event, p.on_event) for p in trace.points] == [(start, 1, True), (start + SECOND, 2, True)]


def test_silence_is_scored_on_the_grid_for_four_weeks(bench: Any, event: Make, start: int) -> None:
    trace = bench.trace([event("home", start + HOUR)], start + 90 * DAY)
    grid = [p.at for p in trace.points if not p.on_event]
    assert len(grid) == 4
    assert all(at % WEEK == 0 for at in grid)
    assert grid[-1] <= start + HOUR + 28 * DAY


def test_the_grid_ends_at_the_next_event_and_at_the_horizon(bench: Any, event: Make, start: int) -> None:
    monday = (start // WEEK + 1) * WEEK
    trace = bench.trace([event("home", monday - DAY), event("home", monday)], monday + WEEK)
    assert [(p.at, p.on_event) for p in trace.points] == [(monday - DAY, True), (monday, True), (monday + WEEK, False)]


def test_a_row_is_known_when_its_latest_event_was_received(bench: Any, event: Make, start: int) -> None:
    trace = bench.trace([event("home", start, received=start + HOUR), event("search", start + MINUTE)])
    assert [p.created for p in trace.points] == [start + HOUR, start + HOUR]


def test_receipts_become_outcomes_of_their_actions(bench: Any, event: Make, start: int) -> None:
    trace = bench.trace(
        [
            event("email_delivered", start, action_id="act1"),
            event("email_opened", start + MINUTE),
            event("email_complained", start + 2 * MINUTE),
            event("purchase", start + 3 * MINUTE, properties={"value": 12.5}),
        ]
    )
    assert [(o.kind, o.action_id, o.value) for o in trace.outcomes] == [
        ("delivered", "act1", None),
        ("complained", None, None),
        ("converted", None, 12.5),
    ]


@pytest.mark.parametrize(
    ("propensity", "kept"), [(0.25, 1), (1, 1), (0.0, 0), (1.5, 0), ("0.5", 0), (True, 0), (None, 0)]
)
def test_a_logged_action_needs_a_propensity(bench: Any, event: Make, start: int, propensity: Any, kept: int) -> None:
    logged = bench.trace(
        [event("action_logged", start, action_id="x", properties={"arm": "mail", "propensity": propensity})]
    ).logged
    assert len(logged) == kept


def test_an_unsubscribed_mailbox_is_not_subscribed_by_a_banner(bench: Any, event: Make, start: int) -> None:
    mailbox = (("email_sha256", "m"),)
    trace = bench.trace(
        [
            event("home", start, consent={"email": True, "analytics": True}),
            event("email_unsubscribed", start + MINUTE, who=mailbox),
            event("home", start + HOUR, consent={"email": True, "analytics": True}),
        ]
    )
    assert trace.points[0].consent == {"email": True, "analytics": True}
    assert trace.points[-1].consent == {"email": False, "analytics": True}


def test_who_opted_out_can_opt_in_again(bench: Any, event: Make, start: int) -> None:
    user = (("anonymous_id", "a"), ("user_id", "u"))
    elsewhere = (("anonymous_id", "b"), ("user_id", "u"))
    trace = bench.trace(
        [
            event("consent_changed", start, who=user, consent={"email": False}),
            event("consent_changed", start + DAY, who=elsewhere, consent={"email": True}),
        ]
    )
    assert [p.consent["email"] for p in trace.points if p.on_event] == [False, True]


def test_of_statements_at_one_instant_the_refusal_counts(bench: Any, event: Make, start: int) -> None:
    for first, second in ((True, False), (False, True)):
        trace = bench.trace(
            [
                event("home", start - DAY, event_id="o", consent={"ads": False}),
                event("home", start, event_id="a", consent={"ads": first}),
                event("home", start, event_id="b", consent={"ads": second}),
            ]
        )
        assert trace.points[-1].consent == {"ads": False}


def test_a_repeated_refusal_ties_with_a_grant_at_its_last_instant(bench: Any, event: Make, start: int) -> None:
    trace = bench.trace(
        [
            event("home", start, event_id="a", consent={"ads": False}),
            event("home", start + DAY, event_id="b", consent={"ads": False}),
            event("home", start + DAY, event_id="c", consent={"ads": True}),
        ]
    )
    assert trace.points[-1].consent == {"ads": False}


def test_facts_tell_the_journey(bench: Any, event: Make, start: int) -> None:
    trace = bench.trace(
        [
            event("ad_click", start, channel="ads", campaign="spring"),
            event("pricing_view", start + 89 * SECOND, path="/pricing", who=(("anonymous_id", "a"), ("crm_id", "c"))),
            event("pricing_view", start + 3 * DAY, channel="app", device="mobile"),
            event("purchase", start + 3 * DAY + MINUTE, properties={"revenue": 20}),
        ]
    )
    early, late = named_facts(trace.points[1]), named_facts(trace.points[-1])
    assert (early["sessions"], early["session_seconds"], early["has_crm_record"]) == (1, 89, True)
    assert (late["sessions"], late["active_days"], late["journey_days"], late["channels"]) == (2, 2, 3, 3)
    assert (late["pricing_views"], late["session_pricing_views"], late["conversions"]) == (2, 1, 1)
    assert (late["first_channel"], late["first_campaign"], late["device"]) == ("ads", "spring", "mobile")
    assert (late["conversion_value"], late["is_known"]) == (20.0, False)


@pytest.mark.parametrize(
    ("properties", "value"),
    [
        ({"value": 5.0}, 5.0),
        ({"revenue": 20}, 20.0),
        ({"total": 7.5}, 7.5),
        ({"value": "dear", "revenue": 3}, 3.0),
        ({"value": True}, 0.0),
        ({"value": "12"}, 0.0),
        ({"value": math.nan}, 0.0),
        ({"value": math.inf}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_value_of_a_conversion_is_one_number_to_facts_and_features(
    bench: Any, event: Make, start: int, properties: dict[str, Scalar], value: float
) -> None:
    functions = FeatureFunctions(FEATURE_NAMES, FeatureState, vector)
    events = [event("home", start), event("purchase", start + MINUTE, properties=properties)]
    trace = JourneyFold(bench.ontology, functions).trace("p", [(item, "s1") for item in events], start + HOUR)
    paths = StagePaths(bench.ontology, functions)
    refolded = paths.trigger_function(trace, paths.stage_path(trace))(start + HOUR)
    place = FEATURE_NAMES.index("conversion_value")
    assert named_facts(trace.points[-1])["conversion_value"] == value
    assert trace.points[-1].vector[place] == refolded.features["conversion_value"] == value


def test_triggers_are_transitions_and_other_begins_of_sessions(bench: Any, event: Make, start: int) -> None:
    trace = bench.trace(
        [
            (event("home", start), "s1"),
            (event("home", start + DAY), "s2"),
            (event("demo_request", start + 2 * DAY), "s1"),
            (event("search", start + 2 * DAY + MINUTE), "s1"),
        ],
        start + 30 * DAY,
    )
    found = bench.paths.triggers(trace, bench.paths.stage_path(trace))
    assert [(t.kind, t.stage, t.from_stage, t.anchor_strand) for t in found] == [
        ("transition", "discovery", None, "s1"),
        ("session", "discovery", None, "s2"),
        ("transition", "decision", "discovery", "s1"),
        ("transition", "discovery", "decision", "s1"),
    ]
    assert [t.point for t in found[:3]] == [f"home-{start}", f"home-{start + DAY}", f"demo_request-{start + 2 * DAY}"]
    latest = start + 2 * DAY + MINUTE
    assert found[3].point == f"search-{latest}@{found[3].at}"
    assert [t.anchor_at for t in found] == [start, start + DAY, start + 2 * DAY, latest]
    assert found[3].session_id is None
    assert found[3].features == {
        "events": 4.0,
        "begun": 3.0,
        "idle_days": (found[3].at - start - 2 * DAY - MINUTE) / DAY,
    }


def test_a_trigger_carries_every_fact(bench: Any, event: Make, start: int) -> None:
    trace = bench.trace([event("home", start)], start + 10 * DAY)
    step = bench.paths.trigger_at(trace, bench.paths.stage_path(trace), start + 3 * DAY)
    assert set(step.facts) == set(FACTS)
    assert (step.kind, step.facts["days_since_last"], step.facts["days_in_stage"]) == ("step", 3, 3)
    assert step.facts["days_since_conversion"] == NEVER_DAYS
    for name, (kind, _) in FACTS.items():
        assert (
            type(step.facts[name]).__name__ == {"int": "int", "bool": "bool", "double": "float", "string": "str"}[kind]
        )


def test_features_between_points_are_those_of_the_moment_in_any_order_of_asking(
    bench: Any, event: Make, start: int
) -> None:
    trace = bench.trace([event("home", start), event("home", start + 2 * DAY)], start + 20 * DAY)
    at = bench.paths.trigger_function(trace, bench.paths.stage_path(trace))
    days = [1, 5, 3, 1, 10]
    seen = [at(start + day * DAY).features for day in days]
    assert [s["events"] for s in seen] == [1.0, 2.0, 2.0, 1.0, 2.0]
    assert [s["idle_days"] for s in seen] == [1.0, 3.0, 1.0, 1.0, 8.0]


def test_a_condition_that_cannot_be_evaluated_does_not_hold(
    bench_of: Any, ontology_text: str, event: Make, start: int
) -> None:
    from transforms.journey.ontology_file import parse_ontology

    text = ontology_text.replace(
        "{when: conversions >= 1 || renewals >= 1}", "{when: conversions / (conversions - 1) >= 1}"
    )
    bench = bench_of(parse_ontology(text, "journey.yaml"))
    assert bench.stages([event("purchase", start)]) == ["discovery"]


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), with_model=st.booleans())
def test_at_any_instant_a_person_stands_where_the_rules_say_unless_a_wait_holds_them(
    bench: Any, event: Make, start: int, seed: int, with_model: bool
) -> None:
    """No instant at which something changes is missed: asked between the computed ones, the answer is the same."""
    events = journey(event, start, seed)
    horizon = max(e.event_time for e, _ in events) + 60 * DAY
    trace = bench.trace(events, horizon)
    rng = random.Random(seed)
    rows = [[rng.random() ** 3 for _ in range(4)] for _ in trace.points]
    rows = [[value / sum(row) for value in row] for row in rows]
    path = bench.paths.stage_path(trace, rows, ["m1"] * len(rows)) if with_model else bench.paths.stage_path(trace)
    ends = [point.at for point in trace.points[1:]] + [horizon + 1]
    for index, (point, end) in enumerate(zip(trace.points, ends, strict=True)):
        for _ in range(3):
            at = rng.randrange(point.at, end)
            standing = bench.paths.standing_at(trace, path.walk, at)
            opinion = path.walk.opinions[index]
            spoken = Said(0 if opinion is None else opinion.top, path.walk.speakers[index])
            said = bench.paths.rules.say(standing.stage, point, at, opinion, spoken)
            waiting = said.stage < standing.stage and at < standing.since + bench.ontology.hysteresis.back
            assert said.stage == standing.stage or waiting


def test_stage_history_is_a_fact_of_the_last_thirty_days(bench: Any, event: Make, start: int) -> None:
    """Of what a move itself sees, it is part; to enter the first stage is no move; a return is a move too."""
    events = [event("home", start), event("demo_request", start + DAY), event("demo_request", start + 40 * DAY)]
    trace = bench.trace(events, start + 100 * DAY)
    path = bench.paths.stage_path(trace)
    first, to, back, again, out = [transition.at for transition in path.transitions]
    assert [t.to_stage for t in path.transitions] == ["discovery", "decision", "discovery", "decision", "discovery"]

    def history(at: int) -> tuple[object, object]:
        facts = bench.paths.trigger_at(trace, path, at).facts
        return facts["stage_moves_30d"], facts["stage_returns_30d"]

    assert [history(at) for at in (first, to - 1, to, back - 1, back)] == [(0, 0), (0, 0), (1, 0), (1, 0), (2, 1)]
    assert (history(to + 30 * DAY - 1), history(to + 30 * DAY)) == ((2, 1), (1, 1)), "it leaves with its 30th day"
    assert history(again) == (1, 0), "those of a month ago are forgotten"
    assert history(out + 30 * DAY) == (0, 0)
    seen = {t.at: (t.facts["stage_moves_30d"], t.facts["stage_returns_30d"]) for t in bench.paths.triggers(trace, path)}
    assert all(history(at) == found for at, found in seen.items()), "a trigger says what any look at its instant says"
