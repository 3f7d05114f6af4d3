"""Event files and messages that are small and ask for much are damage, found in bounded memory and time."""

from __future__ import annotations

import copy
import io
import json
import random
import resource
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import fastavro
import pytest
from fastavro.utils import generate_one
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import codec
from contracts.event import Event
from contracts.event_codec import event_to_record
from contracts.event_reader import FAULTS, MAX_ITEMS
from contracts.exchange import Message
from transforms.avro_file import MAX_BLOCK, Damage, read_events
from transforms.avro_json import named_types
from transforms.avro_walk import TooManyValuesError, Walker
from transforms.decode import DecodeError, EventDecoder, refuse_unsafe
from transforms.payloads import decode_message
from transforms.schema_registry import published

Maker = Callable[..., Event]
MIB = 1 << 20
SYNC = b"0123456789abcdef"


def long(number: int) -> bytes:
    value, out = (number << 1) ^ (number >> 63), bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def own(**changes: Any) -> dict[str, Any]:
    """The event schema, plain, with other properties of its own."""
    schema = codec.without_logical_types(copy.deepcopy(codec.raw_schema("event")))
    assert isinstance(schema, dict)
    return {**schema, **changes}


def container(schema: dict[str, Any], pieces: Sequence[bytes], count: int = 1) -> bytes:
    """A file of one deflated block whose content is given."""
    out = io.BytesIO()
    fastavro.writer(out, schema, [], codec="deflate", sync_marker=SYNC)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = b"".join([*map(packer.compress, pieces), packer.flush()])
    return out.getvalue() + long(count) + long(len(packed)) + packed + SYNC


