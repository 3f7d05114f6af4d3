"""What only a SQLite file can meet: foreign and damaged files, files held by others, and a file of before."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from contracts.errors import LockedError, OutputError
from transforms.stores.database import STORE_FILE, Migration, Schema, StoreAddress, open_database
from transforms.stores.sqlite import SqliteDatabase

SCHEMA = Schema("things", (Migration("things", ("CREATE TABLE things (name TEXT NOT NULL PRIMARY KEY)",)),))
OTHERS = Schema("others", (Migration("others", ("CREATE TABLE others (name TEXT NOT NULL PRIMARY KEY)",)),))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stores" / STORE_FILE


def opened(path: Path, schema: Schema = SCHEMA, timeout: float = 0.2) -> SqliteDatabase:
    return SqliteDatabase(path, schema, timeout)


def test_another_process_that_holds_the_file_is_reported_as_a_lock(path: Path) -> None:
    database = opened(path)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LockedError, match=r"wayline\.sqlite is locked by another process"):
        database.write(lambda tx: tx.execute("INSERT INTO things VALUES ('a')"))
    holder.execute("ROLLBACK")
    assert database.write(lambda tx: tx.execute("INSERT INTO things VALUES ('a')")) == 1
    database.close()
    holder.close()


def test_a_file_in_exclusive_mode_is_reported_as_a_lock(path: Path) -> None:
    path.parent.mkdir()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LockedError):
        opened(path)
    holder.close()


@pytest.mark.parametrize("content", [b"not a database, but long enough to look like a file of one" * 30, b"\0" * 4096])
def test_a_file_that_is_no_database_is_refused(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(OutputError):
        opened(path)


def test_a_database_of_something_else_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE theirs (x)")
    foreign.commit()
    with pytest.raises(OutputError, match="something else"):
        opened(path)
    assert [row[0] for row in foreign.execute("SELECT name FROM sqlite_master")] == ["theirs"]
    foreign.close()


# --- the file of before -------------------------------------------------------------------------------------------


@pytest.fixture
def old(path: Path) -> Path:
    """A file of the effect store as it was, with content that is still in its log."""
    old = path.with_name("effects.sqlite")
    database = opened(old)
    database.write(lambda tx: tx.execute("INSERT INTO things VALUES ('of before')"))
    # as a killed process leaves it: the log is not copied back
    kept = [(file, file.read_bytes()) for file in path.parent.iterdir()]
    database.close()
    for file, content in kept:
        file.write_bytes(content)
    assert old.with_name("effects.sqlite-wal").stat().st_size
    folder = old.with_name("effects.sqlite.owners")
    folder.mkdir()
    (folder / "0123456789abcdef.lock").touch()
    return old


def test_the_file_of_before_is_taken_over_with_all_it_holds(path: Path, old: Path) -> None:
    shared = opened(path, OTHERS)
    assert shared.read(lambda tx: tx.all("SELECT name FROM things")) == [("of before",)]
    again = opened(path)
    assert again.read(lambda tx: tx.all("SELECT store FROM migrations ORDER BY store")) == [("others",), ("things",)]
    assert not list(path.parent.glob("effects*"))
    shared.close()
    again.close()


def test_a_file_of_before_that_is_in_use_is_not_taken_from_its_user(path: Path, old: Path) -> None:
    user = opened(old)
    with pytest.raises(LockedError, match=r"effects\.sqlite"):
        opened(path)
    assert old.exists()
    assert not path.exists()
    user.close()
    opened(path).close()


def test_users_that_come_at_once_all_find_what_was_taken_over(path: Path, old: Path) -> None:
    found: list[object] = []

    def use() -> None:
        database = opened(path, timeout=10)
        found.extend(database.read(lambda tx: tx.all("SELECT name FROM things")))
        database.close()

    threads = [threading.Thread(target=use) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [("of before",)] * 6


def test_a_file_of_before_beside_the_shared_one_is_not_ignored(path: Path, old: Path) -> None:
    shutil.copy(old, path.with_name("copy"))
    opened(path).close()
    shutil.move(path.with_name("copy"), old)
    with pytest.raises(OutputError, match=r"effects\.sqlite beside wayline\.sqlite"):
        open_database(StoreAddress(path), SCHEMA)
    old.unlink()
    open_database(StoreAddress(path), SCHEMA).close()


def test_a_foreign_file_of_that_name_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    old = path.with_name("effects.sqlite")
    with closing(sqlite3.connect(old)) as foreign:
        foreign.execute("CREATE TABLE theirs (x)")
    with pytest.raises(OutputError, match="something else"):
        opened(path)
    assert old.exists()
    assert not path.exists()
