"""Avro's JSON encoding, strictly: what it does not allow is refused, not repaired.

Pure: no Beam. Schemas are parsed and free of logical types. In this encoding a value of a union is null, or an object
of one key that names its branch; bytes are text of the characters U+0000 to U+00FF; every field without a default is
there, and no other. Errors: ``ValueError`` without content of the value.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any

Named = dict[str, Any]

_RANGES = {"int": (-(1 << 31), (1 << 31) - 1), "long": (-(1 << 63), (1 << 63) - 1)}
_COMPLEX = ("record", "error", "array", "map", "enum", "fixed")
_SCALARS = ("null", "boolean", "int", "long", "float", "double", "string", "bytes")


class AvroJsonError(ValueError):
    """A value that its schema refuses, said by names of fields and types alone."""


def named_types(schema: Any) -> Named:
    """The records, enums and fixed types inside a parsed schema, by their full names."""
    found: Named = {}

    def walk(part: Any) -> None:
        if isinstance(part, list):
            for branch in part:
                walk(branch)
        elif isinstance(part, dict):
            if "name" in part:
                found[part["name"]] = part
            for field in part.get("fields", ()):
                walk(field["type"])
            for inner in ("items", "values", "type"):
                walk(part.get(inner))

    walk(schema)
    return found


def _kind(schema: Any, named: Named) -> tuple[str, Any]:
    """(type, schema) with names and one-element nesting resolved."""
    while True:
        if isinstance(schema, str):
            if schema in _SCALARS:
                return schema, schema
            schema = named[schema]
        elif isinstance(schema["type"], str) and schema["type"] in (*_SCALARS, *_COMPLEX):
            return schema["type"], schema
        else:
            schema = schema["type"]


def _branch_name(schema: Any, named: Named) -> str:
    kind, resolved = _kind(schema, named)
    return str(resolved["name"]) if kind in ("record", "error", "enum", "fixed") else kind


# --- reading -------------------------------------------------------------------------------------------------------


def _no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise AvroJsonError("a key stands twice in an object")
    return found


def _no_constant(_: str) -> None:
    raise AvroJsonError("a number is not finite")


def to_binary(schema: Any, named: Named, data: bytes) -> bytes:
    """One JSON value that fills ``data``, as Avro binary of the same schema.

    Raises:
        AvroJsonError: it is no value of the schema; also for doubled keys and NaN.
        ValueError, RecursionError: it is no JSON, or text that is no Unicode.
    """
    value = json.loads(data.decode("utf-8"), object_pairs_hook=_no_twice, parse_constant=_no_constant)
    out = bytearray()
    _write(schema, named, value, out, default=False)
    return bytes(out)


def _long(value: int, out: bytearray) -> None:
    rest = (value << 1) ^ (value >> 63)
    while rest > 0x7F:
        out.append((rest & 0x7F) | 0x80)
        rest >>= 7
    out.append(rest)


def _expect(wanted: type[Any] | tuple[type[Any], ...], value: Any, kind: str) -> Any:
    if not isinstance(value, wanted):
        raise AvroJsonError(f"{type(value).__name__} where {kind} is due")
    return value


def _write(schema: Any, named: Named, value: Any, out: bytearray, *, default: bool) -> None:
    """Append the binary form. A default of a union is one of its first branch, and bare."""
    if isinstance(schema, list):
        index, inner = (0, value) if default else _branch(schema, named, value)
        _long(index, out)
        _write(schema[index], named, inner, out, default=default)
        return
    kind, resolved = _kind(schema, named)
    if kind in ("record", "error"):
        _write_record(resolved, named, value, out, default)
    elif kind in ("array", "map"):
        items = _expect(list if kind == "array" else dict, value, kind)
        if items:
            _long(len(items), out)
            for item in items:
                if kind == "map":
                    _write_text(item.encode("utf-8"), out)
                inner = item if kind == "array" else items[item]
                _write(resolved["items" if kind == "array" else "values"], named, inner, out, default=default)
        out.append(0)
    elif kind == "enum":
        if value not in resolved["symbols"]:
            raise AvroJsonError("an enum has no such symbol")
        _long(resolved["symbols"].index(value), out)
    elif kind == "fixed":
        found = _expect(str, value, kind).encode("latin-1")
        if len(found) != resolved["size"]:
            raise AvroJsonError("a fixed has another size")
        out += found
    else:
        _write_scalar(kind, value, out)


def _write_text(text: bytes, out: bytearray) -> None:
    _long(len(text), out)
    out += text


def _write_scalar(kind: str, value: Any, out: bytearray) -> None:
    checked = _scalar(kind, value)
    if kind == "boolean":
        out.append(checked)
    elif kind in _RANGES:
        _long(checked, out)
    elif kind == "float":
        out += struct.pack("<f", checked)
    elif kind == "double":
        out += struct.pack("<d", checked)
    elif kind in ("string", "bytes"):
        _write_text(checked.encode("utf-8" if kind == "string" else "latin-1"), out)


def _scalar(kind: str, value: Any) -> Any:
    """The value, known to be one of ``kind``; a whole number may stand for a float."""
    if kind == "null":
        return _expect(type(None), value, kind)
    if kind == "boolean":
        return _expect(bool, value, kind)
    if kind in ("string", "bytes"):
        return _expect(str, value, kind)
    if isinstance(value, bool):
        raise AvroJsonError(f"bool where {kind} is due")
    if kind in _RANGES:
        low, high = _RANGES[kind]
        if not low <= _expect(int, value, kind) <= high:
            raise AvroJsonError(f"a number is beyond {kind}")
        return value
    number = float(_expect((int, float), value, kind))
    if not math.isfinite(number):
        raise AvroJsonError("a number is not finite")
    return number


def _branch(branches: list[Any], named: Named, value: Any) -> tuple[int, Any]:
    """(index, inner value) of a value of a union."""
    names = [_branch_name(branch, named) for branch in branches]
    if value is None:
        if "null" not in names:
            raise AvroJsonError("null where the union has no null")
        return names.index("null"), None
    if not isinstance(value, dict) or len(value) != 1:
        raise AvroJsonError("a union's value is not an object that names its branch")
    ((name, inner),) = value.items()
    if name == "null" or name not in names:
        raise AvroJsonError("a union has no such branch")
    return names.index(name), inner


def _write_record(schema: Any, named: Named, value: Any, out: bytearray, default: bool) -> None:
    given = _expect(dict, value, "record")
    used = 0
    for field in schema["fields"]:
        name = field["name"]
        if name in given:
            used += 1
            _write(field["type"], named, given[name], out, default=default)
        elif "default" in field:
            _write(field["type"], named, field["default"], out, default=True)
        else:
            raise AvroJsonError(f"field {name} is missing")
    if used != len(given):
        raise AvroJsonError(f"{len(given) - used} fields that the schema does not have")


# --- writing -------------------------------------------------------------------------------------------------------


def to_json(schema: Any, named: Named, value: Any) -> Any:
    """The value of an Avro writer as what ``json.dumps`` takes. Raises AvroJsonError when it is none."""
    if isinstance(schema, list):
        for branch in schema:
            if _fits(branch, named, value):
                inner = to_json(branch, named, value)
                return None if value is None else {_branch_name(branch, named): inner}
        raise AvroJsonError(f"a union has no branch for {type(value).__name__}")
    kind, resolved = _kind(schema, named)
    if kind in ("record", "error"):
        return {f["name"]: to_json(f["type"], named, value[f["name"]]) for f in resolved["fields"]}
    if kind == "array":
        return [to_json(resolved["items"], named, item) for item in value]
    if kind == "map":
        return {key: to_json(resolved["values"], named, item) for key, item in value.items()}
    if kind in ("bytes", "fixed"):
        return value.decode("latin-1")
    return value if kind == "enum" else _scalar(kind, value)


def _fits(schema: Any, named: Named, value: Any) -> bool:
    kind, _ = _kind(schema, named)
    if kind in ("record", "error", "map"):
        return isinstance(value, dict)
    if kind == "array":
        return isinstance(value, list)
    if kind in ("bytes", "fixed"):
        return isinstance(value, bytes)
    if kind == "enum":
        return isinstance(value, str)
    if kind in ("float", "double"):
        return isinstance(value, float)
    try:
        _scalar(kind, value)
    except AvroJsonError:
        return False
    return True
