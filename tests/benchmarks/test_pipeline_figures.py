"""What the benchmark of the pipeline tells of its runs, in a table, on a page and as JSON, is the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.measure import Usage
from benchmarks.page_part import marked, renewed
from benchmarks.pipeline import MAKE, Result, as_json, page_lines, rows_of

COMMAND = "python -m benchmarks.pipeline --events 1000,2000"
RUNS = [
    Result(1_000, Usage(2.0, 0.5, 400_000_000, "", 0), {"read": 100_000.0, "journey.fold": 50_000.0}),
    Result(2_000, Usage(2.5, 0.8, 450_000_000, "", 0), {"read": 100_000.0, "journey.fold": 60_000.0}),
]


def test_cost_and_speed_follow_from_what_a_run_used() -> None:
    rows = dict(rows_of(RUNS))
    assert rows["events/s"] == ["500", "800"]
    assert rows["CPU us/event"] == ["500", "400"]
    assert rows["cost relative to the first"] == ["1.00", "0.80"]
    assert rows["read, us/event"] == ["100.0", "50.0"]
    assert rows["  fold"] == ["50.0", "30.0"]
    assert rows["start of processes, runner, transport"] == ["400.0", "350.0"]


def test_the_json_names_command_and_cores_and_tells_each_run() -> None:
    told = json.loads(as_json(RUNS, COMMAND, 2))
    assert (told["command"], told["cores"]) == (COMMAND, 2)
    assert [run["events_a_second"] for run in told["runs"]] == [500.0, 800.0]
    assert [run["cost_relative_to_the_first"] for run in told["runs"]] == pytest.approx([1.0, 0.8])
    assert told["runs"][1]["stages_us_an_event"] == {"read": 50.0, "journey.fold": 30.0}


def test_the_page_has_a_place_for_the_figures_with_command_and_cores() -> None:
    page = (Path(__file__).parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
    new = renewed(page, marked(MAKE, page_lines(RUNS, COMMAND, 2)))
    assert COMMAND in new
    assert "2 cores." in new
    assert "| events/s | 500 | 800 |" in new
