"""The measures of agreement: worked by hand, and against counting every pair."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.identity.agreement import Ints, Score, Table, b_cubed, by_event, by_pair
from transforms.identity.components import labels


def numbers(*values: int) -> Ints:
    return np.array(values, dtype=np.int64)


def table(true: str, predicted: str) -> Table:
    """Persons by letter, one letter an event."""
    return Table.of(numbers(*(ord(c) - 97 for c in true)), numbers(*(ord(c) - 97 for c in predicted)))


GROUPINGS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=40)


def test_two_strangers_united_cost_precision_only() -> None:
    found = table("aaab", "aaaa")
    # pairs: 6 put together, 3 belong together, 3 of both
    assert by_pair(found) == Score(3 / 6, 1.0)
    # the person is a's, who has most of it: b's event is a's, and b has no person
    assert by_event(found).score == Score(3 / 4, 3 / 4)
    assert by_event(found).main.tolist() == [0, -1]
    # three events with 3 of 4, one with 1 of 4
    assert b_cubed(found) == Score((3 * 3 / 4 + 1 / 4) / 4, 1.0)


def test_a_person_in_two_pieces_costs_recall_only() -> None:
    found = table("aaaab", "aaacb")
    assert by_pair(found) == Score(1.0, 3 / 6)
    assert by_event(found).score == Score(1.0, 4 / 5)
    assert by_event(found).owner.tolist() == [0, 1, 0]
    assert b_cubed(found) == Score(1.0, (3 * 3 / 4 + 1 / 4 + 1) / 5)


def test_an_event_with_another_person_costs_both() -> None:
    # one of b's events is with a
    found = table("aaabbb", "aaaabb")
    assert by_event(found).score == Score(5 / 6, 5 / 6)
    assert by_pair(found) == Score(4 / 7, 4 / 6)


def test_ties_go_to_the_lowest_number() -> None:
    found = by_event(table("ba", "aa"))
    assert found.owner.tolist() == [0]
    assert found.main.tolist() == [0, -1]
    pieces = by_event(table("aa", "ba"))
    assert pieces.main.tolist() == [0]
    assert pieces.score == Score(1.0, 1 / 2)


def test_nothing_to_be_wrong_about_is_right() -> None:
    nothing = table("", "")
    assert by_pair(nothing) == by_event(nothing).score == b_cubed(nothing) == Score(1.0, 1.0)
    assert by_pair(table("abc", "abc")) == Score(1.0, 1.0)


def test_f1_is_the_harmonic_mean() -> None:
    assert Score(1.0, 0.5).f1 == pytest.approx(2 / 3)
    assert Score(0.0, 0.0).f1 == 0.0


@given(GROUPINGS)
def test_pairs_are_what_counting_every_pair_gives(events: list[tuple[int, int]]) -> None:
    together = [(a[1] == b[1], a[0] == b[0]) for a, b in combinations(events, 2)]
    right = sum(p and t for p, t in together)
    predicted, true = sum(p for p, _ in together), sum(t for _, t in together)
    found = by_pair(Table.of(numbers(*(t for t, _ in events)), numbers(*(p for _, p in events))))
    assert found.precision == pytest.approx(right / predicted if predicted else 1.0)
    assert found.recall == pytest.approx(right / true if true else 1.0)


@given(GROUPINGS)
def test_b_cubed_is_the_mean_over_events(events: list[tuple[int, int]]) -> None:
    precision, recall = [], []
    for true, predicted in events:
        both = sum(e == (true, predicted) for e in events)
        precision.append(both / sum(p == predicted for _, p in events))
        recall.append(both / sum(t == true for t, _ in events))
    found = b_cubed(Table.of(numbers(*(t for t, _ in events)), numbers(*(p for _, p in events))))
    assert found.precision == pytest.approx(np.mean(precision) if events else 1.0)
    assert found.recall == pytest.approx(np.mean(recall) if events else 1.0)


@given(GROUPINGS)
def test_attribution_is_its_definition(events: list[tuple[int, int]]) -> None:
    owner: dict[int, int] = {}
    for person in {p for _, p in events}:
        had = [t for t, p in events if p == person]
        owner[person] = min(set(had), key=lambda t: (-had.count(t), t))
    main: dict[int, int] = {}
    for person in {t for t, _ in events}:
        mine = [p for t, p in events if t == person and owner[p] == person]
        if mine:
            main[person] = min(set(mine), key=lambda p: (-mine.count(p), p))
    found = by_event(Table.of(numbers(*(t for t, _ in events)), numbers(*(p for _, p in events))))
    n = len(events) or 1
    assert found.score.precision == pytest.approx(sum(owner[p] == t for t, p in events) / n if events else 1.0)
    assert found.score.recall == pytest.approx(sum(main.get(t) == p for t, p in events) / n if events else 1.0)


@given(GROUPINGS)
def test_recall_of_events_never_passes_their_precision(events: list[tuple[int, int]]) -> None:
    score = by_event(Table.of(numbers(*(t for t, _ in events)), numbers(*(p for _, p in events)))).score
    assert score.recall <= score.precision + 1e-12


@given(st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)), max_size=25))
def test_components_are_what_walking_the_edges_reaches(edges: list[tuple[int, int]]) -> None:
    reached = [{node} for node in range(15)]
    for _ in range(15):
        for a, b in edges:
            reached[a] |= reached[b]
            reached[b] |= reached[a]
    label = labels(numbers(*(a for a, _ in edges)), numbers(*(b for _, b in edges)), 15).tolist()
    for a in range(15):
        for b in range(15):
            assert (label[a] == label[b]) == (b in reached[a])
