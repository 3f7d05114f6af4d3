"""Feeding a topic: events of files to messages, in the order of event time, at a pace.

Input: event files, or a world to be simulated first. Output: messages in one of the encodings of
``transforms.payloads``, each with the attributes ``event_id`` (by which Dataflow drops copies), ``event_time`` and
``traceparent`` where the event has one. Received times stay as in the files, so that a stream over the topic accepts
and rejects what a bounded run over the files does; ``Present`` makes the world happen while it is published instead.
Damaged parts of files are published as they are: a message that is no event. Memory: see ``sources.ordered``. Errors:
``OutputError`` when the topic refuses, ``ServiceError`` when nothing answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from contracts.event import DAY, MINUTE, Event
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
_BROKEN = 30 * DAY
"""An event this far from its reception has a wrong time, not a late one."""

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


def _happened(event: Event) -> int:
    """When an event takes its turn to happen now: broken clocks would else all be first, or last."""
    broken = abs(event.received_time - event.event_time) > _BROKEN
    return event.received_time if broken else event.event_time


class Present:
    """Makes events happen as they are published: their distances become those of publishing.

    What was received within a minute of its time happens now, and is received when it is published. Anything else keeps
    its distance to its reception: what came late comes late, and a time that cannot be stays one that cannot be. Events
    of one time get one time, so the copies of an event stay copies. State: the last time met. ``publish`` gives events
    in the order of their times, but for those of broken clocks, which come when they were received.

    Args:
        clock: UTC microseconds.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._last: int | None = None
        self._stamp = 0

    def __call__(self, event: Event) -> Event:
        """The event, now."""
        if event.event_time != self._last:
            self._last = event.event_time
            ago = event.received_time - event.event_time
            self._stamp = self._clock() - (0 if abs(ago) <= MINUTE else ago)
        return replace(event, event_time=self._stamp, received_time=0)


def publish(
    files: Sequence[str],
    topic: str,
    endpoint: str | None,
    encoder: PayloadEncoder,
    rate: float | None = None,
    on_progress: Progress | None = None,
    *,
    present: Present | None = None,
    stopped: Callable[[], bool] = lambda: False,
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
        present: gives events the time of publishing; None leaves times as they are.
        stopped: asked between requests; true ends it early.
        clock: seconds of a monotonic clock.
        sleep: waits so many seconds.
    """
    ordered = Ordered(files, by_event_time if present is None else _happened)
    ordered.sort()
    events = damaged = oversize = 0
    began = clock()
    try:
        messages = _sendable(ordered, encoder, present)
        sent, more = 0, True
        while more and not stopped():
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


def _sendable(
    ordered: Ordered, encoder: PayloadEncoder, present: Present | None
) -> Iterator[tuple[bytes, dict[str, str], bool]]:
    for placed in ordered.units():
        received = placed.received
        if present is not None and received.event is not None:
            received = replace(received, event=present(received.event))
        data, attributes = message_of(received, encoder)
        yield data, _fitting(attributes), received.event is not None


_MOST_ATTRIBUTE = 1_024


def _fitting(attributes: dict[str, str]) -> dict[str, str]:
    """Without those that are longer than Pub/Sub allows, which would refuse the whole request."""
    return {
        key: value
        for key, value in attributes.items()
        if len(value.encode("utf-8", "surrogatepass")) <= _MOST_ATTRIBUTE
    }
