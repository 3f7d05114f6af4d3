"""The run ledger of a stream in a graph: counts in, rows of ``run_ledger`` out. The counting is ``ledger_live``."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import apache_beam as beam

from contracts import wire
from contracts.exchange import LedgerCount, StatedRows
from transforms.actor.batch import BatchByShard
from transforms.actor.host import ShardActor
from transforms.ledger_live import ROWS, LedgerCores
from transforms.read import typed

_ONE = b"all"
"""One actor: a few counts a bundle, and sums of everything."""


class CountLedger(beam.PTransform):  # type: ignore[misc]  # Beam's base class is untyped
    """PCollection of ``LedgerCount`` to (writer shard, ``StatedRows``); key, state and timers as ``ledger_live`` says.

    Args:
        cores: makes the one core.
        clock: processing time in microseconds.
    """

    def __init__(self, cores: LedgerCores, clock: Callable[[], int]) -> None:
        super().__init__()
        self._cores = cores
        self._clock = clock

    def expand(self, counts: beam.PCollection[LedgerCount]) -> beam.PCollection[tuple[bytes, StatedRows]]:
        given = (
            typed(counts | "Pack" >> beam.ParDo(_Pack()), tuple[bytes, bytes])
            | "Batch" >> BatchByShard()
            | "Count" >> ShardActor("ledger", self._cores, {ROWS: StatedRows}, self._clock, depth=2)
        )
        return typed(given[ROWS] | "ToWriter" >> beam.ParDo(_ToWriter()), tuple[bytes, StatedRows])


class _Pack(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    def process(self, element: LedgerCount) -> Iterator[tuple[bytes, bytes]]:
        yield _ONE, wire.pack(element)


class _ToWriter(beam.DoFn):  # type: ignore[misc]
    def process(self, element: StatedRows) -> Iterator[tuple[bytes, StatedRows]]:
        yield b"ledger", element
