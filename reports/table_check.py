"""The data tests of an output folder, run: which fail, by how many rows, and the query that shows them.

Nearly every test asks a view that reads others, down to the newest row of each key among the parts. So each table and
view is computed once, with the columns that are asked for, and all tests ask what came of it.

No Beam. Input: an output folder and the tables' contracts. Output: ``Failure`` rows, none when all holds. Errors:
``OutputError`` for what is no output folder or cannot be read. State: none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.tables import Table
from transforms.tables.data_tests import data_tests
from transforms.tables.journey_views import journey_views
from transforms.tables.output import check_readable
from transforms.tables.sql import name_sql
from transforms.tables.views import answering, fetch, open_views


@dataclass(frozen=True, slots=True)
class Failure:
    """A data test that does not hold: its name, how many rows break it, and the query that finds them."""

    name: str
    rows: int
    sql: str


def failed_tests(out: Path, tables: Sequence[Table]) -> list[Failure]:
    """The data tests that do not hold of OUT, in the order of their declaration.

    Raises:
        OutputError: ``out`` is no output folder, or its parts or views cannot be read.
    """
    check_readable(out)
    connection = open_views(out, tables)
    try:
        with answering(out):
            return failures(connection, tables)
    finally:
        connection.close()


def failures(connection: Any, tables: Sequence[Table]) -> list[Failure]:
    """The data tests that do not hold, in their order. Raises DuckDB's errors.

    Args:
        connection: to the views of OUT; it is not used itself, so that nothing is left on it.
        tables: their contracts.
    """
    found = []
    own = connection.cursor()
    try:
        own.execute("SET TimeZone = 'UTC'")
        hold(own, tables)
        for test in data_tests(tables):
            _, [(rows,)] = fetch(own, f"SELECT count(*) FROM ({test.sql})")
            if rows:
                found.append(Failure(test.name, rows, test.sql))
    finally:
        own.close()
    return found


def hold(connection: Any, tables: Sequence[Table]) -> None:
    """Compute each table and view into a temporary table of its name, which goes before the view until the end."""
    views = journey_views(tables)
    asked = _asked(tables, [*(test.sql for test in data_tests(tables)), *(view.sql for view in views)])
    for table in tables:
        columns = ", ".join(name_sql(name) for name in table.column_names if name in asked[table.name])
        fetch(connection, f"CREATE TEMP TABLE {table.name} AS SELECT {columns} FROM {table.name}")
    for view in views:
        fetch(connection, f"CREATE TEMP TABLE {view.name} AS {view.sql}")


def _asked(tables: Sequence[Table], queries: Sequence[str]) -> dict[str, set[str]]:
    """Of each table, the words of the queries that name it: its columns among them are all that they can ask for."""
    names = {table.name for table in tables}
    asked: dict[str, set[str]] = {name: set() for name in names}
    for query in queries:
        words = set(re.findall(r"\w+", query))
        for name in names & words:
            asked[name] |= words
    return asked
