"""The streaming host on Beam's own runners: timers, tags, end of input. Flink: tests/streaming."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import GlobalWindow, TimestampedValue

from benchmarks.counting import (
    CLOSED,
    COUNTS,
    OUTPUTS,
    PASSED,
    POISON,
    POLLED,
    TOTALS,
    CountingFactory,
    Number,
    ToFile,
    encode_number,
    shard_of,
    told,
)
from contracts.exchange import RejectedElement
from transforms.actor.batch import BatchByShard
from transforms.actor.host import METRICS, ShardActor, drained_at
from transforms.actor.packing import unpack
from transforms.actor.turn import REJECTED

SHARDS = 4
PAIR = beam.typehints.Tuple[bytes, bytes]


def no_time() -> int:
    """A clock that stands: the engine's is what counts here."""
    return 0


def elements(keys: Iterable[str], at: int = 0) -> list[tuple[bytes, bytes]]:
    """(shard, element) of each key; ``at`` in seconds."""
    return [(shard_of(k.encode(), SHARDS), encode_number(Number(k.encode(), at * 1_000_000))) for k in keys]


def stage(batches: Any, label: str, factory: CountingFactory, depth: int = 0) -> dict[str, Any]:
    actor = ShardActor(label, factory, OUTPUTS, no_time, depth=depth)
    outputs: dict[str, Any] = batches | f"{label}Batch" >> BatchByShard() | label >> actor
    return outputs


def final(counts: list[tuple[bytes, int]]) -> dict[str, int]:
    result: dict[str, int] = {}
    for key, n in counts:
        result[key.decode()] = max(n, result.get(key.decode(), 0))
    return result


def is_final(expected: dict[str, int]) -> Callable[[list[tuple[bytes, int]]], None]:
    def check(counts: list[tuple[bytes, int]]) -> None:
        assert final(counts) == expected, final(counts)
        assert len(counts) == sum(expected.values())

    return check


def test_two_stages_count_every_element_once_and_drain_at_the_end_of_the_input(tmp_path: Path) -> None:
    keys = [f"k{i % 37}" for i in range(1_000)]
    expected = dict(Counter(keys))
    totals = sorted((key.encode(), n) for key, n in expected.items())
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        source = pipeline | beam.Create(elements(keys)).with_output_types(PAIR)
        first = stage(source, "First", CountingFactory(passes=SHARDS))
        # this runner mixes up timers of one name when it fuses the two DoFns
        passed = first[PASSED] | beam.Reshuffle()
        second = stage(passed, "Second", CountingFactory(whole=True), depth=1)
        for name, outputs in (("First", first), ("Second", second)):
            assert_that(outputs[COUNTS], is_final(expected), label=f"{name}Counts")
            assert_that(outputs[REJECTED], equal_to([]), label=f"{name}Rejected")
            _ = outputs[TOTALS] | f"{name}Tell" >> beam.ParDo(ToFile(tmp_path / "told", name))
    assert sorted(told(tmp_path / "told", "First")) == totals
    assert sorted(told(tmp_path / "told", "Second")) == totals


def test_a_poison_element_is_put_out_with_its_reason_and_counted() -> None:
    pipeline = beam.Pipeline(runner=FnApiRunner())
    given = [*elements(["a", "a"]), (shard_of(b"a", SHARDS), POISON)]
    outputs = stage(pipeline | beam.Create(given).with_output_types(PAIR), "First", CountingFactory())
    rejected = RejectedElement("First", shard_of(b"a", SHARDS), "handle", POISON, "ValueError", "cannot count poison")
    assert_that(outputs[REJECTED], lambda found: _same(found, rejected), label="Rejected")
    assert_that(outputs[COUNTS], is_final({"a": 2}), label="Counts")
    result = pipeline.run()
    result.wait_until_finish()
    found = result.metrics().query(MetricsFilter().with_namespace(f"{METRICS}.First"))["counters"]
    counted = {counter.key.metric.name: counter.committed for counter in found}
    assert counted["rejected"] == 1
    assert counted["elements"] == 3
    assert "rebuilds" not in counted


def _same(found: list[RejectedElement], expected: RejectedElement) -> None:
    (one,) = found
    assert (one.stage, one.shard, one.during, one.data, one.reason) == (
        expected.stage,
        expected.shard,
        expected.during,
        expected.data,
        expected.reason,
    )
    assert one.detail.startswith(expected.detail)


