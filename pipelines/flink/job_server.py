"""Beam's Flink job server as a process of this machine: started, waited for, stopped by its process id.

With the master ``[local]`` Flink itself runs inside it; with ``host:port`` it hands jobs to that cluster. Its output
goes to a log file. A job outlives the process that submitted it for as long as the server lives, so whoever started the
server stops it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from contracts.errors import EngineError
from pipelines.flink.java import find_java

LOCAL = "[local]"
CLASSPATH = Path("build") / "flink" / "lib"
_OURS = "wayline-flink.jar"
"""Classes of ours (``infra/flink/java``), which go before those of the same name."""
"""Where ``make flink`` puts the job server, below the root of the tree."""

_MAIN = "org.apache.beam.runners.flink.FlinkJobServerDriver"
JAVA_OPENED = tuple(
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in ("java.lang", "java.util", "java.nio", "java.util.concurrent", "java.net", "java.time")
)
"""What Flink needs of Java 17."""
_SPARING = ("-XX:TieredStopAtLevel=1",)
"""Compile once and lightly: what Flink does between the stages gains less by the second compiler than its threads take
from the stages, which share these cores; docs/performance.md has the figures."""
_GUARD = """
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
{ read -r _ <&3; kill "$server" 2>/dev/null; } &
watch=$!
wait "$server"
code=$?
kill "$watch" 2>/dev/null
exit "$code"
"""
"""Runs Java until it ends or our end of the pipe is closed: also when we are killed, no server stays behind."""
RESTARTS = 10
"""How often a job may fail within five minutes and be restarted; once more and it has failed for good."""
_REST_PORTS = 40
_STARTED_WITHIN = 90.0
_STOPPED_WITHIN = 15.0
_LOOK_EVERY = 0.1


@dataclass(frozen=True)
class JobServerSettings:
    """How to start the job server.

    ``work`` is its folder: log, configuration, what is staged. ``master`` is ``[local]`` or the address of a cluster.
    ``port`` is that of the job service; None takes a free one. ``heap`` is Java's limit of memory. ``restore`` is a
    checkpoint that jobs on ``[local]`` begin with, since those heed no option of the job. ``flink`` are further lines
    of Flink's own configuration.
    """

    work: Path
    master: str = LOCAL
    port: int | None = None
    heap: str = "2g"
    classpath: Path | None = None
    restore: Path | None = None
    flink: tuple[tuple[str, str], ...] = ()

    @property
    def log(self) -> Path:
        return self.work / "job-server.log"


class JobServer:
    """A running job server; a context manager.

    Raises, when made:
        EngineError: Java, the class path or a port is missing, the folder cannot be written, or it does not start.
    """

    def __init__(self, settings: JobServerSettings, environment: Mapping[str, str] | None = None) -> None:
        self._settings = settings
        java = find_java(environment)
        jars = class_path(settings)
        with ExitStack() as held:
            probes = [held.enter_context(_free_port(wanted)) for wanted in (settings.port, None, None, None)]
            self.port, artifacts, expansion, rest = (probe.getsockname()[1] for probe in probes)
        # each job on [local] is a Flink of its own, and one that was cancelled holds its port for a while
        rest = min(rest, 65_535 - _REST_PORTS)
        self.rest_ports = range(rest, rest + _REST_PORTS)
        conf = self._configure()
        command = [
            "sh", "-c", _GUARD, "job-server", str(java.path), f"-Xmx{settings.heap}", *_SPARING, *JAVA_OPENED,
            "-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
            "-cp", jars, _MAIN,
            f"--flink-master={settings.master}", f"--flink-conf-dir={conf}", "--job-host=localhost",
            f"--job-port={self.port}", f"--artifact-port={artifacts}", f"--expansion-port={expansion}",
            f"--artifacts-dir={settings.work / 'staged'}",
        ]  # fmt: skip
        with settings.log.open("ab") as log:
            # a session of its own: Ctrl-C is for us to hear, who then cancel the job before the server goes
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._await()
        except BaseException:
            self.stop()
            raise

    @property
    def endpoint(self) -> str:
        """The job service, as Beam's ``job_endpoint`` takes it."""
        return f"localhost:{self.port}"

    @property
    def log(self) -> Path:
        return self._settings.log

    @property
    def rest_addresses(self) -> list[str]:
        """Where Flink's REST interface may answer: the cluster's own, or that of a job on ``[local]``."""
        if self._settings.master != LOCAL:
            return [self._settings.master]
        return [f"localhost:{port}" for port in self.rest_ports]

    def check(self) -> None:
        """Raises EngineError when the server is gone."""
        if self._process.poll() is not None:
            raise EngineError(
                f"the Flink job server ended with code {self._process.returncode}: {_last_words(self._settings.log)}",
                hint=f"its log is {self._settings.log}",
            )

    def stop(self) -> None:
        """End the server, and with it all that runs inside."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            # the group that we made: the guard and Java
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def __enter__(self) -> JobServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _configure(self) -> Path:
        """Write Flink's configuration; returns its folder."""
        settings = self._settings
        conf = settings.work / "conf"
        lines = {
            "rest.bind-port": f"{self.rest_ports[0]}-{self.rest_ports[-1]}",
            "io.tmp.dirs": str(settings.work / "tmp"),
            # a worker that dies now and then is no reason to end a stream; one that always dies is
            "restart-strategy.type": "failure-rate",
            "restart-strategy.failure-rate.max-failures-per-interval": str(RESTARTS),
            "restart-strategy.failure-rate.failure-rate-interval": "5 min",
            "restart-strategy.failure-rate.delay": "1 s",
            **dict(settings.flink),
        }
        if settings.restore is not None:
            lines["execution.savepoint.path"] = checkpoint_uri(settings.restore)
        try:
            for folder in (conf, settings.work / "tmp", settings.work / "staged"):
                folder.mkdir(parents=True, exist_ok=True)
            (conf / "config.yaml").write_text("".join(f"{k}: {v}\n" for k, v in lines.items()), encoding="utf-8")
        except OSError as error:
            raise EngineError(
                f"the folder of the Flink job server, {settings.work}, cannot be written: {error.strerror}",
                hint="name another one",
            ) from error
        return conf

    def _await(self) -> None:
        deadline = time.monotonic() + _STARTED_WITHIN
        while True:
            self.check()
            with socket.socket() as probe:
                if probe.connect_ex(("localhost", self.port)) == 0:
                    return
            if time.monotonic() > deadline:
                raise EngineError(
                    f"the Flink job server does not answer after {_STARTED_WITHIN:.0f} seconds: "
                    f"{_last_words(self._settings.log)}",
                    hint=f"its log is {self._settings.log}",
                )
            time.sleep(_LOOK_EVERY)


