"""What the views and the data tests cost on an output folder: CPU, clock and rows of each.

``python -m benchmarks.views --out OUT [--run-cpu MICROSECONDS]``. OUT is only read: its views are made anew over its
parts, in a folder that is thrown away. A view is computed whole, every column of every row. ``--run-cpu`` is what the
run took an event, as ``benchmarks.pipeline`` tells it, and the share of the data tests is told of that.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table as Shown

from contracts.tables import Table
from pipelines.definitions import load_definitions
from reports.table_check import hold
from transforms.tables.data_tests import DataTest, data_tests
from transforms.tables.journey_views import journey_views
from transforms.tables.views import open_views


@dataclass(frozen=True)
class Cost:
    """``cpu`` and ``seconds`` of all threads together and of the clock; ``rows`` that came of it."""

    name: str
    rows: int
    cpu: float
    seconds: float


@click.command()
@click.option("--out", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--run-cpu", type=float, help="CPU microseconds an event of the run that made OUT.")
@click.option("--tests/--no-tests", default=True, show_default=True, help="Measure the data tests too.")
def main(out: Path, run_cpu: float | None, tests: bool) -> None:
    """Measure the views, and the data tests as a run makes them."""
    console = Console()
    events, views, checked = _measured(out, tests)
    _show(console, f"views, {events:,} events", views)
    if tests:
        _show(console, "data tests, rows that fail", checked)
        if run_cpu:
            share = sum(cost.cpu for cost in checked) / (events * run_cpu / 1e6)
            console.print(f"data tests: {share:.1%} of the CPU of the run")


def costs(out: Path) -> tuple[int, list[Cost]]:
    """How many events there are, and what each view costs and all data tests together."""
    events, views, checked = _measured(out, tests=True)
    total = Cost("data tests", 0, sum(cost.cpu for cost in checked), sum(cost.seconds for cost in checked))
    return events, [*views, total]


def _measured(out: Path, tests: bool) -> tuple[int, list[Cost], list[Cost]]:
    """The number of events, the views, and the data tests if they are asked for."""
    tables = load_definitions(None).tables
    with tempfile.TemporaryDirectory() as folder:
        connection = _opened(out, Path(folder), tables)
        try:
            (events,) = connection.execute("SELECT count(*) FROM events").fetchone()
            names = [*(table.name for table in tables), *(view.name for view in journey_views(tables))]
            views = [_whole(connection, name) for name in names]
            checked = []
            if tests:
                checked = [_held(connection, tables), *(_test(connection, test) for test in data_tests(tables))]
            return int(events), views, checked
        finally:
            connection.close()


def _opened(out: Path, folder: Path, tables: Sequence[Table]) -> Any:
    """The views of OUT, over its parts where they are."""
    (folder / "tables").symlink_to((out / "tables").resolve())
    if (horizon := out / "horizon.parquet").exists():
        (folder / horizon.name).symlink_to(horizon.resolve())
    return open_views(folder, tables)


def _whole(connection: Any, name: str) -> Cost:
    """Every column of every row of a view."""
    begun, clock = time.process_time(), time.perf_counter()
    (rows, _) = connection.execute(f"SELECT count(*), bit_xor(hash(v)) FROM {name} AS v").fetchone()
    return Cost(name, rows, time.process_time() - begun, time.perf_counter() - clock)


def _held(connection: Any, tables: Sequence[Table]) -> Cost:
    """What all tests need first: everything computed once."""
    begun, clock = time.process_time(), time.perf_counter()
    hold(connection, tables)
    return Cost("(tables and views, computed once)", 0, time.process_time() - begun, time.perf_counter() - clock)


def _test(connection: Any, test: DataTest) -> Cost:
    begun, clock = time.process_time(), time.perf_counter()
    (rows,) = connection.execute(f"SELECT count(*) FROM ({test.sql})").fetchone()
    return Cost(test.name, rows, time.process_time() - begun, time.perf_counter() - clock)


def _show(console: Console, title: str, costs: Sequence[Cost]) -> None:
    table = Shown(title=title, title_justify="left")
    for column in ("", "rows", "CPU s", "s"):
        table.add_column(column, justify="right" if column else "left")
    total = Cost("all", sum(c.rows for c in costs), sum(c.cpu for c in costs), sum(c.seconds for c in costs))
    for cost in (*sorted(costs, key=lambda cost: -cost.cpu), total):
        table.add_row(cost.name, f"{cost.rows:,}", f"{cost.cpu:.2f}", f"{cost.seconds:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
