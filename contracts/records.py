"""Contract dataclasses to and from Avro records, by their schema: the form at rest and between systems.

General and unhurried: in flight, elements travel as ``contracts.wire``. Input and output: any class of
``contracts.exchange`` and the record that ``contracts.codec`` writes for it. Pure: no Beam. A fixed tuple, such as a
step of an assignment, is a record whose fields stand in the order of the tuple.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from contracts import codec, event, exchange

T = TypeVar("T")


def schema_name(kind: type[Any]) -> str:
    """The name of a class's schema: ``StrandRecord`` is ``strand_record``."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in kind.__name__).lstrip("_")


def to_record(value: object) -> codec.Record:
    """The Avro record of a contract dataclass. Raises KeyError when the class has no schema."""
    name = schema_name(type(value))
    record: codec.Record = _to(value, codec.raw_schema(name), _named(name))
    return record


@cache
def _named(name: str) -> dict[str, Any]:
    """The records inside a schema, by their names, since a second use of one refers to it by name."""
    found: dict[str, Any] = {}

    def walk(schema: Any) -> None:
        if isinstance(schema, list):
            for branch in schema:
                walk(branch)
        elif isinstance(schema, dict):
            if schema["type"] == "record":
                found[schema["name"]] = schema
            for field in schema.get("fields", []):
                walk(field["type"])
            for inner in ("items", "values", "type"):
                walk(schema.get(inner))

    walk(codec.raw_schema(name))
    return found


def _to(value: Any, schema: Any, named: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        if value is None:
            return None
        # a union of scalars is resolved by the writer; any other union here is null or one thing
        branches = [branch for branch in schema if branch != "null"]
        return _to(value, branches[0], named) if len(branches) == 1 else value
    if isinstance(schema, str):
        return _to(value, named[schema], named) if schema in named else value
    kind = schema["type"]
    if kind == "record":
        fields = schema["fields"]
        if isinstance(value, tuple) and not hasattr(value, "_fields"):
            return {f["name"]: _to(v, f["type"], named) for f, v in zip(fields, value, strict=True)}
        return {f["name"]: _to(getattr(value, f["name"]), f["type"], named) for f in fields}
    if kind == "array":
        return [_to(item, schema["items"], named) for item in value]
    if kind == "map":
        return {key: _to(item, schema["values"], named) for key, item in value.items()}
    return value if isinstance(kind, str) else _to(value, kind, named)


def from_record(kind: type[T], record: Mapping[str, Any]) -> T:
    """The inverse of ``to_record``. Raises KeyError or TypeError on a record of another shape."""
    made: T = _from(kind, record)
    return made


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(kind, vars(exchange) | vars(event))


def _from(kind: Any, value: Any) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        inner = [a for a in typing.get_args(kind) if a is not type(None)]
        return _from(inner[0], value) if len(inner) == 1 else value
    if origin is tuple:
        arguments = typing.get_args(kind)
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_from(arguments[0], item) for item in value)
        return tuple(_from(a, item) for a, item in zip(arguments, value.values(), strict=True))
    if origin is dict:
        return {key: _from(typing.get_args(kind)[1], item) for key, item in value.items()}
    if dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"):
        return kind(**{name: _from(hint, value[name]) for name, hint in _hints(kind).items()})
    return value


def encode(value: object) -> bytes:
    """A contract dataclass to Avro binary in the newest version of its schema."""
    return codec.encode(schema_name(type(value)), to_record(value))


def decode(kind: type[T], data: bytes) -> T:
    """The inverse of ``encode``. Raises ValueError when bytes are left over or missing."""
    return from_record(kind, codec.decode(schema_name(kind), data))
