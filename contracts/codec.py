"""Avro encoding of the contracts, without Beam.

Schemas live in ``schemas/NAME/vN.avsc``; the highest N is what this code writes, the others are its committed
predecessors. Timestamps travel as Avro ``timestamp-micros`` but are integers here: building a datetime for each
costs more than decoding the rest of the field, so the logical type is stripped before reading and writing, and kept in
the schema that files carry.
"""

from __future__ import annotations

import copy
import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

SCHEMA_DIR = Path(__file__).parent / "schemas"

Record = dict[str, Any]


@cache
def versions(name: str) -> tuple[int, ...]:
    """The committed versions of a schema, ascending. Raises KeyError for an unknown name."""
    found = sorted(int(path.stem[1:]) for path in (SCHEMA_DIR / name).glob("v*.avsc"))
    if not found:
        raise KeyError(f"no schema named {name!r} in {SCHEMA_DIR}")
    return tuple(found)


@cache
def raw_schema(name: str, version: int | None = None) -> Record:
    """A schema as its file has it; the newest version by default."""
    number = versions(name)[-1] if version is None else version
    loaded: Record = json.loads((SCHEMA_DIR / name / f"v{number}.avsc").read_text(encoding="utf-8"))
    return loaded


def without_logical_types(schema: Any) -> Any:
    """A copy of a schema in which timestamps are plain longs."""
    if isinstance(schema, dict):
        return {k: without_logical_types(v) for k, v in schema.items() if k != "logicalType"}
    if isinstance(schema, list):
        return [without_logical_types(item) for item in schema]
    return schema


@cache
def plain_schema(name: str) -> Any:
    """The newest version, logical types stripped, parsed for fastavro."""
    return fastavro.parse_schema(without_logical_types(copy.deepcopy(raw_schema(name))))


@cache
def schema_id(name: str) -> str:
    """CRC-64-AVRO fingerprint of the newest version's canonical form, as hex: what dead letters call schema id."""
    return str(fingerprint(to_parsing_canonical_form(raw_schema(name)), "CRC-64-AVRO"))


def encode(name: str, record: Record) -> bytes:
    """One record to Avro binary in the newest version of schema ``name``."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, plain_schema(name), record)
    return out.getvalue()


def decode(name: str, data: bytes) -> Record:
    """The inverse of ``encode``. Raises ValueError when bytes are left over or missing."""
    source = io.BytesIO(data)
    record = fastavro.schemaless_reader(source, plain_schema(name), None)
    if source.tell() != len(data):
        raise ValueError(f"{len(data) - source.tell()} bytes are left over after a {name} record")
    if not isinstance(record, dict):
        raise ValueError(f"{name} is no record")
    return record
