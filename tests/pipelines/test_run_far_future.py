"""An event from a broken clock is a dead letter, and nobody's horizon moves by it."""

from __future__ import annotations

import pytest
from run_world import DAY, MINUTE, NOON, Record, Runs, assert_same, event

from pipelines.plan import greatest_time
from transforms.validate import YEAR_2100

START = NOON + 3 * DAY
SKEW = 10 * MINUTE
YEAR_2096 = 3_976_214_400_000_000


def sound() -> list[Record]:
    """Three persons of one visit each; their journeys are open, so a later horizon would show."""
    return [
        event(f"{person}-{step}", name, NOON + step * MINUTE, {"user_id": f"u{person}"})
        for person in range(3)
        for step, name in enumerate(("home_view", "product_view", "add_to_cart"))
    ]


def broken() -> list[Record]:
    """Both times of an event are far ahead: by a person of its own, by one of the others, and by a minute too much."""
    return [
        event("far", "home_view", YEAR_2096, {"user_id": "u9"}),
        event("far-too", "home_view", YEAR_2096 + DAY, {"user_id": "u1"}),
        event("just", "home_view", START + SKEW + MINUTE, {"user_id": "u2"}),
    ]


def test_an_event_of_the_future_is_a_dead_letter_and_changes_no_row(
    runs: Runs, tmp_path_factory: pytest.TempPathFactory
) -> None:
    clean = Runs(tmp_path_factory.mktemp("clean"), runs.config)
    clean.run(sound(), now=START)
    total = runs.run([*sound(), *broken()], now=START).total
    assert (total.received, total.accepted, total.dead_lettered, total.missing) == (12, 9, 3, 0)
    assert runs.query("SELECT reason, count(*) FROM dead_letters GROUP BY 1") == [("time_out_of_range", 3)]
    assert_same(runs.views(), clean.views())


def test_an_as_of_in_the_future_does_not_let_it_in(runs: Runs) -> None:
    total = runs.run([*sound(), *broken()], now=START, as_of=YEAR_2096 + 2 * DAY).total
    assert (total.accepted, total.dead_lettered, total.after_horizon) == (9, 3, 0)


def test_a_run_without_a_given_start_reads_the_clock(runs: Runs) -> None:
    total = runs.run([*sound(), broken()[0]]).total
    assert (total.accepted, total.dead_lettered) == (9, 1)


def test_the_greatest_time_is_the_start_and_the_skew() -> None:
    assert greatest_time(START, SKEW) == START + SKEW
    assert greatest_time(None, SKEW) == greatest_time(YEAR_2100, SKEW) == YEAR_2100 - 1
