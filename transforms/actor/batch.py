"""Before an actor: the elements of a bundle, grouped by shard, one batch a shard.

Contract: (shard, element) in, (shard, batch) out, both bytes; a batch is ``packing.pack`` of the elements in the order
they came. State: none beyond a bundle; memory bounded by ``max_bytes`` and ``max_elements`` a shard. Time domain: a
batch has the least timestamp of its elements, so that it is never behind the watermark that they held. Errors: none.
It does not wait for more elements: how large batches become is for the engine's bundles to say.
"""

from __future__ import annotations

from collections.abc import Iterator

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow, TimestampedValue
from apache_beam.utils.windowed_value import WindowedValue

from transforms.actor.packing import pack

MAX_BYTES = 1024 * 1024
MAX_ELEMENTS = 2_000


class _Batch:
    __slots__ = ("elements", "size", "timestamp")

    def __init__(self, timestamp: beam.utils.timestamp.Timestamp) -> None:
        self.elements: list[bytes] = []
        self.size = 0
        self.timestamp = timestamp


class _BatchFn(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    _held: dict[bytes, _Batch]

    def __init__(self, max_elements: int, max_bytes: int) -> None:
        super().__init__()
        self._max_elements = max_elements
        self._max_bytes = max_bytes

    def start_bundle(self) -> None:
        self._held = {}

    def process(
        self,
        element: tuple[bytes, bytes],
        timestamp: beam.utils.timestamp.Timestamp = beam.DoFn.TimestampParam,
    ) -> Iterator[TimestampedValue]:
        shard, data = element
        batch = self._held.get(shard)
        if batch is None:
            batch = self._held[shard] = _Batch(timestamp)
        elif timestamp < batch.timestamp:
            batch.timestamp = timestamp
        batch.elements.append(data)
        batch.size += len(data)
        if len(batch.elements) >= self._max_elements or batch.size >= self._max_bytes:
            del self._held[shard]
            yield TimestampedValue((shard, pack(batch.elements)), batch.timestamp)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for shard, batch in self._held.items():
            yield WindowedValue((shard, pack(batch.elements)), batch.timestamp, (GlobalWindow(),))
        self._held = {}


class BatchByShard(beam.PTransform):  # type: ignore[misc]
    """Groups (shard, element) by shard inside a bundle; in the global window.

    Args:
        max_elements: a batch of so many elements is not waited with.
        max_bytes: nor one of so many bytes.
    """

    def __init__(self, max_elements: int = MAX_ELEMENTS, max_bytes: int = MAX_BYTES) -> None:
        super().__init__()
        self._fn = _BatchFn(max_elements, max_bytes)

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        return elements | "PackByShard" >> beam.ParDo(self._fn).with_output_types(beam.typehints.Tuple[bytes, bytes])
