"""What the streaming host costs on embedded Flink: events a second and CPU an event, by stages and shards.

A source of numbers, as fast as they are taken or at a rate, through one or two counting stages (``counting``). Clock
and the worker's CPU run from when a tenth of the events arrived to the last, so that starting is not in them. Latency
is from when a number was made to when the last stage passed it on; without a rate it is that of a queue, and says
nothing.
Needs ``make flink``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.io.unbounded_source import ReadFromUnboundedSource

from benchmarks.counting import OUTPUTS, PASSED, CountingFactory, Numbers, decode_number, wall_clock
from pipelines import telemetry
from pipelines.flink.job import submit
from pipelines.flink.job_server import JobServer, JobServerSettings
from pipelines.flink.options import FlinkSettings, flink_options
from transforms.actor.batch import BatchByShard
from transforms.actor.host import ShardActor

_KEYS = 5_000
_WITHIN = 600.0


class Cost(NamedTuple):
    """Of one run: events a second on the clock and of the worker's CPU; latency in seconds, at three quantiles."""

    stages: int
    shards: int
    events: int
    clock: float
    cpu: float
    p50: float
    p95: float
    p99: float

    def __str__(self) -> str:
        return (
            f"{self.stages} stages, {self.shards:3} shards: {self.events / self.clock:8,.0f}/s on the clock, "
            f"{self.events / self.cpu:8,.0f}/s of CPU, p50 {self.p50:.2f} s, p95 {self.p95:.2f} s, p99 {self.p99:.2f} s"
        )


class Arrivals(beam.DoFn):  # type: ignore[misc]
    """A line a bundle: how many came, the worker's CPU, the clock, and the latencies of a sample, microseconds."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = str(path)
        self._made: list[int] = []

    def process(self, element: tuple[bytes, bytes]) -> None:
        self._made.append(decode_number(element[1]).made)

    def finish_bundle(self) -> None:
        if not self._made:
            return
        now = wall_clock()
        late = ",".join(str(now - made) for made in self._made[::10])
        with open(self._path, "a", encoding="ascii") as file:
            file.write(f"{len(self._made)} {time.process_time_ns() // 1_000} {now} {late}\n")
        self._made = []


class Bundle(NamedTuple):
    events: int
    cpu: int
    at: int
    late: list[int]


def arrivals(path: Path) -> list[Bundle]:
    """What ``Arrivals`` wrote."""
    lines = path.read_text(encoding="ascii").splitlines() if path.exists() else []
    split = (line.split(" ") for line in lines)
    return [Bundle(int(n), int(cpu), int(at), [int(x) for x in late.split(",")]) for n, cpu, at, late in split]


def measure(server: JobServer, folder: Path, stages: int, shards: int, events: int, rate: float) -> Cost:
    """One run."""
    told = folder / f"arrivals-{stages}-{shards}-{time.monotonic_ns()}"

    def build(pipeline: beam.Pipeline) -> None:
        elements: Any = (
            pipeline
            | "Read"
            >> ReadFromUnboundedSource(
                Numbers(events, _KEYS, shards, rate),
                poll_interval=0.02,
                max_records_per_bundle=1_000,
                max_read_time_seconds=0.1,
            )
            | "Typed" >> beam.Map(lambda pair: pair).with_output_types(beam.typehints.Tuple[bytes, bytes])
        )
        for stage in range(stages):
            factory = CountingFactory(passes=shards, tell=False)
            actor = ShardActor(f"Stage{stage}", factory, OUTPUTS, wall_clock, depth=stage)
            elements = (elements | f"Batch{stage}" >> BatchByShard() | f"Stage{stage}" >> actor)[PASSED]
        _ = elements | "Arrivals" >> beam.ParDo(Arrivals(told))

    job = submit(build, flink_options(server.endpoint, FlinkSettings(finite=True)), server)
    if not job.wait_until(lambda: sum(b.events for b in arrivals(told)) >= events, _WITHIN):
        raise SystemExit(f"only {sum(b.events for b in arrivals(told))} of {events} events arrived")
    job.wait()
    bundles = arrivals(told)
    # the first bundles are spent on building the graph in the worker
    first = next(i for i, _ in enumerate(bundles) if sum(b.events for b in bundles[: i + 1]) > events // 10)
    counted = sum(b.events for b in bundles[first + 1 :])
    late = sorted(x for b in bundles[first + 1 :] for x in b.late)
    p50, p95, p99 = (late[int(len(late) * q)] / 1e6 for q in (0.50, 0.95, 0.99))
    clock = (bundles[-1].at - bundles[first].at) / 1e6
    cpu = (bundles[-1].cpu - bundles[first].cpu) / 1e6
    return Cost(stages, shards, counted, clock, cpu, p50, p95, p99)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument("--rate", type=float, default=0, help="events a second; 0 is as fast as they are taken")
    parser.add_argument("--stages", default="1,2")
    parser.add_argument("--shards", default="8,16")
    options = parser.parse_args(arguments)
    telemetry.disable()
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
    )
    with tempfile.TemporaryDirectory() as name, JobServer(JobServerSettings(Path(name) / "server")) as server:
        for stages in map(int, options.stages.split(",")):
            for shards in map(int, options.shards.split(",")):
                print(measure(server, Path(name), stages, shards, options.events, options.rate), flush=True)


if __name__ == "__main__":
    main()
