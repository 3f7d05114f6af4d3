"""Rows of a table to and from Arrow: pure, no Beam.

A producer hands over columns; ``table_file`` adds the ``META`` columns and gives the ``TableFile`` element. Times are
int microseconds on the way in and UTC timestamps in the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.exchange import TableFile
from contracts.tables import BLOB, BOOL, INT, JSON, META, REAL, TEXT, TIME, Table

_TYPES = {
    TEXT: pa.string(),
    JSON: pa.string(),
    TIME: pa.timestamp("us", tz="UTC"),
    INT: pa.int64(),
    REAL: pa.float64(),
    BOOL: pa.bool_(),
    BLOB: pa.binary(),
}


@cache
def arrow_schema(table: Table) -> Any:
    """The physical schema of a part: the declared columns, then ``META``."""
    return pa.schema([pa.field(column.name, _TYPES[column.kind]) for column in (*table.columns, *META)])


def table_file(
    table: Table,
    part: str,
    columns: Sequence[Sequence[Any]],
    *,
    revision: int,
    is_final: Sequence[bool] | bool,
    is_deleted: bool = False,
) -> TableFile | None:
    """Columns, in the order of the declaration, to one ``TableFile``; None when there is no row.

    Args:
        part: file name without ending; stable under a retry of the bundle that makes it.
        is_final: one flag a row, or one for all.
        is_deleted: the keys of the rows vanished; the other values may be None.

    Raises:
        pyarrow.ArrowInvalid: a value does not fit its column's type; a defect of the producer.
    """
    rows = len(columns[0])
    if not rows:
        return None
    schema = arrow_schema(table)
    filled = [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=False)]
    finals = pa.repeat(is_final, rows) if isinstance(is_final, bool) else pa.array(is_final, type=pa.bool_())
    number = pa.repeat(pa.scalar(revision, pa.int64()), rows)
    meta = (number, finals, pa.repeat(is_deleted, rows), pa.repeat(pa.scalar(0, pa.int64()), rows))
    sink = pa.BufferOutputStream()
    # the file itself, so that whoever writes it has nothing to read
    pq.write_table(
        pa.Table.from_arrays([*filled, *meta], schema=schema),
        sink,
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
    )
    return TableFile(table.name, part, rows, sink.getvalue().to_pybytes())


def columns_of(rows: Iterable[tuple[Any, ...]], width: int) -> list[tuple[Any, ...]]:
    """Rows to columns; ``width`` empty columns when there is no row."""
    columns = list(zip(*rows, strict=True))
    return columns or [()] * width
