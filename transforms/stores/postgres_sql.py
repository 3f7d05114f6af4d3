"""The SQL of the stores in the words of PostgreSQL: values, membership, column types, and loading in bulk."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import psycopg

from transforms.stores.database import NONE_SAME, Row, Same


class PostgresTransaction:
    """``Transaction`` on a connection."""

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._cursor = connection.cursor()

    def execute(self, sql: str, values: Sequence[object] = ()) -> int:
        return self._cursor.execute(_for_postgres(sql), values).rowcount

    def execute_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        self._cursor.executemany(_for_postgres(sql), rows)

    def load(
        self, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]], same: Mapping[str, Same] = NONE_SAME
    ) -> None:
        last = tuple(same.values())
        with self._cursor.copy(f"COPY {table} ({', '.join((*columns, *same))}) FROM STDIN".encode()) as copy:
            for row in rows:
                copy.write_row((*row, *last))

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


def for_definition(sql: str) -> str:
    """A statement of a migration in the words of PostgreSQL. Text is in the order of code points, as in SQLite."""
    return _TYPE.sub(lambda found: _TYPES[found[1]], sql.replace(" WITHOUT ROWID", ""))
