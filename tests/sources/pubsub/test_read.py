"""``ReadPubSub`` in a pipeline: every message once, counted, acknowledged after its bundle is durable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from contracts import coders
from contracts.event import Event
from contracts.exchange import LedgerCount, Received
from sources.pubsub.puller import PubSubSettings
from sources.pubsub.read import DATAFLOW, DIRECT, PORTABLE, ReadPubSub

ROOT = Path(__file__).resolve().parents[3]
Maker = Callable[..., Event]


def said_in(path: Path) -> list[list[Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def has_said(path: Path, number: int) -> bool:
    """Whether so many units came and as many were counted: the two branches run apart."""
    said = said_in(path)
    units = sum(s[0] != "count" for s in said)
    return units >= number and sum(s[3] for s in said if s[0] == "count") >= number


@contextmanager
def reading(engine: str, topic: Any, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A pipeline of its own process over a subscription, killed in the end."""
    script = Path(__file__).with_name("read_pipeline.py")
    command = [sys.executable, str(script), engine, topic.subscription, topic.endpoint, str(path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PUBSUB_EMULATOR_HOST": topic.endpoint}
    with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(process: subprocess.Popen[bytes], holds: Callable[[], bool], patience: float = 60.0) -> None:
    deadline = time.monotonic() + patience
    while not holds():
        assert process.poll() is None, "the pipeline has ended"
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.05)


def test_every_message_comes_through_is_counted_and_acknowledged(topic: Any, make_event: Maker, tmp_path: Path) -> None:
    events = [make_event(number) for number in range(300)]
    topic.publish(events)
    topic.publish_raw([(b"junk", {})])
    path = tmp_path / "said"
    with reading(PORTABLE, topic, path) as process:
        wait_for(process, lambda: has_said(path, 301))
        # the finalizers run behind their bundles
        time.sleep(1.0)
    said = said_in(path)
    assert Counter(s[1] for s in said if s[0] == "event") == Counter(e.event_id for e in events)
    assert [s for s in said if s[0] == "garbage"] == [["garbage", "undecodable"]]
    counts: Counter[str] = Counter()
    for _, source, kind, number in (s for s in said if s[0] == "count"):
        assert kind == "received"
        counts[source] += number
    assert counts == {"web": 300, topic.subscription.rpartition("/")[2]: 1}
    assert topic.unacknowledged() == 0


def test_on_the_direct_runner_beams_own_source_gives_the_same(topic: Any, make_event: Maker, tmp_path: Path) -> None:
    topic.publish([make_event(number) for number in range(20)])
    topic.publish_raw([(b"\xc3\x01????????", {})])
    path = tmp_path / "said"
    with reading(DIRECT, topic, path) as process:
        wait_for(process, lambda: has_said(path, 21))
    said = said_in(path)
    assert {s[1] for s in said if s[0] == "event"} == {f"e{n}" for n in range(20)}
    assert [s[1] for s in said if s[0] == "garbage"] == ["unknown_schema"]


def test_on_dataflow_beams_own_source_is_told_the_attributes() -> None:
    pipeline = beam.Pipeline()
    read = ReadPubSub(
        PubSubSettings("projects/acme-inc/subscriptions/events"),
        DATAFLOW,
        id_attribute="event_id",
        timestamp_attribute="at",
    )
    outputs = pipeline | "Read" >> read
    assert outputs.received.element_type is Received
    proto = pipeline.to_runner_api()
    (payload,) = [
        transform.spec.payload
        for transform in proto.components.transforms.values()
        if transform.spec.urn == "beam:transform:pubsub_read:v1"
    ]
    assert b"event_id" in payload
    assert b"projects/acme-inc/subscriptions/events" in payload


def test_no_element_is_pickled() -> None:
    pipeline = beam.Pipeline()
    outputs = pipeline | "Read" >> ReadPubSub(PubSubSettings("projects/acme-inc/subscriptions/events", "localhost:1"))
    assert (outputs.received.element_type, outputs.ledger.element_type) == (Received, LedgerCount)
    (pulled,) = outputs.received.producer.inputs
    assert pulled.element_type is Received
    assert isinstance(coders.coders.registry.get_coder(pulled.element_type), coders.WireCoder)


def test_another_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="is none of portable, dataflow, direct"):
        ReadPubSub(PubSubSettings("projects/acme-inc/subscriptions/events"), "flink")
