"""A pipeline over ``ReadPubSub`` in a process of its own: an unbounded read has no end on the runners of tests.

Called with: engine, subscription, endpoint, file. What comes is appended to the file, a line of JSON each.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from contracts import coders
from contracts.exchange import LedgerCount, Received
from sources.pubsub.puller import PubSubSettings
from sources.pubsub.read import DIRECT, ReadPubSub


class Note(beam.DoFn):  # type: ignore[misc]
    """Says what passes."""

    def __init__(self, path: str) -> None:
        self._path = path

    def process(self, element: Received | LedgerCount) -> Iterator[None]:
        if isinstance(element, LedgerCount):
            said: list[Any] = ["count", element.source, element.kind, element.n]
        else:
            said = ["event", element.event.event_id] if element.event else ["garbage", element.reason]
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(said) + "\n")
        yield from ()


def main(engine: str, subscription: str, endpoint: str, path: str) -> None:
    coders.register()
    runner = BundleBasedDirectRunner() if engine == DIRECT else FnApiRunner()
    pipeline = beam.Pipeline(runner=runner, options=PipelineOptions(["--streaming"]))
    outputs = pipeline | "Read" >> ReadPubSub(PubSubSettings(subscription, endpoint), engine)
    _ = outputs.received | "NoteEvents" >> beam.ParDo(Note(path))
    _ = outputs.ledger | "NoteCounts" >> beam.ParDo(Note(path))
    pipeline.run().wait_until_finish()


if __name__ == "__main__":
    main(*sys.argv[1:])
