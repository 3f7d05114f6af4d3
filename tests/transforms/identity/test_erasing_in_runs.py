"""Erasure of what was carried, over several runs: the same as in one, as far as anything erased can be the same."""

from __future__ import annotations

from typing import Any

import identity_world as world
import identity_world_runs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_world import Seen
from identity_world_runs import TEN_MINUTES, Runs

from transforms.identity.rules import CARRYING

ANN, BOB, ASKED = "cookie:a user:ann", "cookie:a user:bob", "user:ann"


def at(time: int, names: str, name: str = "view") -> Seen:
    return Seen(time * TEN_MINUTES, names, name=name)


def left_after(policy: str, *runs: list[Seen]) -> set[int]:
    """The times, in tens of minutes, of what is left."""
    several = Runs(world.rules(policy))
    for events in runs[:-1]:
        several.run(events)
    left = several.run(runs[-1])
    return {e.time // TEN_MINUTES for events in runs for e in events if e.id in left}


@pytest.mark.parametrize("policy", CARRYING)
def test_what_comes_after_the_erasure_and_was_in_the_hands_of_the_erased_login_goes_too(policy: str) -> None:
    evening = [at(0, BOB), at(10, ANN), at(12, ANN), at(20, BOB), at(30, ASKED, "erase")]
    # ten minutes after Ann's first event, and as long after Bob's
    assert left_after(policy, evening, [at(11, "cookie:a"), at(21, "cookie:a")]) == {0, 20, 21}


def test_a_visit_of_the_erased_login_is_known_by_its_pages_without_a_login() -> None:
    evening = [at(0, BOB), at(10, "cookie:a"), at(12, "cookie:a"), at(14, ANN), at(16, BOB), at(30, ASKED, "erase")]
    assert left_after("carry_visit", evening, [at(11, "cookie:a")]) == {0, 16}
    assert left_after("carry_forward", evening, [at(11, "cookie:a")]) == {0, 10, 11, 12, 16}


def test_a_logout_that_was_erased_still_ends_the_stretch() -> None:
    evening = [at(10, ANN), at(12, ANN, "logout"), at(20, BOB), at(30, ASKED, "erase")]
    assert left_after("carry_forward", evening, [at(11, "cookie:a"), at(13, "cookie:a")]) == {13, 20}


def test_a_later_event_of_the_erased_login_widens_its_stretch() -> None:
    evening = [at(0, BOB), at(10, ANN), at(20, BOB), at(22, "cookie:a"), at(30, ASKED, "erase")]
    assert left_after("carry_forward", evening, [at(21, ANN)]) == {0, 20}


def test_a_second_request_of_the_login_reaches_what_was_carried_to_it_since() -> None:
    first = [at(0, BOB), at(10, ANN), at(12, ASKED, "erase"), at(14, "cookie:a")]
    assert left_after("carry_forward", first) == {0, 14}
    assert left_after("carry_forward", first, [at(16, ASKED, "erase")]) == {0}


def test_a_device_that_an_erased_login_shared_is_not_the_other_ones_alone() -> None:
    """Bob's request does not cover what Ann did after hers."""
    first = [at(0, BOB), at(10, ANN), at(12, ASKED, "erase"), at(14, "cookie:a")]
    assert left_after("carry_forward", first, [at(16, "user:bob", "erase")]) == {14}


def test_what_is_erased_does_not_come_back_when_another_login_arrives_late() -> None:
    """The limit of it: all that had come said that it was in Ann's hands, and it was deleted."""
    evening = [at(0, BOB), at(10, ANN), at(12, "cookie:a"), at(30, ASKED, "erase")]
    late = [at(11, BOB), at(13, "cookie:a")]
    assert left_after("carry_forward", evening, late) == {0, 11, 13}
    assert left_after("carry_forward", [*evening, *late]) == {0, 11, 12, 13}


@pytest.mark.parametrize("policy", CARRYING)
@settings(max_examples=60, deadline=None)
@given(events=identity_world_runs.evenings(), rnd=st.randoms(use_true_random=False))
def test_erasures_over_any_runs_leave_what_each_of_them_with_all_that_had_come_would_leave(
    policy: str, events: list[Seen], rnd: Any
) -> None:
    rules = world.rules(policy)
    parts = list(identity_world_runs.parts_of(events, rnd))
    several = Runs(rules)
    for number, part in enumerate(parts):
        left = several.run(part)
        expected, whole = identity_world_runs.left_by(parts[: number + 1], rules)
        assert left.keys() == expected
        if expected == whole.keys():
            assert left == whole


@pytest.mark.parametrize("policy", CARRYING)
@settings(max_examples=60, deadline=None)
@given(events=identity_world_runs.evenings(), rnd=st.randoms(use_true_random=False))
def test_where_the_erasures_come_last_any_runs_give_what_one_run_gives(
    policy: str, events: list[Seen], rnd: Any
) -> None:
    """Then, and whatever comes of events that are no marks, twice or not at all, in further runs."""
    rules = world.rules(policy)
    asked = [e for e in events if e.name == "erase"]
    pages = [e for e in events if e.names == "cookie:a" and e.name == "view" and policy != "carry_visit"]
    late = rnd.sample(pages, len(pages) // 2)
    several = Runs(rules)
    for part in identity_world_runs.parts_of([e for e in events if e not in asked and e not in late], rnd):
        several.run(part)
    several.run(asked)
    for part in identity_world_runs.parts_of([*late, *rnd.sample(events, len(events) // 2)], rnd):
        several.run(part)
    assert several.run([]) == Runs(rules).run(events)
