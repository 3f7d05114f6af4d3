"""Rows of decisions that are erased: noted before they are forgotten, taken back by whoever comes next, for good."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import OutputError
from contracts.tables import ACTIONS, DECISIONS, LABELS
from transforms.tables.decided_notes import TakeBack, note_decided, read_noted
from transforms.tables.output import OutputFolder
from transforms.tables.pane import PaneWriter
from transforms.tables.sql import newest_rows, parts_sql
from transforms.tables.stated import stated

NOON = 1_750_000_000_000_000


@pytest.fixture
def folder(tmp_path: Path) -> OutputFolder:
    made = OutputFolder(tmp_path)
    for table in (DECISIONS, ACTIONS, LABELS):
        (made.tables / table.name).mkdir(parents=True)
    return made


def state(folder: OutputFolder, pane: int, revision: int) -> None:
    """A row for each of two decisions, in all tables, as an engine's pane."""
    rows = {
        table: [tuple(f"{table.name[0]}{n}" if c.name == table.key[0] else None for c in table.columns) for n in (1, 2)]
        for table in (DECISIONS, ACTIONS)
    }
    rows[LABELS] = [tuple(f"d{n}" if c.name == "decision_id" else None for c in LABELS.columns) for n in (1, 2)]
    PaneWriter(folder.root, rows, 1).write(
        b"0", pane, [stated(table, revision, found) for table, found in rows.items()]
    )


def shown(folder: OutputFolder) -> list[list[str]]:
    import duckdb

    found = []
    for table in (DECISIONS, ACTIONS, LABELS):
        newest = newest_rows(table, parts_sql(sorted((folder.tables / table.name).glob("*.parquet"))))
        rows = duckdb.execute(f"SELECT {table.key[0]} FROM ({newest}) WHERE NOT is_deleted ORDER BY 1").fetchall()
        found.append([key for (key,) in rows])
    return found


def test_rows_that_were_noted_are_no_more_also_when_they_are_stated_again(folder: OutputFolder) -> None:
    state(folder, 0, NOON)
    note_decided(folder.decided_notes, ["d1"], ["a1"])
    assert TakeBack(folder, 1, lambda: NOON - 5).run() == 1, "its clock may be behind"
    assert shown(folder) == [["d2"], ["a2"], ["d2"]]
    state(folder, 1, NOON + 5)
    assert shown(folder) == [["d2"], ["a2"], ["d2"]]
    assert not list(folder.decided_notes.iterdir())


def test_what_one_who_died_left_is_taken_back_by_the_next(folder: OutputFolder) -> None:
    state(folder, 0, NOON)
    note_decided(folder.decided_notes, ["d1"], [])
    note_decided(folder.decided_notes, ["d1"], [])
    note_decided(folder.decided_notes, ["d2"], ["a1", "a2"])
    assert TakeBack(folder, 2, lambda: NOON).run() == 2
    assert shown(folder) == [[], [], []]
    assert TakeBack(folder, 3, lambda: NOON).run() == 0
    assert read_noted(folder.decided_notes).paths == ()


def test_a_damaged_note_is_named(folder: OutputFolder) -> None:
    note_decided(folder.decided_notes, ["d1"], ["a1"])
    (path,) = folder.decided_notes.iterdir()
    path.write_text("[[")
    with pytest.raises(OutputError, match=path.name):
        TakeBack(folder, 1, lambda: NOON).run()
