"""Rows out of files: CSV, TSV, JSON lines, JSON, Parquet and Avro, texts plain or gzip, one row at a time.

Output: (row number, row or RowError), numbers from 1 as an editor shows them (the header of a CSV is line 1). Memory is
bounded: by ``MAX_LINE`` of a line, ``MAX_ROW`` of a row, an inflated block of Avro, ``MAX_COLUMN`` of Parquet, and
for JSON documents, which are read whole, by ``MAX_JSON_BYTES``. A row that cannot be read carries its text;
of a line that is longer than ``MAX_LINE`` the first ``MAX_LINE`` characters.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import fastavro

from contracts.errors import InputError
from sources.importer.rows import MAX_DEPTH, Row, RowError, is_deeper
from transforms.avro_file import read_blocks
from transforms.decode import DecodeError, refuse_unsafe

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".avro": "avro",
}
MAX_LINE = 16 * 1024 * 1024
MAX_ROW = 64 * 1024 * 1024
MAX_COLUMN = 512 * 1024 * 1024
MAX_JSON_BYTES = 512 * 1024 * 1024
_BATCH = 4_096
_SPACE = re.compile(r"[ \t\n\r]*")

_UNREADABLE = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    MemoryError,
    struct.error,
    fastavro.schema.SchemaParseException,
    fastavro.schema.UnknownType,
)
"""What decoders of binary formats raise on bytes that are not what they should be; a length may be any number."""

Numbered = tuple[int, Row | RowError]


class Layout(Protocol):
    """What must be known of files before they can be read; a mapping says it."""

    @property
    def name(self) -> str: ...

    @property
    def formats(self) -> tuple[str, ...]: ...

    @property
    def delimiter(self) -> str: ...


def format_of(path: Path, layout: Layout) -> str:
    """The format of a file: the mapping's, or among several of them the one that the file's name or beginning shows.

    Raises:
        InputError: the mapping names several formats and the file is of none of them.
    """
    if len(layout.formats) == 1:
        return layout.formats[0]
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in (".gz", ".gzip")]
    named = SUFFIXES.get(suffixes[-1]) if suffixes else None
    if named in ("json", "jsonl") or (named is None and {"json", "jsonl"} & set(layout.formats)):
        shown = _shown(path, named or "jsonl")
        named = shown if named is not None or shown in layout.formats else None
        if named not in layout.formats and named in ("json", "jsonl"):
            # a document of one object is a line of JSON, and a line is a document
            named = "json" if named == "jsonl" and "json" in layout.formats else named
    if named is None:
        return layout.formats[0]
    if named not in layout.formats:
        raise InputError(
            f"{path.name} looks like {named}; the mapping {layout.name} reads {', '.join(layout.formats)}",
            hint="export it in one of these, or write a mapping for it",
        )
    return named


def _shown(path: Path, named: str) -> str:
    """Whether a file of JSON holds one document or one object a line, by its first line."""
    with _readable(path), _open(path) as stream:
        first = stream.readline(MAX_LINE).strip()
        if first.startswith("["):
            return "json"
        if not first.startswith("{"):
            return named
        return "jsonl" if isinstance(_object(first), dict) else "json"


def read_rows(path: Path, layout: Layout) -> Iterator[Numbered]:
    """The rows of one file.

    Raises:
        InputError: the file as a whole is not what the mapping says, or is damaged from some row on.
    """
    kind = format_of(path, layout)
    with _readable(path):
        if kind == "parquet":
            yield from _parquet(path)
            return
        if kind == "avro":
            yield from _avro(path)
            return
        with _open(path) as stream:
            if kind in ("csv", "tsv"):
                yield from _csv(stream, path, "\t" if kind == "tsv" else layout.delimiter)
            elif kind == "jsonl":
                yield from _json_lines(stream)
            else:
                yield from _json(stream, path)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{path} cannot be read to its end: {error}", hint="is it cut off, or no gzip file?"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start})", hint="convert it to UTF-8") from error


def header(path: Path, layout: Layout) -> tuple[str, ...] | None:
    """The column names of a CSV, TSV, Parquet or Avro file; None for JSON, whose rows may differ."""
    kind = format_of(path, layout)
    try:
        if kind == "parquet":
            import pyarrow.parquet as pq

            return tuple(pq.ParquetFile(path).schema_arrow.names)
        if kind == "avro":
            with path.open("rb") as file:
                schema = fastavro.reader(file).writer_schema
            fields = schema.get("fields") if isinstance(schema, dict) else None
            return tuple(field["name"] for field in fields) if fields is not None else None
        if kind in ("csv", "tsv"):
            with _open(path) as stream:
                first = next(csv.reader(stream, delimiter="\t" if kind == "tsv" else layout.delimiter), [])
                return tuple(first)
    except (OSError, EOFError, zlib.error, csv.Error, *_UNREADABLE) as error:
        raise InputError(f"{path} cannot be read as {kind}: {type(error).__name__}") from error
    return None


def first_line(path: Path) -> str:
    """The first line of a text file. Raises InputError."""
    with _readable(path), _open(path) as stream:
        return stream.readline(MAX_LINE)


def _open(path: Path) -> IO[str]:
    with path.open("rb") as probe:
        zipped = probe.read(2) == b"\x1f\x8b"
    raw: Any = gzip.open(path, "rb") if zipped else path.open("rb")  # noqa: SIM115  # closed by the wrapper
    return io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")


def _csv(stream: IO[str], path: Path, delimiter: str) -> Iterator[Numbered]:
    csv.field_size_limit(MAX_LINE)
    lines: list[str] = []
    reader = csv.reader(_noted(stream, path, lines), delimiter=delimiter, strict=True)
    try:
        names = next(reader, None)
    except csv.Error as error:
        raise InputError(f"{path} has a header that is not valid CSV: {error}") from error
    if names is None:
        return
    while True:
        line = reader.line_num + 1
        lines.clear()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, RowError("bad_row", f"not valid CSV: {error}", "".join(lines))
            continue
        if not cells:
            continue
        if len(cells) != len(names):
            found = f"{len(cells)} columns where the header has {len(names)}"
            yield line, RowError("bad_row", found, "".join(lines))
        else:
            yield line, dict(zip(names, cells, strict=True))


def _noted(stream: IO[str], path: Path, lines: list[str]) -> Iterator[str]:
    """The lines of a file, each added to ``lines`` as it is read, which is emptied before each row."""
    size = 0
    while line := stream.readline(MAX_LINE):
        if len(line) == MAX_LINE and not line.endswith("\n"):
            raise InputError(f"{path} has a line of more than {MAX_LINE} characters", hint="is it really CSV?")
        lines.append(line)
        # a quote that is never closed makes one row of all that follows
        size = len(line) if len(lines) == 1 else size + len(line)
        if size > MAX_ROW:
            raise InputError(f"{path} has a row of more than {MAX_ROW} characters", hint="is a quote never closed?")
        yield line


def _json_lines(stream: IO[str]) -> Iterator[Numbered]:
    number = 0
    while line := stream.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE and not line.endswith("\n"):
            while (rest := stream.readline(MAX_LINE)) and not rest.endswith("\n"):
                pass
            yield number, RowError("bad_row", f"the line is longer than {MAX_LINE} characters", line)
        elif line.strip():
            yield number, _object(line)


def _object(text: str) -> Row | RowError:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        return RowError("bad_row", f"not JSON: {error.msg} at character {error.pos}", text)
    except ValueError:
        return RowError("bad_row", "a number has too many digits", text)
    except RecursionError:
        return RowError("bad_row", "nested too deeply", text)
    return _row(found, text)


def _row(found: Any, text: str) -> Row | RowError:
    """A parsed item as a row. Only a text with that many brackets can be nested deeply."""
    if text.count("{") + text.count("[") > MAX_DEPTH and is_deeper(found):
        return RowError("bad_row", f"nested more deeply than {MAX_DEPTH}", text)
    return found if isinstance(found, dict) else RowError("bad_row", "not a JSON object", text)


def _json(stream: IO[str], path: Path) -> Iterator[Numbered]:
    """The items of an array one by one, each with its own text; or the one object of the document."""
    text = stream.read(MAX_JSON_BYTES + 1)
    if len(text) > MAX_JSON_BYTES:
        raise InputError(f"{path} is too large for one JSON document", hint="write it as JSON lines")
    decoder = json.JSONDecoder()
    at = _after_space(text, 0)
    is_array = text.startswith("[", at)
    number = 0
    try:
        if is_array:
            at = _after_space(text, at + 1)
        while not (is_array and number == 0 and text.startswith("]", at)):
            item, end = decoder.raw_decode(text, at)
            number += 1
            yield number, _row(item, text[at:end])
            at = _after_space(text, end)
            if not is_array or text.startswith("]", at):
                break
            if not text.startswith(",", at):
                raise json.JSONDecodeError("',' or ']' expected", text, at)
            at = _after_space(text, at + 1)
        at = _after_space(text, at + is_array)
        if at < len(text):
            raise json.JSONDecodeError("something follows the document; are these JSON lines?", text, at)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise InputError(f"{path} is no JSON document: {reason} (near character {at})") from error


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


def _parquet(path: Path) -> Iterator[Numbered]:
    """Texts are read as dictionaries, since a few bytes may say one long text a million times over."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        texts = []
        meta = pq.ParquetFile(path).metadata
        for group in range(meta.num_row_groups):
            for place in range(meta.num_columns):
                column = meta.row_group(group).column(place)
                if column.total_uncompressed_size > MAX_COLUMN:
                    raise InputError(
                        f"{path}: column {column.path_in_schema} takes {column.total_uncompressed_size:,} bytes in one "
                        f"row group, more than {MAX_COLUMN:,}",
                        hint="write it in smaller row groups",
                    )
                if group == 0 and column.physical_type == "BYTE_ARRAY" and _is_text(meta.schema.column(place)):
                    texts.append(column.path_in_schema)
        number = 0
        file = pq.ParquetFile(path, read_dictionary=texts)
        for group in range(meta.num_row_groups):
            # each by itself: a batch across two would mix their dictionaries, which Arrow refuses where they are nested
            for batch in file.iter_batches(batch_size=_BATCH, row_groups=[group]):
                for row in _unpacked(batch):
                    number += 1
                    yield number, row
    except (pa.ArrowException, *_UNREADABLE) as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}") from error


def _is_text(column: Any) -> bool:
    return column.logical_type.type in ("STRING", "NONE", "JSON", "ENUM")


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


def _avro(path: Path) -> Iterator[Numbered]:
    number = 0
    try:
        with path.open("rb") as file:
            schema: Any = None
            for header, count, data in read_blocks(file):
                if schema is None:
                    schema = fastavro.parse_schema(json.loads(header.schema))
                    refuse_unsafe(schema)
                stream = io.BytesIO(data)
                for _ in range(count):
                    row: Any = fastavro.schemaless_reader(stream, schema, None)
                    number += 1
                    yield number, row if isinstance(row, dict) else RowError("bad_row", "not a record", repr(row))
    except DecodeError as error:
        raise InputError(f"{path} cannot be read as Avro after row {number}: {error.detail}") from error
    except _UNREADABLE as error:
        raise InputError(f"{path} cannot be read as Avro after row {number}: {type(error).__name__}") from error
