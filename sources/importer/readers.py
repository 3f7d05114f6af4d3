"""Rows out of files: CSV, TSV, JSON lines, JSON and Parquet, plain or gzip, one row at a time.

Output: (row number, row or RowError), numbers from 1 as an editor shows them (the header of a CSV is line 1). Memory is
bounded by one row, except for JSON documents, which are read whole up to ``MAX_JSON_BYTES``. A row that cannot be read
carries its text; of a line that is longer than ``MAX_LINE`` the first ``MAX_LINE`` characters.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from contracts.errors import InputError
from sources.importer.mapping import Mapping
from sources.importer.values import Row, RowError

MAX_LINE = 16 * 1024 * 1024
MAX_JSON_BYTES = 512 * 1024 * 1024
_BATCH = 4_096

Numbered = tuple[int, Row | RowError]


def read_rows(path: Path, mapping: Mapping) -> Iterator[Numbered]:
    """The rows of one file.

    Raises:
        InputError: the file as a whole is not what the mapping says, or is damaged from some row on.
    """
    try:
        if mapping.format == "parquet":
            yield from _parquet(path)
            return
        with _open(path) as stream:
            if mapping.format in ("csv", "tsv"):
                yield from _csv(stream, mapping)
            elif mapping.format == "jsonl":
                yield from _json_lines(stream)
            else:
                yield from _json(stream, path)
    except (OSError, EOFError) as error:
        raise InputError(
            f"{path} cannot be read to its end: {error}", hint="is it cut off, or no gzip file?"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start})", hint="convert it to UTF-8") from error


def header(path: Path, mapping: Mapping) -> tuple[str, ...] | None:
    """The column names of a CSV, TSV or Parquet file; None for JSON, whose rows may differ."""
    try:
        if mapping.format == "parquet":
            import pyarrow.parquet as pq

            return tuple(pq.ParquetFile(path).schema_arrow.names)
        if mapping.format in ("csv", "tsv"):
            with _open(path) as stream:
                first = next(csv.reader(stream, delimiter=mapping.delimiter), [])
                return tuple(first)
    except (OSError, EOFError, UnicodeDecodeError, ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as {mapping.format}: {error}") from error
    return None


def _open(path: Path) -> IO[str]:
    with path.open("rb") as probe:
        zipped = probe.read(2) == b"\x1f\x8b"
    raw: Any = gzip.open(path, "rb") if zipped else path.open("rb")  # noqa: SIM115  # closed by the wrapper
    return io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")


def _csv(stream: IO[str], mapping: Mapping) -> Iterator[Numbered]:
    csv.field_size_limit(MAX_LINE)
    lines: list[str] = []
    reader = csv.reader(_noted(stream, lines), delimiter=mapping.delimiter, strict=True)
    names = next(reader, None)
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


def _noted(stream: IO[str], lines: list[str]) -> Iterator[str]:
    """The lines of a file, each added to ``lines`` as it is read."""
    for line in stream:
        lines.append(line)
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
    return found if isinstance(found, dict) else RowError("bad_row", "not a JSON object", text)


def _json(stream: IO[str], path: Path) -> Iterator[Numbered]:
    text = stream.read(MAX_JSON_BYTES + 1)
    if len(text) > MAX_JSON_BYTES:
        raise InputError(f"{path} is too large for one JSON document", hint="write it as JSON lines")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON document: {error}") from error
    for number, item in enumerate(found if isinstance(found, list) else [found], start=1):
        if isinstance(item, dict):
            yield number, item
        else:
            yield number, RowError("bad_row", "not a JSON object", json.dumps(item))


def _parquet(path: Path) -> Iterator[Numbered]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        number = 0
        for batch in pq.ParquetFile(path).iter_batches(batch_size=_BATCH):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except pa.ArrowException as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}") from error
