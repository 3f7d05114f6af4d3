"""The target: the furthest stage-defining outcome within H after the point, from events only."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.target import UNKNOWN, behaviour_ranks, furthest_stage, rank_of

STAGES = ("discovery", "consideration", "decision", "customer")
DEFINING = {"consideration": {"pricing_view", "comparison"}, "decision": {"checkout"}, "customer": {"conversion"}}


def target(points: list[tuple[str, int]], events: list[tuple[str, int, int]], window: int) -> list[int]:
    found = furthest_stage(
        np.array([p for p, _ in points], dtype=object),
        np.array([t for _, t in points], dtype=np.int64),
        np.array([p for p, _, _ in events], dtype=object),
        np.array([t for _, t, _ in events], dtype=np.int64),
        np.array([r for _, _, r in events], dtype=np.int64),
        window,
        len(STAGES),
    )
    return [int(value) for value in found]


def test_the_furthest_outcome_wins_however_early_a_lesser_one_comes() -> None:
    assert target([("a", 0)], [("a", 1, 1), ("a", 9, 3), ("a", 5, 2)], 10) == [3]


def test_silence_within_h_is_no_target_and_least_of_all_the_first_stage() -> None:
    assert target([("a", 0)], [("a", 11, 3), ("b", 5, 3)], 10) == [UNKNOWN]
    assert target([("a", 0)], [("a", 5, UNKNOWN), ("a", 11, 3)], 10) == [UNKNOWN]


def test_what_defines_the_first_stage_alone_gives_the_first_stage() -> None:
    assert target([("a", 0)], [("a", 5, 0), ("a", 11, 3)], 10) == [0]


def test_an_outcome_at_the_point_itself_is_no_future_and_one_exactly_h_later_counts() -> None:
    assert target([("a", 0), ("a", 1)], [("a", 0, 3), ("a", 11, 2)], 10) == [UNKNOWN, 2]


def test_an_event_of_the_next_person_never_counts() -> None:
    assert target([("a", 5), ("b", 0)], [("b", 6, 3)], 10) == [UNKNOWN, 3]


def test_times_and_persons_of_any_size_do_not_overflow() -> None:
    year = 365 * 86_400_000_000
    assert target([("a", 60 * year)], [("a", 60 * year + 1, 2), ("z", -(60 * year), 3)], year) == [2]


def test_an_event_of_several_behaviours_defines_the_furthest_stage() -> None:
    ranks = behaviour_ranks(STAGES, DEFINING)
    assert rank_of(("pricing_view", "checkout", "search"), ranks) == 2
    assert rank_of((), ranks) == UNKNOWN


def test_where_the_first_stage_is_not_defined_every_other_behaviour_tells_of_it() -> None:
    ranks = behaviour_ranks(STAGES, DEFINING)
    assert rank_of(("search",), ranks) == 0
    ranks = behaviour_ranks(STAGES, {**DEFINING, "discovery": {"content_view"}})
    assert (rank_of(("search",), ranks), rank_of(("search", "content_view"), ranks)) == (UNKNOWN, 0)


def test_defining_outcomes_of_an_unknown_stage_are_refused() -> None:
    with pytest.raises(ValueError, match="loyalty"):
        behaviour_ranks(STAGES, {"loyalty": {"advocacy"}})


_person = st.sampled_from(["a", "b", "c"])
_time = st.integers(0, 30)


@given(
    st.lists(st.tuples(_person, _time), max_size=20),
    st.lists(st.tuples(_person, _time, st.integers(UNKNOWN, 3)), max_size=20),
    st.integers(1, 12),
    st.randoms(use_true_random=False),
)
def test_it_agrees_with_the_definition_read_aloud_under_any_order(points, events, window, random) -> None:  # type: ignore[no-untyped-def]
    expected = [
        max((rank for person, time, rank in events if person == p and t < time <= t + window), default=UNKNOWN)
        for p, t in points
    ]
    assert target(points, events, window) == expected
    random.shuffle(events)
    assert target(points, events * 2, window) == expected
