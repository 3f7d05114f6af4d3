"""Reading events from Avro binary, fast: a reader compiled from the event schema.

A general Avro library walks the schema for every value, which costs over a microsecond a node: 65-70 us an event
here, and 27 us more to build the ``Event`` from a dictionary. The reader below is Python source generated once from the
schema, as ``dataclasses`` generates ``__init__``: one straight line of reads for all fields, under half of that in all.
It knows only the shape of our own event schema; everything else is read by the library (``transforms.decode``).
Pure: no Beam.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from typing import Any

from contracts import codec
from contracts.event import EMPTY_CONTEXT, Context, Event, Identifier

EventReader = Callable[[bytes, int], tuple[Event, int]]

FAULTS: tuple[type[Exception], ...] = (IndexError, ValueError, OverflowError, struct.error)
"""What a reader raises on bytes that are no event; UnicodeDecodeError is a ValueError."""

MAX_ITEMS = 100_000
"""Items of an array or map of an event; each takes two bytes, and much more memory. Valid events have a few dozen."""

_quarters = struct.Struct("<4H").unpack_from
_INVALID = -(1 << 80)


def _pair_table(*, last: bool) -> list[int]:
    """What two bytes of a varint contribute, by their value as one little-endian number; negative where impossible.

    All bytes but the last of a varint have their high bit set.
    """
    wanted = 0x0080 if last else 0x8080
    return [(x & 0x7F) | ((x & 0x7F00) >> 1) if x & 0x8080 == wanted else _INVALID for x in range(65_536)]


_INNER, _LAST = _pair_table(last=False), _pair_table(last=True)


def read_long(data: bytes, at: int) -> tuple[int, int]:
    """A zig-zag varint and the position after it. Raises ValueError when it is longer than 64 bits."""
    byte = data[at]
    at += 1
    value = byte & 127
    shift = 7
    while byte & 128:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if shift > 70:
            raise ValueError("an integer is longer than 64 bits")
    if value >> 64:
        raise ValueError("an integer is longer than 64 bits")
    return (value >> 1) ^ -(value & 1), at


def read_time(data: bytes, at: int) -> tuple[int, int]:
    """``read_long`` for what usually takes eight bytes, as times of this century in microseconds do."""
    if at + 8 > len(data):
        return read_long(data, at)
    a, b, c, d = _quarters(data, at)
    x = _INNER[a] + (_INNER[b] << 14) + (_INNER[c] << 28) + (_LAST[d] << 42)
    if x < 0:
        return read_long(data, at)
    return (x >> 1) ^ -(x & 1), at + 8


def read_length(data: bytes, at: int) -> tuple[int, int]:
    """The length of a text. Raises ValueError when it is negative."""
    length, at = read_long(data, at)
    if length < 0:
        raise ValueError("a text has a negative length")
    return length, at


def read_count(data: bytes, at: int) -> tuple[int, int]:
    """The number of items in the next block of an array or map; the optional byte size is skipped."""
    count, at = read_long(data, at)
    if count < 0:
        count = -count
        _, at = read_long(data, at)
    return count, at


class _Source:
    """Collects generated lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names = 0

    def add(self, depth: int, *lines: str) -> None:
        self.lines += ["    " * depth + line for line in lines]

    def fresh(self, stem: str) -> str:
        self.names += 1
        return f"{stem}{self.names}"


def _read(schema: Any, target: str, out: _Source, depth: int) -> None:
    """Emit lines that read a value of ``schema`` from ``data`` at ``at`` into ``target``."""
    kind = schema["type"] if isinstance(schema, dict) else schema
    if isinstance(schema, list):
        out.add(depth, "branch = data[at]", "at += 1")
        for index, option in enumerate(schema):
            out.add(depth, f"{'if' if index == 0 else 'elif'} branch == {2 * index}:")
            _read(option, target, out, depth + 1)
        out.add(depth, "else:", "    raise ValueError('a union has no such branch')")
    elif kind == "null":
        out.add(depth, f"{target} = None")
    elif kind == "string":
        # one byte, even: a length below 64, by far the most frequent case
        out.add(depth, "size = data[at]", "if size & 129:", "    size, at = read_length(data, at)")
        out.add(depth, "else:", "    at += 1", "    size >>= 1")
        out.add(depth, "end = at + size", f"{target} = data[at:end].decode()", "at = end")
    elif kind == "boolean":
        out.add(depth, "size = data[at]", "at += 1", "if size > 1:", "    raise ValueError('a boolean is 0 or 1')")
        out.add(depth, f"{target} = size == 1")
    elif kind == "long":
        out.add(depth, f"{target}, at = read_time(data, at)")
    elif kind == "int":
        out.add(depth, f"{target}, at = read_long(data, at)", f"if not {-(2**31)} <= {target} < {2**31}:")
        out.add(depth, "    raise ValueError('an int is longer than 32 bits')")
    elif kind == "double":
        out.add(depth, f"({target},) = read_double(data, at)", "at += 8")
    elif kind in ("array", "map"):
        _read_blocks(schema, target, out, depth)
    elif kind == "record":
        _read_record(schema, target, out, depth)
    else:
        raise NotImplementedError(f"the event schema has a {kind}, which the compiled reader does not know")


