"""What writers of parts rely on: a GroupByKey in the global window that fires every so often, and at the end."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import apache_beam as beam
from apache_beam.io.unbounded_source import ReadFromUnboundedSource
from apache_beam.transforms.trigger import AccumulationMode, AfterProcessingTime, Repeatedly
from apache_beam.transforms.window import GlobalWindows

sys.path.insert(0, str(Path(__file__).parent))

from counting_job import PAIR

from benchmarks.counting import Numbers, ToFile, told
from pipelines.flink.job import run
from pipelines.flink.job_server import JobServer
from pipelines.flink.options import FlinkSettings, flink_options


def test_panes_come_in_processing_time_and_the_last_one_with_the_end_of_the_input(
    job_server: JobServer, tmp_path: Path
) -> None:
    source = Numbers(count=2_000, keys=20, shards=4, rate=500, committed=tmp_path / "committed")

    def build(pipeline: beam.Pipeline) -> None:
        numbers = pipeline | "Read" >> ReadFromUnboundedSource(
            source, poll_interval=0.02, max_records_per_bundle=500, max_read_time_seconds=0.1
        )
        _ = (
            numbers
            | "Typed" >> beam.Map(lambda pair: pair).with_output_types(PAIR)
            | "Window"
            >> beam.WindowInto(
                GlobalWindows(),
                trigger=Repeatedly(AfterProcessingTime(1)),
                accumulation_mode=AccumulationMode.DISCARDING,
            )
            | "Group" >> beam.GroupByKey()
            | "Size"
            >> beam.MapTuple(lambda shard, items: (shard, len(list(items)))).with_output_types(tuple[bytes, int])
            | "Tell" >> beam.ParDo(ToFile(tmp_path / "told", "pane"))
        )

    run(build, flink_options(job_server.endpoint, FlinkSettings(finite=True)), job_server)
    panes = told(tmp_path / "told", "pane")
    assert sum(n for _, n in panes) == 2_000
    assert min(Counter(shard for shard, _ in panes).values()) >= 2, "only the end of the input flushed"
    # finalizers of several bundles are called when a checkpoint is complete, in no order
    positions = [int(line) for line in (tmp_path / "committed").read_text().split()]
    assert max(positions) == 2_000, "the finalizer of the last bundle was not called"
