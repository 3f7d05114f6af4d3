"""Rows out of a Parquet file, in memory that the file cannot choose.

Output: (row number, row or RowError). Before anything is inflated, what the heads of the pages claim is bounded
(``sources.importer.parquet_pages``; the end of the file may lie): ``MAX_AT_ONCE`` for the pages of a row group that are
in memory together, ``MAX_COLUMN`` for a column of a row group, ``MAX_REPEATED`` for the values of a nested one, and
``MAX_DEPTH`` for nesting. What the rows then take is bounded by ``MAX_ROW`` each. Errors: ``InputError`` with the
column and the bound. State: none.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from contracts.errors import InputError
from sources.importer.parquet_pages import Pages, PagesError, pages_of, schema_depth
from sources.importer.rows import BAD_BYTES, MAX_DEPTH, MAX_ROW, Numbered, Row, RowError

MAX_COLUMN = 512 * 1024 * 1024
MAX_AT_ONCE = 512 * 1024 * 1024
MAX_REPEATED = 16 * 1024 * 1024
_BATCH = 4_096
_SMALLER = "write it in smaller row groups"

_UNREADABLE = (*BAD_BYTES, NotImplementedError)
"""Of Arrow; its own errors are kinds of these, but for OSError."""


def column_names(path: Path) -> tuple[str, ...]:
    """The names of the columns. Raises InputError, OSError."""
    with path.open("rb") as file:
        return tuple(_opened(path, file).schema_arrow.names)


def parquet_rows(path: Path) -> Iterator[Numbered]:
    """The rows of a file. Texts are read as dictionaries, since a few bytes may say one text a million times over.

    Raises:
        InputError: it is no Parquet file, is damaged, or goes beyond a bound.
        OSError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            meta = _opened(path, file).metadata
            for group in range(meta.num_row_groups):
                _check_pages(path, file, meta, group)
            texts = [
                column.path
                for column in map(meta.schema.column, range(meta.num_columns))
                if column.physical_type == "BYTE_ARRAY" and column.logical_type.type != "DECIMAL"
            ]
            batch_size = _batch_size(path, meta)
            number = 0
            opened = _opened(path, file, read_dictionary=texts)
            for group in range(meta.num_row_groups):
                # each by itself: a batch across two would mix their dictionaries, which Arrow refuses where they are
                # nested
                for batch in opened.iter_batches(batch_size=batch_size, row_groups=[group]):
                    for row in _unpacked(batch):
                        number += 1
                        yield number, row
    except _UNREADABLE as error:
        raise InputError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error


def _opened(path: Path, file: IO[bytes], **options: Any) -> Any:
    """Arrow's reader, which goes down the schema by recursion. Raises InputError, and what Arrow raises."""
    import pyarrow.parquet as pq

    try:
        depth = schema_depth(file)
    except PagesError as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}") from error
    if depth > MAX_DEPTH:
        raise InputError(f"{path}: its schema is nested {depth} deep, more than {MAX_DEPTH}", hint="flatten it first")
    try:
        return pq.ParquetFile(file, **options)
    except _UNREADABLE as error:
        raise InputError(f"{path} cannot be read as Parquet: {type(error).__name__}") from error


def _check_pages(path: Path, file: IO[bytes], meta: Any, group: int) -> None:
    """Refuse a row group whose pages claim more than may be. Raises InputError."""
    at_once = 0
    for place in range(meta.num_columns):
        column = meta.row_group(group).column(place)
        pages = _pages(path, file, column)
        if pages.total > MAX_COLUMN:
            raise InputError(
                f"{path}: column {column.path_in_schema} takes {pages.total:,} bytes in one row group, "
                f"more than {MAX_COLUMN:,}",
                hint=_SMALLER,
            )
        if meta.schema.column(place).max_repetition_level and pages.values > MAX_REPEATED:
            raise InputError(
                f"{path}: column {column.path_in_schema} has {pages.values:,} values in one row group, "
                f"more than {MAX_REPEATED:,}",
                hint=_SMALLER,
            )
        at_once += pages.dictionary + pages.largest
    if at_once > MAX_AT_ONCE:
        raise InputError(
            f"{path}: the pages of one row group that are read together take {at_once:,} bytes, "
            f"more than {MAX_AT_ONCE:,}",
            hint="write it with smaller pages",
        )


def _pages(path: Path, file: IO[bytes], column: Any) -> Pages:
    start = column.data_page_offset
    if column.has_dictionary_page and 0 < column.dictionary_page_offset < start:
        start = column.dictionary_page_offset
    try:
        if start < 0 or column.total_compressed_size < 0:
            raise PagesError("its pages have no place")
        return pages_of(file, start, column.total_compressed_size, column.num_values)
    except PagesError as error:
        raise InputError(f"{path}: column {column.path_in_schema} cannot be read: {error}") from error


def _batch_size(path: Path, meta: Any) -> int:
    """Rows that are read at once: fewer where values have a fixed length that is large, and no dictionary helps."""
    columns = [meta.schema.column(place) for place in range(meta.num_columns)]
    fixed: int = sum(max(0, column.length) for column in columns if column.physical_type == "FIXED_LEN_BYTE_ARRAY")
    if fixed > MAX_ROW:
        raise InputError(f"{path}: its values of fixed length take {fixed:,} bytes a row, more than {MAX_ROW:,}")
    return max(1, min(_BATCH, MAX_ROW // max(fixed, 1)))


def _unpacked(batch: Any) -> Iterator[Row | RowError]:
    """The rows of a batch, so many at a time as fit ``MAX_ROW``; one that does not fit alone is none."""
    size = sum(_bytes(column) for column in batch.columns)
    if size <= MAX_ROW:
        # now that they fit, plain texts, of which Arrow makes Python's at half the cost
        plain = [column.dictionary_decode() if hasattr(column, "indices") else column for column in batch.columns]
        yield from type(batch).from_arrays(plain, names=batch.schema.names).to_pylist()
    elif batch.num_rows == 1:
        yield RowError("bad_row", f"the row is larger than {MAX_ROW} bytes", f"(a row of {size} bytes)")
    else:
        half = batch.num_rows // 2
        yield from _unpacked(batch.slice(0, half))
        yield from _unpacked(batch.slice(half))


def _bytes(array: Any) -> int:
    """About how many bytes the values of an Arrow array take once each stands by itself."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if pa.types.is_dictionary(kind):
        said = pc.take(pc.binary_length(array.dictionary), array.indices)
        return 8 * len(array) + int(pc.sum(said).as_py() or 0)
    if pa.types.is_map(kind):
        # of a slice, keys and items are still those of the whole
        begin, end = array.offsets[0].as_py(), array.offsets[-1].as_py()
        return 8 * len(array) + sum(_bytes(part.slice(begin, end - begin)) for part in (array.keys, array.items))
    if pa.types.is_struct(kind):
        return 8 * len(array) + sum(_bytes(part) for part in array.flatten())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return 8 * len(array) + _bytes(array.flatten())
    return int(array.nbytes)
