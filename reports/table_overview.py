"""What lies in an output folder: its tables with their rows, columns, parts and bytes; and queries over its views.

No Beam. Input: an output folder and the tables' contracts. Output: plain rows. Errors: ``OutputError`` for what is no
output folder, ``UsageError`` for a query that is wrong or would change something. State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from contracts.errors import OutputError, UsageError
from contracts.tables import Table
from reports.lookup import JourneyTables
from transforms.tables.output import check_readable
from transforms.tables.part_names import parts_in
from transforms.tables.sql import path_sql, quote
from transforms.tables.views import fetch, open_views, unanswered

_READING = ("SELECT", "EXPLAIN")


@dataclass(frozen=True, slots=True)
class TableSize:
    """``rows`` is what the view shows; ``parts`` and ``bytes`` what lies on the disk, older revisions included."""

    name: str
    rows: int
    columns: int
    parts: int
    bytes: int
    doc: str


def table_sizes(out: Path, tables: Sequence[Table]) -> list[TableSize]:
    """Every table of an output folder, also an empty one, in the order of the contract.

    Raises:
        OutputError: ``out`` is no output folder, or a part cannot be read.
    """
    journey = JourneyTables(out, tables)
    try:
        found = []
        for table in tables:
            parts = parts_in(out / "tables" / table.name)
            size = sum(part.stat().st_size for part in parts if part.exists())
            rows = journey.count(table.name)
            found.append(TableSize(table.name, rows, len(table.columns), len(parts), size, table.doc))
        return found
    finally:
        journey.close()


def query(out: Path, tables: Sequence[Table], sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Names of the columns, and the rows, of one query over the views. It can read OUT and nothing else.

    Raises:
        OutputError: ``out`` is no output folder, or its parts cannot be read.
        UsageError: the query is wrong, or is none.
    """
    check_readable(out)
    if not sql.isascii() and any("\ud800" <= c <= "\udfff" for c in sql):
        raise UsageError("the query is no Unicode text", hint="write it in UTF-8")
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise UsageError(f"the query is wrong: {error}") from error
    if len(statements) != 1 or statements[0].type.name not in _READING:
        raise UsageError("one SELECT is expected", hint="to change tables, run the pipeline; to export, use --format")
    connection = open_views(out, tables)
    try:
        root = f"{out.resolve()}/"
        # as it is, and as the views write it
        connection.execute(f"SET allowed_directories = [{quote(root)}, {path_sql(root)}]")
        connection.execute("SET enable_external_access = false")
        return fetch(connection, sql)
    except duckdb.Error as error:
        if fault := _fault_of_tables(connection, out, tables, error):
            raise fault from error
        raise UsageError(f"the query is wrong: {error}", hint="wayline tables --out lists the tables") from error
    finally:
        connection.close()


def _fault_of_tables(connection: Any, out: Path, tables: Sequence[Table], error: duckdb.Error) -> OutputError | None:
    """What is wrong with the tables where a query failed; None when they answer, so that the query itself is wrong."""
    if isinstance(error, duckdb.IOException):
        return unanswered(out, error)
    try:
        for table in tables:
            fetch(connection, f"SELECT * FROM {table.name} LIMIT 1")
    except duckdb.Error as found:
        return unanswered(out, found)
    return None
