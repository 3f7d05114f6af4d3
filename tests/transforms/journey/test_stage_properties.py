"""What holds of every journey: exact decay in any order, parts that add up, evidence for every move, no flapping."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.event import DAY, HOUR, MINUTE, SECOND, Event
from transforms.journey.facts import COUNTED, EVENT_FACT_NAMES
from transforms.journey.fold import named_facts
from transforms.journey.signals import intent, value
from transforms.journey.stages import MODEL_SPEAKS
from transforms.journey.walk import StageWalk

Make = Callable[..., Event]
DECISION = 2
NAMES = (
    "home_view", "category_view", "search", "product_view", "comparison_view", "review_view", "pricing_view",
    "add_to_cart", "cart_view", "remove_from_cart", "checkout_start", "demo_request", "purchase", "feature_used",
    "email_clicked", "support_ticket", "page_ping",
)  # fmt: skip
NO_RESET = ("home_view", "search", "product_view", "comparison_view", "add_to_cart", "demo_request", "feature_used")
ONLY_FED = ("add_to_cart", "demo_request", "feature_used", "pricing_view", "email_clicked", "page_ping")
"""What neither sets a signal back nor speaks against a stage."""
GAPS = (0, SECOND, MINUTE, 11 * MINUTE, 40 * MINUTE, 7 * HOUR, 2 * DAY, 9 * DAY)

happenings = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(GAPS)), min_size=1, max_size=30)
plain = st.lists(st.tuples(st.sampled_from(NO_RESET), st.sampled_from(GAPS)), min_size=1, max_size=15)
additive = st.lists(st.tuples(st.sampled_from(ONLY_FED), st.sampled_from(GAPS)), min_size=1, max_size=15)


def told(make: Make, start: int, happened: list[tuple[str, int]], mark: str = "e") -> list[Event]:
    events, at = [], start
    for number, (name, gap) in enumerate(happened):
        at += gap
        events.append(make(name, at, event_id=f"{mark}{number:03d}", who=(("anonymous_id", mark),)))
    return events


@settings(deadline=None, max_examples=40)
@given(happened=happenings, order=st.randoms(use_true_random=False), later=st.integers(0, 60 * DAY))
def test_decay_is_exact_under_permutation(
    bench: Any, event: Make, start: int, happened: list[tuple[str, int]], order: random.Random, later: int
) -> None:
    """To the last bit, and at any instant: not nearly the same score, but the same."""
    events = told(event, start, happened)
    shuffled = list(events)
    order.shuffle(shuffled)
    horizon = events[-1].event_time + later
    one, other = bench.path(events, horizon), bench.path(shuffled, horizon)
    assert [s.value.hex() for s in one.signals] == [s.value.hex() for s in other.signals]
    assert one.intents == other.intents
    assert one.transitions == other.transitions


@settings(deadline=None, max_examples=40)
@given(happened=plain, later=st.integers(0, 60 * DAY))
def test_a_signal_is_worth_the_sum_of_what_each_event_left_of_it(
    bench: Any, event: Make, start: int, happened: list[tuple[str, int]], later: int
) -> None:
    events = told(event, start, happened)
    horizon = events[-1].event_time + later
    last = bench.trace(events, horizon).points[-1]
    for signal in bench.ontology.signals:
        if signal.when is None:
            meanings = [bench.ontology.meaning(e.name, None) for e in events]
            left = [dict(meaning.weakens).get(signal.number, 1.0) for meaning in meanings]
            fed = [n for n, meaning in enumerate(meanings) if signal.number in meaning.signals]
            whole = math.fsum(
                signal.weight * 2.0 ** ((events[n].event_time - horizon) / signal.half_life) * math.prod(left[n + 1 :])
                for n in fed
            )
            kept = last.signals[signal.number]
            assert kept.times == len(fed)
            if fed:
                worth = value(kept, signal.half_life, signal.cap, horizon)
                assert worth == pytest.approx(min(signal.cap, whole), rel=1e-9)


@settings(deadline=None, max_examples=40)
@given(one=additive, other=additive, apart=st.integers(0, 3 * DAY))
def test_what_two_strands_add_to_their_person_adds_up(
    bench: Any, event: Make, start: int, one: list[tuple[str, int]], other: list[tuple[str, int]], apart: int
) -> None:
    """fold(a + b) = merge(fold(a), fold(b)) for uncapped sums and counters; stages are folded anew from all events.

    As long as nothing sets back or weakens what another strand fed: that depends on the order of both.
    """
    first, second = told(event, start, one, "a"), told(event, start + apart, other, "b")
    horizon = max(first[-1].event_time, second[-1].event_time)
    both = [(e, "sa") for e in first] + [(e, "sb") for e in second]
    whole, a, b = (
        bench.trace(pairs, horizon).points[-1]
        for pairs in (both, [(e, "sa") for e in first], [(e, "sb") for e in second])
    )
    uncapped = float("inf")
    for signal in bench.ontology.signals:
        if signal.when is None:
            parts = [point.signals[signal.number] for point in (whole, a, b)]
            together, left, right = (value(part, signal.half_life, uncapped, horizon) for part in parts)
            assert parts[0].times == parts[1].times + parts[2].times
            assert together == pytest.approx(left + right, rel=1e-9, abs=1e-300)
    facts = [named_facts(point) for point in (whole, a, b)]
    for name in ("events", "activities", "conversions", *COUNTED):
        assert name in EVENT_FACT_NAMES
        assert facts[0][name] == facts[1][name] + facts[2][name]  # type: ignore[operator]


@settings(deadline=None, max_examples=60)
@given(happened=happenings, silence=st.integers(0, 400 * DAY))
def test_no_transition_without_evidence(
    bench: Any, event: Make, start: int, happened: list[tuple[str, int]], silence: int
) -> None:
    """An event at that very instant, or a level that was crossed, or a condition; and numbers that can be checked."""
    events = told(event, start, happened)
    by_id = {e.event_id: e for e in events}
    trace = bench.trace(events, events[-1].event_time + silence)
    path = bench.paths.stage_path(trace)
    stages = {stage.name: stage for stage in bench.ontology.stages}
    signals = {signal.name: signal for signal in bench.ontology.signals}
    for move in path.transitions:
        assert move.reason
        if move.event_id is not None:
            assert by_id[move.event_id].event_time == move.at
        else:
            assert move.from_stage is not None, "time alone begins no journey"
            left = stages[move.from_stage]
            assert left.keep is not None or left.after is not None
            assert "least time" in move.reason or "down to" in move.reason or "lapses" in move.reason
        then = bench.trace([one for one in events if one.event_time <= move.at], move.at).points[-1]
        for shown in move.signals:
            assert shown.stage in (move.from_stage, move.to_stage)
            assert by_id[shown.last_event_id].event_time == shown.last_time <= move.at
            signal = signals[shown.signal]
            assert 0.0 < shown.value <= signal.cap
            # what it was worth then, faded, by the events up to then alone
            kept = then.signals[signal.number]
            assert (shown.value, shown.count) == (value(kept, signal.half_life, signal.cap, move.at), kept.times)
        entered = stages[move.to_stage]
        if entered.enter is not None:
            score = math.fsum(shown.value for shown in move.signals if shown.stage == move.to_stage)
            assert score >= entered.enter * (1 - 1e-9)


@settings(deadline=None, max_examples=60)
@given(
    jitter=st.lists(st.floats(0.0, 1.0), min_size=2, max_size=30),
    gap=st.sampled_from([SECOND, MINUTE, HOUR]),
    wait=st.sampled_from([0, 10 * MINUTE]),
)
def test_scores_that_jitter_around_an_entry_inside_the_margin_move_once_at_most(
    bench: Any, event: Make, start: int, jitter: list[float], gap: int, wait: int
) -> None:
    """Also where no least time in a stage would hold anybody: the two levels alone are enough."""
    stage = bench.ontology.stages[DECISION]
    rules = bench.paths.rules
    number = stage.signals[2].number
    base = bench.trace([event("home", start)]).points[0]
    # decay goes on between two points, and must not carry a score out of the margin
    low = stage.keep * 2.0 ** (gap / stage.signals[2].half_life) * (1 + 1e-9)
    high = 2 * stage.enter - stage.keep
    points = []
    for place, share in enumerate(jitter):
        at = start + place * gap
        signals = list(base.signals)
        signals[number] = signals[number]._replace(total=low + (high - low) * share, since=at, times=1, event_id="e")
        points.append(base._replace(at=at, signals=tuple(signals)))
    held = rules._back
    try:
        rules._back = wait
        walk = StageWalk(rules).whole(points, [None] * len(points), points[-1].at)
    finally:
        rules._back = held
    assert len(walk.moves) <= 2, "the beginning, and one move"
    crossed = any(intent(rules.scores[DECISION], point.signals, point.at) >= stage.enter for point in points)
    assert walk.moves[-1].after == (DECISION if crossed else 0)


@settings(deadline=None, max_examples=100)
@given(
    jitter=st.lists(st.tuples(*[st.floats(0.0, 1.0)] * 3), min_size=2, max_size=30),
    top=st.sampled_from([0, 1, 2]),
    lead=st.floats(0.0, 1.0),
    height=st.floats(0.0, 1.5),
    gap=st.sampled_from([SECOND, MINUTE, HOUR]),
)
def test_nobody_moves_to_and_fro_while_scores_and_the_models_lead_jitter_inside_their_margins(
    bench: Any,
    event: Make,
    start: int,
    jitter: list[tuple[float, float, float]],
    top: int,
    lead: float,
    height: float,
    gap: int,
) -> None:
    """Two scores and the lead, each around any level by less than its hysteresis; no least time in a stage helps.

    Without a model every stage is entered once at most, and none is gone back to; from when the model is first listened
    to, nobody moves any more.
    """
    rules = bench.paths.rules
    base = bench.trace([event("home", start)]).points[0]
    margin = bench.ontology.model.margin
    wide = margin * bench.ontology.hysteresis.margin
    points, opinions = [], []
    for place, (one, other, third) in enumerate(jitter):
        at = start + place * gap
        signals = list(base.signals)
        for number, share in ((1, one), (2, other)):
            stage = bench.ontology.stages[number]
            signal = stage.signals[2]
            faded = 2.0 ** (-gap / signal.half_life)
            low = stage.enter * height
            total = low + (stage.enter * faded * (1 - 1e-9) - stage.keep) * share
            signals[signal.number] = signals[signal.number]._replace(
                total=total / faded, since=at, times=1, event_id="e"
            )
        points.append(base._replace(at=at, signals=tuple(signals)))
        leads = min(1.0, margin * lead * 2 + wide * (1 - 1e-9) * third)
        row = [0.0] * 4
        row[top] = 0.5 + leads / 2
        row[top - 1 if top else 1] = 0.5 - leads / 2
        opinions.append(rules.opinion(at, "m1", row))
    held = rules._back
    try:
        rules._back = 0
        alone = StageWalk(rules).whole(points, [None] * len(points), points[-1].at)
        both = StageWalk(rules).whole(points, opinions, points[-1].at)
    finally:
        rules._back = held
    entered = [move.after for move in alone.moves]
    assert entered == sorted(set(entered))
    spoke = next((place for place, speaker in enumerate(both.speakers) if speaker == MODEL_SPEAKS), None)
    if spoke is None:
        assert [move.after for move in both.moves] == entered
    else:
        assert set(both.stages[spoke:]) == {top}
