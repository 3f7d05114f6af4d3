"""While one process writes an output folder, every other writer is refused and told why, and readers go on reading."""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from run_world import MINUTE, NOON, Runs, event

from contracts.errors import LockedError
from pipelines.cli import wayline
from pipelines.definitions import load_definitions
from reports.table_overview import query, table_sizes
from reports.written import report_page
from transforms.tables.output import OutputFolder, writing
from transforms.tables.retired import compacting
from transforms.tables.views import open_views


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


def _half_moved(written: Runs, out: Path) -> tuple[OutputFolder, list[tuple[str, str]]]:
    """A copy whose last commit stands in its journal and is half made; and the moves that are left."""
    shutil.copytree(written.out, out)
    folder = OutputFolder(out)
    moves = []
    for part in sorted(folder.tables.rglob("r000002-*.parquet")):
        staged = folder.staging / part.parent.name / part.name
        staged.parent.mkdir(parents=True, exist_ok=True)
        part.rename(staged)
        moves.append((str(staged.relative_to(out)), str(part.relative_to(out))))
    folder.journal.write_text(json.dumps({"rename": moves, "remove": []}))
    for source, target in moves[::2]:
        (out / source).rename(out / target)
    assert len(moves) > 4
    return folder, moves[1::2]


READS = ("SELECT count(*) FROM events", "SELECT sum(events) FROM journeys", "SELECT count(*) FROM features")


def _read(out: Path, runs: Runs) -> list[object]:
    return [query(out, load_definitions(runs.config).tables, sql)[1] for sql in READS]


def _looked(out: Path, runs: Runs) -> list[object]:
    """The same as one page of the board reads it. What `query` forbids, it forbids to all connections of a process."""
    with closing(open_views(out, load_definitions(runs.config).tables)) as connection:
        return [connection.execute(sql).fetchall() for sql in READS]


def test_a_commit_whose_process_died_in_its_midst_is_finished_by_who_reads(written: Runs, tmp_path: Path) -> None:
    folder, _ = _half_moved(written, tmp_path / "out")
    assert _read(folder.root, written) == _read(written.out, written)
    assert not folder.journal.exists()


def test_who_reads_in_the_midst_of_a_commit_waits_for_all_of_it(written: Runs, tmp_path: Path) -> None:
    folder, left = _half_moved(written, tmp_path / "out")
    tables = load_definitions(written.config).tables
    readers: tuple[Callable[[], object], ...] = (
        lambda: _looked(folder.root, written),
        lambda: [(size.name, size.rows) for size in table_sizes(folder.root, tables)],
        lambda: len(report_page(folder.root, tables, lambda connection: "")),
    )
    expected = (
        _looked(written.out, written),
        [(size.name, size.rows) for size in table_sizes(written.out, tables)],
        len(report_page(written.out, tables, lambda connection: "")),
    )
    with ThreadPoolExecutor() as pool:
        # as the run has it
        with (folder.root / ".lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            asked = [pool.submit(read) for read in readers]
            time.sleep(0.1)
            assert not any(one.done() for one in asked)
            for source, target in left:
                (folder.root / source).rename(folder.root / target)
            folder.journal.unlink()
        assert tuple(one.result(timeout=60) for one in asked) == expected


def test_who_may_not_write_reads_what_is_there(written: Runs, tmp_path: Path) -> None:
    folder, _ = _half_moved(written, tmp_path / "out")
    (folder.root / ".lock").unlink()
    assert _read(folder.root, written)
    assert folder.journal.exists()
