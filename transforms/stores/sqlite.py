"""A SQLite file that several processes may use: opening, versions, transactions, and errors a user understands.

Each store is one file with its own ``Schema``: a list of migrations, of which the missing ones are applied when the
file is opened. Write-ahead logging lets readers and one writer work at once; a writer that finds another waits up to
``timeout`` seconds. A commit is on the disk when it returns, because an intent that could be lost is no intent.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import LockedError, OutputError

DEFAULT_TIMEOUT = 30.0
"""Seconds to wait for another process's transaction."""

_OURS = 0x5741594C
"""Written into the header of each file, so that a foreign database is refused and not migrated."""

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of a store's layout. Steps are applied in order, once; a committed one is never edited."""

    description: str
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Schema:
    """``name`` tells what the file is; a file of another name is refused. Version n is the n-th migration."""

    name: str
    migrations: tuple[Migration, ...]


class Database:
    """One connection to one file, for one user at a time; safe to hand from thread to thread.

    Args:
        path: the file; its folder is made.
        schema: the layout this code knows.
        timeout: seconds to wait for another process.

    Raises:
        LockedError: another process holds the file longer than ``timeout``.
        OutputError: the file is no such store, is damaged, cannot be written, or is of a newer version.
    """

    def __init__(self, path: Path, schema: Schema, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.path = path
        self._timeout = timeout
        self._mutex = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path.parent} cannot be made: {error.strerror}") from error
        with self._translated():
            self._connection = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
        try:
            with self._translated():
                self._prepare(schema)
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that may write: all of it happens, or nothing. It holds the write lock from its start."""
        with self._mutex, self._translated():
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One transaction that only reads, and sees one state of the file."""
        with self._mutex, self._translated():
            connection = self._connection
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("COMMIT")

    # --- opening ------------------------------------------------------------------------------------------------

    def _prepare(self, schema: Schema) -> None:
        connection = self._connection
        connection.execute("PRAGMA cache_size = -32768")
        connection.execute("PRAGMA temp_store = MEMORY")
        # what is erased must not stay in free pages
        connection.execute("PRAGMA secure_delete = ON")
        self._check_owner(connection)
        self._use_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        # 32 MB of log rather than 4: a page of an index that changes again and again is copied back an eighth as often
        connection.execute("PRAGMA wal_autocheckpoint = 8192")
        if self._applied(connection, schema) == len(schema.migrations):
            return
        with self.writing():
            # Read again: another process may have opened the new file at the same moment.
            self._check_owner(connection)
            applied = self._applied(connection, schema)
            connection.execute(f"PRAGMA application_id = {_OURS}")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS migrations"
                " (store TEXT NOT NULL, version INTEGER NOT NULL, description TEXT NOT NULL,"
                " PRIMARY KEY (store, version))"
            )
            for number, migration in enumerate(schema.migrations[applied:], start=applied + 1):
                for statement in migration.statements:
                    connection.execute(statement)
                connection.execute(
                    "INSERT INTO migrations VALUES (?, ?, ?)", (schema.name, number, migration.description)
                )

    def _check_owner(self, connection: sqlite3.Connection) -> None:
        owner: int = connection.execute("PRAGMA application_id").fetchone()[0]
        tables: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if owner != _OURS and tables:
            raise OutputError(f"{self.path} is a database of something else", hint="choose another output folder")

    def _applied(self, connection: sqlite3.Connection, schema: Schema) -> int:
        """How many migrations the file has; refuses a file of another store or of a newer version."""
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'migrations'").fetchone():
            return 0
        rows = dict(connection.execute("SELECT store, max(version) FROM migrations GROUP BY store").fetchall())
        if rows and schema.name not in rows:
            raise OutputError(f"{self.path} holds {', '.join(rows)}, not {schema.name}")
        version: int = rows.get(schema.name, 0)
        if version > len(schema.migrations):
            raise OutputError(
                f"{self.path} has layout {version} of {schema.name}; this version of Wayline knows"
                f" {len(schema.migrations)}",
                hint="use the version of Wayline that wrote it, or a newer one",
            )
        return version

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
        try:
            yield
        except sqlite3.OperationalError as error:
            if _code(error) in _BUSY:
                raise LockedError(
                    f"{self.path} is locked by another process, for more than {self._timeout:g} s",
                    hint="wait for the other run to end, or stop it",
                ) from error
            raise OutputError(f"{self.path} cannot be used: {error}") from error
        except sqlite3.DatabaseError as error:
            if _code(error) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                raise OutputError(
                    f"{self.path} is damaged, or no database: {error}", hint="restore it from a copy"
                ) from error
            raise


def _code(error: sqlite3.Error) -> int:
    """The primary result code of SQLite, without its extension; 0 when Python itself raised the error."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
