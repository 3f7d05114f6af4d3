"""``Event`` to and from the dictionary form of ``schemas/event``, and to and from Avro binary."""

from __future__ import annotations

from typing import Any

from contracts import codec
from contracts.event import EMPTY_CONTEXT, Context, Event, Identifier


def event_to_record(event: Event) -> codec.Record:
    """The dictionary that fastavro writes."""
    context = event.context
    return {
        "event_id": event.event_id,
        "name": event.name,
        "event_time": event.event_time,
        "received_time": event.received_time,
        "source": event.source,
        "channel": event.channel,
        "identifiers": [{"namespace": i.namespace, "value": i.value} for i in event.identifiers],
        "tracker_session_id": event.tracker_session_id,
        "action_id": event.action_id,
        "context": None
        if context == EMPTY_CONTEXT
        else {
            "url": context.url,
            "path": context.path,
            "title": context.title,
            "referrer": context.referrer,
            "campaign_source": context.campaign_source,
            "campaign_medium": context.campaign_medium,
            "campaign_name": context.campaign_name,
            "campaign_term": context.campaign_term,
            "campaign_content": context.campaign_content,
        },
        "device_class": event.device_class,
        "locale": event.locale,
        "time_zone": event.time_zone,
        "country": event.country,
        "consent": event.consent,
        "correlation_id": event.correlation_id,
        "traceparent": event.traceparent,
        "properties": event.properties,
        "schema_version": event.schema_version,
        "mapping_version": event.mapping_version,
    }


def event_from_record(record: dict[str, Any]) -> Event:
    """The inverse of ``event_to_record``. Raises KeyError or TypeError on a record of another shape."""
    context = record["context"]
    return Event(
        record["event_id"],
        record["name"],
        record["event_time"],
        record["received_time"],
        record["source"],
        record["channel"],
        tuple([Identifier(i["namespace"], i["value"]) for i in record["identifiers"]]),
        record["tracker_session_id"],
        record["action_id"],
        EMPTY_CONTEXT if context is None else Context(**context),
        record["device_class"],
        record["locale"],
        record["time_zone"],
        record["country"],
        record["consent"],
        record["correlation_id"],
        record["traceparent"],
        record["properties"],
        record["schema_version"],
        record["mapping_version"],
    )


def encode_event(event: Event) -> bytes:
    """Avro binary in the newest event schema."""
    return codec.encode("event", event_to_record(event))


def decode_event(data: bytes) -> Event:
    """The inverse of ``encode_event``."""
    return event_from_record(codec.decode("event", data))
