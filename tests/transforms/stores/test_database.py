"""The layer under every store keeps its word on both databases: units, layouts, owners, errors."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator

import pytest
from store_world import ROOT, MakePlace, Place, another

from contracts.errors import LockedError, OutputError
from transforms.stores.database import Database, Migration, Schema, StoreAddress, Transaction, open_database

FIRST = Migration(
    "things",
    (
        "CREATE TABLE things (name TEXT NOT NULL PRIMARY KEY, n INTEGER NOT NULL, part REAL, body BLOB) WITHOUT ROWID",
        "CREATE INDEX things_by_n ON things (n)",
    ),
)
SCHEMA = Schema("things", (FIRST,))
UPSERT = (
    "INSERT INTO things (name, n) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET n = excluded.n"
    " WHERE excluded.n > things.n"
)


@pytest.fixture
def database(place: Place) -> Iterator[Database]:
    opened = open_database(place.address, SCHEMA, timeout=5)
    yield opened
    opened.close()


def names(tx: Transaction) -> list[str]:
    return [name for (name,) in tx.all("SELECT name FROM things ORDER BY name")]


# --- statements ---------------------------------------------------------------------------------------------------


def test_values_come_back_as_they_went(database: Database) -> None:
    rows = [
        ("%s ?? ':x", 2**63 - 1, 0.1, bytes(range(256))),
        ("a\tb\n\\N", -(2**63), -0.0, b""),
        ("none", 0, None, None),
        ("é😀", 1, 1e300, b"\0"),
    ]
    database.write(lambda tx: tx.load("things", ("name", "n", "part", "body"), rows[:2]))
    database.write(lambda tx: tx.execute_many("INSERT INTO things VALUES (?, ?, ?, ?)", rows[2:]))
    found = database.read(lambda tx: tx.all("SELECT name, n, part, body FROM things"))
    assert sorted(found) == sorted(rows)


def test_text_is_in_the_order_of_code_points(database: Database) -> None:
    given = ["b", "B", "a", "ä", "_", "Z", "10", "9", "é", "-"]
    database.write(lambda tx: tx.execute_many("INSERT INTO things (name, n) VALUES (?, 0)", [(n,) for n in given]))
    assert database.read(names) == sorted(given)


def test_lists_are_matched_whatever_is_in_them(database: Database) -> None:
    database.write(lambda tx: tx.load("things", ("name", "n"), [('"', 1), ("{a,b}", 2), ("'", 3), ("\\", 4)]))

    def select(where: str, *values: object) -> list[int]:
        return [
            n for (n,) in database.read(lambda tx: tx.all(f"SELECT n FROM things WHERE {where} ORDER BY n", values))
        ]

    assert select("name IN ??", ['"', "{a,b}", "\\", "x"]) == [1, 2, 4]
    assert select("name NOT IN ?? AND n > ?", ['"'], 2) == [3, 4]
    assert select("n IN ??", [1, 2, 2**40]) == [1, 2]
    assert select("name IN ??", []) == []


def test_a_statement_says_how_many_rows_it_changed(database: Database) -> None:
    database.write(lambda tx: tx.load("things", ("name", "n"), [("a", 1), ("b", 2)]))
    assert database.write(lambda tx: tx.execute("UPDATE things SET n = 5 WHERE n < ?", (9,))) == 2
    assert database.write(lambda tx: tx.execute(UPSERT, ("a", 4))) == 0
    assert database.write(lambda tx: tx.execute(UPSERT, ("a", 6))) == 1
    assert database.read(lambda tx: tx.one("SELECT n FROM things WHERE name = ?", ("a",))) == (6,)
    assert database.read(lambda tx: tx.one("SELECT n FROM things WHERE name = ?", ("x",))) is None


def test_nothing_to_do_is_no_error(database: Database) -> None:
    database.write(lambda tx: tx.execute_many(UPSERT, []))
    database.write(lambda tx: tx.load("things", ("name", "n"), []))
    assert database.read(names) == []


# --- units --------------------------------------------------------------------------------------------------------


def test_a_unit_that_fails_leaves_nothing_and_its_error_passes(database: Database) -> None:
    def fail(tx: Transaction) -> None:
        tx.execute(UPSERT, ("a", 1))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.write(fail)
    assert database.read(names) == []
    assert database.write(lambda tx: tx.execute(UPSERT, ("b", 1))) == 1


def test_a_reader_sees_one_state_while_another_writes(place: Place, database: Database) -> None:
    other = open_database(place.address, SCHEMA)

    def look(tx: Transaction) -> tuple[list[str], list[str]]:
        before = names(tx)
        other.write(lambda inner: inner.execute(UPSERT, ("a", 1)))
        return before, names(tx)

    assert database.read(look) == ([], [])
    assert database.read(names) == ["a"]
    other.close()


def test_units_that_would_cross_are_put_into_an_order(place: Place) -> None:
    """Two units that each count all rows and add one: if both saw the same count, one of them did not run alone."""
    users = [open_database(place.address, SCHEMA) for _ in range(4)]

    def count_and_add(tx: Transaction) -> None:
        (count,) = tx.one("SELECT count(*) FROM things") or (0,)
        tx.execute("INSERT INTO things (name, n) VALUES (?, ?)", (f"{count:04d}-{threading.get_ident()}", count))

    def work(database: Database) -> None:
        for _ in range(15):
            database.write(count_and_add)

    threads = [threading.Thread(target=work, args=(user,)) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    counts = [n for (n,) in users[0].read(lambda tx: tx.all("SELECT n FROM things ORDER BY n"))]
    assert counts == list(range(60))
    for user in users:
        user.close()


# --- layouts ------------------------------------------------------------------------------------------------------


def test_several_stores_share_one_database(place: Place, database: Database) -> None:
    others = Schema("others", (Migration("others", ("CREATE TABLE others (name TEXT NOT NULL PRIMARY KEY)",)),))
    second = open_database(place.address, others)
    second.write(lambda tx: tx.execute("INSERT INTO others VALUES (?)", ("x",)))
    database.write(lambda tx: tx.execute(UPSERT, ("a", 1)))
    noted = place.behind("SELECT store, version, description FROM migrations ORDER BY store")
    assert noted == [("others", 1, "others"), ("things", 1, "things")]
    second.close()


def test_what_is_missing_is_added_and_what_is_there_stays(place: Place, database: Database) -> None:
    database.write(lambda tx: tx.execute(UPSERT, ("a", 1)))
    longer = Schema("things", (FIRST, Migration("a colour", ("ALTER TABLE things ADD COLUMN colour TEXT",))))
    newer = open_database(place.address, longer)
    assert newer.read(lambda tx: tx.all("SELECT name, colour FROM things")) == [("a", None)]
    newer.close()
    with pytest.raises(OutputError, match="has layout 2 of things; this version of Wayline knows 1"):
        open_database(place.address, SCHEMA)


def test_a_migration_that_fails_leaves_nothing(place: Place, database: Database) -> None:
    broken = Schema("things", (FIRST, Migration("broken", ("CREATE TABLE more (x TEXT)", "CREATE NONSENSE"))))
    with pytest.raises(OutputError):
        open_database(place.address, broken)
    assert place.behind("SELECT max(version) FROM migrations") == [(1,)]
    with pytest.raises(Exception, match="more"):
        place.behind("SELECT * FROM more")


_OPENER = """
import sys
sys.path[:0] = sys.argv[1].split(":")
from store_world import address_of
from test_database import SCHEMA
from transforms.stores.database import open_database
address = address_of(sys.argv[2:])
sys.stdin.readline()
open_database(address, SCHEMA).close()
"""


def test_processes_that_open_at_once_apply_a_migration_once(place: Place) -> None:
    openers = [subprocess.Popen(another(_OPENER, place), cwd=ROOT, stdin=subprocess.PIPE) for _ in range(4)]
    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.write(b"go\n")
        opener.stdin.close()
    assert [opener.wait(timeout=60) for opener in openers] == [0, 0, 0, 0]
    assert place.behind("SELECT store, version FROM migrations") == [("things", 1)]


def test_a_database_of_something_else_is_refused_and_left_alone(place: Place) -> None:
    place.behind("CREATE TABLE migrations (store TEXT, version INTEGER)", "CREATE TABLE theirs (x INTEGER)")
    with pytest.raises(OutputError, match="of something else"):
        open_database(place.address, SCHEMA)
    assert place.behind("SELECT count(*) FROM migrations") == [(0,)]
    with pytest.raises(Exception, match="things"):
        place.behind("SELECT * FROM things")


# --- owners -------------------------------------------------------------------------------------------------------


def test_an_owner_lives_as_long_as_its_user(place: Place, database: Database) -> None:
    other = open_database(place.address, SCHEMA)
    mine, theirs = database.own(), other.own()
    assert mine.name != theirs.name
    assert mine.is_alive(theirs.name)
    assert mine.is_alive(mine.name)
    assert database.write(lambda tx: mine.is_alive(theirs.name)), "a unit may ask"
    theirs.close()
    theirs.close()
    assert not mine.is_alive(theirs.name)
    mine.close()
    other.close()


_OWNER = _OPENER.replace(
    "open_database(address, SCHEMA).close()",
    "database = open_database(address, SCHEMA); owner = database.own(); print(owner.name, flush=True)\n"
    "sys.stdin.readline()",
)


def test_an_owner_dies_with_its_process(place: Place, database: Database) -> None:
    process = subprocess.Popen(
        another(_OWNER, place), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    name = process.stdout.readline().strip()
    mine = database.own()
    assert mine.is_alive(name)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=10)
    deadline = threading.Event()
    for _ in range(100):
        if not mine.is_alive(name):
            break
        deadline.wait(0.05)
    assert not mine.is_alive(name)
    mine.close()


# --- what can go wrong --------------------------------------------------------------------------------------------


def test_a_closed_database_says_so(make_place: MakePlace) -> None:
    database = open_database(make_place().address, SCHEMA)
    database.close()
    database.close()
    with pytest.raises(Exception, match="closed"):
        database.read(names)


def test_a_holder_is_told_after_the_timeout(place: Place, database: Database) -> None:
    impatient = open_database(place.address, SCHEMA, timeout=0.2)

    def hold(tx: Transaction) -> None:
        if place.kind == "postgres":
            tx.execute("LOCK TABLE migrations IN EXCLUSIVE MODE")
        with pytest.raises(LockedError, match=r"locked by another process, for more than 0\.2 s"):
            impatient.write(lambda inner: inner.execute(UPSERT, ("a", 1)))

    database.write(hold)
    assert impatient.write(lambda tx: tx.execute(UPSERT, ("a", 1))) == 1
    impatient.close()


def test_an_address_is_one_of_two() -> None:
    with pytest.raises(ValueError, match="one of the two"):
        StoreAddress()