def streaming() -> PipelineOptions:
    options = PipelineOptions([])
    options.view_as(StandardOptions).streaming = True
    return options


def stamped(items: list[tuple[bytes, bytes]], at: int) -> list[TimestampedValue]:
    return [TimestampedValue(item, at) for item in items]


def pairs() -> TestStream:
    return TestStream(coder=beam.coders.TupleCoder((beam.coders.BytesCoder(), beam.coders.BytesCoder())))


def tell(outputs: dict[str, Any], path: Path, *tags: str) -> None:
    """To a file: on these runners the end of time comes to an assertion before the last timers do."""
    for tag in tags:
        _ = outputs[tag] | f"Tell{tag}" >> beam.ParDo(ToFile(path, tag))


@pytest.mark.parametrize("forget", [True, False])
def test_keys_close_when_the_watermark_passes_and_count_on_when_late_ones_come(forget: bool, tmp_path: Path) -> None:
    stream = (
        pairs()
        .advance_watermark_to(0)
        .add_elements(stamped(elements(["a", "b"], at=5), 5))
        .advance_watermark_to(14)
        .add_elements(stamped(elements(["b"], at=14), 14))
        .advance_watermark_to(16)
        .add_elements(stamped(elements(["a"], at=3), 3))
        .advance_watermark_to_infinity()
    )
    told_to = tmp_path / "told"
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=streaming()) as pipeline:
        outputs = stage(pipeline | stream, "First", CountingFactory(pause=10_000_000, forget=forget))
        tell(outputs, told_to, CLOSED, TOTALS)
    # a is closed at 15, comes late and is closed at once; b at 24, when the watermark jumps to the end
    again = (b"a", 1) if forget else (b"a", 2)
    assert told(told_to, CLOSED) == [(b"a", 1), again, (b"b", 2)]
    assert sorted(told(told_to, TOTALS)) == ([] if forget else [(b"a", 2), (b"b", 2)])


def test_a_store_is_polled_in_processing_time(tmp_path: Path) -> None:
    stream = (
        pairs()
        .advance_watermark_to(0)
        .add_elements(stamped(elements(["a"], at=5), 5))
        .advance_processing_time(3)
        .advance_processing_time(3)
        .advance_watermark_to_infinity()
    )
    told_to = tmp_path / "told"
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=streaming()) as pipeline:
        outputs = stage(pipeline | stream, "First", CountingFactory(poll_every=2_000_000))
        tell(outputs, told_to, POLLED, TOTALS)
    polled = [at for _, at in told(told_to, POLLED)]
    assert len(polled) >= 2
    assert polled == sorted(set(polled))
    assert told(told_to, TOTALS) == [(b"a", 1)]


def test_a_bundle_is_grouped_by_shard_and_cut_at_its_bounds() -> None:
    given = [(b"x", b"1"), (b"y", b"2"), (b"x", b"3"), (b"x", b"4"), (b"x", b"5"), (b"y", b"6" * 50)]
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        batches = (
            pipeline
            | beam.Create([None])
            | beam.FlatMap(lambda _: given).with_output_types(PAIR)
            | BatchByShard(max_elements=3, max_bytes=40)
            | beam.MapTuple(lambda shard, batch: (shard, unpack(batch)))
        )
        expected = [(b"x", [b"1", b"3", b"4"]), (b"x", [b"5"]), (b"y", [b"2", b"6" * 50])]
        assert_that(batches, equal_to(expected))


def test_a_batch_has_the_time_of_its_earliest_element() -> None:
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        times = (
            pipeline
            | beam.Create([None])
            | beam.FlatMap(lambda _: _mixed())
            | beam.Map(lambda item: item).with_output_types(PAIR)
            | BatchByShard()
            | beam.Map(lambda _, at=beam.DoFn.TimestampParam: int(at.micros // 1_000_000))
        )
        assert_that(times, equal_to([3]))


def _mixed() -> list[TimestampedValue]:
    return [TimestampedValue((b"x", b"%d" % at), at) for at in (5, 3, 9)]


def test_actors_drain_one_after_the_other_before_the_end_of_the_window() -> None:
    assert drained_at(0) < drained_at(1) < GlobalWindow().max_timestamp().micros
    with pytest.raises(ValueError, match="not 60"):
        drained_at(60)


def test_the_hosts_own_tag_is_not_the_stages() -> None:
    with pytest.raises(ValueError, match="stage First cannot put out under it"):
        ShardActor("First", CountingFactory(), {REJECTED: bytes}, no_time)
