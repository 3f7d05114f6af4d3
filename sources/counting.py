"""The ledger's count of what a stream received, taken beside the source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam import pvalue
from apache_beam.transforms.window import GlobalWindows

from contracts.exchange import LedgerCount, Received
from transforms.read import LEDGER, ReadOutputs, typed


class _Count(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    def start_bundle(self) -> None:
        self._counts: Counter[str] = Counter()

    def process(self, element: Received) -> Iterator[Received]:
        self._counts[element.source] += 1
        yield element

    def finish_bundle(self) -> Iterator[Any]:
        for source, number in sorted(self._counts.items()):
            count = LedgerCount(source, "received", number)
            yield pvalue.TaggedOutput(LEDGER, GlobalWindows.windowed_value(count))
        self._counts.clear()


class CountReceived(beam.PTransform):  # type: ignore[misc]
    """``Received`` in; the same out, and ``LedgerCount`` of kind ``received``, one a source and bundle."""

    def expand(self, received: beam.PCollection[Received]) -> ReadOutputs:
        outputs = received | "CountBundle" >> beam.ParDo(_Count()).with_output_types(Received).with_outputs(
            LEDGER, main="received"
        )
        return ReadOutputs(outputs["received"], typed(outputs[LEDGER], LedgerCount))
