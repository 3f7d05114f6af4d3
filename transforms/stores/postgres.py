"""The database of the stores in PostgreSQL 13 or newer: transactions that are run again, reconnecting, and ownership.

A writing unit is a SERIALIZABLE transaction. One that PostgreSQL cannot put into an order with others is undone and run
again after a pause; after ``_OPTIMISTIC`` attempts it keeps all other writers out first, so that it always comes
through. A reading unit sees one snapshot and stands in nobody's way.

A connection that breaks is made anew, and the unit run again, for up to ``timeout`` seconds. When it breaks during the
commit, the server is asked what became of that very transaction, so that what was committed is not done twice. A pooler
between may be used only in its session mode: prepared statements and the locks of owners belong to a session.
"""

from __future__ import annotations

import random
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TypeVar

import psycopg
from psycopg import errors, pq
from psycopg.conninfo import make_conninfo

from contracts.errors import LockedError, OutputError
from transforms.stores.database import DEFAULT_TIMEOUT, Row, Schema, Transaction
from transforms.stores.layout import applied_migrations, apply_migrations, create_migrations
from transforms.stores.owners import Owner
from transforms.stores.postgres_url import connection_parameters, database_label, without_secrets

_OPTIMISTIC = 6
"""Attempts beside other writers, before a unit keeps them out."""

_REFUSED = 3.0
"""Seconds in which a server that runs but refuses the connection is asked again: its connections may all be in use."""

_PAUSE, _LONGEST_PAUSE = 0.02, 1.0
_OLDEST = 130_000
_MARK = "Wayline stores"
"""Comment on the table ``migrations``, so that a foreign database is refused and not migrated."""

_MIGRATING = 0x5741594C
"""Advisory lock under which one process at a time applies migrations."""

_BEGIN = "BEGIN ISOLATION LEVEL SERIALIZABLE; LOCK TABLE migrations IN {mode} MODE; SELECT pg_current_xact_id()::text"
_BESIDE = _BEGIN.format(mode="ROW SHARE").encode()
_ALONE = _BEGIN.format(mode="EXCLUSIVE").encode()
_READ = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

_CONFLICT = (errors.SerializationFailure, errors.DeadlockDetected)
_GONE = (errors.AdminShutdown, errors.CrashShutdown, errors.CannotConnectNow, errors.IdleSessionTimeout)

T = TypeVar("T")


