"""Different things in bounded memory: exact up to the limit, near it beyond, and comparable thing by thing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reports.audit.sample import Number, Sample, hashed, in_both


def sample(things: range | set[int], limit: int) -> Sample[None]:
    made: Sample[None] = Sample(limit)
    for thing in things:
        made.put(hashed("n", str(thing)), None)
    return made


@given(st.sets(st.integers(0, 500)), st.sets(st.integers(0, 500)))
def test_up_to_the_limit_all_numbers_are_exact(a: set[int], b: set[int]) -> None:
    one, other = sample(a, 512), sample(b, 512)
    assert one.size == Number(len(a), True)
    assert in_both(one, other) == in_both(other, one) == Number(len(a & b), True)


@given(st.sets(st.integers(0, 500), min_size=1), st.integers(1, 64))
def test_no_more_is_kept_than_the_limit_and_what_is_kept_does_not_depend_on_order(things: set[int], limit: int) -> None:
    forth, back = sample(things, limit), Sample[None](limit)
    for thing in sorted(things, reverse=True):
        back.put(hashed("n", str(thing)), None)
    assert len(forth.kept) <= limit
    assert (forth.kept, forth.level) == (back.kept, back.level)


def test_beyond_the_limit_numbers_are_near_and_say_that_they_are_estimates() -> None:
    one, other = sample(range(40_000), 2_048), sample(range(30_000, 130_000), 2_048)
    for found, true in ((one.size, 40_000), (other.size, 100_000)):
        assert not found.exact
        # five standard errors of the least number that is kept
        assert abs(found.value - true) < 5 * true / 1_024**0.5
    shared = in_both(one, other)
    assert not shared.exact
    assert abs(shared.value - 10_000) < 5 * 10_000 / (10_000 / 2**other.level) ** 0.5


def test_the_parts_of_a_hashed_thing_are_told_apart() -> None:
    assert hashed("a", "b") != hashed("ab") != hashed("a", "", "b")
