"""A job on Flink: submitted, waited for, cancelled. What fails comes back as one of our errors."""

from __future__ import annotations

import atexit
import functools
import http.client
import json
import math
import os
import socket
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DebugOptions, PipelineOptions, PortableOptions, WorkerOptions
from apache_beam.runners.runner import PipelineState

from contracts.errors import EngineError, OtherGraphError, StateVersionError, WaylineError
from pipelines.engine import cause
from pipelines.flink.job_server import JobServer
from pipelines.flink.workers import WorkerPool, start_worker

_ENDED = (PipelineState.DONE, PipelineState.FAILED, PipelineState.CANCELLED, PipelineState.DRAINED)
_FLINK_ENDED = ("FINISHED", "FAILED", "CANCELED")
_LOOK_EVERY = 0.2
_ANSWERS_WITHIN = 10.0
_CANCELLED_WITHIN = 30.0
_SILENT_FOR = 15.0
"""Seconds after which what answers no question at Flink's address is not Flink any more."""
_SAVED_WITHIN = 60.0
_NO_PLACE = "Cannot map checkpoint/savepoint state"
"""Flink's words for a state of a checkpoint whose operator is not in the job."""
_ASK_EVERY = 5.0
"""Seconds between two looks for a failure that no other attempt mends."""


class FlinkJob:
    """A job that runs. Made by ``submit``."""

    def __init__(self, result: Any, server: JobServer, workers: WorkerPool | None = None) -> None:
        self._result = result
        self._server = server
        self._workers = workers
        self._asked = time.monotonic()
        self._has_answered = True

    @property
    def state(self) -> str:
        """Beam's name of its state, as ``RUNNING`` or ``DONE``. Raises EngineError when the server is gone."""
        self._server.check()
        try:
            return str(self._result.state)
        except Exception as error:
            self._server.check()
            raise EngineError(f"the Flink job server does not answer: {error}", hint=_see(self._server)) from error

    def wait(self, finished: Path | None = None) -> None:
        """Wait for its end.

        Args:
            finished: a file that says that the graph has drained: the job, whose sources have ended, is then ended too.

        Raises:
            WaylineError: what a worker raised, if it is one of ours. State of a newer release ends the job at once,
                which Flink would else try again and again.
            OtherGraphError: the checkpoint it was to go on from is of a job of other tasks.
            EngineError: the job failed otherwise, was cancelled, or the server died.
        """
        if finished is not None and self.wait_until(lambda: finished.exists() or self._refused() is not None):
            refused = None if finished.exists() else self._refused(now=True)
            self.cancel()
            if refused is not None:
                raise refused
            return
        try:
            self._result.wait_until_finish()
        except Exception as error:
            self._server.check()
            found = cause(error) or _misfit(str(error))
            if found is not None:
                raise found from error
            message = str(error).strip().splitlines() or [type(error).__name__]
            told = next((line for line in reversed(message) if "Error" in line or "Exception" in line), message[0])
            raise EngineError(f"the job failed on Flink: {told.strip()[:500]}", hint=_see(self._server)) from error

    def wait_until(self, condition: Callable[[], bool], seconds: float = math.inf) -> bool:
        """Wait until something is so; False when the time runs out or the job ends first."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline or self.state in _ENDED:
                return condition()
            time.sleep(_LOOK_EVERY)
        return True

    def cancel(self) -> None:
        """End it, and wait until it has ended.

        Flink is asked itself: the job service says that a job on ``[local]`` is cancelled, and it runs on.

        Raises:
            EngineError: Flink does not answer, or does not end it.
        """
        try:
            self._result.cancel()  # first, so that the service says CANCELLED and not FAILED
        except Exception as error:
            self._server.check()
            raise EngineError(f"the job could not be cancelled: {error}", hint=_see(self._server)) from error
        finally:
            if self._workers is not None:
                self._workers.close()
        found = self._find()
        if found is None:
            return
        address, job = found
        # a Flink that runs for this job alone may end before it has answered: what counts is that the job is gone
        with suppress(EngineError):
            self._rest(address, f"jobs/{job}?mode=cancel", {}, method="PATCH")
        heard = time.monotonic()
        deadline = heard + _CANCELLED_WITHIN
        while self._is_there():
            if self._has_answered:
                heard = time.monotonic()
            elif time.monotonic() - heard > _SILENT_FOR:
                # Flink has gone, and somebody else has its port by now
                return
            if time.monotonic() > deadline:
                raise EngineError(f"Flink does not end job {job}", hint=_see(self._server))
            time.sleep(_LOOK_EVERY)

    def _refused(self, *, now: bool = False) -> StateVersionError | None:
        """What Flink says of the last failure, if the state is the reason; it is asked now and then, or ``now``."""
        if not now and time.monotonic() - self._asked < _ASK_EVERY:
            return None
        self._asked = time.monotonic()
        with suppress(EngineError):
            # one that breaks off is going down, or coming up again: what ends the job is told otherwise
            if (found := self._find()) is not None:
                address, job = found
                told = self._rest(address, f"jobs/{job}/exceptions").get("root-exception")
                error = cause(RuntimeError(told)) if told else None
                return error if isinstance(error, StateVersionError) else None
        return None

    def _is_there(self) -> bool:
        """Whether some Flink runs it; one that breaks off is going down, and is asked again."""
        self._has_answered = True
        try:
            return self._find() is not None
        except EngineError:
            self._has_answered = False
            return True

    def save(self, folder: Path) -> Path:
        """A savepoint below a folder, to begin again with; the job goes on. Returns its folder.

        Raises:
            EngineError: Flink could not make it.
        """
        found = self._find()
        if found is None:
            raise EngineError("the job does not run, so it has no savepoint", hint=_see(self._server))
        address, job = found
        asked = self._rest(address, f"jobs/{job}/savepoints", {"target-directory": folder.resolve().as_uri()})
        deadline = time.monotonic() + _SAVED_WITHIN
        while time.monotonic() < deadline:
            answer = self._rest(address, f"jobs/{job}/savepoints/{asked['request-id']}")
            if answer["status"]["id"] == "COMPLETED":
                operation = answer["operation"]
                if "location" in operation:
                    return Path(operation["location"].removeprefix("file:"))
                reason = operation["failure-cause"]["class"]
                raise EngineError(f"Flink could not make a savepoint: {reason}", hint=_see(self._server))
            time.sleep(_LOOK_EVERY)
        raise EngineError(f"Flink made no savepoint within {_SAVED_WITHIN:.0f} seconds", hint=_see(self._server))

    def _find(self) -> tuple[str, str] | None:
        """Where the Flink answers that runs it, and Flink's name of it; None when none does."""
        name = str(self._result._job_id).rpartition("_")[0]
        for address in self._server.rest_addresses:
            host, _, port = address.rpartition(":")
            with socket.socket() as probe:
                if probe.connect_ex((host, int(port))) != 0:
                    continue
            try:
                found = self._rest(address, "jobs/overview")["jobs"]
            except EngineError as error:
                if _speaks_no_http(error.__cause__):
                    continue  # another program has taken a port of the range
                raise
            for job in found:
                if job["name"] == name and job["state"] not in _FLINK_ENDED:
                    return address, str(job["jid"])
        return None

    def _rest(self, address: str, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
        request = urllib.request.Request(
            f"http://{address}/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=_ANSWERS_WITHIN) as answer:
                return json.load(answer)
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._server.check()
            raise EngineError(f"Flink's REST interface does not answer: {error}", hint=_see(self._server)) from error


def _misfit(told: str) -> OtherGraphError | None:
    """What Flink means when it finds no place in the job for a state of the checkpoint."""
    if _NO_PLACE not in told:
        return None
    said = "the checkpoint is of a job that was cut into other tasks than this one"
    return OtherGraphError(said, hint=OtherGraphError.standing_hint)


def submit(build: Callable[[beam.Pipeline], None], options: PipelineOptions, server: JobServer) -> FlinkJob:
    """Build a graph and start it.

    Raises:
        EngineError: the server does not take it.
    """
    find_python()
    pool = _own_workers(options, server)
    pipeline = beam.Pipeline(options=options)
    build(pipeline)
    try:
        return FlinkJob(pipeline.run(), server, pool)
    except WaylineError:
        raise
    except Exception as error:
        server.check()
        raise EngineError(f"the Flink job server does not take the job: {error}", hint=_see(server)) from error


def _own_workers(options: PipelineOptions, server: JobServer) -> WorkerPool | None:
    """Workers on this machine are ours to start, as processes; others have their own environment."""
    portable = options.view_as(PortableOptions)
    in_process = not options.view_as(DebugOptions).lookup_experiment("use_loopback_process_worker")
    if portable.environment_type != "LOOPBACK" or in_process:
        return None
    cache = int(options.view_as(WorkerOptions).max_cache_memory_usage_mb or 0) << 20
    pool = WorkerPool(functools.partial(start_worker, log=server.log.with_name("workers.log"), cache_bytes=cache))
    atexit.register(pool.close)
    portable.environment_type, portable.environment_config = "EXTERNAL", pool.address
    return pool


def run(build: Callable[[beam.Pipeline], None], options: PipelineOptions, server: JobServer) -> None:
    """Run a graph to its end; an interruption cancels it, and goes on up.

    Raises:
        WaylineError: as ``submit`` and ``FlinkJob.wait`` say.
    """
    job = submit(build, options, server)
    try:
        job.wait()
    except KeyboardInterrupt:
        job.cancel()
        raise


def find_python() -> None:
    """Let Beam find this Python: it starts worker processes by the bare name, from the ``PATH``."""
    here = str(Path(sys.executable).parent)
    path = os.environ.get("PATH", "").split(os.pathsep)
    if path[:1] != [here]:
        os.environ["PATH"] = os.pathsep.join([here, *path])


def _speaks_no_http(error: BaseException | None) -> bool:
    """Whether what answered is no HTTP; a connection that broke off is none of it."""
    return isinstance(error, http.client.BadStatusLine) and not isinstance(error, OSError)


def _see(server: JobServer) -> str:
    return f"the log of the job server is {server.log}"