def written(schema: dict[str, Any], event: Event) -> tuple[bytes, bytes]:
    """An event in two parts: before its identifiers, and after them."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), event_to_record(event))
    whole = out.getvalue()
    identifiers = b"".join(long(len(t)) + t for i in event.identifiers for t in map(str.encode, i))
    block = long(len(event.identifiers)) + identifiers + b"\0"
    begin, found, end = whole.partition(block)
    assert found
    return begin, end


def damages(data: bytes) -> list[Damage]:
    items = list(read_events(io.BytesIO(data)))
    assert all(isinstance(item, Event | Damage) for item in items)
    return [item for item in items if isinstance(item, Damage)]


@pytest.mark.parametrize("is_own", [True, False], ids=["newest schema", "another schema"])
def test_an_event_of_millions_of_identifiers_is_damage_and_is_never_built(make_event: Maker, is_own: bool) -> None:
    """40 MB of zeros are 20 million identifiers, in forty kilobytes of a file."""
    schema = own() if is_own else own(fields=own()["fields"][::-1])
    begin, end = written(schema, make_event(1))
    data = container(schema, [begin, long(20_000_000), *(bytes(MIB) for _ in range(38)), b"\0" + end])
    assert len(data) < MIB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (damage,) = damages(data)
    assert damage.reason == "corrupt_block"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 250 * 1024


def test_items_of_several_blocks_of_an_array_are_counted_together(make_event: Maker) -> None:
    begin, end = written(own(), make_event(1))
    block = long(MAX_ITEMS // 2) + bytes(2 * (MAX_ITEMS // 2))
    (event,) = read_events(io.BytesIO(container(own(), [begin, block, b"\0" + end])))
    assert isinstance(event, Event)
    assert len(event.identifiers) == MAX_ITEMS // 2
    assert [one.reason for one in damages(container(own(), [begin, block * 3, b"\0" + end]))] == ["corrupt_block"]


def test_a_text_of_a_hundred_megabytes_is_damage_whether_its_length_is_true_or_not(make_event: Maker) -> None:
    begin, end = written(own(), make_event(1))
    for length in (100 * MIB, 1 << 40, -5):
        assert [one.reason for one in damages(container(own(), [long(length), b"x" * 100]))] == ["corrupt_block"]
    out = io.BytesIO()
    fastavro.writer(out, own(), [], codec="null", sync_marker=SYNC)
    huge = out.getvalue() + long(1) + long(100 * MIB) + bytes(100 * MIB) + SYNC
    assert 100 * MIB > MAX_BLOCK
    (damage,) = damages(huge)
    assert len(damage.payload) < 9 * MIB
    assert begin
    assert end


def _doubling(depth: int) -> Any:
    inner: Any = {"type": "record", "name": "R0", "fields": []}
    for n in range(1, depth):
        fields = [{"name": "a", "type": inner}, {"name": "b", "type": f"R{n - 1}"}]
        inner = {"type": "record", "name": f"R{n}", "fields": fields}
    return inner


def _sparse(nulls: int) -> Any:
    fields = [{"name": f"n{i}", "type": "null"} for i in range(nulls)]
    item = {"type": "record", "name": "I", "fields": [{"name": "a", "type": "int"}, *fields]}
    return {"type": "array", "items": item}


@pytest.mark.parametrize(
    "extra",
    [
        _doubling(40),
        ["null", _doubling(40)],
        _sparse(50),
        {"type": "map", "values": _sparse(50)["items"]},
        {"type": "array", "items": ["null", _sparse(50)["items"]]},
        {"type": "fixed", "name": "F", "size": -1},
    ],
    ids=["doubling", "in a union", "sparse", "sparse map", "sparse in a union", "negative"],
)
def test_a_schema_by_which_few_bytes_are_many_values_is_unsafe(extra: Any) -> None:
    fields = [*own()["fields"], {"name": "extra", "type": extra}]
    with pytest.raises(DecodeError) as refused:
        EventDecoder(own(fields=fields))
    assert refused.value.reason == "unsafe_schema"


def test_schemas_as_exports_have_them_are_safe() -> None:
    value = {"type": "record", "name": "V", "fields": [{"name": n, "type": ["null", "string"]} for n in "abcdef"]}
    item = {"type": "record", "name": "P", "fields": [{"name": "k", "type": "string"}, {"name": "v", "type": value}]}
    wide = {
        "type": "record",
        "name": "W",
        "fields": [{"name": f"f{i}", "type": ["null", "long"]} for i in range(3_000)],
    }
    for schema in ({"type": "array", "items": item}, {"type": "array", "items": ["null", item]}, wide):
        refuse_unsafe(fastavro.parse_schema(schema))


LEAVES = ["null", "boolean", "int", "long", "float", "double", "string", "bytes"]
SCHEMAS = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: (
        inner.map(lambda s: {"type": "array", "items": s})
        | inner.map(lambda s: {"type": "map", "values": s})
        | inner.filter(lambda s: s != "null").map(lambda s: s if isinstance(s, list) else ["null", s])
        | st.lists(inner, max_size=3).map(lambda fs: {"fields": fs})
    ),
    max_leaves=6,
)


def _finished(schema: Any, number: list[int]) -> Any:
    """With names."""
    if isinstance(schema, list):
        return [_finished(one, number) for one in schema]
    if isinstance(schema, str):
        return schema
    if "fields" in schema:
        number[0] += 1
        name = f"R{number[0]}"
        fields = [{"name": f"f{i}", "type": _finished(f, number)} for i, f in enumerate(schema["fields"])]
        return {"type": "record", "name": name, "fields": fields}
    return {key: _finished(value, number) if key != "type" else value for key, value in schema.items()}


@settings(max_examples=150)
@given(SCHEMAS, st.randoms(use_true_random=False))
def test_walking_over_a_record_ends_where_reading_it_does(drawn: Any, chance: random.Random) -> None:
    schema: Any = fastavro.parse_schema(
        {"type": "record", "name": "Top", "fields": [{"name": "x", "type": _finished(drawn, [0])}]}
    )
    out = io.BytesIO()
    random.seed(chance.random())
    fastavro.schemaless_writer(out, schema, generate_one(schema))
    data = out.getvalue()
    walker = Walker(schema, named_types(schema), most=100_000)
    assert walker.after(data + b"rest", 0) == len(data)
    with pytest.raises(TooManyValuesError):
        Walker(schema, named_types(schema), most=0).after(data, 0)
    try:
        walker.after(bytes(chance.randrange(256) for _ in range(60)), 0)
    except (TooManyValuesError, *FAULTS):
        pass


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":' * 1_000_000,
        b"[" * 5_000_000,
        b'{"event_id": "' + b"x" * (9 * MIB) + b'"}',
        b'{"event_id": ' + b"9" * (9 * MIB) + b"}",
        b'{"event_id": 1e' + b"9" * 1_000 + b"}",
        b"{" + b'"a":{},' * 200_000 + b'"b":1}',
        b"\x00" * (9 * MIB),
        b"\xc3\x01" * (4 * MIB),
        b"\xff" * (9 * MIB),
    ],
    ids=["objects", "arrays", "text", "digits", "exponent", "keys", "zeros", "frames", "ones"],
)
def test_a_message_as_large_as_a_topic_takes_is_refused_with_a_reason(data: bytes) -> None:
    for attributes in ({}, {"googclient_schemaencoding": "JSON"}, {"googclient_schemaencoding": "BINARY"}):
        with pytest.raises(DecodeError):
            decode_message(Message(data, attributes, 1), published())


@settings(max_examples=60)
@given(
    st.recursive(st.none() | st.integers() | st.text(max_size=3), lambda i: st.lists(i) | st.dictionaries(st.text(), i))
)
def test_no_json_for_a_schema_raises_anything_else(value: Any) -> None:
    schema = own()
    schema["fields"] = [*schema["fields"], {"name": "x", "type": [value, 5], "default": value}]
    for text in (json.dumps(value), json.dumps(schema), json.dumps({**schema, "name": value})):
        with pytest.raises(DecodeError) as refused:
            EventDecoder(text)
        assert refused.value.reason in ("incompatible_schema", "unsafe_schema")
