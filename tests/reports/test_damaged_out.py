"""An output folder of an earlier version, or a damaged one: every command says what is wrong and how to mend it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from contracts.errors import OutputError, UsageError, WaylineError
from pipelines.cli import wayline
from pipelines.definitions import Definitions
from reports.lookup import JourneyTables
from transforms.stores.database import STORE_FILE
from transforms.tables.output import writing
from transforms.tables.part_names import parts_in
from transforms.tables.views import open_views

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("tables",),
    ("tables", "check"),
    ("query", "SELECT * FROM events"),
    ("query", "SELECT * FROM journeys"),
    ("metric", "persons"),
    ("report",),
    ("explain", "--person", "PERSON"),
    ("journey", "PERSON"),
    ("features", "show", "PERSON"),
    ("features", "history", "PERSON", "events_7d"),
    ("identity", "explain", "PERSON"),
    ("review", "--draw", "--list"),
    ("diff", "OUT"),
)
"""What reads tables; PERSON stands for somebody, OUT for the folder."""


def told(out: Path, person: str, *command: str) -> Result:
    words = [{"PERSON": person, "OUT": str(out)}.get(word, word) for word in command]
    place = [str(out)] if command[0] == "diff" else ["--out", str(out)]
    return CliRunner().invoke(wayline, [*words, *place])


@pytest.fixture(scope="module")
def person(tiny_out: Path, definitions: Definitions) -> str:
    tables = JourneyTables(tiny_out, definitions.tables)
    row = tables.first("journeys", "TRUE", order="events DESC, person_id")
    tables.close()
    assert row is not None
    return str(row["person_id"])


@pytest.fixture
def out(tiny_out: Path, tmp_path: Path) -> Path:
    """A copy by links, whose files are replaced, never changed in place."""
    shutil.copytree(tiny_out, tmp_path / "out", copy_function=os.link)
    (tmp_path / "out" / "wayline.duckdb").unlink()
    return tmp_path / "out"


def replaced(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def without_column(out: Path, table: str, column: str) -> None:
    """As a version wrote the table that had no such column yet."""
    for part in (out / "tables" / table).glob("*.parquet"):
        rows = pq.read_table(part).drop_columns([column])
        part.unlink()
        pq.write_table(rows, part)


def test_every_command_answers_of_a_sound_folder(out: Path, person: str) -> None:
    # the others are asked by tests of their own
    for command in COMMANDS[2:]:
        if command[0] not in ("report", "metric"):
            assert told(out, person, *command).exit_code == 0, command


@pytest.mark.parametrize("views", ["new", "old"])
def test_tables_of_an_earlier_version_are_told_to_be_that(
    out: Path, person: str, definitions: Definitions, views: str
) -> None:
    if views == "old":
        open_views(out, definitions.tables).close()
    for table, column in (
        ("events", "behaviours"),
        ("journeys", "horizon"),
        ("features", "at"),
        ("persons", "first_seen"),
    ):
        without_column(out, table, column)
    answered = 0
    for command in COMMANDS:
        done = told(out, person, *command)
        if done.exit_code == 0:
            answered += 1
            continue
        assert isinstance(done.exception, OutputError), (command, done.exception)
        assert "run" in done.exception.hint, command
    assert answered < len(COMMANDS) // 2


def _cut(out: Path) -> None:
    for table in ("events", "journeys", "features"):
        part = parts_in(out / "tables" / table)[0]
        replaced(part, part.read_bytes()[:-20])


def _spoil(out: Path) -> None:
    for table in ("events", "journeys", "features"):
        part = parts_in(out / "tables" / table)[0]
        data = bytearray(part.read_bytes())
        data[4 : len(data) // 2] = bytes(len(data) // 2 - 4)
        replaced(part, bytes(data))


@pytest.mark.parametrize("damage", [_cut, _spoil])
def test_a_damaged_part_is_told_by_every_command_that_needs_it(
    out: Path, person: str, damage: Callable[[Path], None]
) -> None:
    damage(out)
    for command in COMMANDS:
        done = told(out, person, *command)
        if done.exit_code:
            assert isinstance(done.exception, WaylineError), (command, done.exception)
            assert done.exception.hint, command


@pytest.mark.parametrize("junk", [b"", b"\0" * 20_000, bytes(range(256)) * 100])
def test_the_file_of_views_holds_nothing_and_is_made_again(out: Path, person: str, junk: bytes) -> None:
    replaced(out / "wayline.duckdb", junk)
    done = told(out, person, "query", "SELECT count(*) AS n FROM events", "--format", "csv")
    assert done.exit_code == 0, done.exception
    assert int(done.stdout.split()[1]) > 0


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT",
        "SELECT no_column FROM events",
        "SELECT * FROM no_table",
        "DROP TABLE events",
        "SELECT 1/0; SELECT 2",
        "SELECT CAST('a' AS INT)",
        "SELECT * FROM read_csv('/etc/passwd')",
        "\x00",
        "SELECT '\ud800'",
    ],
)
def test_a_wrong_query_is_called_wrong(tiny_out: Path, person: str, sql: str) -> None:
    done = told(tiny_out, person, "query", sql)
    assert isinstance(done.exception, UsageError), done.exception


@pytest.mark.parametrize("content", ["", "[]", '{"format": "1"}', "\xff"])
def test_a_folder_whose_format_cannot_be_read_is_refused_by_every_command(out: Path, person: str, content: str) -> None:
    replaced(out / "format.json", content.encode("latin-1"))
    for command in COMMANDS:
        done = told(out, person, *command)
        assert isinstance(done.exception, OutputError), (command, done.exception)


@pytest.mark.parametrize(
    "journal",
    [
        "junk",
        "[]",
        "{}",
        '{"rename": 5, "remove": []}',
        '{"rename": [["a"]], "remove": []}',
        '{"rename": [], "remove": ["../../victim"]}',
        '{"rename": [["format.json", "../victim"]], "remove": []}',
        '{"rename": [], "remove": ["VICTIM"]}',
    ],
)
def test_a_damaged_list_of_an_interrupted_commit_is_refused_and_touches_nothing_outside(
    out: Path, journal: str
) -> None:
    victim = out.parents[1] / "victim"
    victim.write_text("here")
    replaced(out / "commit.json", journal.replace("VICTIM", json.dumps(str(victim))[1:-1]).encode())
    before = (out / "format.json").read_bytes()
    with pytest.raises(OutputError, match=r"commit\.json") as refused, writing(out):
        pass
    assert refused.value.hint
    assert victim.read_text() == "here"
    assert (out / "format.json").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        (
            "horizon.parquet",
            (("query", "SELECT is_final FROM sessions"), ("report",), ("explain", "--person", "PERSON")),
        ),
        ("retired.json", (("tables", "compact"),)),
        ("stores", (("reconcile",),)),
    ],
)
def test_other_damaged_files_are_named(
    out: Path, person: str, name: str, commands: tuple[tuple[str, ...], ...]
) -> None:
    for path in [out / name] if "." in name else [out / name / STORE_FILE]:
        replaced(path, b"{" * 5_000)
    for command in commands:
        done = told(out, person, *command)
        assert isinstance(done.exception, OutputError), (command, done.exception)
        assert name in done.exception.message
