"""Signals: decay is exact, and the instant a score falls below a level is exact to the microsecond."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.event import DAY, HOUR
from transforms.journey.ontology import Ontology
from transforms.journey.signals import Fed, Score, SignalFold, falls_below, intent, value

SIX_WEEKS = 42 * DAY
feeds = st.lists(st.integers(0, 60 * DAY), min_size=1, max_size=30)


def one_by_one(times: list[int], weight: float, half_life: int, at: int) -> float:
    return math.fsum(weight * 2.0 ** (-(at - t) / half_life) for t in times)


@settings(deadline=None, max_examples=60)
@given(times=feeds, later=st.integers(0, 90 * DAY))
def test_the_kept_sum_is_the_sum_over_all_events(ontology: Ontology, times: list[int], later: int) -> None:
    fold = SignalFold(ontology)
    signal = ontology.signals[0]
    for place, at in enumerate(sorted(times)):
        fold.feed(0, at, f"e{place}")
    at = max(times) + later
    expected = min(signal.cap, one_by_one(times, signal.weight, signal.half_life, at))
    assert value(fold.fed[0], signal.half_life, signal.cap, at) == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_one_half_life_halves(ontology: Ontology) -> None:
    fold = SignalFold(ontology)
    fold.feed(0, 0, "e")
    half_life = ontology.signals[0].half_life
    assert value(fold.fed[0], half_life, 9.0, half_life) == ontology.signals[0].weight / 2


def test_a_six_week_old_pricing_visit_weighs_far_less_than_yesterdays(ontology: Ontology) -> None:
    asking = next(signal for signal in ontology.signals if signal.name == "asking_price")
    fold = SignalFold(ontology)
    fold.feed(asking.number, 0, "e")
    old = value(fold.fed[asking.number], asking.half_life, asking.cap, SIX_WEEKS)
    fresh = value(fold.fed[asking.number], asking.half_life, asking.cap, DAY)
    assert old < fresh / 50


def test_looking_in_between_changes_nothing(ontology: Ontology) -> None:
    looked, unlooked = SignalFold(ontology), SignalFold(ontology)
    for at in (0, HOUR, 3 * DAY):
        looked.feed(0, at, "e")
        unlooked.feed(0, at, "e")
        for later in range(at, at + HOUR, HOUR // 7):
            value(looked.fed[0], ontology.signals[0].half_life, 3.0, later)
    assert looked.fed == unlooked.fed


scores = st.lists(
    st.tuples(st.integers(HOUR, 60 * DAY), st.floats(0.5, 6.0), st.floats(0.1, 20.0), st.integers(0, 10 * DAY)),
    min_size=1,
    max_size=5,
)


@settings(deadline=None, max_examples=60)
@given(parts=scores, share=st.floats(0.02, 0.99))
def test_the_score_is_below_the_level_from_that_microsecond_on_and_not_before(
    parts: list[tuple[int, float, float, int]], share: float
) -> None:
    score: Score = tuple((number, half_life, cap) for number, (half_life, cap, _, _) in enumerate(parts))
    after = max(since for *_, since in parts)
    signals = [Fed(total, since, 1, "e") for _, _, total, since in parts]
    level = share * intent(score, signals, after)
    at = falls_below(score, signals, level, after)
    assert at > after
    assert intent(score, signals, at) < level
    assert intent(score, signals, at - 1) >= level
