"""``ReadPubSub``: a subscription to ``Received`` elements, counted where they come in.

Input: a subscription that ``client.check_subscription`` has found good. Output: ``ReadOutputs``, as ``ReadEvents``
gives it; the count of a bundle comes with its elements, so a bundle that runs again counts once. Element timestamps are
min(event time, received time). Errors: see ``sources.pubsub.reader``.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage, ReadFromPubSub
from apache_beam.io.unbounded_source import ReadFromUnboundedSource

from contracts.exchange import Message, Received
from sources.counting import CountReceived
from sources.pubsub.decode import received_message
from sources.pubsub.puller import PubSubSettings
from sources.pubsub.reader import PubSubSource
from transforms.read import ReadOutputs
from transforms.schema_registry import published

PORTABLE, DATAFLOW, DIRECT = "portable", "dataflow", "direct"
ENGINES = (PORTABLE, DATAFLOW, DIRECT)
ID_ATTRIBUTE, TIME_ATTRIBUTE = "event_id", "event_time"
"""Attributes that ``wayline publish`` sets, by which Dataflow drops copies and dates messages."""

_POLL = 0.01
_A_BUNDLE = 500
_A_BUNDLE_SECONDS = 0.1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _DecodeMessages(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    """Messages of Beam's own source to ``Received``."""

    def __init__(self, settings: PubSubSettings) -> None:
        self._subscription = settings.subscription
        self._registry = settings.registry

    def process(self, element: PubsubMessage) -> Iterator[Received]:
        at = (element.publish_time.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
        message = Message(element.data, dict(element.attributes or {}), at)
        yield received_message(message, self._registry or published(), self._subscription)


class ReadPubSub(beam.PTransform):  # type: ignore[misc]
    """Reads a subscription without end.

    ``portable`` (Flink and other portable engines) reads by ``sources.pubsub.reader``: acknowledged once a checkpoint
    is durable. ``dataflow`` and ``direct`` use Beam's own source; on the direct runner that one acknowledges before
    anything is processed, so that what is in flight is lost with the process: for trying only.

    Args:
        settings: what to read, and how.
        engine: one of ``ENGINES``.
        id_attribute: on Dataflow, messages with the same value of it are one; None: none are.
        timestamp_attribute: on Dataflow and the direct runner, dates the elements; None: the publish time does.
    """

    def __init__(
        self,
        settings: PubSubSettings,
        engine: str = PORTABLE,
        *,
        id_attribute: str | None = None,
        timestamp_attribute: str | None = None,
    ) -> None:
        super().__init__()
        if engine not in ENGINES:
            raise ValueError(f"{engine!r} is none of {', '.join(ENGINES)}")
        self._settings = settings
        self._engine = engine
        self._id_attribute = id_attribute
        self._timestamp_attribute = timestamp_attribute

    def expand(self, pbegin: Any) -> ReadOutputs:
        received = (self._portable if self._engine == PORTABLE else self._own)(pbegin)
        counted: ReadOutputs = received | "Count" >> CountReceived()
        return counted

    def _portable(self, pbegin: Any) -> beam.PCollection[Received]:
        source = PubSubSource(self._settings, token=secrets.token_hex(8))
        return pbegin | "Pull" >> ReadFromUnboundedSource(
            source,
            poll_interval=_POLL,
            max_records_per_bundle=_A_BUNDLE,
            max_read_time_seconds=_A_BUNDLE_SECONDS,
        )

    def _own(self, pbegin: Any) -> beam.PCollection[Received]:
        messages = pbegin | "Messages" >> ReadFromPubSub(
            subscription=self._settings.subscription,
            with_attributes=True,
            id_label=self._id_attribute if self._engine == DATAFLOW else None,  # the direct runner refuses it
            timestamp_attribute=self._timestamp_attribute,
        )
        return messages | "Decode" >> beam.ParDo(_DecodeMessages(self._settings)).with_output_types(Received)
