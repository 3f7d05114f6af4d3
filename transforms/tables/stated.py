"""Rows that a stream states, to Arrow: pure, no Beam.

Input: ``StatedRows`` of one table. Output: an Arrow table with the columns of a part. Times are microseconds on the way
in. Errors: ``ValueError`` for rows that do not fit their table, a defect of the producer. State: none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from contracts.exchange import StatedRows
from contracts.tables import Table
from transforms.tables.batches import arrow_schema

Row = tuple[Any, ...]

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[list[Any]])


def stated(table: Table, revision: int, rows: Iterable[Row], *, sequence: int = 0, deleted: bool = False) -> StatedRows:
    """Rows, each with the values of the table's columns in order, as a stream states them.

    Args:
        sequence: of each of them; ``StatedRows`` says which tables have one.
        deleted: the keys vanished; the other values of the rows may be None.
    """
    return StatedRows(table.name, revision, _encoder.encode([[sequence, deleted, *row] for row in rows]))


def rows_of(table: Table, batches: Iterable[StatedRows]) -> Iterator[tuple[int, int, bool, list[Any]]]:
    """(sequence, revision, is_deleted, values) of each row. Raises ValueError when a row has other columns."""
    width = len(table.columns)
    facets = [(table.column_names.index(name), meant) for name, meant in table.facets]
    for batch in batches:
        for sequence, deleted, *values in _decoder.decode(batch.rows):
            if len(values) != width:
                raise ValueError(f"a row of {table.name} has {len(values)} values, but the table {width} columns")
            for place, meant in facets if deleted else ():
                values[place] = meant if values[place] is None else values[place]
            yield sequence, batch.revision, bool(deleted), values


def newest_stated(table: Table, batches: Iterable[StatedRows]) -> list[tuple[int, int, bool, list[Any]]]:
    """Of each key the rows of the greatest (sequence, revision), in the order they were stated.

    Several rows of one key and one statement are all kept: readers settle them by ``Table.ties``.
    """
    place = [table.column_names.index(name) for name in table.statement]
    found = list(rows_of(table, batches))
    keys = [tuple(row[3][i] for i in place) for row in found]
    newest: dict[tuple[Any, ...], tuple[int, int]] = {}
    for key, row in zip(keys, found, strict=True):
        if newest.get(key, row[:2]) <= row[:2]:
            newest[key] = row[:2]
    return [row for key, row in zip(keys, found, strict=True) if row[:2] == newest[key]]


def arrow_rows(table: Table, rows: Sequence[tuple[int, int, bool, list[Any]]]) -> Any:
    """Rows as ``newest_stated`` gives them to an Arrow table with the physical columns; none is stated final."""
    schema = arrow_schema(table)
    values = list(zip(*(row[3] for row in rows), strict=True)) or [()] * len(table.columns)
    meta = ([row[1] for row in rows], [False] * len(rows), [row[2] for row in rows], [row[0] for row in rows])
    try:
        arrays = [pa.array(column, type=field.type) for column, field in zip((*values, *meta), schema, strict=True)]
    except (pa.ArrowException, TypeError) as error:
        raise ValueError(f"a row of {table.name} does not fit its columns: {error}") from error
    return pa.table(arrays, schema=schema)
