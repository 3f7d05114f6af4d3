"""The layer under every store: one database, SQLite or PostgreSQL, that several stores and processes share.

How a store is written on it:

1. It has a ``Schema``: its name and its list of migrations. ``open_database(address, SCHEMA)`` applies those that are
   missing, once, also when several processes open at the same moment. Every store keeps its own list and its own
   tables; all of them are noted in the one table ``migrations``. A committed migration is never edited.
2. It reads and writes in units of work: ``database.write(lambda tx: ...)`` and ``database.read(lambda tx: ...)``. A
   unit is one transaction that sees one state, as if it ran alone. **It may be run again from its start**, after a
   conflict with another process or a lost connection: so it takes its input from outside, gives its result as a
   return value and changes nothing else. What it did is committed exactly when ``write`` returns.
3. Its SQL is one text for both, in what they have in common:

   - values are ``?``, never written into the text, which holds no other question mark;
   - membership is ``column IN ??`` or ``column NOT IN ??`` with a list of texts or of integers as the value;
   - insert-or-get and upsert are ``ON CONFLICT (key) DO NOTHING`` and ``DO UPDATE SET x = excluded.x``, in which a
     column of the stored row is named with its table (``WHERE excluded.at >= persons.at``);
   - columns are ``TEXT`` (ordered by code point, without NUL), ``INTEGER`` (64 bits), ``REAL`` (double) and ``BLOB``; a
     truth value is the integer 0 or 1. ``WITHOUT ROWID`` may end a table with a primary key.

4. A batch is written in an order that is the same everywhere (sorted by key), so that two processes do not wait for
   each other in a circle.
5. Several keys of one look-up go into one statement, many rows into one ``execute_many``: each statement is a way to
   the server and back.

Errors, of opening and of every unit: ``LockedError`` when another process holds the database longer than the timeout,
or the server is not reachable for as long; ``OutputError`` when it is damaged, of something else, of a newer layout, or
cannot be written. No message holds the address of a server or a password. What a unit itself raises undoes the unit and
passes through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from contracts.errors import ConfigurationError
from transforms.secret import SecretReference
from transforms.stores.owners import Owner

DEFAULT_TIMEOUT = 30.0
"""Seconds to wait for another process's transaction, or for a server that does not answer."""

STORE_FILE = "wayline.sqlite"
"""The file of all stores, below ``OUT/stores``."""

Row = tuple[Any, ...]
Same = int | str | None
NONE_SAME: Mapping[str, Same] = MappingProxyType({})
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of a store's layout. Steps are applied in order, once; a committed one is never edited."""

    description: str
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Schema:
    """The layout of one store; ``name`` tells it from others in the same database. Version n is the n-th migration."""

    name: str
    migrations: tuple[Migration, ...]


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """Which database the stores are in: a SQLite file, or the place where the URL of a PostgreSQL database is found.

    It travels to workers and holds no secret: the URL is read where the database is opened. Exactly one of the two is
    given.
    """

    path: Path | None = None
    postgres: SecretReference | None = None

    def __post_init__(self) -> None:
        if (self.path is None) == (self.postgres is None):
            raise ValueError("a store is in a file or in a PostgreSQL database, one of the two")


class Transaction(Protocol):
    """What a unit of work has in its hands; of no use after the unit."""

    def execute(self, sql: str, values: Sequence[object] = ()) -> int:
        """Run one statement; return how many rows it changed."""
        ...

    def execute_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement for each row of values, in order. No value may be a list."""
        ...

    def load(
        self, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]], same: Mapping[str, Same] = NONE_SAME
    ) -> None:
        """Insert many rows that are known to be new, by the fastest way there is.

        ``same``: further columns, of which each row has the same value.
        """
        ...

    def all(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """All rows of a query."""
        ...

    def one(self, sql: str, values: Sequence[object] = ()) -> Row | None:
        """The first row of a query, None when there is none."""
        ...


class Database(Protocol):
    """One connection, for one user at a time; safe to hand from thread to thread."""

    @property
    def label(self) -> str:
        """What names the database in a message; holds no address of a server."""
        ...

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run a unit that may write, and commit it; return what it returned. It may be run several times."""
        ...

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run a unit that only reads. It may be run several times."""
        ...

    def own(self) -> Owner:
        """A name for what this user claims, alive as long as the user is."""
        ...

    def close(self) -> None:
        """Give up the connection. Safe to call again."""
        ...


def open_database(address: StoreAddress, schema: Schema, timeout: float = DEFAULT_TIMEOUT) -> Database:
    """Open a store's database, made when it is a missing file, with all migrations of ``schema`` applied.

    Args:
        timeout: seconds to wait for another process, or for a server that does not answer.

    Raises:
        LockedError, OutputError: as said above.
        ConfigurationError: the URL is not where the address says, or is none.
    """
    if address.postgres is None:
        from transforms.stores.sqlite import SqliteDatabase

        assert address.path is not None
        return SqliteDatabase(address.path, schema, timeout)
    # imported here: without a server no process has to load the client
    from transforms.stores.postgres import PostgresDatabase

    url = address.postgres.read()
    try:
        text = url.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(address.postgres.where, None, "holds no text") from None
    return PostgresDatabase(text, address.postgres.where, schema, timeout)
