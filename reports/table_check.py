"""The data tests of an output folder, run: which fail, by how many rows, and the query that shows them.

No Beam. Input: an output folder and the tables' contracts. Output: ``Failure`` rows, none when all holds. Errors:
``OutputError`` for what is no output folder or cannot be read. State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from contracts.errors import OutputError
from contracts.tables import Table
from transforms.tables.data_tests import DataTest, data_tests
from transforms.tables.output import check_readable
from transforms.tables.views import fetch, open_views


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
        return failures(connection, data_tests(tables))
    except duckdb.Error as error:
        raise OutputError(
            f"the tables of {out} cannot be tested: {error}",
            hint="run `wayline run` on the same --out once more: its views may be of an earlier version",
        ) from error
    finally:
        connection.close()


def failures(connection: Any, tests: Sequence[DataTest]) -> list[Failure]:
    """Those of the tests that do not hold, in their order. Raises DuckDB's errors."""
    found = []
    for test in tests:
        _, [(rows,)] = fetch(connection, f"SELECT count(*) FROM ({test.sql})")
        if rows:
            found.append(Failure(test.name, rows, test.sql))
    return found
