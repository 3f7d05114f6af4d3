"""The learn stage in a graph: decisions and outcomes in, labels out. The rules: ``transforms.labels``."""

from __future__ import annotations

from collections.abc import Iterable

import apache_beam as beam

from contracts.exchange import Label, LearnInput
from transforms.labels import MATURITY, labels


class Learn(beam.PTransform[beam.PCollection[LearnInput], beam.PCollection[Label]]):  # type: ignore[misc]  # untyped
    """One label a matured decision; stateless, total, in any window.

    Args:
        window: the maturity window in microseconds of event time.
    """

    def __init__(self, window: int = MATURITY) -> None:
        super().__init__()
        self._do = _LearnFn(window)

    def expand(self, inputs: beam.PCollection[LearnInput]) -> beam.PCollection[Label]:
        return inputs | "Label" >> beam.ParDo(self._do).with_output_types(Label)


class _LearnFn(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    def __init__(self, window: int) -> None:
        super().__init__()
        self._window = window

    def process(self, element: LearnInput) -> Iterable[Label]:
        return labels(element, self._window)
