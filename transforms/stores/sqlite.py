"""The database of the stores as one SQLite file: opening, versions, transactions, and errors a user understands.

Write-ahead logging lets readers and one writer work at once; a writer that finds another waits up to ``timeout``
seconds. A commit is on the disk when it returns, because an intent that could be lost is no intent. A unit of work is
run once: a writer holds the write lock from its start.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from contracts.errors import LockedError, OutputError
from transforms.stores.database import DEFAULT_TIMEOUT, NONE_SAME, STORE_FILE, Row, Same, Schema, Transaction
from transforms.stores.layout import applied_migrations, apply_migrations, create_migrations
from transforms.stores.owners import FileOwner, Owner

_OURS = 0x5741594C
"""Written into the header of each file, so that a foreign database is refused and not migrated."""

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_PAUSE = 0.05

T = TypeVar("T")


class SqliteDatabase:
    """``Database`` on one file.

    Args:
        path: the file; its folder is made. Beside it stands a folder of the lock files of its owners.
        schema: the layout of the store that opens it.
        timeout: seconds to wait for another process.

    Raises:
        LockedError: another process holds the file longer than ``timeout``.
        OutputError: the file is of something else, is damaged, cannot be written, or is of a newer version.
    """

    def __init__(self, path: Path, schema: Schema, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.path = path
        self.label = str(path)
        self._timeout = timeout
        self._mutex = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path.parent} cannot be made: {error.strerror}") from error
        if path.name == STORE_FILE:
            # imported here: it opens a database itself
            from transforms.stores.takeover import take_over

            take_over(path, timeout)
        with self._translated():
            self._connection = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
        self._transaction = _SqliteTransaction(self._connection)
        try:
            with self._translated():
                self._prepare(schema)
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()

    def write(self, work: Callable[[Transaction], T]) -> T:
        with self._mutex, self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(self._transaction)
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite itself has undone what could not be written, a full disk for instance
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            return result

    def read(self, work: Callable[[Transaction], T]) -> T:
        with self._mutex, self._translated():
            self._connection.execute("BEGIN")
            try:
                return work(self._transaction)
            finally:
                self._connection.execute("COMMIT")

    def own(self) -> Owner:
        return FileOwner(self.path.with_name(f"{self.path.name}.owners"))

    # --- opening ------------------------------------------------------------------------------------------------

    def _prepare(self, schema: Schema) -> None:
        connection = self._connection
        connection.execute("PRAGMA cache_size = -32768")
        connection.execute("PRAGMA temp_store = MEMORY")
        # what is erased must not stay in free pages
        connection.execute("PRAGMA secure_delete = ON")
        self._check_owner()
        self._use_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        # 32 MB of log rather than 4: a page of an index that changes again and again is copied back an eighth as often
        connection.execute("PRAGMA wal_autocheckpoint = 8192")
        if self._applied(self._transaction, schema) < len(schema.migrations):
            self.write(lambda tx: self._migrate(tx, schema))

    def _migrate(self, tx: Transaction, schema: Schema) -> None:
        # Read again: another process may have opened the new file at the same moment.
        self._check_owner()
        self._connection.execute(f"PRAGMA application_id = {_OURS}")
        create_migrations(tx)
        apply_migrations(tx, schema, self._applied(tx, schema))

    def _check_owner(self) -> None:
        if is_foreign(self._connection):
            raise OutputError(f"{self.path} is a database of something else", hint="choose another output folder")

    def _applied(self, tx: Transaction, schema: Schema) -> int:
        if not tx.one("SELECT 1 FROM sqlite_master WHERE name = 'migrations'"):
            return 0
        return applied_migrations(tx, schema, self.label)

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        """Switch to write-ahead logging. SQLite does not wait for a lock here by itself, so we do."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if _code(error) not in _BUSY or time.monotonic() >= deadline:
                    raise
            time.sleep(_PAUSE)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        with translated(self.path, self._timeout):
            yield


class _SqliteTransaction:
    """``Transaction`` on a connection: the texts as they are, lists as JSON."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, values: Sequence[object] = ()) -> int:
        return self._connection.execute(_for_sqlite(sql), _bound(values)).rowcount

    def execute_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        self._connection.executemany(_for_sqlite(sql), rows)

    def load(
        self, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]], same: Mapping[str, Same] = NONE_SAME
    ) -> None:
        # what is the same everywhere is said once: to bind a value takes as long as to store it
        values = ", ".join(("?",) * len(columns) + tuple(map(_literal, same.values())))
        names = ", ".join((*columns, *same))
        self._connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({values})", rows)

    def all(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        return self._connection.execute(_for_sqlite(sql), _bound(values)).fetchall()

    def one(self, sql: str, values: Sequence[object] = ()) -> Row | None:
        row: Row | None = self._connection.execute(_for_sqlite(sql), _bound(values)).fetchone()
        return row


@lru_cache(maxsize=1_000)
def _for_sqlite(sql: str) -> str:
    return sql.replace("IN ??", "IN (SELECT value FROM json_each(?))")


def _bound(values: Sequence[object]) -> Sequence[object]:
    if list not in map(type, values):
        return values
    return [json.dumps(value) if type(value) is list else value for value in values]


def _literal(value: Same) -> str:
    """A value as SQL says it."""
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


def is_foreign(connection: sqlite3.Connection) -> bool:
    """Whether a file has content that Wayline did not make."""
    # Tables first: another process may make the file between the two, and then its tables are seen with their owner.
    tables: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    owner: int = connection.execute("PRAGMA application_id").fetchone()[0]
    return tables > 0 and owner != _OURS


@contextmanager
def translated(path: Path, timeout: float) -> Iterator[None]:
    """What SQLite raises about ``path``, in words for its user."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if _code(error) in _BUSY:
            raise LockedError(
                f"{path} is locked by another process, for more than {timeout:g} s",
                hint="wait for the other run to end, or stop it",
            ) from error
        raise OutputError(f"{path} cannot be used: {error}") from error
    except sqlite3.DatabaseError as error:
        if _code(error) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise OutputError(f"{path} is damaged, or no database: {error}", hint="restore it from a copy") from error
        raise


def _code(error: sqlite3.Error) -> int:
    """The primary result code of SQLite, without its extension; 0 when Python itself raised the error."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
