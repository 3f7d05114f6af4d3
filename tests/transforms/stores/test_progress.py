"""Progress only grows, whoever notes it and in whatever order; on both databases."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_world import Place

from transforms.stores.progress import Progress, open_progress


@pytest.fixture
def progress(place: Place) -> Iterator[Progress]:
    opened = open_progress(place.address, timeout=20)
    yield opened
    opened.close()


def test_nothing_noted_is_no_value(progress: Progress) -> None:
    assert progress.value("accepted") is None
    progress.note("accepted", 0)
    assert progress.value("accepted") == 0
    assert progress.value("other") is None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(notes=st.lists(st.tuples(st.sampled_from(["a", "ü ?%s"]), st.integers(-(2**63), 2**63 - 1)), max_size=8))
def test_the_greatest_value_of_each_name_is_kept(progress: Progress, notes: list[tuple[str, int]]) -> None:
    expected = {name: progress.value(name) for name, _ in notes}
    for name, value in notes:
        progress.note(name, value)
        held = expected[name]
        expected[name] = value if held is None else max(held, value)
        assert progress.value(name) == expected[name]


def test_it_outlives_who_noted_it(place: Place) -> None:
    first = open_progress(place.address)
    first.note("accepted", 7)
    first.close()
    second = open_progress(place.address)
    second.note("accepted", 3)
    assert second.value("accepted") == 7
    second.close()


def test_several_writers_at_once_lose_no_greater_value(place: Place) -> None:
    several = [open_progress(place.address, timeout=60) for _ in range(3)]

    def writing(number: int) -> None:
        for value in range(number, 60, 3):
            several[number].note("accepted", value)

    threads = [threading.Thread(target=writing, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert several[0].value("accepted") == 59
    for one in several:
        one.close()
