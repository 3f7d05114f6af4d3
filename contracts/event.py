"""The event: one thing a customer did, immutable.

Times are integers: UTC microseconds since the epoch. ``Event`` mirrors ``schemas/event``; from the protect
stage on its identifiers are pseudonyms.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import NamedTuple

from contracts.construction import fast_init

Scalar = bool | int | float | str | None

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


class Identifier(NamedTuple):
    """(namespace, value): a name for a device, a login, a contact or a record."""

    namespace: str
    value: str


@fast_init
@dataclass(frozen=True, slots=True)
class Context:
    """Page or app context; a field is None when the source did not give it."""

    url: str | None = None
    path: str | None = None
    title: str | None = None
    referrer: str | None = None
    campaign_source: str | None = None
    campaign_medium: str | None = None
    campaign_name: str | None = None
    campaign_term: str | None = None
    campaign_content: str | None = None


CONTEXT_FIELDS = tuple(one.name for one in fields(Context))
EMPTY_CONTEXT = Context()
SOURCE_TEXTS = (
    "tracker_session_id",
    "action_id",
    "device_class",
    "locale",
    "time_zone",
    "country",
    "correlation_id",
    "traceparent",
)
"""The texts that a source may give of an event, besides those it has to give and those of the context."""


@fast_init
@dataclass(frozen=True, slots=True)
class Event:
    """One event. Field meanings stand in ``schemas/event``; ``context`` is never None here, so readers need no test."""

    event_id: str
    name: str
    event_time: int
    received_time: int
    source: str
    channel: str
    identifiers: tuple[Identifier, ...]
    tracker_session_id: str | None = None
    action_id: str | None = None
    context: Context = EMPTY_CONTEXT
    device_class: str | None = None
    locale: str | None = None
    time_zone: str | None = None
    country: str | None = None
    consent: dict[str, bool] = field(default_factory=dict)
    correlation_id: str | None = None
    traceparent: str | None = None
    properties: dict[str, Scalar] = field(default_factory=dict)
    schema_version: int = 1
    mapping_version: str | None = None

    @property
    def order(self) -> tuple[int, str]:
        """The order of everything: event time, ties by event_id."""
        return (self.event_time, self.event_id)