def _read_blocks(schema: dict[str, Any], target: str, out: _Source, depth: int) -> None:
    is_map = schema["type"] == "map"
    count, key, value = out.fresh("count"), out.fresh("key"), out.fresh("value")
    out.add(depth, f"{target} = {'{}' if is_map else '[]'}", f"{count} = data[at]", f"if {count} == 0:", "    at += 1")
    out.add(depth, "else:", f"    {count}, at = read_count(data, at)", f"    while {count}:")
    out.add(depth + 2, f"if {count} + len({target}) > {MAX_ITEMS}:", "    raise ValueError('too many items')")
    out.add(depth + 2, f"for _ in range({count}):")
    if is_map:
        _read("string", key, out, depth + 3)
        _read(schema["values"], value, out, depth + 3)
        out.add(depth + 3, f"{target}[{key}] = {value}")
    else:
        _read(schema["items"], value, out, depth + 3)
        out.add(depth + 3, f"{target}.append({value})")
    out.add(depth + 2, f"{count}, at = read_count(data, at)")
    if not is_map:
        out.add(depth, f"{target} = tuple({target})")


_CLASSES: dict[str, type[Any]] = {"wayline.Event": Event, "wayline.Identifier": Identifier, "wayline.Context": Context}


def _read_record(schema: dict[str, Any], target: str, out: _Source, depth: int) -> None:
    """Emit the fields of a record and its construction.

    A frozen dataclass sets each field through ``object.__setattr__``; the setters of its slots do the same thing four
    times as fast.
    """
    kind = _CLASSES[schema["name"]]
    values = {}
    for field in schema["fields"]:
        values[field["name"]] = out.fresh("v")
        _read(field["type"], values[field["name"]], out, depth)
    if kind is Identifier:
        out.add(depth, f"{target} = new_tuple(Identifier, ({', '.join(values.values())}))")
        return
    if set(values) != {f.name for f in fields(kind)}:
        raise NotImplementedError(f"the schema of {kind.__name__} has other fields than its class")
    if kind is Event:
        out.add(depth, f"if {values['context']} is None:", f"    {values['context']} = EMPTY_CONTEXT")
    out.add(depth, f"{target} = new({kind.__name__})")
    for name, value in values.items():
        out.add(depth, f"{kind.__name__}_{name}({target}, {value})")


@cache
def event_reader() -> EventReader:
    """The reader of the newest event schema: (data, position) to (event, position after it).

    Raises one of ``FAULTS`` on bytes that are no event. A text cut off by the end of ``data`` is not noticed by itself:
    the position returned then lies beyond the end, which the caller must check.
    """
    out = _Source()
    out.add(0, "def read_event(data, at):")
    _read(codec.plain_schema("event"), "event", out, 1)
    out.add(1, "return event, at")
    scope: dict[str, Any] = {
        "read_long": read_long,
        "read_time": read_time,
        "read_length": read_length,
        "read_count": read_count,
        "read_double": struct.Struct("<d").unpack_from,
        "new": object.__new__,
        "new_tuple": tuple.__new__,
        "Event": Event,
        "Context": Context,
        "Identifier": Identifier,
        "EMPTY_CONTEXT": EMPTY_CONTEXT,
        **{f"{k.__name__}_{f.name}": getattr(k, f.name).__set__ for k in (Event, Context) for f in fields(k)},
    }
    exec(compile("\n".join(out.lines), "<event reader>", "exec"), scope)
    reader: EventReader = scope["read_event"]
    return reader
