"""A run makes the data tests after its commit: what fails is told in its summary and fails nothing."""

from __future__ import annotations

import io
from pathlib import Path

import duckdb
from rich.console import Console

from contracts.event import DAY
from pipelines.commands.run import print_report
from pipelines.definitions import Definitions
from pipelines.run import run
from pipelines.run_options import RunOptions
from reports.table_check import failures
from sources.simulator.config import WorldConfig
from sources.simulator.world import simulate
from transforms.tables.data_tests import data_tests
from transforms.tables.metrics import empty_tables


def _told(out: Path, options: RunOptions, definitions: Definitions) -> str:
    console = Console(file=io.StringIO(), width=100)
    print_report(console, out, run(options, definitions=definitions))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_run_tells_a_failed_data_test_by_name_rows_and_query_and_commits_all_the_same(
    tmp_path: Path, definitions: Definitions
) -> None:
    simulate(WorldConfig(customers=3, days=4, seed=5), tmp_path / "world")
    parts = tuple(sorted(str(path) for path in (tmp_path / "world" / "events").glob("*.avro")))
    out = tmp_path / "out"
    assert "data test" not in _told(out, RunOptions(parts, out), definitions)
    base = duckdb.connect(str(out / "wayline.duckdb"), read_only=True)
    (newest,) = base.execute("SELECT max(epoch_us(event_time)) FROM events").fetchone() or (0,)
    base.close()
    said = _told(out, RunOptions(parts, out, as_of=newest + 2 * DAY), definitions)
    assert "data test events.are_fresh fails: 1 rows" in said
    assert "max(horizon)" in said
    assert "the ledger balances" in said


def test_what_is_computed_once_for_all_tests_answers_as_the_views_do_and_is_gone(
    definitions: Definitions,
) -> None:
    tables = definitions.tables
    base = empty_tables(tables)
    base.execute("INSERT INTO actions (action_id, status) VALUES ('a', 'lost'), ('b', 'sent'), ('b', 'sent')")
    base.execute("INSERT INTO sessions (session_id, person_id, channel) VALUES ('s', 'nobody', 'web')")
    base.execute("INSERT INTO events (event_id, event_time) VALUES ('e', TIMESTAMPTZ '2026-01-01 00:00:00+00')")
    base.execute("INSERT INTO journeys (person_id, horizon) VALUES ('p', TIMESTAMPTZ '2026-02-01 00:00:00+00')")
    asked = {test.name: len(base.execute(test.sql).fetchall()) for test in data_tests(tables)}
    told = failures(base, tables)
    assert {failure.name: failure.rows for failure in told} == {name: rows for name, rows in asked.items() if rows}
    assert {"actions.key_is_unique", "events.are_fresh", "sessions.person_id_is_in_persons"} <= {f.name for f in told}
    for failure in told:
        assert len(base.execute(failure.sql).fetchall()) == failure.rows
    assert base.execute("SELECT count(*) FROM duckdb_tables() WHERE temporary").fetchone() == (0,)
    base.close()
