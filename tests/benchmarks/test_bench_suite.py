"""``make bench``: each part is measured at each size, into one document and onto the page."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.figures import Part, Run, document, page_lines
from benchmarks.page_part import END, begin, marked, renewed
from benchmarks.suite import MAKE, PARTS, main

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
MANY = {f"step {n}": float(n) for n in range(12)}
LINKS = Part(
    "link stage",
    "links",
    (
        Run(1_000, 900, 0.5, 0.45, 100_000_000, MANY),
        Run(10_000, 9_000, 6.0, 5.4, 250_000_000, {name: 2 * each for name, each in MANY.items()}),
    ),
)
EVENTS = Part("pipeline", "events", (Run(1_000, 1_010, 2.0, 3.03, 300_000_000, {"read": 10.0}),))


def test_growth_is_told_as_ratios_to_the_smallest_size() -> None:
    told = document([EVENTS, LINKS], "the command", 2, "3.11.9")
    assert (told["command"], told["cores"], told["python"]) == ("the command", 2, "3.11.9")
    (events, links) = told["parts"]
    assert events["runs"][0]["of_the_first"] == {"count": 1, "seconds": 1, "cpu_us_each": 1, "peak_bytes": 1}
    larger = links["runs"][1]
    assert larger["of_the_first"] == pytest.approx({"count": 10, "seconds": 12, "cpu_us_each": 1.2, "peak_bytes": 2.5})
    assert larger["cpu_us_each"] == pytest.approx(600)
    assert larger["steps_us_each"]["step 11"] == 22.0


def test_the_page_tells_every_part_and_size_and_the_dearest_steps() -> None:
    lines = page_lines([EVENTS, LINKS], "the command", 2, "3.11.9")
    assert "2 cores, Python 3.11.9. In brackets: as against the smallest." in lines
    assert "| pipeline | 1,000 | 1,010 events | 2.0 | 505 | 3,000.0 | 300 |" in lines
    assert "| link stage | 10,000 | 9,000 links | 6.0 | 1,500 | 600.0 (1.20) | 250 (2.50) |" in lines
    steps = [line for line in lines if line.startswith("| link stage: ")]
    assert steps[0] == "| link stage: step 11 | 11.00 | 22.00 |"
    assert steps[-1] == "| link stage: 4 others together | 6.00 | 12.00 |"
    assert not any("pipeline: " in line for line in lines), "its steps have a table of their own"


def test_the_page_has_its_place_for_the_suite() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count(begin(MAKE)) == 1
    assert "the command" in renewed(text, marked(MAKE, page_lines([LINKS], "the command", 2, "3.11.9")))


def test_parts_are_measured_in_processes_of_their_own_and_written(tmp_path: Path) -> None:
    json_file, page = tmp_path / "new" / "bench.json", tmp_path / "page.md"
    page.write_text(f"before\n{begin(MAKE)}\n\n{END}\nafter\n", encoding="utf-8")
    chosen = ["--sizes", "400", "--parts", "resolution", "--json", str(json_file), "--write", str(page)]
    done = CliRunner().invoke(main, chosen, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    (part,) = json.loads(json_file.read_text(encoding="utf-8"))["parts"]
    (run,) = part["runs"]
    assert (part["part"], run["asked"]) == ("resolution", 400)
    assert run["count"] == pytest.approx(400, rel=0.1)
    assert run["peak_bytes"] > 10_000_000
    assert all(each > 0 for each in run["steps_us_each"].values())
    text = page.read_text(encoding="utf-8")
    assert "python -m benchmarks.suite --sizes 400 --parts 'resolution'" in text
    assert f"{os.cpu_count()} cores" in text
    assert (text.startswith("before\n"), text.endswith("after\n")) == (True, True)


@pytest.mark.parametrize("name", ["poison", "link stage", "link stage with store"])
def test_a_part_tells_what_each_of_its_steps_costs(name: str) -> None:
    measure = PARTS[name][1]
    assert measure is not None
    run = measure(400)
    assert run.asked == 400
    assert run.count > 0
    # to the clock of the CPU, which counts in steps
    assert sum(run.steps.values()) == pytest.approx(run.cost, rel=0.01)


def test_a_part_that_does_not_exist_is_refused() -> None:
    done = CliRunner().invoke(main, ["--parts", "resolutoin"])
    assert done.exit_code == 2
    assert "link stage" in done.output