class PostgresDatabase:
    """``Database`` on one connection to PostgreSQL.

    Args:
        url: ``postgresql://user:password@host/database``, as libpq takes it; never shown.
        where: the place that the URL came from, for messages.
        schema: the layout of the store that opens it.
        timeout: seconds to wait for other writers, and for a server that does not answer.

    Raises:
        ConfigurationError: ``url`` is none.
        LockedError: the server is not reachable, or another process holds the database, longer than ``timeout``.
        OutputError: the server refuses, or the database is of something else or of a newer version.
    """

    def __init__(self, url: str, where: str, schema: Schema, timeout: float = DEFAULT_TIMEOUT) -> None:
        self._parameters = connection_parameters(url, where)
        self.label = database_label(self._parameters, where)
        self._timeout = timeout
        self._mutex = threading.RLock()
        self._owners: list[_SessionOwner] = []
        self._closed = False
        self._connection: psycopg.Connection[Row] | None = None
        self._current: psycopg.Connection[Row] | None = None
        try:
            self._repeated(lambda connection, _: self._prepare(connection, schema))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._closed = True
        self._drop(self._connection)

    def write(self, work: Callable[[Transaction], T]) -> T:
        return self._repeated(lambda connection, conflicts: self._written(connection, work, conflicts))

    def read(self, work: Callable[[Transaction], T]) -> T:
        def attempt(connection: psycopg.Connection[Row], _: int) -> T:
            with _undone(connection):
                connection.execute(_READ)
                result = work(_PostgresTransaction(connection))
                connection.execute(b"COMMIT")
            return result

        return self._repeated(attempt)

    def own(self) -> Owner:
        owner = _SessionOwner(self)
        self._repeated(lambda connection, _: owner.hold(connection))
        self._owners.append(owner)
        return owner

    def disown(self, owner: _SessionOwner) -> None:
        """Let an owner die, though the session goes on."""
        with self._mutex:
            if owner in self._owners:
                self._owners.remove(owner)
                if self._connection is not None:
                    # a session that has gone has let go already
                    with suppress(psycopg.OperationalError):
                        owner.let_go(self._connection)

    # --- one attempt --------------------------------------------------------------------------------------------

    def _written(self, connection: psycopg.Connection[Row], work: Callable[[Transaction], T], conflicts: int) -> T:
        with _undone(connection):
            cursor = connection.execute(_BESIDE if conflicts < _OPTIMISTIC else _ALONE)
            while cursor.nextset():
                pass
            (transaction_id,) = cursor.fetchone() or ("",)
            result = work(_PostgresTransaction(connection))
        try:
            connection.execute(b"COMMIT")
        except psycopg.Error as error:
            if not _is_lost(connection, error):
                raise
            self._drop(connection)
            # raises LockedError when the server stays away: nobody can say then, and the next run finds out
            if not self._repeated(lambda again, _: _is_committed(again, transaction_id)):
                raise
        return result

    def _prepare(self, connection: psycopg.Connection[Row], schema: Schema) -> None:
        tx = _PostgresTransaction(connection)
        if self._is_ours(tx) and applied_migrations(tx, schema, self.label) == len(schema.migrations):
            return
        # Each statement sees what was committed before it, so that what another opener has done meanwhile is seen.
        connection.execute(b"BEGIN ISOLATION LEVEL READ COMMITTED")
        with _undone(connection):
            tx.one("SELECT pg_advisory_xact_lock(?)", (_MIGRATING,))
            if self._is_ours(tx):
                applied = applied_migrations(tx, schema, self.label)
            else:
                self._refuse_foreign(tx)
                applied = 0
            if applied < len(schema.migrations):
                create_migrations(tx, _for_definition)
                tx.execute(f"COMMENT ON TABLE migrations IS '{_MARK}'")
                apply_migrations(tx, schema, applied, _for_definition)
        connection.execute(b"COMMIT")

    @staticmethod
    def _is_ours(tx: Transaction) -> bool:
        return tx.one("SELECT obj_description(to_regclass('migrations'), 'pg_class')") == (_MARK,)

    def _refuse_foreign(self, tx: Transaction) -> None:
        found = tx.one(
            "SELECT 1 FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND relnamespace ="
            " (SELECT oid FROM pg_namespace WHERE nspname = current_schema())"
        )
        if found:
            raise OutputError(
                f"{self.label} holds tables of something else",
                hint="name an empty database, or make one: createdb NAME",
            )

    # --- again and again ----------------------------------------------------------------------------------------

    def _repeated(self, attempt: Callable[[psycopg.Connection[Row], int], T]) -> T:
        """Run ``attempt`` until it comes through; it is told how many conflicts there were."""
        with self._mutex:
            deadline = time.monotonic() + self._timeout
            conflicts = pauses = 0
            while True:
                connection: psycopg.Connection[Row] | None = None
                try:
                    connection = self._connected(deadline)
                    self._current, before = connection, self._current
                    try:
                        return attempt(connection, conflicts)
                    finally:
                        self._current = before
                except _CONFLICT as error:
                    conflicts += 1
                    if time.monotonic() >= deadline:
                        raise self._locked() from error
                except errors.UniqueViolation as error:
                    # two units inserted the same key; alone, it is a defect of the unit
                    if conflicts >= _OPTIMISTIC:
                        raise self._unusable(error) from error
                    conflicts = _OPTIMISTIC
                except errors.LockNotAvailable as error:
                    raise self._locked() from error
                except psycopg.Error as error:
                    if not _is_lost(connection, error):
                        raise self._unusable(error) from error
                    self._drop(connection)
                    if time.monotonic() >= deadline:
                        raise self._unreachable(error) from error
                _pause(pauses)
                pauses += 1

    def asked(self, question: Callable[[psycopg.Connection[Row], int], T]) -> T:
        """Ask on the connection of the unit that runs now, which a failure then ends; outside of one, repeatedly."""
        with self._mutex:
            return self._repeated(question) if self._current is None else question(self._current, 0)

    def _connected(self, deadline: float) -> psycopg.Connection[Row]:
        if self._closed:
            raise OutputError(f"{self.label} is closed")
        if self._connection is not None and not self._connection.closed:
            return self._connection
        pauses, refused_until = 0, time.monotonic() + min(_REFUSED, self._timeout)
        while True:
            try:
                connection = psycopg.connect(**self._parameters, autocommit=True)
                break
            except psycopg.OperationalError as error:
                now = time.monotonic()
                if now >= refused_until and self._answers():
                    raise self._unusable(error, "refuses the connection") from error
                if now >= deadline:
                    raise self._unreachable(error) from error
            _pause(pauses)
            pauses += 1
        self._connection = connection
        if connection.info.server_version < _OLDEST:
            version = connection.info.server_version // 10_000
            raise OutputError(f"{self.label} is on PostgreSQL {version}", hint="use a server of version 13 or newer")
        connection.execute(f"SET lock_timeout = {max(1, int(self._timeout * 1000))}".encode())
        for owner in self._owners:
            owner.hold(connection)
        return connection

    def _answers(self) -> bool:
        """Whether a server is there that takes connections, even if not ours."""
        return pq.PGconn.ping(make_conninfo("", **self._parameters).encode()) == pq.Ping.OK

    def _drop(self, connection: psycopg.Connection[Row] | None) -> None:
        if connection is not None:
            connection.close()
            if connection is self._connection:
                self._connection = None

    def _locked(self) -> LockedError:
        return LockedError(
            f"{self.label} is locked by another process, for more than {self._timeout:g} s",
            hint="wait for the other run to end, or stop it",
        )

    def _unreachable(self, error: psycopg.Error) -> LockedError:
        return LockedError(
            f"{self.label} is unreachable, for more than {self._timeout:g} s: {self._said(error)}",
            hint="start the server, or mend the way to it, and run again: nothing is lost",
        )

    def _unusable(self, error: psycopg.Error, what: str = "cannot be used") -> OutputError:
        return OutputError(f"{self.label} {what}: {self._said(error)}")

    def _said(self, error: psycopg.Error) -> str:
        """The message of the server without the values of rows, or that of the client in one line."""
        text = error.diag.message_primary or " ".join(str(error).split())
        return without_secrets(text, self._parameters)


