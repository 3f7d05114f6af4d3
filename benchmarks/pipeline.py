"""The whole pipeline on simulated worlds of several sizes: events a second, memory, and where the CPU goes.

``python -m benchmarks.pipeline --events 100000,1000000``. Worlds are simulated once into ``bench-out/``, and a model is
trained on the smallest, which then scores every point of every run, so that all stages do their work. Each run is a
process of its own with an output folder of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Usage, measured
from benchmarks.page_part import marked, renewed

FOLDER = Path("bench-out")
_EVENTS_A_CUSTOMER = 78
"""In thirty days of the default world. All sizes have the same days, so that journeys are alike."""
_DAYS, _SEED, _START = 30, 7, "2025-01-06"
_ONE_THREAD = {"OMP_NUM_THREADS": "1"}
STAGES = (
    "read",
    "validate",
    "protect",
    "link",
    "strand",
    "journey",
    "act",
    "learn",
    "tables",
    "rest",
    "commit",
    "data_tests",
)
STEPS = ("fold", "features", "score", "stage", "decide", "write")
MAKE = "make bench-pipeline"
_WHOLE = 5
"""How many rows of the table are about a whole run."""


@dataclass(frozen=True)
class Result:
    """One run. ``profile``: CPU microseconds by stage of the whole run."""

    received: int
    usage: Usage
    profile: dict[str, float]

    @property
    def cost(self) -> float:
        """CPU microseconds an event, everything included."""
        return self.usage.cpu / self.received * 1e6

    def of(self, stage: str) -> float:
        """CPU microseconds an event in one stage."""
        return self.profile.get(stage, 0.0) / self.received


@click.command()
@click.option("--events", default="100000,1000000", show_default=True, help="Sizes, separated by commas.")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes of the runner. Default: as `wayline run`.")
@click.option("--model/--no-model", default=True, show_default=True, help="Score, or use rules alone.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures there as well.")
@click.option("--write", "page", type=click.Path(path_type=Path), help="Renew the figures of this page.")
def main(events: str, workers: int | None, model: bool, json_file: Path | None, page: Path | None) -> None:
    """Measure the whole pipeline, as a user runs it."""
    console = Console()
    sizes = sorted(int(size) for size in events.split(","))
    results = measure(console, sizes, workers, model=model)
    _show(console, results)
    options = f"{f' --workers {workers}' if workers else ''}{'' if model else ' --no-model'}"
    command = f"python -m benchmarks.pipeline --events {events}{options}"
    if json_file is not None:
        json_file.write_text(as_json(results, command, os.cpu_count()), encoding="utf-8")
    if page is not None:
        new = marked(MAKE, page_lines(results, command, os.cpu_count()))
        page.write_text(renewed(page.read_text(encoding="utf-8"), new), encoding="utf-8")


def measure(console: Console, sizes: Sequence[int], workers: int | None, *, model: bool) -> list[Result]:
    """Run the pipeline once at each size; worlds and the model are made where they are not there yet."""
    for size in sizes:
        _world(console, size)
    registry = _registry(console, sizes[0]) if model else FOLDER / "no-registry"
    return [_run(console, size, registry, workers) for size in sizes]


def _world(console: Console, size: int) -> None:
    world = FOLDER / f"world-{size}"
    if (world / "events").is_dir():
        return
    console.print(f"simulating about {size:,} events")
    customers = max(1, round(size / _EVENTS_A_CUSTOMER))
    _wayline(
        "simulate", f"--out={world}", f"--customers={customers}", f"--days={_DAYS}", f"--seed={_SEED}",
        f"--start={_START}",
    )  # fmt: skip


def _registry(console: Console, size: int) -> Path:
    """The registry with a model that is in force from the first event on; without one where training is refused."""
    out = FOLDER / "train"
    if not (out / "registry" / "champion.json").exists():
        console.print("training a model on the smallest world")
        shutil.rmtree(out, ignore_errors=True)
        _wayline("run", f"--input={FOLDER / f'world-{size}' / 'events'}", f"--out={out}")
        try:
            _wayline("train", f"--out={out}", f"--activate-at={_START}")
        except subprocess.CalledProcessError:
            console.print(
                "[yellow]no model passed the gates on so small a world: rules alone, nothing is scored[/yellow]"
            )
    return out / "registry"


def _wayline(*arguments: str) -> None:
    command = [sys.executable, "-m", "pipelines.cli", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **_ONE_THREAD})


def _run(console: Console, size: int, registry: Path, workers: int | None) -> Result:
    # what the features are computed with is much to load, and needed here only
    from benchmarks.features import feature_share

    out = FOLDER / f"run-{size}"
    shutil.rmtree(out, ignore_errors=True)
    console.print(f"running {size:,} events")
    command = [sys.executable, "-m", "benchmarks.one_run", str(FOLDER / f"world-{size}" / "events"), str(out)]
    usage = measured([*command, str(registry), *([str(workers)] if workers else [])], _ONE_THREAD)
    if usage.code:
        raise click.ClickException(f"the run of {size:,} events ended with {usage.code}")
    report = json.loads(usage.output.splitlines()[-1])
    profile = {stage: float(spent) for stage, spent in report["profile"].items()}
    fold = profile.get("journey.fold", 0.0)
    profile["journey.features"] = fold * feature_share(out)
    profile["journey.fold"] = fold - profile["journey.features"]
    result = Result(report["received"], usage, profile)
    rows = sum(report["gained"].values())
    console.print(f"  {usage.seconds:.1f} s, {usage.cpu:.1f} s of CPU, {rows:,} rows written")
    return result


def rows_of(results: Sequence[Result]) -> list[tuple[str, list[str]]]:
    """What is told of the runs: a name and a value a run. The names of steps within a stage begin with two spaces."""
    known = [sum(r.of(stage) for stage in STAGES) for r in results]
    rows = [
        ("events/s", [f"{r.received / r.usage.seconds:,.0f}" for r in results]),
        ("seconds", [f"{r.usage.seconds:,.1f}" for r in results]),
        ("CPU us/event", [f"{r.cost:,.0f}" for r in results]),
        ("cost relative to the first", [f"{r.cost / results[0].cost:.2f}" for r in results]),
        ("peak MB, all processes together", [f"{r.usage.peak / 1e6:,.0f}" for r in results]),
    ]
    for stage in STAGES:
        rows.append((f"{stage}, us/event", [f"{r.of(stage):.1f}" for r in results]))
        if stage == "journey":
            rows += [(f"  {step}", [f"{r.of(f'journey.{step}'):.1f}" for r in results]) for step in STEPS]
    rest = [f"{r.cost - k:.1f}" for r, k in zip(results, known, strict=True)]
    return [*rows, ("start of processes, runner, transport", rest)]


def as_json(results: Sequence[Result], command: str, cores: int | None) -> str:
    """The runs for machines: seconds, bytes, CPU microseconds an event by stage, in all and relative to the first."""
    runs = [
        {
            "events": r.received,
            "seconds": r.usage.seconds,
            "events_a_second": r.received / r.usage.seconds,
            "cpu_us_an_event": r.cost,
            "cost_relative_to_the_first": r.cost / results[0].cost,
            "peak_bytes": r.usage.peak,
            "stages_us_an_event": {name: r.of(name) for name in r.profile},
        }
        for r in results
    ]
    return json.dumps({"command": command, "cores": cores, "runs": runs}, indent=2) + "\n"


def page_lines(results: Sequence[Result], command: str, cores: int | None) -> list[str]:
    """The same for people, as the lines of a page."""
    heads = [f"{r.received:,} events" for r in results]
    lines = ["```", command, "```", "", f"{cores} cores.", ""]
    lines += [f"| | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    for name, values in rows_of(results):
        told = f"&nbsp;&nbsp;{name.strip()}" if name.startswith("  ") else name
        lines.append(f"| {told} | {' | '.join(values)} |")
    return lines


def _show(console: Console, results: Sequence[Result]) -> None:
    table = Table(title=f"the whole pipeline on {os.cpu_count()} cores", title_justify="left")
    table.add_column("")
    for result in results:
        table.add_column(f"{result.received:,} events", justify="right")
    for number, (name, values) in enumerate(rows_of(results)):
        table.add_row(name, *values)
        if number == _WHOLE - 1:
            table.add_section()
    console.print(table)


if __name__ == "__main__":
    main()
