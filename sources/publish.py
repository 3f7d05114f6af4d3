"""Feeding a topic: events of files to messages, in the order of event time, at a pace.

Input: event files, or a world to be simulated first. Output: messages in one of the encodings of
``transforms.payloads``, each with the attributes ``event_id`` (by which Dataflow drops copies), ``event_time`` and
``traceparent`` where the event has one. Received times stay as in the files, so that a stream over the topic accepts
and rejects what a bounded run over the files does. Damaged parts of files are published as they are: a message that is
no event. Memory: see ``sources.ordered``. Errors: ``OutputError`` when the topic refuses, ``ServiceError`` when nothing
answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from contracts.exchange import Received
from sources.ordered import Ordered, by_event_time
from sources.pubsub import client
from sources.pubsub.read import ID_ATTRIBUTE, TIME_ATTRIBUTE
from transforms.payloads import PayloadEncoder

_A_CALL = 200
_A_CALL_BYTES = 5 << 20
_MOST_BYTES = 10_000_000
"""A message of Pub/Sub is at most 10 MB; damage may be a little smaller than that, events are far from it."""
_TICK = 0.02

Progress = Callable[[int, int], None]
"""Told (messages published, messages in all)."""


@dataclass(frozen=True, slots=True)
class Published:
    """``events`` and ``damaged`` were published, ``oversize`` were not: no topic takes them. ``seconds`` it took."""

    events: int
    damaged: int
    oversize: int
    seconds: float


def message_of(received: Received, encoder: PayloadEncoder) -> tuple[bytes, dict[str, str]]:
    """(data, attributes) of one unit. Pure."""
    event = received.event
    if event is None:
        return received.payload, {}
    data, attributes = encoder.encode(event)
    attributes[ID_ATTRIBUTE] = event.event_id
    attributes[TIME_ATTRIBUTE] = str(event.event_time // 1_000)  # Beam reads milliseconds
    if event.traceparent:
        attributes["traceparent"] = event.traceparent
    return data, attributes


def publish(
    files: Sequence[str],
    topic: str,
    endpoint: str | None,
    encoder: PayloadEncoder,
    rate: float | None = None,
    on_progress: Progress | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Published:
    """Publish the events of files.

    Args:
        files: as ``transforms.inputs.list_inputs`` gave them.
        topic: full name.
        endpoint: of an emulator; None for the service.
        encoder: how.
        rate: messages a second, as an average from the beginning; None: as fast as the server takes them.
        on_progress: called after each request.
        clock: seconds of a monotonic clock.
        sleep: waits so many seconds.
    """
    ordered = Ordered(files, by_event_time)
    ordered.sort()
    events = damaged = oversize = 0
    began = clock()
    try:
        messages = _sendable(ordered, encoder)
        sent, more = 0, True
        while more:
            due = _A_CALL if rate is None else min(_A_CALL, int((clock() - began) * rate) + 1 - sent)
            if due <= 0:
                sleep(_TICK)
                continue
            batch: list[dict[str, object]] = []
            size = 0
            while len(batch) < due and size < _A_CALL_BYTES:
                item = next(messages, None)
                if item is None:
                    more = False
                    break
                data, attributes, is_event = item
                if len(data) + sum(len(k) + len(v) for k, v in attributes.items()) > _MOST_BYTES:
                    oversize += 1
                    continue
                events, damaged = events + is_event, damaged + (not is_event)
                size += len(data)
                batch.append({"data": data, "attributes": attributes})
            if batch:
                client.send(endpoint, topic, batch)
            sent += len(batch)
            if on_progress is not None:
                on_progress(sent, ordered.total)
    finally:
        ordered.close()
    return Published(events, damaged, oversize, clock() - began)


def _sendable(ordered: Ordered, encoder: PayloadEncoder) -> Iterator[tuple[bytes, dict[str, str], bool]]:
    for placed in ordered.units():
        data, attributes = message_of(placed.received, encoder)
        yield data, _fitting(attributes), placed.received.event is not None


_MOST_ATTRIBUTE = 1_024


def _fitting(attributes: dict[str, str]) -> dict[str, str]:
    """Without those that are longer than Pub/Sub allows, which would refuse the whole request."""
    return {
        key: value
        for key, value in attributes.items()
        if len(value.encode("utf-8", "surrogatepass")) <= _MOST_ATTRIBUTE
    }
