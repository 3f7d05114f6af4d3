"""What kind of file somebody has: its format by its name and beginning, some rows of it, shipped mappings that fit."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from contracts.errors import ConfigurationError, InputError
from sources.importer.convert import check_columns
from sources.importer.mapping_file import load_mapping
from sources.importer.readers import SUFFIXES, first_line, format_of, read_rows
from sources.importer.rows import Row, RowError

_DELIMITERS = ",;\t|"
_FITS = 0.6
_SAMPLE = 200


@dataclass(frozen=True)
class GuessedLayout:
    """How a file seems to be written."""

    name: str
    formats: tuple[str, ...]
    delimiter: str = ","


def mapping_name(path: Path) -> str:
    """A name for a mapping of this file: lower case, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", path.name.split(".")[0].lower()).strip("_") or "mine"


def guess_layout(path: Path) -> GuessedLayout:
    """The format of a file, by its name where that says it, else by its beginning.

    Raises:
        InputError: it cannot be read, or is no text.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    name = mapping_name(path)
    if magic == b"PAR1":
        return GuessedLayout(name, ("parquet",))
    if magic == b"Obj\x01":
        return GuessedLayout(name, ("avro",))
    suffix = next((s.lower() for s in reversed(path.suffixes) if s.lower() not in (".gz", ".gzip")), "")
    kind = SUFFIXES.get(suffix)
    first = first_line(path)
    if kind in ("json", "jsonl") or (kind is None and first.lstrip()[:1] in ("{", "[")):
        return GuessedLayout(name, (format_of(path, GuessedLayout(name, ("jsonl", "json"))),))
    if kind == "tsv":
        return GuessedLayout(name, ("tsv",))
    delimiter = max(_DELIMITERS, key=lambda d: len(next(csv.reader([first], delimiter=d), [])))
    return GuessedLayout(name, ("tsv",)) if delimiter == "\t" else GuessedLayout(name, ("csv",), delimiter)


def sample(path: Path, layout: GuessedLayout, limit: int) -> list[Row]:
    """The first rows of a file that can be read. Raises InputError."""
    return [row for _, row in islice(read_rows(path, layout), limit) if not isinstance(row, RowError)]


def fitting(path: Path, rows: list[Row], layout: GuessedLayout, shipped: Path) -> Iterator[tuple[str, float]]:
    """Shipped mappings that map most of these rows, with the share of rows."""
    some = rows[:_SAMPLE]
    for file in sorted(shipped.glob("*.yaml")):
        mapping = load_mapping(file.stem, shipped)
        if layout.formats[0] not in mapping.formats or layout.delimiter != mapping.delimiter:
            continue
        try:
            check_columns([path], mapping)
        except (ConfigurationError, InputError):
            continue
        mapped = dead = 0
        for row in some:
            try:
                mapped += any(True for item in mapping.rows(row) for _ in mapping.events(item))
            except RowError:
                dead += 1
        # rows that its filter leaves out speak for a mapping as little as against it
        if mapped >= _FITS * (mapped + dead) and mapped >= len(some) / 3:
            yield file.stem, mapped / len(some)
