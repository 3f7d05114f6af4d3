"""Single rows to table batches: rows that come one by one are gathered by a hash of their key and written together."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam

from contracts import coders as _coders  # noqa: F401  # registers the coder of TableBatch
from contracts.exchange import TableBatch
from contracts.tables import Table
from transforms.tables.batches import columns_of, table_batch
from transforms.tables.rows import Row

SHARDS = 4


class _ToRow(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    def __init__(self, key: Callable[[Any], str]) -> None:
        self._key = key

    def process(self, element: Any) -> Iterator[tuple[bytes, Any]]:
        yield (zlib.crc32(self._key(element).encode()) % SHARDS).to_bytes(1, "big"), element


class _ToBatch(beam.DoFn):  # type: ignore[misc]
    def __init__(self, table: Table, row: Callable[[Any], Row], revision: int, is_final: bool) -> None:
        self._table = table
        self._row = row
        self._revision = revision
        self._final = is_final

    def process(self, element: tuple[bytes, Iterable[Any]]) -> Iterator[TableBatch]:
        shard, elements = element
        place = [self._table.column_names.index(name) for name in self._table.key]
        # the same thing rejected twice is one row
        found = {tuple(row[i] for i in place): row for row in map(self._row, elements)}
        columns = columns_of(found.values(), len(self._table.columns))
        batch = table_batch(self._table, f"k{shard.hex()}", columns, revision=self._revision, is_final=self._final)
        if batch is not None:
            yield batch


class GatherRows(beam.PTransform):  # type: ignore[misc]
    """Elements to ``TableBatch``es of one table, one a hash shard.

    Args:
        kind: class of the elements, for their coder.
        key: what a row is known by; rows of one key meet in one batch.
        row: element to row; rows of one key after the first replace it.
    """

    def __init__(
        self,
        table: Table,
        kind: type[Any],
        key: Callable[[Any], str],
        row: Callable[[Any], Row],
        revision: int,
        is_final: bool,
    ) -> None:
        super().__init__()
        self._pair: Any = tuple[bytes, kind]  # type: ignore[valid-type]  # a type built at run time
        self._to_row = _ToRow(key)
        self._to_batch = _ToBatch(table, row, revision, is_final)

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        return (
            elements
            | "KeyByHash" >> beam.ParDo(self._to_row).with_output_types(self._pair)
            | "Gather" >> beam.GroupByKey()
            | "ToBatch" >> beam.ParDo(self._to_batch).with_output_types(TableBatch)
        )
