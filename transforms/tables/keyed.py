"""Single rows to table batches: rows that come one by one are gathered by a hash of their key and written together."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows

from contracts import coders as _coders  # noqa: F401  # registers the coder of TableFile
from contracts.exchange import TableFile
from contracts.tables import Table
from transforms.tables.batches import columns_of, table_file
from transforms.tables.rows import Row

SHARDS = 4
ROWS_A_PART = 20_000


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

    def process(self, element: tuple[bytes, Iterable[Any]]) -> Iterator[TableFile]:
        shard, elements = element
        place = [self._table.column_names.index(name) for name in self._table.key]
        # the same thing rejected twice is one row
        found = {tuple(row[i] for i in place): row for row in map(self._row, elements)}
        columns = columns_of(found.values(), len(self._table.columns))
        batch = table_file(self._table, f"k{shard.hex()}", columns, revision=self._revision, is_final=self._final)
        if batch is not None:
            yield batch


class GatherRows(beam.PTransform):  # type: ignore[misc]
    """Elements to ``TableFile``s of one table, one a hash shard.

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
            | "ToBatch" >> beam.ParDo(self._to_batch).with_output_types(TableFile)
        )


class _BatchRows(beam.DoFn):  # type: ignore[misc]
    def __init__(
        self, table: Table, row: Callable[[Any], Row], revision: int, is_final: bool, is_deleted: bool = False
    ) -> None:
        self._table = table
        self._row = row
        self._revision = revision
        self._final = is_final
        self._deleted = is_deleted
        self._place = [table.column_names.index(name) for name in table.key]

    def start_bundle(self) -> None:
        self._rows: list[Row] = []

    def process(self, element: Any) -> Iterator[TableFile]:
        self._rows.append(self._row(element))
        if len(self._rows) >= ROWS_A_PART:
            yield from self._drain()

    def finish_bundle(self) -> Iterator[Any]:
        for batch in self._drain():
            yield GlobalWindows.windowed_value(batch)

    def _drain(self) -> Iterator[TableFile]:
        rows, self._rows = self._rows, []
        if not rows:
            return
        # named by its first key: the same when a bundle is tried again
        key = "\0".join(str(rows[0][place]) for place in self._place)
        part = f"b{hashlib.blake2b(key.encode('utf-8', 'surrogatepass'), digest_size=6).hexdigest()}"
        columns = columns_of(rows, len(self._table.columns))
        batch = table_file(
            self._table, part, columns, revision=self._revision, is_final=self._final, is_deleted=self._deleted
        )
        if batch is not None:
            yield batch


class BatchRows(beam.PTransform):  # type: ignore[misc]
    """Elements to ``TableFile``s of one table as they come, without a shuffle.

    It is for elements of which no two of a run have one key; ``GatherRows`` is for the others. State: the rows of a
    batch, within a bundle.

    Args:
        row: element to row.
        is_deleted: the elements are no more: their keys vanish.
    """

    def __init__(
        self,
        table: Table,
        row: Callable[[Any], Row],
        revision: int,
        is_final: bool,
        *,
        is_deleted: bool = False,
    ) -> None:
        super().__init__()
        self._fn = _BatchRows(table, row, revision, is_final, is_deleted)

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        return elements | "InBatches" >> beam.ParDo(self._fn).with_output_types(TableFile)
