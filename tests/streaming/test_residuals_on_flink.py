"""What a source without end leaves in Flink's state: as much after many bundles as after some."""

from __future__ import annotations

import re
import time
from pathlib import Path

import apache_beam as beam
from apache_beam.io.unbounded_source import ReadFromUnboundedSource

from benchmarks.counting import Numbers, ToFile, told
from pipelines.flink.job import submit
from pipelines.flink.job_server import JobServer
from pipelines.flink.options import FlinkSettings, flink_options

_NAMES = 64
"""As ``infra/flink/java`` has it."""
_PATIENCE = 150.0


def test_the_state_of_a_source_does_not_grow_with_its_bundles(job_server: JobServer, tmp_path: Path) -> None:
    source = Numbers(count=1_000_000, keys=20, shards=4)

    def build(pipeline: beam.Pipeline) -> None:
        numbers = pipeline | "Read" >> ReadFromUnboundedSource(source, poll_interval=0.001, max_records_per_bundle=1)
        _ = (
            numbers
            | "Typed" >> beam.Map(lambda pair: (pair[0], 1)).with_output_types(tuple[bytes, int])
            | "Tell" >> beam.ParDo(ToFile(tmp_path / "told", "one"))
        )

    settings = FlinkSettings(checkpoints=tmp_path / "checkpoints", checkpoint_ms=500)
    job = submit(build, flink_options(job_server.endpoint, settings), job_server)
    try:
        deadline = time.monotonic() + _PATIENCE
        while len(told(tmp_path / "told", "one")) < 3 * _NAMES:
            assert time.monotonic() < deadline, "the source does not go on"
            time.sleep(0.5)
        names = 0
        while not names:
            assert time.monotonic() < deadline, "no checkpoint was made"
            names = len(names_in(tmp_path / "checkpoints"))
    finally:
        job.cancel()
    assert _NAMES // 2 < names <= _NAMES, "names are taken in a circle, and the circle was gone round"


def names_in(checkpoints: Path) -> set[bytes]:
    """The names of residuals in the checkpoint there is; none when it was superseded while it was read."""
    names: set[bytes] = set()
    try:
        for path in checkpoints.glob("*/chk-*/*"):
            names.update(re.findall(rb"sdf_checkpoint:\d+", path.read_bytes()))
    except OSError:
        return set()
    return names
