"""The online table: the newest revision wins in any order, the removed stay removed, several processes may write."""

from __future__ import annotations

import itertools
import multiprocessing
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import LockedError, OutputError
from features.online_table import OnlineRow, OnlineTable

NAMES = ("a", "b")
Row = tuple[str, int, int, tuple[float, float]]


def row(person: str, revision: int, at: int = 0) -> Row:
    return (person, revision, at, (float(revision), -float(revision)))


@pytest.fixture
def table(tmp_path: Path) -> OnlineTable:
    return OnlineTable(tmp_path / "online.db", "v")


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.permutations([(p, r) for p in ("p1", "p2", "p3") for r in range(4)]), st.lists(st.integers(0, 12), max_size=4)
)
def test_the_newest_revision_wins_in_any_order_and_any_batches(
    table: OnlineTable, writes: list[tuple[str, int]], cuts: list[int]
) -> None:
    table.clear()
    edges = [0, *sorted(cuts), len(writes)]
    for start, end in itertools.pairwise(edges):
        table.write(NAMES, [row(person, revision) for person, revision in writes[start:end]])
    found = table.read(["p1", "p2", "p3"])
    assert found == [OnlineRow(3, 0, {"a": 3.0, "b": -3.0})] * 3


def test_a_correction_with_an_earlier_event_time_wins(table: OnlineTable) -> None:
    table.write(NAMES, [row("p", 1, at=900), row("p", 2, at=100)])
    found = table.read(["p"])[0]
    assert found is not None
    assert (found.revision, found.event_time) == (2, 100)


def test_a_late_write_does_not_bring_a_removed_person_back(table: OnlineTable) -> None:
    table.write(NAMES, [row("p", 5)])
    table.retire(["p", "never seen"])
    table.write(NAMES, [row("p", 4), row("p", 5)])
    assert table.read(["p", "never seen"]) == [None, None]


def test_a_greater_revision_brings_a_removed_person_back(table: OnlineTable) -> None:
    table.write(NAMES, [row("p", 5)])
    table.retire(["p"])
    table.write(NAMES, [row("p", 6)])
    assert table.read(["p"]) == [OnlineRow(6, 0, {"a": 6.0, "b": -6.0})]


def test_a_removed_person_leaves_no_values_in_the_file(tmp_path: Path, table: OnlineTable) -> None:
    table.write(NAMES, [row("p", 5)])
    table.retire(["p"])
    stored = sqlite3.connect(tmp_path / "online.db").execute("SELECT layout, vector FROM vectors").fetchall()
    assert stored == [(None, None)]


def test_rows_of_an_older_declaration_keep_their_names(table: OnlineTable) -> None:
    table.write(("a",), [("old", 1, 0, (1.0,))])
    table.write(("b", "a"), [("new", 1, 0, (2.0, 3.0))])
    old, new = table.read(["old", "new"])
    assert old is not None
    assert new is not None
    assert (old.values, new.values) == ({"a": 1.0}, {"b": 2.0, "a": 3.0})


def test_more_persons_than_sqlite_takes_in_one_question(table: OnlineTable) -> None:
    persons = [f"p{n}" for n in range(1_234)]
    table.write(NAMES, [row(person, n) for n, person in enumerate(persons)])
    assert [found.revision for found in table.read(persons) if found] == list(range(1_234))


def write_shuffled(path: Path, revisions: Sequence[int]) -> None:
    table = OnlineTable(path, "v")
    for revision in revisions:
        table.write(NAMES, [row(f"p{n}", revision) for n in range(20)])


def test_two_processes_that_write_leave_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "online.db"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_shuffled, args=(path, order)) for order in ([9, 2, 5], [1, 8, 3])]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    found = OnlineTable(path, "v").read([f"p{n}" for n in range(20)])
    assert {entry.revision for entry in found if entry} == {9}
    assert None not in found


def test_a_store_held_by_another_process_says_so(tmp_path: Path) -> None:
    path = tmp_path / "online.db"
    table = OnlineTable(path, "v", timeout=0.1)
    table.create()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(LockedError, match=r"online\.db"):
        table.write(NAMES, [row("p", 1)])
    holder.execute("ROLLBACK")
    table.write(NAMES, [row("p", 1)])
    assert table.read(["p"])[0] is not None


def test_a_foreign_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "online.db"
    with sqlite3.connect(path) as foreign:
        foreign.execute("CREATE TABLE mine (x)")
    with pytest.raises(OutputError, match=r"online\.db"):
        OnlineTable(path, "v").create()
    assert sqlite3.connect(path).execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]
