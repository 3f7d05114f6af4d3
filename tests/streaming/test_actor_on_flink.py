"""The streaming host on embedded Flink: exact counts, the end of the input, a worker that is killed, a checkpoint."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from counting_job import CountingJob, worker_processes

from benchmarks.counting import expected_counts
from contracts.errors import EngineError
from pipelines.flink.job import run, submit
from pipelines.flink.job_server import JobServer, JobServerSettings
from pipelines.flink.options import FlinkSettings, flink_options, latest_checkpoint

FINITE = FlinkSettings(finite=True)


def test_two_stages_count_exactly_poll_and_drain_when_the_source_ends(job_server: JobServer, tmp_path: Path) -> None:
    job = CountingJob(tmp_path, count=3_000, keys=50, rate=1_000, poll_every=200_000)
    run(job.build, flink_options(job_server.endpoint, FINITE), job_server)
    expected = expected_counts(3_000, 50)
    for stage in ("First", "Second"):
        assert job.counts(stage) == expected
        assert job.totals(stage) == sorted(expected.items())
    assert job.polls("First") > 4
    assert "3000" in job.committed.read_text().split(), "the source was not told what the engine committed"


def test_counts_are_exact_after_the_worker_is_killed(job_server: JobServer, tmp_path: Path) -> None:
    job = CountingJob(tmp_path, count=4_000, keys=100, rate=600)
    running = submit(job.build, flink_options(job_server.endpoint, FINITE), job_server)
    for reached in (600, 2_000):
        assert running.wait_until(lambda reached=reached: job.seen("Second") > reached, 120)  # type: ignore[misc]
        for pid in worker_processes():
            os.kill(pid, signal.SIGKILL)
    running.wait()
    expected = expected_counts(4_000, 100)
    for stage in ("First", "Second"):
        assert job.counts(stage) == expected
        assert job.totals(stage) == sorted(expected.items())
    assert job.seen("First") >= 4_000


def test_a_job_goes_on_from_the_checkpoint_of_one_that_was_cancelled(job_server: JobServer, tmp_path: Path) -> None:
    job = CountingJob(tmp_path / "job", count=5_000, keys=50, rate=500)
    kept = tmp_path / "kept"
    first = submit(job.build, flink_options(job_server.endpoint, FlinkSettings(checkpoints=kept)), job_server)
    assert first.wait_until(lambda: job.seen("Second") > 500 and latest_checkpoint(kept) is not None, 120)
    saved = first.save(tmp_path / "saved")
    assert (saved / "_metadata").is_file()
    first.cancel()
    assert first.state == "CANCELLED"
    seen = job.seen("First")
    time.sleep(2)
    assert job.seen("First") == seen, "it was said to be cancelled, and ran on"
    with pytest.raises(EngineError, match="CANCELLED"):
        first.wait()
    assert job.seen("Second") < 5_000, "it was cancelled too late to show anything"
    point = latest_checkpoint(kept)
    assert point is not None
    told_before = job.seen("First")
    with JobServer(JobServerSettings(tmp_path / "server", restore=point)) as server:
        run(job.build, flink_options(server.endpoint, FINITE), server)
    assert job.seen("First") < told_before + 5_000, "it began anew"
    expected = expected_counts(5_000, 50)
    assert job.counts("Second") == expected
    assert job.totals("Second") == sorted(expected.items())
