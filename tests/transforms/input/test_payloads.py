"""Messages become the same events in every encoding, and nothing but events; what is none keeps its whole message."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pytest
from fastavro.schema import fingerprint, to_parsing_canonical_form
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from contracts import codec
from contracts.errors import ConfigurationError
from contracts.event import Context, Event, Identifier
from contracts.event_codec import encode_event, event_to_record
from contracts.exchange import Message
from transforms.dead_letter import REASONS
from transforms.decode import DecodeError
from transforms.payloads import (
    ENCODINGS,
    SCHEMA_ENCODING,
    SCHEMA_NAME,
    SCHEMA_REVISION,
    PayloadEncoder,
    decode_message,
    pack_message,
    unpack_message,
)
from transforms.schema_registry import SchemaRegistry, load_registry, published

Maker = Callable[..., Event]
LATER = 1_760_000_000_000_000
NAME, REVISION, ID = "projects/acme/schemas/events", "a1b2c3d4", 17

texts = st.text(max_size=12)
maybe = st.none() | texts
longs = st.integers(-(2**63), 2**63 - 1)
events = st.builds(
    Event,
    event_id=texts,
    name=texts,
    event_time=longs,
    received_time=st.integers(1, LATER),
    source=texts,
    channel=texts,
    identifiers=st.lists(st.builds(Identifier, texts, texts), max_size=3).map(tuple),
    tracker_session_id=maybe,
    context=st.builds(Context, url=maybe, title=maybe, campaign_term=maybe),
    consent=st.dictionaries(texts, st.booleans(), max_size=2),
    properties=st.dictionaries(
        texts, st.none() | st.booleans() | longs | st.floats(allow_nan=False, allow_infinity=False) | texts, max_size=4
    ),
    schema_version=st.integers(-(2**31), 2**31 - 1),
)


def encoder(encoding: str) -> PayloadEncoder:
    named = encoding in ("binary", "json")
    return PayloadEncoder(
        encoding,
        NAME if named else "",
        REVISION if named else "",
        ID if encoding == "confluent" else None,
    )


def registry_of(folder: Path, index: str, **files: dict[str, Any]) -> SchemaRegistry:
    for name, schema in files.items():
        (folder / f"{name}.avsc").write_text(json.dumps(schema))
    (folder / "schemas.yaml").write_text(index)
    return load_registry(folder)


@pytest.fixture(name="registry", scope="module")
def registry_fixture(tmp_path_factory: pytest.TempPathFactory) -> SchemaRegistry:
    index = f"schemas:\n  - {{event: 1, pubsub: {NAME}, revisions: ['{REVISION}'], confluent_ids: [{ID}]}}\n"
    return registry_of(tmp_path_factory.mktemp("schemas"), index)


def reason_of(data: bytes, attributes: dict[str, str] | None = None, registry: SchemaRegistry | None = None) -> str:
    with pytest.raises(DecodeError) as error:
        decode_message(Message(data, attributes or {}, LATER), registry or published())
    assert error.value.reason in REASONS
    return error.value.reason


# --- round trips ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(event=events)
@settings(max_examples=60, deadline=None)
def test_every_event_survives_every_encoding(encoding: str, event: Event, registry: SchemaRegistry) -> None:
    data, attributes = encoder(encoding).encode(event)
    assert decode_message(Message(data, attributes, LATER), registry) == event


@given(event=events)
@settings(max_examples=40, deadline=None)
def test_messages_without_a_name_for_their_schema_are_of_the_newest_event_schema(event: Event) -> None:
    for encoding in ("binary", "json"):
        data, attributes = PayloadEncoder(encoding).encode(event)
        assert attributes == {}
        if event.event_id:  # an empty id would begin as a Confluent header does; no valid event has one
            assert decode_message(Message(data, attributes, LATER), published()) == event


@given(event=events)
@settings(max_examples=40, deadline=None)
def test_our_json_is_what_the_avro_library_reads_and_its_json_is_what_we_read(event: Event) -> None:
    assume("" not in event.properties and "" not in event.consent)  # which the library's JSON writer cannot write
    schema = codec.plain_schema("event")
    data, _ = PayloadEncoder("json").encode(event)
    (read,) = fastavro.json_reader(io.StringIO(data.decode()), schema)
    assert read == event_to_record(event)
    out = io.StringIO()
    fastavro.json_writer(out, schema, [event_to_record(event)])
    assert decode_message(Message(out.getvalue().encode(), {}, LATER), published()) == event


def test_the_single_object_fingerprint_is_that_of_the_specification() -> None:
    assert (
        fingerprint(to_parsing_canonical_form("int"), "CRC-64-AVRO") == (0x7275D51A3F395C8F).to_bytes(8, "little").hex()
    )


# --- received time -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stated", "received"), [(LATER - 1, LATER - 1), (LATER, LATER), (LATER + 1, LATER), (0, LATER), (-5, -5)]
)
def test_the_publish_time_is_when_it_was_received_unless_it_states_an_earlier_one(
    make_event: Maker, stated: int, received: int
) -> None:
    data, attributes = PayloadEncoder().encode(make_event(1, received_time=stated))
    assert decode_message(Message(data, attributes, LATER), published()).received_time == received


# --- other schemas -------------------------------------------------------------------------------------------------


def _longer() -> dict[str, Any]:
    schema = copy.deepcopy(codec.raw_schema("event"))
    schema["fields"].append({"name": "shop", "type": "string", "default": "none", "doc": "Which shop."})
    return schema


def _written(event: Event, schema: dict[str, Any], shop: str) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, codec.without_logical_types(schema), {**event_to_record(event), "shop": shop})
    return out.getvalue()


def test_a_message_of_another_schema_is_read_by_whatever_names_it(tmp_path: Path, make_event: Maker) -> None:
    event, schema = make_event(3), _longer()
    data = _written(event, schema, "s1")
    frame = bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))
    index = "schemas:\n  - {file: longer.avsc, pubsub: projects/p/schemas/s, revisions: [r1], confluent_ids: [9]}\n"
    named = {SCHEMA_NAME: "projects/p/schemas/s", SCHEMA_REVISION: "r1", SCHEMA_ENCODING: "BINARY"}
    messages = [
        Message(b"\xc3\x01" + frame + data, {}, LATER),
        Message(b"\x00\x00\x00\x00\x09" + data, {}, LATER),
        Message(data, named, LATER),
    ]
    for message in messages:
        assert reason_of(message.data, message.attributes) == "unknown_schema"
    known = registry_of(tmp_path, index, longer=schema)
    assert [decode_message(message, known) for message in messages] == [event] * 3


def test_defaults_of_the_writers_schema_stand_for_what_json_leaves_out(make_event: Maker) -> None:
    event = make_event(1)
    value = json.loads(PayloadEncoder("json").encode(event)[0])
    for name in ("context", "consent", "schema_version", "locale"):
        del value[name]
    expected = dataclasses.replace(event, context=Context(), consent={}, schema_version=1, locale=None)
    assert decode_message(Message(json.dumps(value).encode(), {}, LATER), published()) == expected


# --- what is no event ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("junk", [b"\x00", b"junk", b"{}"])
def test_trailing_junk_is_refused_in_every_encoding(
    encoding: str, junk: bytes, make_event: Maker, registry: SchemaRegistry
) -> None:
    data, attributes = encoder(encoding).encode(make_event(1))
    assert reason_of(data + junk, attributes, registry) == "undecodable"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_message_that_is_cut_off_is_an_event(encoding: str, make_event: Maker, registry: SchemaRegistry) -> None:
    data, attributes = encoder(encoding).encode(make_event(1))
    for end in range(len(data)):
        assert reason_of(data[:end], attributes, registry) in ("undecodable", "unknown_schema")


@given(
    data=st.binary(max_size=60)
    | st.binary(max_size=40).map(lambda rest: b"\xc3\x01" + rest)
    | st.binary(max_size=40).map(lambda rest: b"\x00\x00\x00\x00\x11" + rest)
    | texts.map(lambda rest: ("{" + rest).encode("utf-8", "surrogatepass")),
    encoding=st.none() | st.sampled_from(["BINARY", "JSON", "XML", ""]),
)
@settings(max_examples=300, deadline=None)
def test_garbage_is_refused_with_a_reason_whatever_it_is(
    data: bytes, encoding: str | None, registry: SchemaRegistry
) -> None:
    attributes = {} if encoding is None else {SCHEMA_NAME: NAME, SCHEMA_REVISION: REVISION, SCHEMA_ENCODING: encoding}
    reason_of(data, attributes, registry)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: v.update(more=1), "1 fields that the schema does not have"),
        (lambda v: v.pop("name"), "field name is missing"),
        (lambda v: v.update(event_time="now"), "str where long is due"),
        (lambda v: v.update(event_time=True), "bool where long is due"),
        (lambda v: v.update(event_time=1 << 63), "beyond long"),
        (lambda v: v.update(event_time=1.5), "float where long is due"),
        (lambda v: v.update(locale="de"), "not an object that names its branch"),
        (lambda v: v.update(locale={"int": 1}), "no such branch"),
        (lambda v: v.update(identifiers={}), "dict where array is due"),
        (lambda v: v.update(name="\ud800"), "no JSON"),
    ],
)
def test_json_that_is_no_avro_json_is_refused_by_name(
    make_event: Maker, change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    value = json.loads(PayloadEncoder("json").encode(make_event(1))[0])
    change(value)
    with pytest.raises(DecodeError, match=said) as error:
        decode_message(Message(json.dumps(value).encode(), {}, LATER), published())
    assert error.value.reason == "undecodable"


def test_doubled_keys_numbers_without_an_end_and_deep_nesting_are_refused(make_event: Maker) -> None:
    data, _ = PayloadEncoder("json").encode(make_event(1))
    assert reason_of(data[:-1] + b',"name":"x"}') == "undecodable"
    assert reason_of(data.replace(b"9.5", b"NaN")) == "undecodable"
    assert reason_of(data.replace(b"9.5", b"1e999")) == "undecodable"
    assert reason_of(b'{"a":' * 100_000) == "undecodable"


# --- the registry --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "line", "said"),
    [
        ("schemas:\n  - {event: 7}\n", 2, "there is no event schema 7"),
        ("schemas:\n  - {event: 1, file: x.avsc}\n", 2, "one of 'event' and 'file'"),
        ("schemas:\n  - {file: x.avsc}\n", 2, "is no .avsc file of this folder"),
        ("schemas:\n  - {event: 1, pubsub: a}\n", 2, "'pubsub' and 'revisions' together"),
        ("schemas:\n  - {event: 1, confluent: [1]}\n", 2, "unknown key 'confluent'"),
        (
            "schemas:\n  - {event: 1, confluent_ids: [1]}\n  - {file: longer.avsc, confluent_ids: [1]}\n",
            3,
            "two schemas",
        ),
        ("schemas:\n  - {event: 1, pubsub: a, revisions: [12345678]}\n", 2, "must be a non-empty text"),
    ],
)
def test_a_faulty_index_is_refused_by_file_and_line(tmp_path: Path, index: str, line: int, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as error:
        registry_of(tmp_path, index, longer=_longer())
    assert error.value.line == line


def test_a_schema_that_is_no_event_is_refused_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "other.avsc").write_text('{"type": "record", "name": "Other", "fields": []}')
    with pytest.raises(ConfigurationError, match=r"other\.avsc: cannot be read as an event"):
        load_registry(tmp_path)
    with pytest.raises(ConfigurationError, match="is no folder"):
        load_registry(tmp_path / "absent")


# --- dead letters --------------------------------------------------------------------------------------------------


@given(data=st.binary(max_size=40), attributes=st.dictionaries(texts, texts, max_size=3), at=longs)
@settings(max_examples=60, deadline=None)
def test_a_message_is_kept_whole_and_the_same_at_each_delivery(
    data: bytes, attributes: dict[str, str], at: int
) -> None:
    message = Message(data, attributes, at)
    packed = pack_message(message)
    assert unpack_message(packed) == message
    assert pack_message(Message(data, dict(reversed(attributes.items())), at)) == packed
    assert unpack_message(packed + b"x") is None
    assert unpack_message(data) is None


def test_an_encoder_refuses_what_does_not_fit_together() -> None:
    for arguments in [("avro",), ("confluent",), ("json", "n"), ("single-object", "n", "r"), ("binary", "", "", 1)]:
        with pytest.raises(ValueError, match=r"\w"):
            PayloadEncoder(*arguments)  # type: ignore[arg-type]


def test_plain_binary_is_the_newest_schema_and_nothing_else(make_event: Maker) -> None:
    event = make_event(5)
    assert decode_message(Message(encode_event(event), {}, LATER), published()) == event
    assert reason_of(b"") == "undecodable"


def test_the_index_that_the_page_shows_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "pubsub.md").read_text(encoding="utf-8")
    (index,) = re.findall(r"```yaml\n(.+?)```", page, re.DOTALL)
    (tmp_path / "shop-events.avsc").write_text(json.dumps(_longer()))
    registry = registry_of(tmp_path, index)
    assert sorted(registry.ids) == [17, 21]
    assert list(registry.revisions) == [("projects/acme/schemas/events", "a1b2c3d4")]
    assert len(registry.fingerprints) == 1 + len(codec.versions("event"))
