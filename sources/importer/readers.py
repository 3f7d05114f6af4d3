"""Rows out of files: CSV, TSV, JSON lines, JSON, Parquet and Avro, texts plain or gzip, one row at a time.

Output: (row number, row or RowError), numbers from 1 as an editor shows them (the header of a CSV is line 1). Memory is
bounded: by ``MAX_LINE`` of a line or of an item of a JSON document, ``MAX_ROW`` of a row, an inflated block of Avro,
and for Parquet by what ``sources.importer.parquet`` states. A row that cannot be read carries its text; of a line that
is longer than ``MAX_LINE`` the first ``MAX_LINE`` characters.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol

import fastavro

from contracts.errors import InputError
from contracts.event_reader import FAULTS
from sources.importer.json_items import LookAhead, TooLongError
from sources.importer.parquet import column_names, parquet_rows
from sources.importer.rows import BAD_BYTES, MAX_DEPTH, MAX_ROW, Numbered, Row, RowError, is_deeper
from transforms.avro_file import read_blocks
from transforms.avro_json import named_types
from transforms.avro_walk import LARGE, TooManyValuesError, Walker
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

_UNREADABLE = (*BAD_BYTES, struct.error, fastavro.schema.SchemaParseException, fastavro.schema.UnknownType)
"""Of decoders of Avro and of compressed text."""


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
            yield from parquet_rows(path)
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
            return column_names(path)
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
    text = LookAhead(stream, MAX_LINE)
    number = 0
    try:
        is_array = text.take("[")
        while not (is_array and number == 0 and text.next_is("]")):
            item, written = text.item()
            number += 1
            yield number, _row(item, written)
            if not is_array or text.next_is("]"):
                break
            if not text.take(","):
                raise text.fault("',' or ']' expected")
        if is_array:
            text.take("]")
        if not text.is_done():
            raise text.fault("something follows the document; are these JSON lines?")
    except TooLongError as error:
        raise InputError(
            f"{path}: item {number + 1} of the document is longer than {MAX_LINE} characters",
            hint="write it as JSON lines, or as an array of smaller items",
        ) from error
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise InputError(f"{path} is no JSON document: {reason} (near character {text.place})") from error


def _avro(path: Path) -> Iterator[Numbered]:
    number = 0
    try:
        with path.open("rb") as file:
            schema: Any = None
            for header, count, data in read_blocks(file):
                if schema is None:
                    schema = fastavro.parse_schema(json.loads(header.schema))
                    refuse_unsafe(schema)
                    walker = Walker(schema, named_types(schema))
                stream = io.BytesIO(data)
                for _ in range(count):
                    if len(data) > LARGE:
                        _refuse_many(walker, data, stream.tell())
                    row: Any = fastavro.schemaless_reader(stream, schema, None)
                    number += 1
                    yield number, row if isinstance(row, dict) else RowError("bad_row", "not a record", repr(row))
    except DecodeError as error:
        raise InputError(f"{path} cannot be read as Avro after row {number}: {error.detail}") from error
    except TooManyValuesError as error:
        raise InputError(
            f"{path} cannot be read as Avro after row {number}, since of the next row {error}",
            hint="write it as smaller rows",
        ) from error
    except _UNREADABLE as error:
        raise InputError(f"{path} cannot be read as Avro after row {number}: {type(error).__name__}") from error


def _refuse_many(walker: Walker, data: bytes, at: int) -> None:
    """Raises TooManyValuesError; bytes that are no record are left to their reader."""
    with suppress(*FAULTS):
        walker.after(data, at)
