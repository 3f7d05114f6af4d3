"""--as-of: only what had happened and was known by then; a later run goes on from there, an earlier one is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from run_world import HOUR, NOON, Record, Runs, assert_same, event, letters_of

from contracts.errors import OutputError

T = 1_736_121_600_000_000 + 6 * 24 * HOUR


def known_by(records: list[Record], time: int) -> list[Record]:
    return [r for r in records if r["event_time"] <= time and r["received_time"] <= time]


@pytest.fixture(scope="module")
def early(make_runs: Callable[[str], Runs], dirty_world) -> Runs:
    """The dirty world as of a day in its middle."""
    runs = make_runs("as-of")
    runs.run_files(dirty_world.events, as_of=T)
    return runs


def test_as_of_equals_a_run_over_what_was_known_by_then(early: Runs, runs: Runs, dirty_world) -> None:
    known = known_by(dirty_world.records, T)
    assert 0 < len(known) < len(dirty_world.records)
    runs.run(known, as_of=T)
    names = [*runs.views(), "decisions", "actions", "labels", "dead_letters", "expired_late"]
    assert_same(early.views(names), runs.views(names))


def test_what_is_left_for_later_is_counted_and_not_received(early: Runs, dirty_world) -> None:
    total = early.reports[0].total
    known = len(known_by(dirty_world.records, T))
    assert (total.received, total.missing) == (known, 0)
    assert total.after_horizon == len(dirty_world.records) - known


def test_an_earlier_as_of_on_the_same_folder_is_refused_and_loses_nothing(early: Runs, dirty_world) -> None:
    before = early.views()
    with pytest.raises(OutputError, match="already knows events after --as-of") as refused:
        early.run_files(dirty_world.events, as_of=T - 24 * HOUR)
    assert refused.value.exit_code == 5
    assert_same(early.views(), before)


def test_an_event_that_was_received_after_as_of_is_known_too(runs: Runs) -> None:
    runs.run([event(1, "home_view", NOON, {"user_id": "u"}, received_time=NOON + 5 * HOUR)])
    with pytest.raises(OutputError, match="already knows events after --as-of"):
        runs.run([event(2, "home_view", NOON, {"user_id": "u"})], as_of=NOON + HOUR)


def test_a_run_without_as_of_goes_on_to_what_one_run_gives(early: Runs, dirty_run: Runs, dirty_world) -> None:
    # the last test of this folder: it changes it
    early.run_files(dirty_world.events)
    assert_same(early.views(), dirty_run.views())
    assert letters_of(dirty_run) <= letters_of(early)
