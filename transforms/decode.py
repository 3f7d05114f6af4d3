"""Decode: Avro binary, written with any compatible schema version, to ``Event``.

Pure: no Beam, no clock. ``EventDecoder`` is made once for a writer's schema. A schema equal to the newest event schema
is read by the compiled reader; any other goes through resolution in the Avro library, at over twice the cost. Times are
UTC microseconds whatever unit the writer used. Errors: ``DecodeError`` with a reason from
``transforms.dead_letter.REASONS``; nothing else escapes, whatever the bytes are.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator
from functools import cache
from typing import Any

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from contracts import codec
from contracts.compatibility import incompatibilities
from contracts.event import Event
from contracts.event_codec import event_from_record
from contracts.event_reader import FAULTS, event_reader

LIBRARY_FAULTS: tuple[type[Exception], ...] = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RecursionError,
    StopIteration,
    TypeError,
    ValueError,
    struct.error,
    fastavro.read.SchemaResolutionError,
    fastavro.schema.SchemaParseException,
    fastavro.schema.UnknownType,
)
"""What the Avro library was seen to raise, or by its source can raise, on bytes or schemas that are false."""

_MAX_SCHEMA_CHARS = 1_000_000
_MAX_DEPTH = 60
_INT32, _INT64 = 1 << 31, 1 << 63

_UNITS: dict[str | None, tuple[int, int]] = {
    None: (1, 1),
    "timestamp-micros": (1, 1),
    "timestamp-millis": (1_000, 1),
    "timestamp-nanos": (1, 1_000),
}
"""Logical type of a time to (factor, divisor) towards microseconds. Local timestamps have no zone and are refused."""

_TIME_FIELDS = ("event_time", "received_time")


class DecodeError(ValueError):
    """Bytes or a schema that cannot become events.

    Args:
        reason: a code of ``transforms.dead_letter.REASONS``.
        detail: what is wrong, without content of the bytes.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def _named(fault: BaseException) -> str:
    """A fault by its kind alone: its text may repeat content."""
    return type(fault).__name__


def _size_is_zero(schema: Any, sizes: dict[str, bool]) -> bool:
    """Whether a value can take no byte at all, so that a count alone could stand for any number of them."""
    if isinstance(schema, list):
        return False  # the number of the branch takes a byte
    if isinstance(schema, str):
        return schema == "null" or sizes.get(schema, False)
    kind = schema["type"]
    if kind == "fixed":
        return not schema["size"]
    if kind in ("record", "error"):
        return all(_size_is_zero(field["type"], sizes) for field in schema["fields"])
    return _size_is_zero(kind, sizes)


def refuse_unsafe(schema: Any) -> None:
    """Refuse a parsed schema by which few bytes can ask for much memory. Raises DecodeError ``unsafe_schema``."""
    _refuse_unsafe(schema, frozenset(), {}, 0)


def _refuse_unsafe(schema: Any, open_names: frozenset[str], sizes: dict[str, bool], depth: int) -> None:
    """Refuse what lets a few bytes exhaust memory, time or the stack of a reader: recursion, items without a size.

    ``open_names`` are the records around this place, ``sizes`` tells of each finished named type whether it is empty.
    """
    if depth > _MAX_DEPTH:
        raise DecodeError("unsafe_schema", f"the writer's schema is nested deeper than {_MAX_DEPTH}")
    if isinstance(schema, str):
        if schema in open_names:
            raise DecodeError("unsafe_schema", "the writer's schema refers to itself")
        return
    if isinstance(schema, list):
        for branch in schema:
            _refuse_unsafe(branch, open_names, sizes, depth + 1)
        return
    kind = schema["type"]
    if kind in ("record", "error"):
        inside = open_names | {schema["name"]}
        for field in schema["fields"]:
            _refuse_unsafe(field["type"], inside, sizes, depth + 1)
    elif kind == "array":
        _refuse_unsafe(schema["items"], open_names, sizes, depth + 1)
        if _size_is_zero(schema["items"], sizes):
            raise DecodeError("unsafe_schema", "the writer's schema has an array of items without a size")
    elif kind == "map":
        _refuse_unsafe(schema["values"], open_names, sizes, depth + 1)
    else:
        _refuse_unsafe(kind, open_names, sizes, depth + 1)
    if "name" in schema:
        sizes[schema["name"]] = _size_is_zero(schema, sizes)


def _time_unit(schema: Any) -> str | None:
    """The logical type of a time field; that of its non-null branch in a union."""
    if isinstance(schema, list):
        return next((_time_unit(branch) for branch in schema if branch != "null"), None)
    if isinstance(schema, dict):
        return schema.get("logicalType") or (
            _time_unit(schema["type"]) if isinstance(schema["type"], (dict, list)) else None
        )
    return None


