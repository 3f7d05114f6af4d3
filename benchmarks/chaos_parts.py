"""What ``benchmarks.chaos`` starts, kills and looks at: the stream, its worker, a store held by another process, a
cluster. Everything is ended by its process id, and only what was started here. Linux only: children are found in
``/proc``.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import duckdb

from contracts.errors import CheckFailedError
from pipelines.definitions import load_definitions
from pipelines.flink.java import find_java
from pipelines.flink.job_server import JAVA_OPENED, JobServerSettings, class_path
from pipelines.flink.options import latest_checkpoint
from pipelines.stream import ledger_rows
from transforms.ledger import LedgerRow, total
from transforms.tables.output import OutputFolder

WAYLINE = str(Path(sys.executable).with_name("wayline"))
_LOOK_EVERY = 0.2
ONE_WORKER = "--workers=1"
"""For a stream that is about something else: each worker is a process that loads the engine, whenever it starts."""


def wayline(*arguments: str) -> str:
    """Run a command to its end. Raises CheckFailedError when it fails."""
    done = subprocess.run([WAYLINE, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CheckFailedError(f"wayline {arguments[0]} ended with code {done.returncode}: {done.stderr[-2_000:]}")
    return done.stdout


class StreamProcess:
    """``wayline stream`` with these options, as a process of its own; a context manager that leaves nothing behind.

    Args:
        options: of the command.
        out: its output folder.
        patience: seconds to wait for anything; CheckFailedError when it does not come, or the stream ends before.
        number: of the stream on ``out``.
    """

    def __init__(self, options: Sequence[str], out: Path, patience: float, number: int = 1) -> None:
        self._options = list(options)
        self._out = out
        self._patience = patience
        self._run_id = f"stream-{number:06d}"
        self._log = out.parent / "stream.log"
        self._worker: int | None = None
        self._start([])

    def resume(self) -> None:
        """Go on from the last checkpoint, after ``kill_all``."""
        self._start(["--resume"])

    def _start(self, more: list[str]) -> None:
        self._since = time.time_ns()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [WAYLINE, "stream", *self._options, *more], stdout=log, stderr=log, start_new_session=True
            )

    def __enter__(self) -> StreamProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.kill_all()

    # --- waiting ------------------------------------------------------------------------------------------------

    def await_work(self) -> None:
        """Until there is a worker other than the one that was killed, and a checkpoint since the last blow."""
        folder = self._out / "checkpoints"

        def works() -> bool:
            if self._find_worker() is None:
                return False
            point = latest_checkpoint(folder) if folder.is_dir() else None
            return point is not None and _changed(point) > self._since

        self._await(works, "make a checkpoint")

    def await_received(self, number: int) -> None:
        """Until the ledger counts so many."""
        self._await(lambda: total(self.ledger()).received >= number, f"receive {number} records", every=1.0)

    def await_end(self) -> None:
        """Until it ends, with code 0."""
        self._await(lambda: self._process.poll() is not None, "end", running=False)
        if self._process.returncode:
            raise CheckFailedError(f"the stream ended with code {self._process.returncode}: {self._said()}")

    def _await(
        self, condition: Callable[[], bool], what: str, every: float = _LOOK_EVERY, running: bool = True
    ) -> None:
        deadline = time.monotonic() + self._patience
        while not condition():
            if running and self._process.poll() is not None:
                raise CheckFailedError(f"the stream ended with code {self._process.returncode}: {self._said()}")
            if time.monotonic() > deadline:
                raise CheckFailedError(f"the stream did not {what} within {self._patience:g} s: {self._said()}")
            time.sleep(every)

    def _said(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-2_000:]

    def ledger(self) -> tuple[LedgerRow, ...]:
        """What the stream says of itself; nothing before it has said anything."""
        if not (self._out / "streams" / "number.json").exists():
            # looking would make views, in a folder that is not a stream's yet
            return ()
        try:
            return ledger_rows(OutputFolder(self._out), load_definitions(None), self._run_id)
        except duckdb.Error:
            return ()

    def interrupt(self) -> None:
        """Ctrl-C, as a terminal sends it: to all processes of the group."""
        os.killpg(self._process.pid, signal.SIGINT)

    # --- blows --------------------------------------------------------------------------------------------------

    def kill_worker(self, patience: float | None = 0.0) -> int | None:
        """``kill -9`` of the worker process; which it was. Waits for one, unless ``patience`` is None."""
        if patience is not None:
            self._await(lambda: self._find_worker() is not None, "start a worker")
        found = self._find_worker()
        if found is not None:
            self._since = time.time_ns()
            self._worker = found
            os.kill(found, signal.SIGKILL)
        return found

    def kill_all(self) -> list[int]:
        """``kill -9`` of the launcher and all below it."""
        self._since = time.time_ns()
        family = [self._process.pid, *descendants(self._process.pid)]
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        return family

    def _find_worker(self) -> int | None:
        for pid in descendants(self._process.pid):
            if pid != self._worker and b"SdkHarness" in _command(pid):
                return pid
        return None


class StuckStore:
    """A SQLite file that another process holds for as long as the context lasts."""

    def __init__(self, path: Path) -> None:
        held = f"import sqlite3\nc = sqlite3.connect({str(path)!r}, timeout=60)\nc.execute('BEGIN IMMEDIATE')\n"
        self._code = held + "print('held', flush=True)\ninput()\n"

    def __enter__(self) -> StuckStore:
        self._process = subprocess.Popen(
            [sys.executable, "-c", self._code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate("\n")


class Cluster:
    """A Flink cluster on this machine, from the jars of the job server: a JobManager and two TaskManagers."""

    def __init__(self, work: Path, patience: float) -> None:
        self._patience = patience
        self._work = work
        self._processes: list[subprocess.Popen[bytes]] = []
        with socket.socket() as rest, socket.socket() as rpc:
            for probe in (rest, rpc):
                probe.bind(("localhost", 0))
            self._rest, self._rpc = rest.getsockname()[1], rpc.getsockname()[1]
        self.address = f"localhost:{self._rest}"

    def __enter__(self) -> Cluster:
        shutil.rmtree(self._work, ignore_errors=True)
        (self._work / "conf").mkdir(parents=True)
        lines = {
            "jobmanager.rpc.address": "localhost",
            "jobmanager.rpc.port": self._rpc,
            "jobmanager.bind-host": "localhost",
            "rest.address": "localhost",
            "rest.port": self._rest,
            "taskmanager.host": "localhost",
            "taskmanager.numberOfTaskSlots": 2,
            "taskmanager.memory.process.size": "1g",
            "jobmanager.memory.process.size": "1g",
            "heartbeat.interval": 1_000,
            "heartbeat.timeout": 10_000,
            "io.tmp.dirs": self._work / "tmp",
        }
        (self._work / "tmp").mkdir()
        text = "".join(f"{name}: {value}\n" for name, value in lines.items())
        (self._work / "conf" / "flink-conf.yaml").write_text(text, encoding="utf-8")
        try:
            self._start("org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint")
            for _ in range(2):
                self._start(
                    "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
                    "-Dtaskmanager.cpu.cores=2", "-Dtaskmanager.memory.task.heap.size=256m",
                    "-Dtaskmanager.memory.task.off-heap.size=0", "-Dtaskmanager.memory.managed.size=128m",
                    "-Dtaskmanager.memory.network.min=64m", "-Dtaskmanager.memory.network.max=64m",
                    "-Dtaskmanager.memory.framework.heap.size=128m", "-Dtaskmanager.memory.framework.off-heap.size=64m",
                    "-Dtaskmanager.memory.jvm-metaspace.size=256m", "-Dtaskmanager.memory.jvm-overhead.min=64m",
                    "-Dtaskmanager.memory.jvm-overhead.max=64m",
                )  # fmt: skip
            self._await_managers(2)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()

    def kill_task_manager(self) -> int:
        """``kill -9`` of the first TaskManager; the other has room for all."""
        manager = self._processes.pop(1)
        manager.kill()
        manager.wait()
        return manager.pid

    def _start(self, main: str, *options: str) -> None:
        java = find_java()
        jars = class_path(JobServerSettings(self._work))
        command = [str(java.path), "-Xmx700m", *JAVA_OPENED, "-cp", jars, main]
        command += ["--configDir", str(self._work / "conf"), *options]
        with (self._work / f"{main.rpartition('.')[2]}.log").open("ab") as log:
            self._processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def _await_managers(self, number: int) -> None:
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://{self.address}/overview", timeout=5) as answer:
                    if f'"taskmanagers":{number}'.encode() in answer.read():
                        return
            except OSError:
                pass
            time.sleep(_LOOK_EVERY)
        raise CheckFailedError(f"the cluster did not start; its logs are in {self._work}")


def descendants(pid: int) -> Iterator[int]:
    """The processes below a process."""
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text(encoding="ascii").split()
        except OSError:
            continue
        for child in map(int, children):
            yield child
            yield from descendants(child)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _changed(checkpoint: Path) -> int:
    try:
        return (checkpoint / "_metadata").stat().st_mtime_ns
    except OSError:
        return 0
