"""Waking: every actor of a stage is called once when a stream begins, also those for whom nothing comes.

An actor has timers only once it was called. What an earlier run or stream left in the stores of a shard would else
neither hear of the mailbox nor be folded to the horizon at the end.
"""

from __future__ import annotations

from collections.abc import Callable

import apache_beam as beam
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from transforms.actor.packing import pack
from transforms.read import typed


class WakeAll(beam.PTransform):  # type: ignore[misc]  # Beam's base class is untyped
    """Batches of a stage, and an empty one for each of its shards.

    Args:
        shards: how many actors, keyed by their number in two bytes; 0: they are not known, and none is called.
        clock: processing time in microseconds. The empty batches have it as their time: a timer of processing time
            holds the watermark at the time of the batch that set it.
    """

    def __init__(self, shards: int, clock: Callable[[], int]) -> None:
        super().__init__()
        self._shards = shards
        self._clock = clock

    def expand(self, batches: beam.PCollection[tuple[bytes, bytes]]) -> beam.PCollection[tuple[bytes, bytes]]:
        if not self._shards:
            return batches
        clock = self._clock
        empty = pack(())
        shards = [number.to_bytes(2, "big") for number in range(self._shards)]
        woken = (
            batches.pipeline
            | "Shards" >> beam.Create(shards, reshuffle=False)
            | "Empty" >> beam.Map(lambda shard: TimestampedValue((shard, empty), Timestamp(micros=clock())))
        )
        return (batches, typed(woken, tuple[bytes, bytes])) | "Together" >> beam.Flatten()
