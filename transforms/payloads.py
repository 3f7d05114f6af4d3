"""Payloads: messages of a topic to events and back, in the encodings that topics are met with.

Pure: no Beam, no client, no clock. Which encoding a message has is never guessed between two that fit:

1. ``googclient_schemaencoding`` is set: Pub/Sub checked the message against a schema; name and revision say which.
2. ``C3 01`` in front: Avro's single-object encoding; eight bytes of fingerprint follow.
3. ``00`` in front: the header of a Confluent registry; four bytes of id follow.
4. ``{`` in front: Avro JSON of our newest event schema.
5. Anything else: Avro binary of our newest event schema, which begins with none of these (the length of an event id).

A message is one event exactly; bytes left over are a fault. Errors: ``DecodeError`` with a reason of
``transforms.dead_letter.REASONS``; nothing else escapes, whatever the bytes are.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from contracts import codec, records
from contracts.event import Event
from contracts.event_codec import encode_event, event_to_record
from contracts.exchange import Message
from transforms import avro_json
from transforms.decode import LIBRARY_FAULTS, DecodeError, EventDecoder, newest_decoder
from transforms.schema_registry import SchemaRegistry

SCHEMA_NAME = "googclient_schemaname"
SCHEMA_ENCODING = "googclient_schemaencoding"
SCHEMA_REVISION = "googclient_schemarevisionid"
SINGLE_OBJECT = b"\xc3\x01"
CONFLUENT = b"\x00"
_FINGERPRINT = 8
_ID = 4


# --- in ------------------------------------------------------------------------------------------------------------


def decode_message(message: Message, registry: SchemaRegistry) -> Event:
    """The event of a message, received when the message was published unless it states an earlier time itself.

    Raises:
        DecodeError: ``unknown_schema``, ``undecodable``, or what the schema itself is refused for.
    """
    event = _decode(message.data, message.attributes, registry)
    # a sender that does not know writes 0
    if event.received_time != 0 and event.received_time <= message.publish_time:
        return event
    return dataclasses.replace(event, received_time=message.publish_time)


def _decode(data: bytes, attributes: Mapping[str, str], registry: SchemaRegistry) -> Event:
    encoding = attributes.get(SCHEMA_ENCODING)
    if encoding is not None:
        decoder = registry.by_revision(attributes.get(SCHEMA_NAME, ""), attributes.get(SCHEMA_REVISION, ""))
        if encoding == "BINARY":
            return decoder.decode(data)
        if encoding == "JSON":
            return _decode_json(data, decoder)
        raise DecodeError("undecodable", f"{SCHEMA_ENCODING} is {encoding[:20]!r}, neither BINARY nor JSON")
    if data.startswith(SINGLE_OBJECT):
        at = len(SINGLE_OBJECT) + _FINGERPRINT
        if len(data) < at:
            raise DecodeError("undecodable", "ends inside its fingerprint")
        return registry.by_fingerprint(data[at - _FINGERPRINT : at]).decode(data[at:])
    if data.startswith(CONFLUENT):
        at = len(CONFLUENT) + _ID
        if len(data) < at:
            raise DecodeError("undecodable", "ends inside its schema id")
        return registry.by_id(int.from_bytes(data[at - _ID : at], "big")).decode(data[at:])
    if data.startswith(b"{"):
        return _decode_json(data, newest_decoder())
    return newest_decoder().decode(data)


@lru_cache(maxsize=256)
def _json_schema(decoder: EventDecoder) -> tuple[Any, avro_json.Named]:
    return decoder.plain, avro_json.named_types(decoder.plain)


def _decode_json(data: bytes, decoder: EventDecoder) -> Event:
    try:
        binary = avro_json.to_binary(*_json_schema(decoder), data)
    except avro_json.AvroJsonError as fault:
        raise DecodeError("undecodable", f"no Avro JSON of its schema: {fault}") from fault
    except LIBRARY_FAULTS as fault:
        raise DecodeError("undecodable", f"no JSON: {type(fault).__name__}") from fault
    return decoder.decode(binary)


# --- out -----------------------------------------------------------------------------------------------------------

BINARY, JSON, SINGLE, CONFLUENT_HEADER = "binary", "json", "single-object", "confluent"
ENCODINGS = (SINGLE, BINARY, JSON, CONFLUENT_HEADER)


@dataclass(frozen=True)
class PayloadEncoder:
    """Events to payloads in our newest schema.

    ``schema_name`` and ``schema_revision`` go to the attributes of ``binary`` and ``json``, as Pub/Sub sets them on
    topics with a schema. ``schema_id`` is needed by ``confluent``. Raises ValueError for an encoding that is none.
    """

    encoding: str = SINGLE
    schema_name: str = ""
    schema_revision: str = ""
    schema_id: int | None = None

    def __post_init__(self) -> None:
        if self.encoding not in ENCODINGS:
            raise ValueError(f"{self.encoding!r} is none of {', '.join(ENCODINGS)}")
        if (self.encoding == CONFLUENT_HEADER) != (self.schema_id is not None):
            raise ValueError("a schema id goes with the encoding confluent, which needs one")
        if bool(self.schema_name) != bool(self.schema_revision):
            raise ValueError("a schema name and a schema revision go together")
        if self.schema_name and self.encoding not in (BINARY, JSON):
            raise ValueError("a Pub/Sub schema goes with the encodings binary and json")

    def encode(self, event: Event) -> tuple[bytes, dict[str, str]]:
        """(data, attributes)."""
        attributes: dict[str, str] = {}
        if self.schema_name:
            attributes = {
                SCHEMA_NAME: self.schema_name,
                SCHEMA_REVISION: self.schema_revision,
                SCHEMA_ENCODING: "JSON" if self.encoding == JSON else "BINARY",
            }
        if self.encoding == JSON:
            schema, named = _json_schema(newest_decoder())
            value = avro_json.to_json(schema, named, event_to_record(event))
            return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8"), attributes
        data = encode_event(event)
        if self.encoding == SINGLE:
            return SINGLE_OBJECT + bytes.fromhex(newest_decoder().schema_id) + data, attributes
        if self.schema_id is not None:
            return CONFLUENT + self.schema_id.to_bytes(_ID, "big") + data, attributes
        return data, attributes


# --- dead letters --------------------------------------------------------------------------------------------------


@cache
def _message_frame() -> bytes:
    return SINGLE_OBJECT + bytes.fromhex(codec.schema_id("message"))


def pack_message(message: Message) -> bytes:
    """A message whole, as the payload of a dead letter: Avro's single-object encoding of ``schemas/message``."""
    # the order of attributes differs between deliveries, and would make one message two dead letters
    ordered = Message(message.data, dict(sorted(message.attributes.items())), message.publish_time)
    return _message_frame() + records.encode(ordered)


def unpack_message(payload: bytes) -> Message | None:
    """The inverse of ``pack_message``; None when the payload is something else."""
    frame = _message_frame()
    if not payload.startswith(frame):
        return None
    try:
        return records.decode(Message, payload[len(frame) :])
    except LIBRARY_FAULTS:
        return None
