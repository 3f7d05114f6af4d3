"""Workers on this machine: one that dies before the engine knew it is started again, one that was stopped is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import grpc
import pytest
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

from pipelines.flink import workers
from pipelines.flink.workers import Worker, WorkerPool


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)


class Started:
    """Starts sleepers, and knows them."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self.asked: list[tuple[str, str]] = []

    def start(self, endpoint: str = "", worker_id: str = "") -> subprocess.Popen[bytes]:
        self.asked.append((endpoint, worker_id))
        self.processes.append(sleeper())
        return self.processes[-1]


@pytest.fixture
def started() -> Iterator[Started]:
    made = Started()
    yield made
    for process in made.processes:
        process.kill()
        process.wait()


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.01)


def test_a_worker_that_is_killed_is_started_again_until_it_is_stopped(started: Started) -> None:
    worker = Worker(started.start, again_after=0.05)
    for n in (1, 2):
        os.kill(started.processes[-1].pid, signal.SIGKILL)
        eventually(lambda n=n: len(started.processes) == n + 1)  # type: ignore[misc]
    worker.stop()
    assert all(process.poll() is not None for process in started.processes)
    time.sleep(0.3)
    assert len(started.processes) == 3


def test_a_worker_that_always_dies_is_given_up(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "MOST_STARTS", 3)

    def die() -> subprocess.Popen[bytes]:
        started.asked.append(("", ""))
        return subprocess.Popen(["false"])

    Worker(die, again_after=0.01)
    eventually(lambda: len(started.asked) == 4)
    time.sleep(0.2)
    assert len(started.asked) == 4


def test_an_engine_starts_and_stops_workers_by_name(started: Started) -> None:
    pool = WorkerPool(started.start)
    with grpc.insecure_channel(pool.address) as channel:
        stub = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
        asked = beam_fn_api_pb2.StartWorkerRequest(worker_id="1-1")
        asked.control_endpoint.url = "localhost:1"
        assert stub.StartWorker(asked).error == ""
        assert started.asked == [("localhost:1", "1-1")]
        stub.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id="1-1"))
        assert started.processes[0].poll() is not None
        stub.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id="nobody"))
        asked.worker_id = "2-1"
        stub.StartWorker(asked)
    pool.close()
    assert started.processes[1].poll() is not None
