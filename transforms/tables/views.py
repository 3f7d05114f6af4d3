"""``OUT/wayline.duckdb``: one view a table, showing the newest revision of each key, and those for BI. No Beam.

The database holds views only; the rows stay in the Parquet parts, so the file can be rebuilt at any time and is
replaced by rename: a reader that has the old one open keeps it. Views name the parts by absolute path, since DuckDB
resolves a relative one against the reader's working folder; after OUT was moved, the next run or demo rebuilds
the file.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from contracts.errors import LockedError, OutputError
from contracts.tables import HIDDEN, META, Table
from transforms.tables.finality import final_sql, write_horizon
from transforms.tables.journey_macros import journey_macros
from transforms.tables.journey_views import journey_views
from transforms.tables.output import OutputFolder, settle
from transforms.tables.sql import folder_sql, name_sql, newest_rows, quote

_TRIES = 5


def create_views(folder: OutputFolder, tables: Sequence[Table]) -> None:
    """Write ``wayline.duckdb`` anew. Raises LockedError when the folder refuses the file."""
    if not folder.horizon.exists():
        # a stream may put its own there while the views are open
        write_horizon(folder.horizon, None)
    # threads of a board may find the file gone at the same time
    temporary = folder.root / f"wayline.{os.getpid()}-{threading.get_ident()}.tmp"
    temporary.unlink(missing_ok=True)
    connection = duckdb.connect(str(temporary))
    try:
        connection.execute("SET TimeZone = 'UTC'")
        # else each view is a transaction, which is kept on the disk before the next begins
        connection.begin()
        for table in tables:
            connection.execute(f"CREATE VIEW {table.name} AS {view_sql(folder, table)}")
            connection.execute(f"COMMENT ON VIEW {table.name} IS {quote(table.doc)}")
        views = journey_views(tables)
        for view in views:
            connection.execute(f"CREATE VIEW {view.name} AS {view.sql}")
            connection.execute(f"COMMENT ON VIEW {view.name} IS {quote(view.doc)}")
        for macro in journey_macros([*(table.name for table in tables), *(view.name for view in views)]):
            connection.execute(macro.statement)
        connection.execute(f"CREATE VIEW _origin AS SELECT {quote(str(folder.root.resolve()))} AS root")
        connection.commit()
    finally:
        connection.close()
    try:
        temporary.replace(folder.database)
    except OSError as error:
        raise LockedError(f"{folder.database} cannot be replaced: {error.strerror}") from error


def view_sql(folder: OutputFolder, table: Table) -> str:
    """The view: newest revision by key, tombstones hidden, columns in the order of the contract."""
    source = folder_sql(folder.tables.resolve() / table.name)
    names = [*table.column_names, *(column.name for column in META if column.name not in HIDDEN)]
    columns = ", ".join(f"{final_sql(folder, table)} AS is_final" if n == "is_final" else name_sql(n) for n in names)
    return f"SELECT {columns} FROM ({newest_rows(table, source)}) WHERE NOT is_deleted"


def open_views(root: Path, tables: Sequence[Table]) -> Any:
    """A read-only connection to the views of OUT, rebuilt first where missing, moved or damaged.

    Raises:
        LockedError: another program has the file open for writing, or it cannot be replaced.
        OutputError: the parts are damaged, or lack a column.
    """
    folder = OutputFolder(root)
    settle(folder)
    with answering(root):
        if not folder.database.exists() or not _is_of_here(folder):
            create_views(folder, tables)
        connection = duckdb.connect(str(folder.database), read_only=True)
        connection.execute("SET TimeZone = 'UTC'")
    return connection


@contextmanager
def answering(root: Path) -> Iterator[None]:
    """What DuckDB raises about the tables of OUT, in words for its user. Raises OutputError."""
    try:
        yield
    except duckdb.Error as error:
        raise unanswered(root, error) from error


def unanswered(root: Path, error: duckdb.Error) -> OutputError:
    """Why the tables of OUT gave no answer, and how to mend it."""
    said = str(error).splitlines()[0]
    if isinstance(error, duckdb.BinderException | duckdb.CatalogException):
        return OutputError(
            f"the tables of {root} are not as this version and project have them: {said}",
            hint="an earlier version may have written them: `wayline run` once more on the same --out, in its project",
        )
    return OutputError(
        f"the tables of {root} cannot be read: {said}",
        hint="ask again; if it stays, a part is damaged: restore it from a backup, or run the input into a new --out",
    )


def fetch(connection: Any, sql: str, values: Sequence[object] = ()) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Names of the columns, and the rows, of a query over parts: asked again when a part vanished under it.

    A compaction removes parts that it replaced long ago; a query that lists them in that instant fails to open them.

    Raises:
        duckdb.Error: the query is wrong, or fails again and again.
    """
    for left in range(_TRIES - 1, -1, -1):
        try:
            cursor = connection.execute(sql, values)
            return [column[0] for column in cursor.description], cursor.fetchall()
        except duckdb.IOException:
            if not left:
                raise
    raise AssertionError("unreachable")


def _is_of_here(folder: OutputFolder) -> bool:
    """Whether the file of views can be read and tells of this folder. It holds nothing that could be lost."""
    try:
        connection = duckdb.connect(str(folder.database), read_only=True)
    except duckdb.Error as error:
        if "Could not set lock" in str(error):
            raise LockedError(
                f"{folder.database} cannot be opened: {error}", hint="close the program that has it open for writing"
            ) from error
        return False
    try:
        row = connection.execute("SELECT root FROM _origin").fetchone()
    except duckdb.Error:
        return False
    finally:
        connection.close()
    return row is not None and row[0] == str(folder.root.resolve())
