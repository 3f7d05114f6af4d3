"""Stages: who speaks, what keeps a person in a stage, and the instants at which time moves them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.event import DAY, HOUR, MINUTE, SECOND, Event
from contracts.exchange import Transition
from transforms.journey.signals import intent
from transforms.journey.walk import StageWalk

Make = Callable[..., Event]
DISCOVERY, CONSIDERATION, DECISION, CUSTOMER = range(4)
NONE = (float("nan"),) * 4


def scored(bench: Any, events: Sequence[Event], rows: Sequence[Sequence[float]], horizon: int | None = None) -> Any:
    """The path when the model says ``rows`` at the first points and is not in force afterwards."""
    trace = bench.trace(events, horizon)
    missing = len(trace.points) - len(rows)
    table = np.array([*rows, *[NONE] * missing])
    versions = ["m1" if row[0] == row[0] else None for row in table.tolist()]
    return bench.paths.stage_path(trace, table, versions)


def moves(path: Any) -> list[tuple[str | None, str, str]]:
    return [(t.from_stage, t.to_stage, t.decided_by) for t in path.transitions]


def test_a_journey_begins_in_the_first_stage(bench: Any, event: Make, start: int) -> None:
    path = bench.path([event("home", start)])
    only = path.transitions[0]
    assert (only.from_stage, only.to_stage, only.at, only.event_id) == (None, "discovery", start, f"home-{start}")


def test_a_journey_may_begin_in_a_later_stage(bench: Any, event: Make, start: int) -> None:
    assert bench.stages([event("demo_request", start)]) == ["decision"]


def test_an_entry_is_reached_at_its_level_exactly(bench: Any, event: Make, start: int) -> None:
    level = bench.ontology.stages[DECISION].enter
    talking = bench.ontology.stages[DECISION].signals[2]
    events = [event("demo_request", start)]
    point = bench.trace(events).points[0]
    holds = bench.paths.rules.holds
    signals = list(point.signals)
    signals[talking.number] = signals[talking.number]._replace(total=level)
    assert holds(DECISION, point._replace(signals=tuple(signals)), start, keeping=False)
    assert not holds(DECISION, point._replace(signals=tuple(signals)), start + MINUTE, keeping=False)
    assert holds(DECISION, point._replace(signals=tuple(signals)), start + MINUTE, keeping=True)


def test_a_purchase_makes_a_customer_for_certain(bench: Any, event: Make, start: int) -> None:
    last = bench.path([event("home", start), event("purchase", start + SECOND)]).transitions[-1]
    assert (last.to_stage, last.decided_by, last.confidence) == ("customer", "rules", 1.0)
    assert "conversions >= 1" in last.reason


def test_a_customer_lapses_after_180_days_to_the_microsecond(bench: Any, event: Make, start: int) -> None:
    events = [event("purchase", start)]
    assert bench.path(events, start + 180 * DAY - 1).standing.stage == CUSTOMER
    lapsed = bench.path(events, start + 180 * DAY).transitions[-1]
    assert (lapsed.from_stage, lapsed.at, lapsed.event_id) == ("customer", start + 180 * DAY, None)
    assert "180 d without" in lapsed.reason


def test_use_keeps_a_customer(bench: Any, event: Make, start: int) -> None:
    events = [event("purchase", start), event("feature_used", start + 100 * DAY)]
    assert bench.path(events, start + 200 * DAY).standing.stage == CUSTOMER
    assert bench.path(events, start + 280 * DAY).transitions[-1].at == start + 280 * DAY


def test_a_stage_is_left_at_the_instant_its_intent_falls_below_what_keeps_it(
    bench: Any, event: Make, start: int
) -> None:
    trace = bench.trace([event("demo_request", start)], start + 30 * DAY)
    left = bench.paths.stage_path(trace).transitions[1]
    stage = bench.ontology.stages[DECISION]
    score = bench.paths.rules.scores[DECISION]
    assert left.session_id is None
    assert intent(score, trace.points[0].signals, left.at) < stage.keep
    assert intent(score, trace.points[0].signals, left.at - 1) >= stage.keep


def test_when_somebody_looks_makes_no_difference(bench: Any, event: Make, start: int) -> None:
    events = [event("demo_request", start), event("pricing_view", start + DAY)]
    whole = bench.path(events, start + 60 * DAY).transitions
    for horizon in range(start + DAY, start + 60 * DAY, 5 * DAY + HOUR):
        part = bench.path(events, horizon).transitions
        assert part == tuple(t for t in whole if t.at <= horizon)


def test_between_the_levels_a_stage_is_kept(bench: Any, event: Make, start: int) -> None:
    events = [event("add_to_cart", start), event("cart_view", start, event_id="z")]
    # 3.0 falls below the entry level of 2.1 after 37 hours, and below 1.47, which keeps it, after 74.
    path = bench.path(events, start + 50 * HOUR)
    stage = bench.ontology.stages[DECISION]
    assert stage.keep < path.intents["decision"] < stage.enter
    assert path.standing.stage == DECISION


def test_a_move_back_waits_for_the_least_time_in_the_stage(bench: Any, event: Make, start: int) -> None:
    events = [
        event("add_to_cart", start),
        event("cart_view", start + SECOND),
        event("remove_from_cart", start + MINUTE),
        event("blog_view", start + 20 * MINUTE),
    ]
    last = bench.path(events).transitions[-1]
    assert (last.from_stage, last.to_stage) == ("decision", "discovery")
    assert last.at == start + SECOND + 10 * MINUTE
    assert "least time" in last.reason


def test_a_wait_that_is_no_longer_due_moves_nobody(bench: Any, event: Make, start: int) -> None:
    events = [
        event("add_to_cart", start),
        event("cart_view", start + SECOND),
        event("remove_from_cart", start + MINUTE),
        event("demo_request", start + 5 * MINUTE),
    ]
    assert bench.stages(events, start + HOUR) == ["discovery", "decision"]


def test_the_model_speaks_when_it_leads_by_the_margin(bench: Any, event: Make, start: int) -> None:
    path = scored(bench, [event("home", start)], [(0.1, 0.75, 0.1, 0.05)])
    only = path.transitions[0]
    assert (only.to_stage, only.decided_by, only.model_version) == ("consideration", "model", "m1")
    assert only.confidence == pytest.approx(0.75)
    assert "m1 gives consideration 0.75" in only.reason


def test_below_the_margin_the_model_abstains_and_rules_speak(bench: Any, event: Make, start: int) -> None:
    path = scored(bench, [event("home", start)], [(0.40, 0.45, 0.1, 0.05)])
    assert moves(path) == [(None, "discovery", "rules")]


def test_who_was_listened_to_is_listened_to_until_the_lead_falls_below_the_margin_less_its_hysteresis(
    bench: Any, event: Make, start: int
) -> None:
    """Margin 0.60, hysteresis 0.30: a lead of 0.60 begins it, 0.42 keeps it, and then it takes 0.60 again."""
    leads = [0.59, 0.61, 0.43, 0.59, 0.41, 0.59, 0.61]
    events = [event("home", start + n * HOUR) for n in range(len(leads))]
    path = scored(bench, events, [(0.5 - lead / 2, 0.5 + lead / 2, 0.0, 0.0) for lead in leads])
    found = [(move.to_stage, move.decided_by, (move.at - start) // HOUR) for move in path.transitions]
    assert found == [
        ("discovery", "rules", 0),
        ("consideration", "model", 1),
        ("discovery", "rules", 4),
        ("consideration", "model", 6),
    ]
    assert path.standing.decided_by == "model"


def test_a_lead_below_the_margin_keeps_no_other_stage_than_the_one_the_model_named(
    bench: Any, event: Make, start: int
) -> None:
    events = [event("home", start), event("home", start + HOUR)]
    path = scored(bench, events, [(0.1, 0.8, 0.1, 0.0), (0.0, 0.25, 0.75, 0.0)])
    assert moves(path)[-1] == ("consideration", "discovery", "rules")


def test_a_certain_rule_overrules_the_model(bench: Any, event: Make, start: int) -> None:
    path = scored(bench, [event("purchase", start)], [(0.9, 0.1, 0.0, 0.0)])
    assert moves(path) == [(None, "customer", "rules")]


def test_a_model_makes_nobody_a_customer(bench: Any, event: Make, start: int) -> None:
    path = scored(bench, [event("home", start)], [(0.1, 0.1, 0.1, 0.7)])
    assert moves(path) == [(None, "decision", "model")]


def test_an_opinion_holds_for_one_grid_step(bench: Any, event: Make, start: int) -> None:
    # The next point of the grid falls before the end of the step; without a model there, rules speak from it on.
    path = scored(bench, [event("home", start + HOUR)], [(0.1, 0.8, 0.1, 0.0)], start + 20 * DAY)
    second = path.transitions[1]
    assert (second.from_stage, second.to_stage, second.decided_by) == ("consideration", "discovery", "rules")
    assert second.at - start <= 7 * DAY + HOUR


def test_beyond_the_last_point_of_the_grid_an_opinion_grows_too_old(bench: Any, event: Make, start: int) -> None:
    events = [event("home", start + HOUR)]
    points = bench.trace(events, start + 90 * DAY).points
    path = scored(bench, events, [(0.1, 0.8, 0.1, 0.0)] * len(points), start + 90 * DAY)
    assert path.transitions[-1].to_stage == "discovery"
    assert path.transitions[-1].at == points[-1].at + 7 * DAY


def test_a_model_activated_later_changes_no_point_before(bench: Any, event: Make, start: int) -> None:
    events = [event("product_view", start + n * MINUTE) for n in range(6)]
    rules_only = bench.path(events)
    late = scored(bench, events, [NONE, NONE, NONE, (0.0, 0.1, 0.9, 0.0)])
    assert late.stages[:3] == rules_only.stages[:3]
    assert late.stages[3] == "decision"


def test_every_transition_has_evidence(bench: Any, event: Make, start: int) -> None:
    events = [event("home", start), event("demo_request", start + HOUR), event("purchase", start + 2 * HOUR)]
    for transition in bench.path(events, start + 400 * DAY).transitions:
        assert transition.event_id is not None or transition.signals
        assert transition.reason


def test_evidence_names_the_event_and_its_decayed_worth(bench: Any, event: Make, start: int) -> None:
    moved: Transition = bench.path([event("demo_request", start)], start + 30 * DAY).transitions[1]
    (talking,) = [s for s in moved.signals if s.signal == "talking_to_sales"]
    assert (talking.last_event_id, talking.count) == (f"demo_request-{start}", 1)
    assert talking.value == pytest.approx(3.0 * 2 ** (-(moved.at - start) / (3 * DAY)))


@settings(deadline=None, max_examples=50)
@given(
    gaps=st.lists(st.integers(1, 3 * HOUR), min_size=5, max_size=40),
    names=st.lists(st.sampled_from(["add_to_cart", "remove_from_cart", "pricing_view", "home"]), min_size=40),
)
def test_no_stage_is_left_backwards_before_the_least_time(
    bench: Any, event: Make, start: int, gaps: list[int], names: list[str]
) -> None:
    at, events = start, []
    for gap, name in zip(gaps, names, strict=False):
        at += gap * SECOND // 7
        events.append(event(name, at))
    order = bench.ontology.stage_names
    found = bench.path(events, at + 10 * DAY).transitions
    for before, after in pairwise(found):
        if order.index(after.to_stage) < order.index(before.to_stage):
            assert after.at - before.at >= 10 * MINUTE


@settings(deadline=None, max_examples=50)
@given(jitter=st.lists(st.floats(1.5, 2.45), min_size=2, max_size=25))
def test_scores_between_the_levels_never_flap(bench: Any, event: Make, start: int, jitter: list[float]) -> None:
    """A score that wavers anywhere between what keeps a stage and what enters it moves nobody."""
    rules = bench.paths.rules
    trace = bench.trace([event("demo_request", start)])
    entered = trace.points[0]
    number = bench.ontology.stages[DECISION].signals[2].number
    points = [entered]
    for place, score in enumerate(jitter, 1):
        signals = list(entered.signals)
        signals[number] = signals[number]._replace(total=score, since=start + place * HOUR)
        points.append(entered._replace(at=start + place * HOUR, signals=tuple(signals)))
    walk = StageWalk(rules).whole(points, [None] * len(points), start + len(points) * HOUR - HOUR)
    assert [move.after for move in walk.moves] == [DECISION]


def test_what_speaks_against_a_stage_leaves_its_share_of_what_was_fed_before(
    bench: Any, event: Make, start: int
) -> None:
    cart = next(signal for signal in bench.ontology.signals if signal.name == "filling_cart")
    before = [event("add_to_cart", start), event("cart_view", start + SECOND)]
    one_search = [*before, event("search", start + 2 * SECOND)]
    fed = [bench.trace(events, start + 2 * SECOND).points[-1].signals[cart.number] for events in (before, one_search)]
    assert fed[1].total == pytest.approx(0.8 * fed[0].total, rel=1e-12)
    assert (fed[1].times, fed[1].event_id) == (fed[0].times, fed[0].event_id), "what was seen stays the evidence"


def test_back_to_browsing_leaves_decision_within_the_session_and_not_at_the_first_page(
    bench: Any, event: Make, start: int
) -> None:
    ready = [event("add_to_cart", start), event("checkout_start", start + SECOND)]
    browsing = [event("blog", start + 20 * MINUTE + n * MINUTE) for n in range(1)]
    browsing += [event("search", start + 21 * MINUTE + n * MINUTE) for n in range(6)]
    moves = bench.path([*ready, *browsing]).transitions
    assert [move.to_stage for move in moves] == ["discovery", "decision", "discovery"]
    assert moves[-1].at > browsing[1].event_time


def test_of_several_behaviours_that_speak_against_a_stage_the_strongest_counts(bench: Any) -> None:
    decision = bench.ontology.stages[DECISION]
    shown = frozenset({"product_view", "comparison", "cart"})
    assert decision.kept(shown) == min(share for name, share in decision.weakened_by if name in shown) < 1
    assert decision.kept(frozenset({"cart"})) == 1.0


def test_a_checkout_ends_customer_only_after_the_rest_and_a_purchase_begins_it_anew(
    bench: Any, event: Make, start: int
) -> None:
    """Pages of the checkout that still come after the purchase belong to it."""
    rest = bench.ontology.stages[CUSTOMER].rest
    bought = event("purchase", start)
    assert bench.stages([bought, event("payment_details", start + rest - 1)]) == ["customer"]
    anew = [bought, event("payment_details", start + rest)]
    assert bench.stages(anew)[:1] == ["customer"]
    assert bench.path(anew).standing.stage != CUSTOMER
    # a checkout within the rest is forgotten: the one after it counts from the purchase, not from it
    assert bench.path([bought, event("payment_details", start + rest - 1), anew[1]]).standing.stage != CUSTOMER
    assert bench.path([*anew, event("purchase", start + 2 * rest)]).standing.stage == CUSTOMER
    assert bench.path([*anew, event("feature_used", start + rest + SECOND)]).standing.stage == CUSTOMER
