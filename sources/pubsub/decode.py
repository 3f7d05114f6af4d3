"""A message to ``Received``: the event it is, or the whole message with the reason why it is none."""

from __future__ import annotations

from contracts.exchange import Message, Received
from transforms.decode import DecodeError, newest_decoder
from transforms.minimise import scrubbed
from transforms.payloads import decode_message, pack_message
from transforms.read import file_label, ledger_source
from transforms.schema_registry import SchemaRegistry

_MAX_DETAIL = 500


def received_message(message: Message, registry: SchemaRegistry, subscription: str) -> Received:
    """One unit of a subscription, which names it in the ledger where the message is no event. Pure."""
    try:
        event = decode_message(message, registry)
    except DecodeError as error:
        detail = scrubbed(error.detail)[:_MAX_DETAIL]  # attributes of a message may be quoted in it
        return Received(file_label(subscription), "", None, pack_message(message), error.reason, detail)
    return Received(ledger_source(event), newest_decoder().schema_id, event)
