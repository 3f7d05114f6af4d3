"""Identity rows beside a stream: aliases and persons do not hide each other, what is gone is taken back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from contracts.errors import OutputError
from contracts.event import Identifier
from contracts.exchange import IdentityRows
from contracts.tables import EDGES, IDENTIFIERS, PERSONS
from transforms.tables.batches import columns_of, table_file
from transforms.tables.commit import commit
from transforms.tables.compact import Terms
from transforms.tables.compaction import compact
from transforms.tables.identity_sync import IdentitySync, Mark
from transforms.tables.output import OutputFolder, next_revision, writing
from transforms.tables.pane import PaneWriter
from transforms.tables.parts import write_part
from transforms.tables.stated import stated
from transforms.tables.stream_folder import begin_stream
from transforms.tables.views import open_views

TABLES = (IDENTIFIERS, PERSONS, EDGES)


class Gone(NamedTuple):
    identifiers: tuple[Identifier, ...] = ()
    ids: tuple[str, ...] = ()
    edges: tuple[tuple[Identifier, Identifier, str], ...] = ()


class Page(NamedTuple):
    rows: IdentityRows
    gone: Gone
    mark: Mark
    more: bool


class Ledger:
    """A store that numbers its pages: what follows a mark are the pages after it."""

    def __init__(self) -> None:
        self.pages: list[tuple[IdentityRows, Gone]] = []
        self.asked: list[Mark | None] = []

    def add(self, rows: IdentityRows | None = None, gone: Gone | None = None) -> None:
        self.pages.append((rows or IdentityRows(), gone or Gone()))

    def rows_since(self, mark: Mark | None, limit: int = 10_000) -> Page:
        self.asked.append(mark)
        (number,) = mark or (0,)
        if number >= len(self.pages):
            return Page(IdentityRows(), Gone(), (number,), False)
        return Page(*self.pages[number], (number + 1,), number + 1 < len(self.pages))


def clock() -> Callable[[], int]:
    now = 1_764_000_000_000_000

    def tick() -> int:
        nonlocal now
        now += 1
        return now

    return tick


@pytest.fixture
def folder(tmp_path: Path) -> OutputFolder:
    with writing(tmp_path) as held:
        begin_stream(held, TABLES)
    return OutputFolder(tmp_path)


def seen(folder: OutputFolder, sql: str) -> list[tuple[Any, ...]]:
    connection = open_views(folder.root, TABLES)
    try:
        found: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
        return found
    finally:
        connection.close()


PEOPLE = "SELECT person_id, is_current, merged_into FROM persons ORDER BY 1"
A1, U1 = Identifier("anonymous_id", "a1"), Identifier("user_id", "u1")
EDGE = (*U1, *A1, "seen", True, "accepted", "rule", None, 1, "e1", 2, "e2", 3, "v1")


def test_pages_are_stated_and_what_is_gone_is_taken_back(folder: OutputFolder) -> None:
    ledger = Ledger()
    ledger.add(IdentityRows(identifiers=((*A1, "p1", 1, 2), (*U1, "p1", 1, 2)), edges=(EDGE,)))
    ledger.add(IdentityRows(persons=(("p2", 1, 2, False, "p1"),)))
    sync = IdentitySync(folder, ledger, 1, clock())
    assert sync.run() == 4
    assert sync.run() == 0
    assert seen(folder, "SELECT value, person_id, epoch_us(first_seen) FROM identifiers ORDER BY 1") == [
        ("a1", "p1", 1),
        ("u1", "p1", 1),
    ]
    assert seen(folder, PEOPLE) == [("p2", False, "p1")]
    assert seen(folder, "SELECT left_value, right_value, accepted, rules_version FROM edges") == [
        ("u1", "a1", True, "v1")
    ]
    ledger.add(gone=Gone((A1,), ("p2",), ((U1, A1, "seen"),)))
    assert sync.run() == 3
    assert seen(folder, "SELECT value FROM identifiers") == [("u1",)]
    assert seen(folder, PEOPLE) == []
    assert seen(folder, "SELECT * FROM edges") == []


def test_it_goes_on_where_it_was_and_never_under_an_earlier_revision(folder: OutputFolder) -> None:
    ledger = Ledger()
    ledger.add(IdentityRows(identifiers=((*A1, "p1", 1, 2),)))
    IdentitySync(folder, ledger, 1, clock()).run()
    ledger.add(IdentityRows(identifiers=((*A1, "p2", 1, 2),)))
    # after a restart the clock of the computer is set back
    IdentitySync(folder, ledger, 1, lambda: 5).run()
    assert ledger.asked == [None, (1,)]
    assert seen(folder, "SELECT person_id FROM identifiers") == [("p2",)]


def test_a_damaged_mark_says_how_to_mend_it(folder: OutputFolder) -> None:
    (folder.streams / "identity.json").write_text("{}")
    with pytest.raises(OutputError, match=r"identity\.json"):
        IdentitySync(folder, Ledger(), 1, clock())


@pytest.mark.parametrize("order", ["alias first", "journey first"])
def test_a_merge_shows_the_alias_whoever_speaks_first(folder: OutputFolder, order: str) -> None:
    """The journey of p2 takes its person back, identity says whose alias it is: neither waits for the other."""
    tick, ledger = clock(), Ledger()
    writer, sync = PaneWriter(folder.root, TABLES, 1), IdentitySync(folder, ledger, 1, tick)
    writer.write(b"\x00", 0, [stated(PERSONS, tick(), [("p1", 1, 2, True, None), ("p2", 1, 2, True, None)])])
    ledger.add(IdentityRows(persons=(("p2", 1, 2, False, "p1"),)))
    for step in ("alias first", "journey first") if order == "alias first" else ("journey first", "alias first"):
        if step == "alias first":
            sync.run()
        else:
            writer.write(b"\x00", 1, [stated(PERSONS, tick(), [("p2", None, None, None, None)], deleted=True)])
    assert seen(folder, PEOPLE) == [("p1", True, None), ("p2", False, "p1")]
    for _ in range(3):
        compact(folder, TABLES, Terms(lambda: 2e9, older_than=-1e12, grace=0, whole=True))
        assert seen(folder, PEOPLE) == [("p1", True, None), ("p2", False, "p1")]


def test_an_id_whose_strands_went_to_several_stays_as_one_that_stands_for_nobody(folder: OutputFolder) -> None:
    tick, ledger = clock(), Ledger()
    writer, sync = PaneWriter(folder.root, TABLES, 1), IdentitySync(folder, ledger, 1, tick)
    ledger.add(IdentityRows(persons=(("p2", 1, 2, False, None),)))
    sync.run()
    writer.write(b"\x00", 0, [stated(PERSONS, tick(), [("p2", 1, 2, True, None)])])
    assert seen(folder, PEOPLE) == [("p2", True, None)]
    writer.write(b"\x00", 1, [stated(PERSONS, tick(), [("p2", None, None, None, None)], deleted=True)])
    assert seen(folder, PEOPLE) == [("p2", False, None)]
    ledger.add(gone=Gone(ids=("p2",)))
    sync.run()
    assert seen(folder, PEOPLE) == [], "who is erased does not stay"


def test_a_bounded_run_takes_back_the_alias_behind_a_person_too(folder: OutputFolder) -> None:
    tick, ledger = clock(), Ledger()
    ledger.add(IdentityRows(persons=(("p2", 1, 2, False, "p1"),)))
    IdentitySync(folder, ledger, 1, tick).run()
    PaneWriter(folder.root, TABLES, 1).write(b"\x00", 0, [stated(PERSONS, tick(), [("p2", 1, 2, True, None)])])
    assert seen(folder, PEOPLE) == [("p2", True, None)]
    for rows, shown in (([("p2", 1, 2, False, "p1")], [("p2", False, "p1")]), ([], [])):
        with writing(folder.root) as held:
            revision = next_revision(held)
            batch = table_file(PERSONS, "p0", columns_of(rows, 5), revision=revision, is_final=False)
            if batch is not None:
                write_part(held.staging, batch)
            commit(held, TABLES, revision)
        assert seen(folder, PEOPLE) == shown
