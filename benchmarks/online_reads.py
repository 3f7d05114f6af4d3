"""How long one person's features take to read online: ``python -m benchmarks.online_reads --persons 100000``.

The store is filled with random vectors, then persons drawn at random are read one by one: from the table itself, and
through Feast's own API with the service of every feature. Once while nothing is written, and once while a process of
its own writes batches of 500 as a stream does, as many a second as ``--written``. A SQLite file, and where the machine
has one a Redis server. Times are of the clock, so other work on the machine is in them; beside them the p99 of the
reader's own CPU, in which it is not. The aim is a p99 below 5 ms on the clock. ``--persons 20000 --reads 4000`` takes
less than a minute.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

from benchmarks.redis_server import RedisServer, program
from features import names
from features.journey_features import FEATURE_NAMES
from features.online_address import OnlineAddress, OnlinePlace, note_place, open_online
from features.online_writer import BATCH
from features.repository import open_store
from transforms.secret import SecretReference

_VARIABLE = "WAYLINE_BENCHMARK_ONLINE_URL"
_AIM = 5.0
"""Milliseconds, p99."""

Read = Callable[[str], None]


def person(number: int) -> str:
    """The id of a person."""
    return f"p_{number:020x}"


def fill(address: OnlineAddress, persons: int) -> float:
    """Write a vector of each; seconds."""
    chance = random.Random(persons)
    table = open_online(address)
    table.create()
    begun = time.perf_counter()
    for start in range(0, persons, BATCH):
        rows = [
            (person(number), 1, number, [chance.random() for _ in FEATURE_NAMES])
            for number in range(start, min(start + BATCH, persons))
        ]
        table.write(FEATURE_NAMES, rows)
    table.close()
    return time.perf_counter() - begun


def readers(out: Path, address: OnlineAddress) -> Iterator[tuple[str, Read]]:
    """The two ways to read."""
    table = open_online(address)
    store = open_store(out)
    service = store.get_feature_service(names.JOURNEY_SERVICE)

    def through_table(who: str) -> None:
        assert table.read([who])[0] is not None

    def through_feast(who: str) -> None:
        answer = store.get_online_features(features=service, entity_rows=[{names.JOIN_KEY: who}])
        assert answer.to_dict()["revision"][0] is not None

    yield "table", through_table
    yield "Feast", through_feast
    table.close()


def measure(read: Read, persons: int, reads: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each read, of the clock and of CPU, each sorted; a tenth more are made before."""
    chance = random.Random(reads)
    for _ in range(reads // 10):
        read(person(chance.randrange(persons)))
    taken, spent = [], []
    for _ in range(reads):
        who = person(chance.randrange(persons))
        begun, used = time.perf_counter(), time.thread_time()
        read(who)
        spent.append((time.thread_time() - used) * 1_000)
        taken.append((time.perf_counter() - begun) * 1_000)
    return sorted(taken), sorted(spent)


def _write(address: OnlineAddress, persons: int, a_second: int, begun: Event, ended: Event) -> None:
    chance = random.Random(7)
    table = open_online(address)
    revision = 1
    due = time.monotonic()
    while not ended.is_set():
        revision += 1
        vector = [float(revision)] * len(FEATURE_NAMES)
        table.write(FEATURE_NAMES, [(person(chance.randrange(persons)), revision, 0, vector) for _ in range(BATCH)])
        begun.set()
        due += BATCH / a_second
        ended.wait(max(0.0, due - time.monotonic()))
    table.close()


@contextmanager
def writing(address: OnlineAddress, persons: int, a_second: int) -> Iterator[None]:
    """A process that writes."""
    context = multiprocessing.get_context("spawn")
    begun, ended = context.Event(), context.Event()
    process = context.Process(target=_write, args=(address, persons, a_second, begun, ended))
    process.start()
    try:
        if not begun.wait(60):
            raise RuntimeError("the process that writes does not begin")
        yield
    finally:
        ended.set()
        process.join(60)


def report(out: Path, address: OnlineAddress, persons: int, reads: int, written: int) -> Iterator[str]:
    """A line for each measurement of a store."""
    kind = "SQLite" if address.redis is None else "Redis"
    out.joinpath("feast").mkdir(parents=True)
    note_place(out / "feast", OnlinePlace(address))
    yield f"{kind}: {persons:,} persons written in {fill(address, persons):.1f} s"
    for way, read in readers(out, address):
        for busy in (False, True):
            with ExitStack() as held:
                if busy:
                    held.enter_context(writing(address, persons, written))
                taken, spent = measure(read, persons, reads)
            p50, p95, p99 = (taken[int(len(taken) * share)] for share in (0.5, 0.95, 0.99))
            half, most = (spent[int(len(spent) * share)] for share in (0.5, 0.99))
            beside = f"{written:,} rows/s written beside" if busy else "nothing written"
            told = "holds" if p99 < _AIM else "MISSED"
            yield (
                f"{kind}, {way}, {beside}: p50 {p50:.2f} ms, p95 {p95:.2f} ms, p99 {p99:.2f} ms, "
                f"most {taken[-1]:.2f} ms; CPU p50 {half:.2f} ms, p99 {most:.2f} ms; the aim {told}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--persons", type=int, default=100_000)
    parser.add_argument("--reads", type=int, default=10_000)
    parser.add_argument("--written", type=int, default=1_000, help="rows a second that are written beside")
    arguments = parser.parse_args()
    asked = (arguments.persons, arguments.reads, arguments.written)
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="wayline-reads-")))
        places = [(folder / "sqlite", OnlineAddress(path=folder / "sqlite" / "feast" / "online.db"))]
        found = program()
        if found is None:
            print("no redis-server on this machine: SQLite alone", flush=True)
        else:
            server = RedisServer(found)
            held.callback(server.remove)
            os.environ[_VARIABLE] = server.url
            redis = OnlineAddress(redis=SecretReference(env=_VARIABLE), prefix=f"{names.PROJECT}:benchmark")
            places.append((folder / "redis", redis))
        for out, address in places:
            for line in report(out, address, *asked):
                print(line, flush=True)


if __name__ == "__main__":
    main()
