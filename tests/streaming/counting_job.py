"""Two counting stages on embedded Flink: what the tests of the host run there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
from apache_beam.io.unbounded_source import ReadFromUnboundedSource

from benchmarks.counting import (
    COUNTS,
    OUTPUTS,
    PASSED,
    POLLED,
    TOTALS,
    CountingFactory,
    Numbers,
    ToFile,
    told,
    wall_clock,
)
from transforms.actor.batch import BatchByShard
from transforms.actor.host import ShardActor

SHARDS = 4
PAIR = beam.typehints.Tuple[bytes, bytes]


class CountingJob:
    """Builds the graph, and reads what came out of it; ``folder`` gets the files."""

    def __init__(self, folder: Path, count: int, keys: int, rate: float = 0, poll_every: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.told = folder / "told"
        self.committed = folder / "committed"
        self._numbers = Numbers(count, keys, SHARDS, rate, self.committed)
        self._poll_every = poll_every

    def build(self, pipeline: beam.Pipeline) -> None:
        numbers = pipeline | "Read" >> ReadFromUnboundedSource(
            self._numbers, poll_interval=0.02, max_records_per_bundle=500, max_read_time_seconds=0.1
        )
        typed = numbers | "Typed" >> beam.Map(lambda pair: pair).with_output_types(PAIR)
        factory = CountingFactory(passes=SHARDS, poll_every=self._poll_every)
        first = typed | "BatchFirst" >> BatchByShard() | "First" >> ShardActor("First", factory, OUTPUTS, wall_clock)
        second = (
            first[PASSED]
            | "BatchSecond" >> BatchByShard()
            | "Second" >> ShardActor("Second", CountingFactory(whole=True), OUTPUTS, wall_clock, depth=1)
        )
        for name, outputs in (("First", first), ("Second", second)):
            for tag in (COUNTS, TOTALS, POLLED):
                _ = outputs[tag] | f"Tell{name}{tag}" >> beam.ParDo(ToFile(self.told, name + tag))

    def counts(self, stage: str) -> dict[bytes, int]:
        """The greatest count told of each key: more than came would show, and less."""
        counts: dict[bytes, int] = {}
        for key, n in told(self.told, stage + COUNTS):
            counts[key] = max(n, counts.get(key, 0))
        return counts

    def totals(self, stage: str) -> list[tuple[bytes, int]]:
        """What the stage told when it was drained; twice, if it was drained twice."""
        return sorted(told(self.told, stage + TOTALS))

    def polls(self, stage: str) -> int:
        return len(told(self.told, stage + POLLED))

    def seen(self, stage: str) -> int:
        """How many elements the stage told of, those told again after a restart included."""
        return len(told(self.told, stage + COUNTS))


def worker_processes() -> Iterator[int]:
    """The process ids of the SDK workers that this process started."""
    for task in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        for child in task.read_text().split():
            try:
                command = Path(f"/proc/{child}/cmdline").read_bytes()
            except OSError:
                continue
            if b"SdkHarness" in command:
                yield int(child)
