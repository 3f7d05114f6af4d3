"""The whole stream on embedded Flink, everything on: how long from an event to its decision, how many events a second.

``python -m benchmarks.stream --rates 500,1000,2000 --seconds 60``. A simulated world is set in the present: its events
keep their order and come at the rate, each handed out when the clock reaches its time (``wayline stream --live``), so
event time is the time of publishing, and an action's revision less its decision's time is the latency from event to
action: identity, journey, features to the online store, scoring by a trained model, decisions, claims and tables.
Everybody in the world is there all the time; with ``--busy N`` only N are at once, and the next N come when these have
had all their events, which is how a stream without end is.
Each rate has an output folder and a process tree of its own. CPU is that of the tree (launcher, Java, workers). What is
measured begins after a warm-up at the same rate: a stream runs for days, and Java compiles for the first half minute.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import click
import fastavro
from rich.console import Console
from rich.table import Table

from benchmarks.measure import family, memory_of
from contracts.codec import plain_schema
from contracts.event import Event
from contracts.event_codec import event_to_record
from pipelines import telemetry
from transforms.avro_file import Damage, read_events

FOLDER = Path("bench-out")
_EVENTS_A_CUSTOMER = 78
_DAYS, _SEED = 30, 7
_LEAD = 60.0
"""Seconds between the writing of the world and its first event: the engine starts meanwhile."""
_SECOND = 1_000_000
_LONG, _PARTS = 120, 5
"""Seconds from which on a run is long enough to tell how CPU and memory go on, and in how many parts they are told."""


@dataclass(frozen=True)
class Result:
    """One rate. Latencies in seconds; ``late``: seconds from the last event to the end of the stream; memory in bytes;
    ``cpu``: seconds an event."""

    rate: int
    events: int
    actions: int
    p50: float
    p95: float
    p99: float
    behind: float
    cpu: float
    peak: int


class Watch(threading.Thread):
    """Looks at CPU and memory of a process and all below it."""

    def __init__(self, pid: int) -> None:
        super().__init__(name="watch", daemon=True)
        self.samples: list[tuple[float, float, int, int]] = []
        """(time, CPU seconds so far, bytes, bytes of them that are Java's) of the tree."""
        self._pid = pid
        self._cpu: dict[int, float] = {}
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(1.0):
            pids = family(self._pid)
            for pid in pids:
                self._cpu[pid] = max(self._cpu.get(pid, 0.0), cpu_of(pid))
            memory = {pid: memory_of(pid) for pid in pids}
            java = sum(held for pid, held in memory.items() if name_of(pid) == "java")
            self.samples.append((time.time(), sum(self._cpu.values()), sum(memory.values()), java))

    def stop(self) -> None:
        self._done.set()
        self.join()

    def between(self, begin: float, end: float) -> tuple[float, int, int]:
        """Between two instants: CPU seconds used, most memory held, and how much of it was Java's."""
        inside = [sample for sample in self.samples if begin <= sample[0] <= end]
        if not inside:
            return 0.0, 0, 0
        most = max(inside, key=lambda sample: sample[2])
        return inside[-1][1] - inside[0][1], most[2], most[3]

    def parts(self, begin: float, end: float, count: int) -> list[tuple[float, int, int]]:
        """``between`` of equal parts of a time, one after the other: flat is what a stream without end has to be."""
        width = (end - begin) / count
        return [self.between(begin + part * width, begin + (part + 1) * width) for part in range(count)]


def name_of(pid: int) -> str:
    """The name of a process's program; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def cpu_of(pid: int) -> float:
    """CPU seconds of a process so far; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@click.command()
@click.option("--rates", default="500,1000,2000", show_default=True, help="Events a second, one run each.")
@click.option("--seconds", default=60, show_default=True, help="How long events come.")
@click.option("--warm-up", default=30, show_default=True, help="Seconds of events before, which are not measured.")
@click.option("--shards", default=2, show_default=True, help="Actors a keyed stage.")
@click.option("--parallelism", default=1, show_default=True, help="Flink tasks a stage.")
@click.option("--state-memory", default=768, show_default=True, help="MiB that the actors hold at most.")
@click.option("--busy", type=int, help="People who are there at once, before others come. Default: all, all the time.")
@click.option("--model/--no-model", default=True, show_default=True, help="Train one, and score with it.")
@click.argument("beam", nargs=-1, type=click.UNPROCESSED)
def main(
    rates: str,
    seconds: int,
    warm_up: int,
    shards: int,
    parallelism: int,
    state_memory: int,
    busy: int | None,
    model: bool,
    beam: tuple[str, ...],
) -> None:
    """Measure; BEAM are options of Beam's for the engine, after ``--``, as in ``-- --max_bundle_time_mills=200``."""
    telemetry.disable()
    console = Console()
    FOLDER.mkdir(exist_ok=True)
    asked = [int(rate) for rate in rates.split(",")]
    world = _world(max(asked) * (warm_up + seconds), console)
    registry = _registry(console) if model else None
    asked_of_it = [
        "--state-shards", str(shards), "--parallelism", str(parallelism), "--state-memory", str(state_memory), *beam,
    ]  # fmt: skip
    results = []
    for rate in asked:
        console.print(f"{rate:,} events/s for {seconds} s", highlight=False)
        results.append(_measure(world, busy, rate, seconds, warm_up, asked_of_it, registry, console))
        console.print(_table([results[-1]]))
    if len(results) > 1:
        console.print(_table(results))
    print(json.dumps([vars(result) for result in results]))


def _world(events: int, console: Console) -> Path:
    customers = max(100, -(-events // _EVENTS_A_CUSTOMER))
    target = FOLDER / f"stream-world-{customers}"
    if not (target / "world.json").exists():
        console.print(f"simulating {customers:,} people", highlight=False)
        _wayline("simulate", "--customers", str(customers), "--days", str(_DAYS), "--seed", str(_SEED), "--out", target)
    return target / "events"


def _registry(console: Console) -> Path:
    """A model, trained on a world of its own."""
    out = FOLDER / "stream-model"
    if not (out / "registry" / "champion.json").exists():
        console.print("training a model", highlight=False)
        shutil.rmtree(out, ignore_errors=True)
        world = _world(400 * _EVENTS_A_CUSTOMER, console)
        _wayline("run", "--input", world, "--out", out)
        _wayline("train", "--out", out)
    return out / "registry"


def _wayline(*arguments: object) -> None:
    command = [str(Path(sys.executable).with_name("wayline")), *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _in_order(world: Path, busy: int | None) -> Iterator[Event]:
    """The events by time; with ``busy`` those of so many people by time, then those of as many others."""
    found = [
        event
        for path in sorted(world.rglob("*.avro"))
        for event in read_events(path.open("rb"))
        if not isinstance(event, Damage)
    ]
    groups = _groups(world, busy) if busy else {}
    yield from sorted(found, key=lambda event: (groups.get(event.event_id, 0), event.event_time, event.event_id))


def _groups(world: Path, busy: int) -> dict[str, int]:
    """By event id, which of the groups of ``busy`` people its person is in."""
    import duckdb

    with duckdb.connect() as connection:
        found = connection.execute(
            "SELECT event_id, (dense_rank() OVER (ORDER BY true_person_id) - 1) // ? FROM read_parquet(?)",
            [busy, str(world.parent / "truth" / "events.parquet")],
        ).fetchall()
    return dict(found)


def _in_the_present(world: Path, busy: int | None, target: Path, rate: int, count: int, begin: float) -> int:
    """The first events of a world, dated so that they come at a rate from an instant on. Returns how many."""
    events = []
    for number, event in enumerate(_in_order(world, busy)):
        if number >= count:
            break
        at = round((begin + number / rate) * _SECOND)
        events.append(event_to_record(replace(event, event_time=at, received_time=at)))
    target.mkdir(parents=True)
    with (target / "events.avro").open("wb") as file:
        fastavro.writer(file, plain_schema("event"), events)
    return len(events)


def _measure(
    world: Path,
    busy: int | None,
    rate: int,
    seconds: int,
    warm_up: int,
    options: list[str],
    registry: Path | None,
    console: Console,
) -> Result:
    out = FOLDER / f"stream-{rate}"
    shutil.rmtree(out, ignore_errors=True)
    whole = warm_up + seconds
    begin = time.time() + _LEAD + rate * whole / 20_000
    count = _in_the_present(world, busy, out / "input", rate, rate * whole, begin)
    results = out / "out"
    command = [
        str(Path(sys.executable).with_name("wayline")), "stream", "--source", "files", "--live", "--no-view",
        "--input", str(out / "input"), "--out", str(results), *options,
        *(["--registry", str(registry)] if registry else []),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    watch = Watch(process.pid)
    watch.start()
    code = process.wait()
    ended = time.time()
    watch.stop()
    if code != 0:
        raise click.ClickException(f"wayline stream ended with {code}; see {results}/engine/job-server.log")
    last = begin + count / rate
    since = begin + warm_up
    cpu, peak, _ = watch.between(since, last)
    actions, p50, p95, p99 = _latency(results, since)
    console.print(_where(results, since))
    if seconds >= _LONG:
        console.print(_growth(watch.parts(since, last, _PARTS), rate * (last - since) / _PARTS))
    return Result(rate, count, actions, p50, p95, p99, ended - last, cpu / (rate * (last - since)), peak)


def _growth(parts: list[tuple[float, int, int]], events: float) -> Table:
    table = Table("part of the time", "CPU us/event", "MB", "of it Java", title="as it goes on")
    for number, (cpu, peak, java) in enumerate(parts, start=1):
        cells = (cpu / events * 1e6, peak / 1e6, java / 1e6)
        table.add_row(f"{number} of {len(parts)}", *(f"{cell:,.0f}" for cell in cells))
    return table


def _latency(out: Path, since: float) -> tuple[int, float, float, float]:
    """Over the actions whose event came after an instant: how many, and seconds at the quantiles."""
    import duckdb

    connection = duckdb.connect(str(out / "wayline.duckdb"), read_only=True)
    try:
        row = connection.execute(
            'WITH l AS (SELECT (a.revision - epoch_us(d."at")) / 1e6 AS s FROM actions a JOIN decisions d '
            "USING (decision_id) WHERE epoch_us(d.\"at\") >= ? AND d.trigger <> 'step') "
            "SELECT count(*), quantile_cont(s, 0.5), quantile_cont(s, 0.95), quantile_cont(s, 0.99) FROM l",
            [round(since * _SECOND)],
        ).fetchone()
    finally:
        connection.close()
    assert row is not None
    return int(row[0]), float(row[1] or 0), float(row[2] or 0), float(row[3] or 0)


def _where(out: Path, since: float) -> Table:
    """Where the time goes, in seconds: of events first stated after an instant, by what stands in their rows.

    An event's ``sequence`` is the clock of the strand stage, ``revision`` that of the journey stage; the part that has
    the row was written when its file says.
    """
    import duckdb

    connection = duckdb.connect()
    parts = sorted((out / "tables" / "events").glob("*.parquet"))
    written = [(str(part), part.stat().st_mtime) for part in parts]
    connection.execute("CREATE TABLE parts (filename VARCHAR, written DOUBLE)")
    connection.executemany("INSERT INTO parts VALUES (?, ?)", written)
    rows = connection.execute(
        "WITH first AS (SELECT event_id, min_by(epoch_us(event_time), revision) AS happened, min_by(sequence, revision)"
        " AS strand, min(revision) AS journey, min_by(filename, revision) AS filename"
        " FROM read_parquet(?, filename = true) WHERE NOT is_deleted GROUP BY event_id),"
        " spent AS (SELECT unnest([{'stage': 'source, link, strand', 's': (strand - happened) / 1e6},"
        " {'stage': 'journey', 's': (journey - strand) / 1e6},"
        " {'stage': 'tables', 's': written - journey / 1e6}], recursive := true)"
        " FROM first JOIN parts USING (filename) WHERE happened >= ?)"
        " SELECT stage, quantile_cont(s, 0.5), quantile_cont(s, 0.95), quantile_cont(s, 0.99) FROM spent"
        " GROUP BY stage ORDER BY list_position(['source, link, strand', 'journey', 'tables'], stage)",
        [[str(part) for part in parts], round(since * _SECOND)],
    ).fetchall()
    table = Table("until after", "p50 s", "p95 s", "p99 s")
    for stage, *quantiles in rows:
        table.add_row(stage, *(f"{value:.2f}" for value in quantiles))
    return table


def _table(results: list[Result]) -> Table:
    table = Table()
    for column in ("events/s", "events", "actions", "p50 s", "p95 s", "p99 s", "ended after s", "CPU us/event", "MB"):
        table.add_column(column, justify="right")
    for r in results:
        table.add_row(
            f"{r.rate:,}", f"{r.events:,}", f"{r.actions:,}", f"{r.p50:.2f}", f"{r.p95:.2f}", f"{r.p99:.2f}",
            f"{r.behind:.1f}", f"{r.cpu * 1e6:,.0f}", f"{r.peak / 1e6:,.0f}",
        )  # fmt: skip
    return table


if __name__ == "__main__":
    main()
