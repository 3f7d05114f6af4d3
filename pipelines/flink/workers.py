"""The worker processes of a job on this machine: started when the engine asks, and again when one dies on its way up.

An engine that asked for a worker waits for it to connect for as long as it takes. Beam's own pool starts it once, so
that a worker killed before it had connected left the job waiting for ever. Once connected the engine itself notices
when a worker dies: it restarts the job, stops that worker, and asks for a new one.

Each worker is a session of its own, since Ctrl-C is for the launcher to hear, who then drains through them. They end
with the launcher, whose engine they lose.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
from apache_beam.utils import thread_pool_executor

AGAIN_AFTER = 5.0
"""Seconds: an engine that has noticed the end of a worker stops it well within."""
MOST_STARTS = 20
_ENDS_WITHIN = 5.0

Start = Callable[[str, str], "subprocess.Popen[bytes]"]
"""(control endpoint, worker id) to a process."""


class Worker:
    """A process that is kept up until it is stopped.

    Args:
        start: starts it.
        again_after: seconds between its end and its next start.
    """

    def __init__(self, start: Callable[[], subprocess.Popen[bytes]], again_after: float = AGAIN_AFTER) -> None:
        self._start = start
        self._again_after = again_after
        self._stopped = threading.Event()
        self._process = start()
        self._thread = threading.Thread(target=self._keep_up, name="flink-worker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it, and do not start it again."""
        self._stopped.set()
        self._process.terminate()
        try:
            self._process.wait(_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _keep_up(self) -> None:
        for _ in range(MOST_STARTS):
            self._process.wait()
            if self._stopped.wait(self._again_after):
                return
            self._process = self._start()
            if self._stopped.is_set():
                self._process.kill()
                return


def start_worker(endpoint: str, worker_id: str, log: Path, cache_bytes: int = 0) -> subprocess.Popen[bytes]:
    """Start Beam's worker for an engine. ``log``: what it prints goes there. ``cache_bytes``: of its cache of state.

    Raises OSError when it does not start, or the log cannot be written.
    """
    code = (
        "from transforms.worker_process import sample_often; sample_often(); "
        "from apache_beam.runners.worker.sdk_worker import SdkHarness; "
        f"SdkHarness({endpoint!r}, worker_id={worker_id!r}, state_cache_size={cache_bytes}, "
        "data_buffer_time_limit_ms=-1).run()"
    )
    # a screen that shows a live view is no place for the traceback of a worker whose engine has ended
    with log.open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        )


class WorkerPool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):  # type: ignore[misc]  # generated code
    """What the engine asks for workers; a service on a free port of this machine.

    Args:
        start: starts one.
    """

    def __init__(self, start: Start) -> None:
        self._start = start
        self._workers: dict[str, Worker] = {}
        self._lock = threading.Lock()
        self._server = grpc.server(
            thread_pool_executor.shared_unbounded_instance(),
            options=[("grpc.http2.max_pings_without_data", 0), ("grpc.http2.max_ping_strikes", 0)],
        )
        self.address = f"localhost:{self._server.add_insecure_port('localhost:0')}"
        beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(self, self._server)
        self._server.start()

    def StartWorker(self, request: Any, context: Any) -> Any:  # noqa: N802  # the service's name
        """Start a worker, in place of one that has its name."""
        endpoint, worker_id = request.control_endpoint.url, request.worker_id
        self._stop_worker(worker_id)
        try:
            worker = Worker(lambda: self._start(endpoint, worker_id))
        except OSError as error:
            return beam_fn_api_pb2.StartWorkerResponse(error=f"a worker cannot be started: {error}")
        with self._lock:
            self._workers[worker_id] = worker
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Stop a worker; one that is none, or was stopped, is stopped."""
        self._stop_worker(request.worker_id)
        return beam_fn_api_pb2.StopWorkerResponse()

    def close(self) -> None:
        """Stop all workers and the service."""
        self._server.stop(None)
        for worker_id in list(self._workers):
            self._stop_worker(worker_id)

    def _stop_worker(self, worker_id: str) -> None:
        with self._lock:
            worker = self._workers.pop(worker_id, None)
        if worker is not None:
            worker.stop()
