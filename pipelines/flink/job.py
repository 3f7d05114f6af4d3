"""A job on Flink: submitted, waited for, cancelled. What fails comes back as one of our errors."""

from __future__ import annotations

import json
import math
import os
import socket
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from contracts.errors import EngineError, WaylineError
from pipelines.engine import cause
from pipelines.flink.job_server import JobServer

_ENDED = (PipelineState.DONE, PipelineState.FAILED, PipelineState.CANCELLED, PipelineState.DRAINED)
_LOOK_EVERY = 0.2
_ANSWERS_WITHIN = 10.0
_CANCELLED_WITHIN = 30.0
_SAVED_WITHIN = 60.0


class FlinkJob:
    """A job that runs. Made by ``submit``."""

    def __init__(self, result: Any, server: JobServer) -> None:
        self._result = result
        self._server = server

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
            WaylineError: what a worker raised, if it is one of ours.
            EngineError: the job failed otherwise, was cancelled, or the server died.
        """
        if finished is not None and self.wait_until(finished.exists):
            self.cancel()
            return
        try:
            self._result.wait_until_finish()
        except Exception as error:
            self._server.check()
            found = cause(error)
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
        """Tell Flink to end it, and wait until it has: the server keeps running a job whose client is gone."""
        try:
            self._result.cancel()
            deadline = time.monotonic() + _CANCELLED_WITHIN
            while str(self._result.state) not in _ENDED and time.monotonic() < deadline:
                time.sleep(_LOOK_EVERY)
        except Exception as error:
            self._server.check()
            raise EngineError(f"the job could not be cancelled: {error}", hint=_see(self._server)) from error

    def save(self, folder: Path) -> Path:
        """A savepoint below a folder, to begin again with; the job goes on. Returns its folder.

        Raises:
            EngineError: Flink could not make it.
        """
        port, job = self._find()
        asked = self._rest(port, f"jobs/{job}/savepoints", {"target-directory": folder.resolve().as_uri()})
        deadline = time.monotonic() + _SAVED_WITHIN
        while time.monotonic() < deadline:
            answer = self._rest(port, f"jobs/{job}/savepoints/{asked['request-id']}")
            if answer["status"]["id"] == "COMPLETED":
                operation = answer["operation"]
                if "location" in operation:
                    return Path(operation["location"].removeprefix("file:"))
                reason = operation["failure-cause"]["class"]
                raise EngineError(f"Flink could not make a savepoint: {reason}", hint=_see(self._server))
            time.sleep(_LOOK_EVERY)
        raise EngineError(f"Flink made no savepoint within {_SAVED_WITHIN:.0f} seconds", hint=_see(self._server))

    def _find(self) -> tuple[int, str]:
        """The port of the Flink that runs, and its name of the job."""
        running: list[tuple[int, str]] = []
        for port in self._server.rest_ports:
            with socket.socket() as probe:
                if probe.connect_ex(("localhost", port)) != 0:
                    continue
            jobs = self._rest(port, "jobs/overview")["jobs"]
            running += [(port, str(job["jid"])) for job in jobs if job["state"] in ("RUNNING", "RESTARTING", "CREATED")]
        if len(running) != 1:
            raise EngineError(f"{len(running)} jobs run on this Flink, so none can be named", hint=_see(self._server))
        return running[0]

    def _rest(self, port: int, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            f"http://localhost:{port}/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_ANSWERS_WITHIN) as answer:
                return json.load(answer)
        except (OSError, ValueError) as error:
            self._server.check()
            raise EngineError(f"Flink's REST interface does not answer: {error}", hint=_see(self._server)) from error


def submit(build: Callable[[beam.Pipeline], None], options: PipelineOptions, server: JobServer) -> FlinkJob:
    """Build a graph and start it.

    Raises:
        EngineError: the server does not take it.
    """
    find_python()
    pipeline = beam.Pipeline(options=options)
    build(pipeline)
    try:
        return FlinkJob(pipeline.run(), server)
    except WaylineError:
        raise
    except Exception as error:
        server.check()
        raise EngineError(f"the Flink job server does not take the job: {error}", hint=_see(server)) from error


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


def _see(server: JobServer) -> str:
    return f"the log of the job server is {server.log}"
