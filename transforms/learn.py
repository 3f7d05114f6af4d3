"""The learn stage in a graph: what was done and what was answered in, labels out. The rules: ``transforms.labels``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import apache_beam as beam

from contracts.exchange import Label, LearnInput
from transforms.labels import MATURITY, labels, merged


class Learn(beam.PTransform):  # type: ignore[misc]  # Beam's base class is untyped
    """What the journey stage and the act stage know of persons, to the labels of their matured decisions.

    Input: PCollections of (person shard, LearnInput); a person may have several. Output: (person shard, labels).
    Stateless and total.

    Args:
        window: the maturity window in microseconds of event time.
    """

    def __init__(self, window: int = MATURITY) -> None:
        super().__init__()
        self._do = _LearnFn(window)

    def expand(
        self, inputs: tuple[beam.PCollection[tuple[bytes, LearnInput]], ...]
    ) -> beam.PCollection[tuple[bytes, list[Label]]]:
        return (
            inputs
            | "Together" >> beam.Flatten()
            | "ByPersonShard" >> beam.GroupByKey()
            | "Label" >> beam.ParDo(self._do).with_output_types(tuple[bytes, list[Label]])
        )


class _LearnFn(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    def __init__(self, window: int) -> None:
        super().__init__()
        self._window = window

    def process(self, element: tuple[bytes, Iterable[LearnInput]]) -> Iterator[tuple[bytes, list[Label]]]:
        shard, inputs = element
        yield shard, [label for item in merged(inputs) for label in labels(item, self._window)]