def checkpoint_uri(folder: Path) -> str:
    """A checkpoint as Flink names it. Raises EngineError when the folder holds no whole one."""
    if not (folder / "_metadata").is_file():
        raise EngineError(
            f"{folder} is no whole checkpoint: it has no _metadata",
            hint="name the folder of a checkpoint, chk-N, or of a savepoint",
        )
    return folder.resolve().as_uri()


def class_path(settings: JobServerSettings) -> str:
    """The class path of the job server. Raises EngineError when its folder is missing or does not hold all."""
    folder = settings.classpath or Path(__file__).resolve().parent.parent.parent / CLASSPATH
    if not any(folder.glob("beam-runners-flink-*.jar")):
        raise EngineError(f"there is no Flink job server in {folder}", hint="get it: make flink")
    if not (folder / _OURS).exists():
        raise EngineError(f"the Flink job server in {folder} is of an earlier version", hint="get it anew: make flink")
    return os.pathsep.join((str(folder / _OURS), f"{folder}/*"))


def _free_port(wanted: int | None = None) -> socket.socket:
    """A socket bound to a port, which the caller closes before the server takes the port."""
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("localhost", wanted or 0))
    except OSError as error:
        probe.close()
        raise EngineError(
            f"port {wanted} is taken: {os.strerror(error.errno or 0)}",
            hint="name another one, or none to take a free one",
        ) from error
    return probe


def _last_words(log: Path) -> str:
    """The last line of a log that says what went wrong."""
    try:
        lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return "it left no log"
    telling = [line for line in lines if "Exception" in line or "Error" in line]
    return (telling or lines or ["it said nothing"])[-1][:300]
