"""Lookup tables of a mapping: written into it, or a CSV file beside it. Pure but for reading that file.

A table's content is part of the mapping: it counts in the mapping's version.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath

from contracts.documents import Node
from contracts.event import Scalar

MAX_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class Table:
    """Text in the row to value in the event. ``content`` is what the version of the mapping must tell apart."""

    entries: Mapping[str, Scalar]
    content: bytes = b""


def parse_tables(node: Node | None) -> dict[str, Table]:
    """The tables of a mapping by name. Raises ConfigurationError with file and line."""
    if node is None:
        return {}
    return {name: _table(item) for name, item in node.items()}


def _table(node: Node) -> Table:
    node.mapping(("values", "file", "key", "value", "delimiter"))
    values = node.get("values")
    if (values is None) == (node.get("file") is None):
        node.fail(f"{node.where} needs exactly one of values, file")
    if values is not None:
        for key in ("key", "value", "delimiter"):
            if odd := node.get(key):
                odd.fail(f"{odd.where} goes with file")
        return Table({key: scalar_of(item) for key, item in values.items()})
    return _from_file(node)


def _from_file(node: Node) -> Table:
    name = node.need("file")
    relative = FilePath(name.string())
    if relative.is_absolute() or ".." in relative.parts:
        name.fail(f"{name.where} must lie beside the mapping, or below", hint="write a path relative to the mapping")
    path = FilePath(node.path).parent / relative
    try:
        content = path.read_bytes() if path.stat().st_size <= MAX_BYTES else b""
    except OSError as error:
        name.fail(f"{name.where}: {relative} cannot be read: {error.strerror}")
    if not content:
        name.fail(f"{name.where}: {relative} is empty, or larger than {MAX_BYTES} bytes")
    delimiter = node.get("delimiter")
    separator = delimiter.string() if delimiter else ","
    if delimiter is not None and len(separator) != 1:
        delimiter.fail(f"{delimiter.where} is one character")
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=separator, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        name.fail(f"{name.where}: {relative} is no CSV in UTF-8: {error}")
    return Table(_entries(node, name, rows), content)


def _entries(node: Node, name: Node, rows: list[list[str]]) -> dict[str, Scalar]:
    places = []
    for key in ("key", "value"):
        column = node.need(key)
        if not rows or column.string() not in rows[0]:
            column.fail(
                f"{name.string()} has no column {column.string()!r}",
                hint=f"its columns: {', '.join(rows[0][:40]) if rows else 'none'}",
            )
        places.append(rows[0].index(column.string()))
    entries: dict[str, Scalar] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != len(rows[0]):
            name.fail(f"{name.string()}, row {number}: {len(row)} columns where the header has {len(rows[0])}")
        found, value = row[places[0]], row[places[1]]
        if entries.setdefault(found, value) != value:
            name.fail(f"{name.string()}, row {number}: the key stands twice with different values")
    return entries


def scalar_of(node: Node) -> Scalar:
    """A single value as the mapping writes it. Raises ConfigurationError."""
    if isinstance(node.value, (dict, list)):
        node.fail(f"{node.where} must be a single value, not {node.kind}")
    value: Scalar = node.value
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        node.fail(f"{node.where} is out of range")
    return value