class _SessionOwner:
    """``Owner`` by a shared advisory lock of the session that does the work.

    So the owner dies with its session, and lives again when the session is made anew: a claim is written by a session
    that holds the lock. Shared, because the server may take a while to notice that the session before is gone.
    """

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self.name = secrets.token_hex(8)

    def hold(self, connection: psycopg.Connection[Row]) -> None:
        connection.execute(b"SELECT pg_advisory_lock_shared(%s)", (_lock_key(self.name),))

    def is_alive(self, name: str) -> bool:
        """As ``Owner.is_alive``; may be asked within a unit of work."""
        key = _lock_key(name)

        def ask(connection: psycopg.Connection[Row], _: int) -> bool:
            found = connection.execute(
                b"SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND database ="
                b" (SELECT oid FROM pg_database WHERE datname = current_database())"
                b" AND classid = %s::bigint::oid AND objid = %s::bigint::oid",
                ((key >> 32) & 0xFFFFFFFF, key & 0xFFFFFFFF),
            )
            return found.fetchone() is not None

        return self._database.asked(ask)

    def let_go(self, connection: psycopg.Connection[Row]) -> None:
        connection.execute(b"SELECT pg_advisory_unlock_shared(%s)", (_lock_key(self.name),))

    def close(self) -> None:
        self._database.disown(self)


class _PostgresTransaction:
    """``Transaction`` on a connection."""

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._cursor = connection.cursor()

    def execute(self, sql: str, values: Sequence[object] = ()) -> int:
        return self._cursor.execute(_for_postgres(sql), values).rowcount

    def execute_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        self._cursor.executemany(_for_postgres(sql), rows)

    def load(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        with self._cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN".encode()) as copy:
            for row in rows:
                copy.write_row(row)

    def all(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        return self._cursor.execute(_for_postgres(sql), values).fetchall()

    def one(self, sql: str, values: Sequence[object] = ()) -> Row | None:
        return self._cursor.execute(_for_postgres(sql), values).fetchone()


@lru_cache(maxsize=1_000)
def _for_postgres(sql: str) -> bytes:
    text = sql.replace("%", "%%").replace("NOT IN ??", "<> ALL (?)").replace("IN ??", "= ANY (?)")
    return text.replace("?", "%s").encode()


_TYPES = {"TEXT": 'TEXT COLLATE "C"', "INTEGER": "BIGINT", "REAL": "DOUBLE PRECISION", "BLOB": "BYTEA"}
_TYPE = re.compile(r"\b(" + "|".join(_TYPES) + r")\b")


def _for_definition(sql: str) -> str:
    """A statement of a migration in the words of PostgreSQL. Text is in the order of code points, as in SQLite."""
    return _TYPE.sub(lambda found: _TYPES[found[1]], sql.replace(" WITHOUT ROWID", ""))


@contextmanager
def _undone(connection: psycopg.Connection[Row]) -> Iterator[None]:
    """A transaction whose failure leaves the connection as it was before."""
    try:
        yield
    except BaseException:
        if not connection.closed and connection.info.transaction_status != pq.TransactionStatus.IDLE:
            # a connection that broke has undone it; the failure that is told is the first one
            with suppress(psycopg.OperationalError):
                connection.execute(b"ROLLBACK")
        raise


def _is_lost(connection: psycopg.Connection[Row] | None, error: psycopg.Error) -> bool:
    return connection is None or connection.closed or isinstance(error, _GONE)


def _is_committed(connection: psycopg.Connection[Row], transaction_id: str) -> bool:
    """What became of a transaction whose commit was not answered; waits until the server has settled it."""
    row = connection.execute(b"SELECT pg_xact_status(%s::text::xid8)", (transaction_id,)).fetchone()
    status = row[0] if row else None
    if status == "in progress":
        # the server has not noticed yet that its client is gone
        raise errors.SerializationFailure("the transaction before is not settled")
    return bool(status == "committed")


def _pause(before: int) -> None:
    """Wait before the next attempt, longer after each, and not in step with others."""
    time.sleep(min(_PAUSE * 2**before, _LONGEST_PAUSE) * random.uniform(0.5, 1.0))


def _lock_key(owner: str) -> int:
    return int.from_bytes(bytes.fromhex(owner), "big", signed=True)
