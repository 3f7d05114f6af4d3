"""``ReadPubSub`` in a pipeline: every message once, counted, acknowledged after its bundle is durable."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from contracts import coders
from contracts.event import Event
from contracts.exchange import LedgerCount, Received
from sources.pubsub.puller import PubSubSettings
from sources.pubsub.read import DATAFLOW, DIRECT, ReadPubSub

Maker = Callable[..., Event]


class _Note(beam.DoFn):  # type: ignore[misc]
    """Appends what passes to a file, a line each: the process that looks is another thread."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def process(self, element: Received | LedgerCount) -> Iterator[None]:
        if isinstance(element, LedgerCount):
            said: list[Any] = ["count", element.source, element.kind, element.n]
        else:
            said = ["event", element.event.event_id] if element.event else ["garbage", element.reason]
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(said) + "\n")
        yield from ()


def said_in(path: Path) -> list[list[Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run_until(pipeline: beam.Pipeline, holds: Callable[[], bool], patience: float) -> None:
    """An unbounded read has no end on the runners of tests: run it aside until something holds."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            pipeline.run().wait_until_finish()
        except Exception as error:  # noqa: BLE001  # looked at below
            failures.append(error)

    threading.Thread(target=run, daemon=True).start()
    deadline = time.monotonic() + patience
    while not holds():
        assert not failures, failures
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.05)


def has_said(path: Path, number: int) -> bool:
    """Whether so many units came and as many were counted: the two branches run apart."""
    said = said_in(path)
    units = sum(s[0] != "count" for s in said)
    return units >= number and sum(s[3] for s in said if s[0] == "count") >= number


def build(pipeline: beam.Pipeline, read: ReadPubSub, path: Path) -> None:
    coders.register()
    outputs = pipeline | "Read" >> read
    _ = outputs.received | "NoteEvents" >> beam.ParDo(_Note(path))
    _ = outputs.ledger | "NoteCounts" >> beam.ParDo(_Note(path))


def test_every_message_comes_through_is_counted_and_acknowledged(topic: Any, make_event: Maker, tmp_path: Path) -> None:
    events = [make_event(number) for number in range(300)]
    topic.publish(events)
    topic.publish_raw([(b"junk", {})])
    path = tmp_path / "said"
    pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(["--streaming"]))
    read = ReadPubSub(PubSubSettings(topic.subscription, topic.endpoint))
    build(pipeline, read, path)

    run_until(pipeline, lambda: has_said(path, 301) and topic.available() == 0, 60)
    said = said_in(path)
    assert Counter(s[1] for s in said if s[0] == "event") == Counter(e.event_id for e in events)
    assert [s for s in said if s[0] == "garbage"] == [["garbage", "undecodable"]]
    counts: Counter[str] = Counter()
    for _, source, kind, number in (s for s in said if s[0] == "count"):
        assert kind == "received"
        counts[source] += number
    assert counts == {"web": 300, topic.subscription.rpartition("/")[2]: 1}
    time.sleep(0.5)
    assert topic.available() == 0


def test_on_the_direct_runner_beams_own_source_gives_the_same(
    topic: Any, make_event: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", topic.endpoint)
    topic.publish([make_event(number) for number in range(20)])
    topic.publish_raw([(b"\xc3\x01????????", {})])
    path = tmp_path / "said"
    pipeline = beam.Pipeline(runner=BundleBasedDirectRunner(), options=PipelineOptions(["--streaming"]))
    build(pipeline, ReadPubSub(PubSubSettings(topic.subscription, topic.endpoint), DIRECT), path)
    run_until(pipeline, lambda: has_said(path, 21), 60)
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