def _scales(schema: Any) -> dict[str, tuple[int, int]]:
    """The time fields that are not in microseconds already."""
    found = {}
    for field in schema["fields"]:
        name = field["name"]
        if name in _TIME_FIELDS:
            unit = _time_unit(field["type"])
            if unit not in _UNITS:
                raise DecodeError("incompatible_schema", f"{name} is {unit}, which is no point in time")
            if _UNITS[unit] != (1, 1):
                found[name] = _UNITS[unit]
    return found


class EventDecoder:
    """Decodes events of one writer's schema.

    Args:
        writer_schema: the writer's schema as JSON text or parsed.

    Raises:
        DecodeError: ``incompatible_schema`` or ``unsafe_schema``.
    """

    def __init__(self, writer_schema: str | bytes | dict[str, Any]) -> None:
        schema = self._parse_json(writer_schema)
        try:
            plain = fastavro.parse_schema(codec.without_logical_types(schema))
            self.schema_id = str(fingerprint(to_parsing_canonical_form(plain), "CRC-64-AVRO"))
            if not isinstance(plain, dict) or plain["type"] != "record":
                raise DecodeError("incompatible_schema", "the writer's schema is no record")
            refuse_unsafe(plain)
            self._scales = _scales(schema)
            canonical = to_parsing_canonical_form(plain)
        except DecodeError:
            raise
        except LIBRARY_FAULTS as fault:
            raise DecodeError(
                "incompatible_schema", f"the writer's schema is no valid Avro: {_named(fault)}"
            ) from fault
        self.plain: Any = plain
        """The writer's schema, parsed, without logical types."""
        self.is_own = not self._scales and canonical == to_parsing_canonical_form(codec.raw_schema("event"))
        """Whether the writer used the newest event schema, so that no resolution is needed."""
        if not self.is_own:
            obstacles = incompatibilities(codec.raw_schema("event"), schema, logical=False)
            if obstacles:
                text = "; ".join(f"at {o.location}: {o.message}" for o in obstacles)
                raise DecodeError("incompatible_schema", text[:500])

    @staticmethod
    def _parse_json(writer_schema: str | bytes | dict[str, Any]) -> Any:
        if isinstance(writer_schema, dict):
            return writer_schema
        if len(writer_schema) > _MAX_SCHEMA_CHARS:
            raise DecodeError("unsafe_schema", f"the writer's schema is {len(writer_schema)} characters long")
        try:
            return json.loads(writer_schema)
        except (ValueError, RecursionError) as fault:
            raise DecodeError("incompatible_schema", "the writer's schema is no JSON") from fault

    def decode(self, data: bytes) -> Event:
        """One message that is exactly one event. Raises DecodeError ``undecodable`` otherwise."""
        (event,) = list(self.decode_block(data, 1, reason="undecodable"))
        return event

    def decode_block(self, data: bytes, count: int, *, reason: str = "corrupt_block") -> Iterator[Event]:
        """``count`` events that fill ``data`` exactly.

        Events before a fault are yielded before it is raised, so that a damaged block gives what is readable.

        Raises:
            DecodeError: with ``reason``; a record cannot be decoded, or bytes are missing or left over.
        """
        if count < 0 or count > len(data):
            raise DecodeError(reason, f"claims {count} records in {len(data)} bytes")
        return (self._own if self.is_own else self._foreign)(data, count, reason)

    def _own(self, data: bytes, count: int, reason: str) -> Iterator[Event]:
        read, at, size = event_reader(), 0, len(data)
        for number in range(count):
            try:
                event, at = read(data, at)
            except FAULTS as fault:
                raise DecodeError(reason, f"record {number} of {count}: {_named(fault)}") from fault
            if at > size:
                raise DecodeError(reason, f"record {number} of {count} is cut off")
            yield event
        if at != size:
            raise DecodeError(reason, f"{size - at} bytes are left over after {count} records")

    def _foreign(self, data: bytes, count: int, reason: str) -> Iterator[Event]:
        source, size = io.BytesIO(data), len(data)
        wanted = codec.plain_schema("event")
        for number in range(count):
            try:
                record: Any = fastavro.schemaless_reader(source, self.plain, wanted)
                for name, (factor, divisor) in self._scales.items():
                    record[name] = record[name] * factor // divisor
                    if not -_INT64 <= record[name] < _INT64:
                        raise OverflowError(name)
                if not -_INT32 <= record["schema_version"] < _INT32:
                    raise OverflowError("schema_version")  # the library reads it, but would refuse to write it again
                event = event_from_record(record)
            except LIBRARY_FAULTS as fault:
                raise DecodeError(reason, f"record {number} of {count}: {_named(fault)}") from fault
            yield event
        if source.tell() != size:
            raise DecodeError(reason, f"{size - source.tell()} bytes are left over after {count} records")


@cache
def newest_decoder() -> EventDecoder:
    """The decoder of the newest event schema: what dead letters of kind ``event`` hold."""
    return EventDecoder(codec.raw_schema("event"))
