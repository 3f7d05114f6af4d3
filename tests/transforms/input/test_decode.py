"""Any compatible schema is decoded to the same event; everything else is a typed error, whatever the bytes."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import codec
from contracts.event import Event
from contracts.event_codec import encode_event, event_to_record
from transforms.decode import DecodeError, EventDecoder, newest_decoder


def schema(edit: Callable[[dict[str, Any]], None] = lambda s: None) -> dict[str, Any]:
    changed = copy.deepcopy(codec.raw_schema("event"))
    edit(changed)
    return changed


def field(of: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(f for f in of["fields"] if f["name"] == name)
    return found


def written(writer: dict[str, Any], record: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(codec.without_logical_types(writer)), record)
    return out.getvalue()


def test_our_own_schema_needs_no_resolution_and_has_the_id_that_dead_letters_name() -> None:
    assert newest_decoder().is_own
    assert newest_decoder().schema_id == codec.schema_id("event")


def test_other_fields_are_skipped_and_missing_ones_take_their_default(make_event: Callable[..., Event]) -> None:
    def edit(s: dict[str, Any]) -> None:
        s["fields"] = [f for f in s["fields"] if f["name"] not in ("country", "mapping_version", "context")]
        s["fields"].insert(3, {"name": "extra", "type": {"type": "array", "items": "string"}})
        s["fields"] = [f for f in s["fields"] if f["name"] != "locale"] + [{"name": "locale", "type": "string"}]

    event = make_event(3)
    record = {**event_to_record(event), "extra": ["x", "y"], "locale": "de"}
    decoded = EventDecoder(schema(edit)).decode(written(schema(edit), record))
    assert (decoded.event_id, decoded.properties, decoded.locale) == (event.event_id, event.properties, "de")
    assert (decoded.country, decoded.context.url) == (None, None)


@pytest.mark.parametrize(("unit", "factor"), [("timestamp-millis", 1_000), ("timestamp-micros", 1)])
def test_times_are_microseconds_whatever_the_writer_used(
    make_event: Callable[..., Event], unit: str, factor: int
) -> None:
    def edit(s: dict[str, Any]) -> None:
        field(s, "event_time")["type"] = {"type": "long", "logicalType": unit}

    event = make_event(4)
    record = {**event_to_record(event), "event_time": event.event_time // factor}
    assert EventDecoder(json.dumps(schema(edit))).decode(written(schema(edit), record)) == event


def _recursive(s: dict[str, Any]) -> None:
    node = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
    s["fields"].append({"name": "chain", "type": node})


def _sizeless(s: dict[str, Any]) -> None:
    empty = {"type": "record", "name": "Nothing", "fields": []}
    s["fields"].append({"name": "n", "type": {"type": "array", "items": empty}})


def _wrong_type(s: dict[str, Any]) -> None:
    field(s, "name")["type"] = "int"


def _no_id(s: dict[str, Any]) -> None:
    s["fields"] = s["fields"][1:]


def _local_time(s: dict[str, Any]) -> None:
    field(s, "event_time")["type"]["logicalType"] = "local-timestamp-micros"


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (_recursive, "unsafe_schema"),
        (_sizeless, "unsafe_schema"),
        (_wrong_type, "incompatible_schema"),
        (_no_id, "incompatible_schema"),
        (_local_time, "incompatible_schema"),
    ],
)
def test_schemas_of_no_use_are_refused_by_reason(edit: Callable[[dict[str, Any]], None], reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        EventDecoder(schema(edit))
    assert caught.value.reason == reason


@pytest.mark.parametrize("text", ["", "{", '"string"', "[]", "5", "null", '{"type":"record"}', "[" * 90_000, "ÿ"])
def test_junk_for_a_schema_is_incompatible(text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        EventDecoder(text)
    assert caught.value.reason == "incompatible_schema"


@pytest.mark.parametrize("own", [True, False])
def test_left_over_and_missing_bytes_are_errors_and_what_is_readable_comes_first(
    make_event: Callable[..., Event], own: bool
) -> None:
    decoder = newest_decoder() if own else EventDecoder(schema(lambda s: s["fields"].reverse()))
    writer = schema() if own else schema(lambda s: s["fields"].reverse())
    events = [make_event(n) for n in range(3)]
    data = b"".join(written(writer, event_to_record(e)) for e in events)
    assert list(decoder.decode_block(data, 3)) == events
    for bad, count, readable in ((data + b"x", 3, 3), (data[:-1], 3, 2), (data, 2, 2)):
        read: list[Event] = []
        with pytest.raises(DecodeError) as caught:
            read.extend(decoder.decode_block(bad, count))
        assert (read, caught.value.reason) == (events[:readable], "corrupt_block")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(-3, 400), st.booleans())
def test_no_bytes_raise_anything_but_a_decode_error(data: bytes, count: int, own: bool) -> None:
    decoder = newest_decoder() if own else _REVERSED
    try:
        for event in decoder.decode_block(data, count):
            encode_event(event)  # whatever is decoded can be put into a dead letter
    except DecodeError:
        pass


_REVERSED = EventDecoder(schema(lambda s: s["fields"].reverse()))
