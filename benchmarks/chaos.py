"""``python -m benchmarks.chaos``: a stream whose workers, launcher, stores and cluster are killed while it runs.

A simulated world is run bounded, undisturbed. Then the same events are streamed on Flink, live actions into files,
while things die: worker processes by ``kill -9`` at random moments, the launcher and its job server together (and the
stream goes on by ``--resume``), the stores, held by another process, with ``--postgres`` the database server of the
stores, which is gone for a while, and, with ``--cluster``, a TaskManager of a real cluster of two. Events come in as
files, one more after each blow, so that there is always something under way; the last blow comes while the stream
drains. Afterwards the ledger has to balance, the tables to equal those of the bounded run, and no action to have two
effects. Exit code 1 when anything of that is not so.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import fastavro
import msgspec

from benchmarks.chaos_parts import Cluster, StreamProcess, StuckStore, wayline
from benchmarks.postgres_server import PostgresServer, binaries
from contracts.errors import CheckFailedError
from pipelines import telemetry
from pipelines.definitions import load_definitions
from reports.table_diff import Difference, chosen_tables, compare
from transforms.ledger import LedgerRow, total

RETRIES = "--number_of_execution_retries=1000"
"""More failures than a stream outside of this takes for chance."""


@dataclass(frozen=True)
class Trial:
    """What is done to one stream. Times in seconds."""

    work: Path
    kills: int = 20
    restarts: int = 3
    outage: float = 10.0
    pause: float = 5.0
    """The longest that it is left alone before a blow."""
    cluster: bool = False
    postgres: bool = False
    customers: int = 40
    days: int = 20
    seed: int = 7
    patience: float = 240.0
    """How long a stream may take to come back, and to end."""


@dataclass
class Result:
    """What came of it."""

    blows: list[tuple[float, str]] = field(default_factory=list)
    seconds: float = 0.0
    records: int = 0
    ledger: tuple[LedgerRow, ...] = ()
    differences: list[Difference] = field(default_factory=list)
    effects: int = 0
    repeated: int = 0

    @property
    def faults(self) -> list[str]:
        """What is not as it should be; empty when all is well."""
        summed = total(self.ledger)
        found = []
        if summed.received != self.records or summed.missing:
            found.append(
                f"{self.records} records, {summed.received} received, {summed.missing} of them unaccounted for"
            )
        found += [
            f"{one.table}: {one.only_a} rows are missing, {one.only_b} are too many, {one.changed} differ"
            for one in self.differences
            if not one.equal
        ]
        if self.repeated:
            found.append(f"{self.repeated} actions have more than one effect")
        return found


def run(trial: Trial, tell: Callable[[str], None] = print) -> Result:
    """Do one trial. Raises CheckFailedError when the stream does not come back, or ends with an error."""
    world, bounded, out, feed = (trial.work / name for name in ("world", "bounded", "stream", "feed"))
    shutil.rmtree(trial.work, ignore_errors=True)
    feed.mkdir(parents=True)
    wayline(
        "simulate", f"--customers={trial.customers}", f"--days={trial.days}", f"--seed={trial.seed}", f"--out={world}"
    )
    wayline("run", f"--input={world / 'events'}", f"--out={bounded}")
    shutil.copytree(bounded / "keys", out / "keys")
    chunks = _chunks(world / "events", trial.work / "chunks", trial.kills + trial.restarts + 3)
    result = Result(records=sum(n for _, n in chunks))
    rnd = random.Random(trial.seed)
    started = time.monotonic()

    def blow(what: str) -> None:
        result.blows.append((time.monotonic() - started, what))
        tell(f"{result.blows[-1][0]:7.1f} s  {what}")

    def feed_one() -> None:
        path, _ = chunks.pop(0)
        path.rename(feed / path.name)

    with ExitStack() as held:
        cluster = held.enter_context(Cluster(trial.work / "cluster", trial.patience)) if trial.cluster else None
        server = held.enter_context(_server()) if trial.postgres else None
        options = [
            "--source=files",
            f"--input={feed}",
            "--follow",
            f"--out={out}",
            "--actions=live",
            "--no-view",
            RETRIES,
        ]
        if server is not None:
            options += [f"--config={_config(trial.work, server)}"]
        if cluster is not None:
            options += [f"--flink-master={cluster.address}", "--parallelism=2"]
        with StreamProcess(options, out, trial.patience) as stream:
            feed_one()
            stream.await_work()
            restart_at = {(n + 1) * trial.kills // (trial.restarts + 1) for n in range(trial.restarts)}
            stuck_at = max(1, trial.kills // 3)
            for n in range(trial.kills):
                time.sleep(rnd.uniform(0.2, trial.pause))
                blow(f"kill -9 of the worker, process {stream.kill_worker()}")
                feed_one()
                if trial.outage and n == stuck_at:
                    what = "the stores" if server is None else "PostgreSQL is stopped, and the stores with it,"
                    blow(f"{what} and the online features are locked for {trial.outage:g} s")
                    with _away(server, out), StuckStore(out / "feast" / "online.db"):
                        time.sleep(trial.outage)
                stream.await_work()
                if n + 1 in restart_at:
                    time.sleep(rnd.uniform(0.2, trial.pause))
                    blow(f"kill -9 of the launcher and the job server, processes {stream.kill_all()}")
                    feed_one()
                    stream.resume()
                    stream.await_work()
            if cluster is not None:
                blow(f"kill -9 of a TaskManager, process {cluster.kill_task_manager()}")
                stream.await_work()
            while chunks:
                feed_one()
            stream.await_received(result.records)
            wayline("drain", f"--out={out}")
            blow("asked to drain")
            time.sleep(rnd.uniform(0.0, 2.0))
            if (pid := stream.kill_worker(None)) is not None:
                blow(f"kill -9 of the worker while it drains, process {pid}")
            stream.await_end()
    result.seconds = time.monotonic() - started
    result.ledger = stream.ledger()
    result.differences = compare(bounded, out, chosen_tables(load_definitions(None).tables, [], False))
    effects = Counter(_effects(out / "actions"))
    result.effects, result.repeated = len(effects), sum(n > 1 for n in effects.values())
    return result


def report(result: Result) -> str:
    """The result, to be read."""
    summed = total(result.ledger)
    rows = sum(one.rows_a for one in result.differences)
    lines = [
        f"{len(result.blows)} blows in {result.seconds:,.0f} s",
        f"ledger: {summed.received:,} received = {summed.accepted:,} accepted + {summed.duplicate:,} duplicate + "
        f"{summed.dead_lettered:,} dead + {summed.expired_late:,} late + {summed.erased:,} erased",
        f"tables: {len(result.differences)} compared with the bounded run, {rows:,} rows, "
        f"{sum(not one.equal for one in result.differences)} differ",
        f"actions: {result.effects:,} with an effect, {result.repeated:,} with more than one",
        *(f"FAULT: {fault}" for fault in result.faults),
        "all is well" if not result.faults else "NOT well",
    ]
    return "\n".join(lines)


@contextmanager
def _server() -> Iterator[PostgresServer]:
    """A PostgreSQL server. Raises CheckFailedError where there are no programs of one."""
    programs = binaries()
    if programs is None:
        raise CheckFailedError("no PostgreSQL on this machine (initdb, postgres)", hint="install it: make services")
    server = PostgresServer(programs)
    try:
        yield server
    finally:
        server.remove()


def _config(work: Path, server: PostgresServer) -> Path:
    """A configuration whose stores are on the server."""
    secret = work / "store_url"
    secret.write_text(server.make_schema(), encoding="utf-8")
    path = work / "wayline.yaml"
    path.write_text(f"store: {{postgres: {{file: {secret.resolve()}}}}}\n", encoding="utf-8")
    return path


@contextmanager
def _away(server: PostgresServer | None, out: Path) -> Iterator[None]:
    """The stores out of reach: their server gone as in a crash, or their file held by another process."""
    if server is None:
        with StuckStore(out / "stores" / "wayline.sqlite"):
            yield
        return
    server.stop(signal.SIGQUIT)
    try:
        yield
    finally:
        server.start()


def _chunks(events: Path, folder: Path, number: int) -> list[tuple[Path, int]]:
    """The records of a world in order of received time, as so many files."""
    folder.mkdir()
    records, schema = [], None
    for path in sorted(events.glob("*.avro")):
        with path.open("rb") as stream:
            reader = fastavro.reader(stream)
            schema = reader.writer_schema
            records += list(reader)
    assert schema is not None
    records.sort(key=lambda record: record["received_time"])
    made = []
    for n in range(number):
        part = records[n * len(records) // number : (n + 1) * len(records) // number]
        path = folder / f"events-{n:04d}.avro"
        with path.open("wb") as stream:
            fastavro.writer(stream, schema, part)
        made.append((path, len(part)))
    return made


def _effects(folder: Path) -> list[str]:
    """The action id of each line of the channels' files."""
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().splitlines()]
    return [msgspec.json.decode(line)["action_id"] for line in lines]


