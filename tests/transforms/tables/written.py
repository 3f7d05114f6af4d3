"""What the tests of tables share: a small table, parts written by hand, and what the views show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.tables import Column, Table
from transforms.tables.batches import arrow_schema
from transforms.tables.views import open_views

THINGS = Table(
    "things",
    ("k",),
    (Column("k", "text", "Key."), Column("v", "int", "Value."), Column("at", "timestamp", "Time.")),
    "One row a thing.",
    final_by="at",
)
VISITS = Table("visits", THINGS.key, THINGS.columns, "One row a visit.", final_by="at", closes=True)

Stated = tuple[str, int, int, int, bool]
"""(key, value, sequence, revision, is_deleted)."""


def part(out: Path, name: str, rows: Sequence[Stated], table: Table = THINGS) -> Path:
    """One part with these rows, whose time is their value."""
    target = out / "tables" / table.name / name
    target.parent.mkdir(parents=True, exist_ok=True)
    columns: list[list[Any]] = [
        [row[0] for row in rows],
        [row[1] for row in rows],
        [row[1] for row in rows],
        [row[3] for row in rows],
        [False for _ in rows],
        [row[4] for row in rows],
        [row[2] for row in rows],
    ]
    schema = arrow_schema(table)
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)]
    pq.write_table(pa.table(arrays, schema=schema), target)
    return target


def shown(out: Path, table: Table = THINGS, columns: str = "k, v") -> list[tuple[Any, ...]]:
    """What the view of a table shows, in order."""
    connection = open_views(out, (table,))
    try:
        found: list[tuple[Any, ...]] = connection.execute(f"SELECT {columns} FROM {table.name} ORDER BY ALL").fetchall()
        return found
    finally:
        connection.close()
