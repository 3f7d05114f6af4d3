"""Every contract dataclass has a schema that says the same, and survives Avro."""

from __future__ import annotations

import dataclasses
import random
import types
import typing
from typing import Any

import pytest

from contracts import codec, event, exchange, records

KINDS = [
    kind
    for kind in vars(exchange).values()
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__module__ == exchange.__name__
]


def sample(kind: Any, rng: random.Random) -> Any:
    """A random value of a type annotation."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return sample(rng.choice(arguments), rng)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(sample(arguments[0], rng) for _ in range(rng.randrange(3)))
        return tuple(sample(a, rng) for a in arguments)
    if origin is dict:
        return {sample(str, rng): sample(arguments[1], rng) for _ in range(rng.randrange(3))}
    if dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"):
        hints = typing.get_type_hints(kind, vars(exchange) | vars(event))
        return kind(**{name: sample(hint, rng) for name, hint in hints.items()})
    scalars: dict[Any, Any] = {
        bool: rng.random() < 0.5,
        int: rng.randrange(-(2**31), 2**31),
        float: rng.uniform(-1e9, 1e9),
        str: rng.choice(["", "a", "ü→", "x" * 70]),
        bytes: rng.randbytes(3),
        type(None): None,
    }
    return scalars[kind]


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_schema_and_dataclass_have_the_same_fields_in_the_same_order(kind: type[Any]) -> None:
    fields = codec.raw_schema(records.schema_name(kind))["fields"]
    assert [f["name"] for f in fields] == [f.name for f in dataclasses.fields(kind)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_every_element_survives_avro(kind: type[Any]) -> None:
    rng = random.Random(7)
    for _ in range(25):
        value = sample(kind, rng)
        assert records.decode(kind, records.encode(value)) == value


def test_every_schema_file_belongs_to_something() -> None:
    names = {path.name for path in codec.SCHEMA_DIR.iterdir() if path.is_dir()}
    assert names == {records.schema_name(k) for k in KINDS} | {"event", "journey_record"}
