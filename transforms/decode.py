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
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from contracts import codec
from contracts.compatibility import incompatibilities
from contracts.event import Event
from contracts.event_codec import event_from_record
from contracts.event_reader import FAULTS, event_reader
from transforms.avro_json import named_types
from transforms.avro_walk import LARGE, TooManyValuesError, Walker

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
_MAX_VALUES = 100_000
"""Values that a record may be made of while its arrays and maps are empty."""
_MAX_DENSITY = 8
"""Values a byte, at most, in what arrays and maps repeat."""
_LEAST = {"null": 0, "float": 4, "double": 8}
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


@dataclass(frozen=True, slots=True)
class _Extent:
    """The least bytes that a value of a schema takes, and the values that it then is made of."""

    size: int
    values: int


def refuse_unsafe(schema: Any) -> None:
    """Refuse a parsed schema by which few bytes can ask for much memory or time. Raises DecodeError ``unsafe_schema``.

    That is: recursion, nesting without end, and many values in few bytes: items without a size, so that a count alone
    stands for any number of them, and records of records whose fields take no byte.
    """
    _extent(schema, frozenset(), {}, 0)


def _extent(schema: Any, open_names: frozenset[str], known: dict[str, _Extent], depth: int) -> _Extent:
    """What a value takes at least; ``open_names`` are the records around this place, ``known`` the finished ones."""
    if depth > _MAX_DEPTH:
        raise DecodeError("unsafe_schema", f"the writer's schema is nested deeper than {_MAX_DEPTH}")
    if isinstance(schema, str):
        if schema in open_names:
            raise DecodeError("unsafe_schema", "the writer's schema refers to itself")
        return known.get(schema) or _Extent(_LEAST.get(schema, 1), 1)
    if isinstance(schema, list):
        # the number of the branch takes a byte
        branches = [_extent(branch, open_names, known, depth + 1) for branch in schema]
        densest = max(branches, key=lambda b: b.values / (b.size + 1), default=_Extent(0, 0))
        return _checked(_Extent(densest.size + 1, densest.values + 1))
    kind = schema["type"]
    if kind in ("record", "error"):
        inside = open_names | {schema["name"]}
        fields = [_extent(field["type"], inside, known, depth + 1) for field in schema["fields"]]
        found = _Extent(sum(f.size for f in fields), 1 + sum(f.values for f in fields))
    elif kind in ("array", "map"):
        item = _extent(schema["items" if kind == "array" else "values"], open_names, known, depth + 1)
        size = item.size + (kind == "map")
        if size == 0:
            raise DecodeError("unsafe_schema", "the writer's schema has an array of items without a size")
        if item.values > _MAX_DENSITY * size:
            raise DecodeError("unsafe_schema", "the writer's schema has items that are almost without a size")
        found = _Extent(1, 1)
    elif kind == "fixed":
        if schema["size"] < 0:
            raise DecodeError("unsafe_schema", "the writer's schema has a fixed of a negative size")
        found = _Extent(schema["size"], 1)
    elif kind == "enum":
        found = _Extent(1, 1)
    else:
        found = _extent(kind, open_names, known, depth + 1)
    if "name" in schema:
        known[schema["name"]] = found
    return _checked(found)


def _checked(found: _Extent) -> _Extent:
    if found.values > _MAX_VALUES:
        raise DecodeError("unsafe_schema", f"a value of the writer's schema is made of more than {_MAX_VALUES} values")
    return found


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
            if size > LARGE:
                self._refuse_many(data, source.tell(), f"record {number} of {count}", reason)
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

    def _refuse_many(self, data: bytes, at: int, record: str, reason: str) -> None:
        """Refuse a record that asks for much memory; one that is none is left to its reader. Raises DecodeError."""
        try:
            self._walker.after(data, at)
        except TooManyValuesError as error:
            raise DecodeError(reason, f"{record}: {error}") from error
        except FAULTS:
            return

    @cached_property
    def _walker(self) -> Walker:
        return Walker(self.plain, named_types(self.plain))


@cache
def newest_decoder() -> EventDecoder:
    """The decoder of the newest event schema: what dead letters of kind ``event`` hold."""
    return EventDecoder(codec.raw_schema("event"))
