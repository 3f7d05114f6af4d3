"""While one process writes an output folder, every other writer is refused and told why, and readers go on reading."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from run_world import MINUTE, NOON, Runs, event

from contracts.errors import LockedError
from pipelines.cli import wayline
from transforms.tables.output import writing
from transforms.tables.retired import compacting


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, config_file: Path) -> Runs:
    runs = Runs(tmp_path_factory.mktemp("written"), config_file)
    for number in range(2):
        at = NOON + number * 60 * MINUTE
        runs.run([event(f"{number}-{n}", "home_view", at + n * MINUTE, {"user_id": "ann"}) for n in range(3)])
    return runs


@pytest.fixture
def held(written: Runs) -> Iterator[Runs]:
    """Its folder is held as a run holds it."""
    with writing(written.out) as folder, compacting(folder):
        yield written


def _refused(*arguments: str) -> LockedError:
    done = CliRunner().invoke(wayline, list(arguments))
    assert isinstance(done.exception, LockedError), done.output
    assert done.exception.exit_code == 7
    assert done.exception.hint
    return done.exception


def test_no_second_writer_gets_in(held: Runs) -> None:
    files, out, config = str(held.root / "input-0"), str(held.out), str(held.config)
    before = held.query("FROM journeys")
    kept = {path: path.read_bytes() for path in held.out.rglob("*.parquet")}
    common = ("--out", out, "--config", config)
    for command in (
        ("run", "--input", files, *common),
        ("stream", "--source", "files", "--input", files, "--runner", "DirectRunner", *common),
        ("reconcile", *common),
    ):
        assert "another process is writing" in _refused(*command).message, command[0]
    assert held.query("FROM journeys") == before
    assert {path: path.read_bytes() for path in held.out.rglob("*.parquet")} == kept


def test_a_compaction_is_refused_beside_a_run(held: Runs) -> None:
    refused = _refused("tables", "compact", "--out", str(held.out), "--config", str(held.config))
    assert "a bounded run is writing them" in refused.message


def test_tables_are_told_while_they_are_written(held: Runs) -> None:
    for command in (("report",), ("query", "SELECT count(*) FROM events"), ("metric", "persons"), ("tables",)):
        done = CliRunner().invoke(wayline, [*command, "--out", str(held.out), "--config", str(held.config)])
        assert done.exit_code == 0, done.output
