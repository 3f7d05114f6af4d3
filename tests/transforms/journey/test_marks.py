"""Marks are a mapping of numbers, whatever the order in which they come."""

from __future__ import annotations

from copy import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.journey.live.marks import Marks

numbers = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(st.tuples(st.sampled_from(["set", "delete"]), st.integers(-9, 9) | numbers, numbers)))
def test_marks_are_a_mapping(done: list[tuple[str, int, int]]) -> None:
    marks, expected = Marks(), dict[int, int]()
    for what, key, mark in done:
        if what == "set":
            marks[key] = expected[key] = mark
        elif key in expected:
            del marks[key], expected[key]
        else:
            with pytest.raises(KeyError):
                del marks[key]
        assert marks.get(key) == expected.get(key)
        assert (key in marks) == (key in expected)
    assert dict(marks) == expected
    assert list(marks) == sorted(expected)


def test_a_copy_goes_its_own_way() -> None:
    marks = Marks()
    marks[1] = 2
    other = copy(marks)
    other[1], other[3] = 5, 6
    assert dict(marks) == {1: 2}
    assert dict(other) == {1: 5, 3: 6}
