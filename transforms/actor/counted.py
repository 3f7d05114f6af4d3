"""What a core counts, as counters of the engine.

Contract: (name, by how much) in, nothing out. State: none. The counters are below ``wayline.`` and the stage.
"""

from __future__ import annotations

from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics


class Counted(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    """Adds to counters.

    Args:
        stage: names the stage.
    """

    def __init__(self, stage: str) -> None:
        self._namespace = f"wayline.{stage}"
        self._counters: dict[str, Any] = {}

    def process(self, element: tuple[str, int]) -> None:
        name, by = element
        counter = self._counters.get(name)
        if counter is None:
            counter = self._counters[name] = Metrics.counter(self._namespace, name)
        counter.inc(by)