_SHORT = {"kills": 3, "restarts": 1, "customers": 15, "days": 10}
"""For what embedded Flink has gone through at length before."""


def main() -> int:
    """Run it from the command line."""
    telemetry.disable()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("chaos-out"))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--restarts", type=int, default=3)
    parser.add_argument("--outage", type=float, default=10.0)
    parser.add_argument("--customers", type=int, default=40)
    parser.add_argument("--days", type=int, default=20)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--patience", type=float, default=240.0)
    parser.add_argument("--cluster", action="store_true", help="also a cluster of two, one of which is killed")
    parser.add_argument("--postgres", action="store_true", help="also stores in PostgreSQL, which is stopped")
    given = vars(parser.parse_args())
    plain = {**given, "cluster": False, "postgres": False, "work": given["work"] / "embedded"}
    trials = [("embedded Flink", Trial(**plain))]
    if given["postgres"]:
        trials.append(
            ("stores in PostgreSQL", Trial(**{**plain, **_SHORT, "postgres": True, "work": given["work"] / "postgres"}))
        )
    if given["cluster"]:
        small = {**plain, "cluster": True, "kills": 2, "restarts": 0, "outage": 0.0, "work": given["work"] / "cluster"}
        trials.append(("a Flink cluster of two", Trial(**small)))
    well = True
    for name, trial in trials:
        print(f"--- {name}", flush=True)
        try:
            result = run(trial, lambda line: print(line, flush=True))
        except CheckFailedError as error:
            print(f"FAULT: {error.message}")
            return 1
        print(report(result), flush=True)
        well = well and not result.faults
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
