"""A topic with a subscription on a real server, and events to publish to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from contracts.event import Event, Identifier
from sources.pubsub import client
from sources.pubsub.puller import PubSubSettings
from sources.pubsub.reader import PubSubMark, PubSubReader, PubSubSource
from transforms.payloads import PayloadEncoder

NOON = 1_750_000_000_000_000


class Topic:
    """A topic and a subscription of one test; what the server still keeps can be counted."""

    def __init__(self, endpoint: str, topic: str, subscription: str) -> None:
        self.endpoint, self.topic, self.subscription = endpoint, topic, subscription
        client.create(topic, subscription, endpoint)

    def publish(self, events: Sequence[Event], encoding: str = "single-object") -> None:
        encoder = PayloadEncoder(encoding)
        payloads = [encoder.encode(event) for event in events]
        self.publish_raw([(data, attributes) for data, attributes in payloads])

    def publish_raw(self, payloads: Sequence[tuple[bytes, dict[str, str]]]) -> None:
        messages = [{"data": data, "attributes": attributes} for data, attributes in payloads]
        client.publisher(self.endpoint).publish(topic=self.topic, messages=messages)

    def available(self) -> int:
        """Messages that some reader could pull now; they are given back at once."""
        pulled = client.subscriber(self.endpoint).pull(
            request={"subscription": self.subscription, "max_messages": 5_000, "return_immediately": True}
        )
        ids = [item.ack_id for item in pulled.received_messages]
        client.extend(self.endpoint, self.subscription, ids, 0)
        return len(ids)

    def unacknowledged(self) -> int:
        """Messages that the server still keeps, also those that somebody holds: counted by giving all back.

        Only on a server whose messages are numbered and whose ack ids are those numbers, as pstest's are.
        """
        pulled = client.publisher(self.endpoint).publish(topic=self.topic, messages=[{"data": b"last"}])
        (last,) = pulled.message_ids
        every = [f"m{number}" for number in range(int(last[1:]) + 1)]
        client.extend(self.endpoint, self.subscription, every, 0)
        return self.available() - 1

    def source(self, **changes: Any) -> PubSubSource:
        return PubSubSource(PubSubSettings(self.subscription, self.endpoint, **changes), self.topic)


class Driver:
    """Drives a reader as Beam's wrapper does."""

    def __init__(self, reader: PubSubReader) -> None:
        self.reader = reader
        self._started = False

    def next(self) -> bool:
        if self._started:
            return self.reader.advance()
        self._started = True
        return self.reader.start()

    def take(self, number: int, patience: float = 10.0) -> list[Any]:
        """So many elements; an assertion when they do not come."""
        out: list[Any] = []
        deadline = time.monotonic() + patience
        while len(out) < number:
            if self.next():
                out.append(self.reader.get_current())
            else:
                assert time.monotonic() < deadline, f"{len(out)} of {number} came"
                time.sleep(0.005)
        return out


@pytest.fixture(name="topic")
def topic_fixture(pubsub_server: Any) -> Topic:
    return Topic(pubsub_server.endpoint, *pubsub_server.names())


@pytest.fixture(name="drive")
def drive_fixture() -> Iterator[Callable[..., Driver]]:
    """drive(source, mark) -> Driver of a new reader, closed in the end."""
    made: list[PubSubReader] = []

    def drive(source: PubSubSource, mark: PubSubMark | None = None) -> Driver:
        reader = source.create_reader(None, mark)
        made.append(reader)
        return Driver(reader)

    yield drive
    for reader in made:
        reader.close()


def _event(number: int = 0, **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "event_id": f"e{number}",
        "name": "product_view",
        "event_time": NOON + number * 1_000_000,
        "received_time": NOON + number * 1_000_000 + 500_000,
        "source": "web",
        "channel": "web",
        "identifiers": (Identifier("anonymous_id", f"a{number % 7}"),),
    }
    return Event(**{**fields, **changes})


@pytest.fixture(name="make_event", scope="session")
def make_event_fixture() -> Callable[..., Event]:
    """event(number, **changes)."""
    return _event


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., None]:
    def eventually(holds: Callable[[], bool], patience: float = 10.0) -> None:
        deadline = time.monotonic() + patience
        while not holds():
            assert time.monotonic() < deadline, "it does not come true"
            time.sleep(0.02)

    return eventually
