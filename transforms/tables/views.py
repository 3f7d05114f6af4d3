"""``OUT/wayline.duckdb``: one view a table, showing the newest revision of each key, and those for BI. No Beam.

The database holds views only; the rows stay in the Parquet parts, so the file can be rebuilt at any time and is
replaced by rename: a reader that has the old one open keeps it. Views name the parts by absolute path, since DuckDB
resolves a relative one against the reader's working folder; after OUT was moved, the next run or demo rebuilds
the file.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from contracts.errors import LockedError
from contracts.tables import HIDDEN, META, Table
from transforms.tables.finality import final_sql, write_horizon
from transforms.tables.journey_macros import journey_macros
from transforms.tables.journey_views import journey_views
from transforms.tables.output import OutputFolder
from transforms.tables.sql import name_sql, newest_rows, quote

_TRIES = 5


def create_views(folder: OutputFolder, tables: Sequence[Table]) -> None:
    """Write ``wayline.duckdb`` anew. Raises LockedError when the folder refuses the file."""
    if not folder.horizon.exists():
        # a stream may put its own there while the views are open
        write_horizon(folder.horizon, None)
    temporary = folder.root / f"wayline.{os.getpid()}.tmp"
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
    parts = folder.tables.resolve() / table.name / "*.parquet"
    source = f"read_parquet({quote(str(parts))}, union_by_name = true)"
    names = [*table.column_names, *(column.name for column in META if column.name not in HIDDEN)]
    columns = ", ".join(f"{final_sql(folder, table)} AS is_final" if n == "is_final" else name_sql(n) for n in names)
    return f"SELECT {columns} FROM ({newest_rows(table, source)}) WHERE NOT is_deleted"


def open_views(root: Path, tables: Sequence[Table]) -> Any:
    """A read-only connection to the views of OUT, rebuilt first where missing or moved."""
    folder = OutputFolder(root)
    if not folder.database.exists() or _moved(folder):
        create_views(folder, tables)
    connection = duckdb.connect(str(folder.database), read_only=True)
    connection.execute("SET TimeZone = 'UTC'")
    return connection


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


def _moved(folder: OutputFolder) -> bool:
    try:
        connection = duckdb.connect(str(folder.database), read_only=True)
    except duckdb.Error as error:
        raise LockedError(
            f"{folder.database} cannot be opened: {error}", hint="close the program that has it open for writing"
        ) from error
    try:
        row = connection.execute("SELECT root FROM _origin").fetchone()
    finally:
        connection.close()
    return row is None or row[0] != str(folder.root.resolve())
