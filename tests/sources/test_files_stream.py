"""A folder as a stream: each unit once, in the order of received time, never late, from any checkpoint on."""

from __future__ import annotations

import io
import json
import os
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import fastavro
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import codec, coders
from contracts.errors import InputError, UsageError
from contracts.event import Event, Identifier
from contracts.event_codec import event_to_record
from contracts.exchange import LedgerCount
from sources import files_stream, ordered
from sources.files_player import FilesMark, FilesSettings
from sources.files_stream import FilesReader, FilesSource, ReadFilesStream
from sources.ordered import Ordered, by_event_time
from sources.pubsub.read import DIRECT

NOON = 1_750_000_000_000_000


def event(number: int, received: int, event_time: int | None = None) -> Event:
    at = NOON + received
    happened = at if event_time is None else NOON + event_time
    return Event(f"e{number}", "view", happened, at, "web", "web", (Identifier("anonymous_id", "a"),))


def write(path: Path, events: Sequence[Event], interval: int = 300) -> str:
    """An event file, there under its name at once."""
    out = io.BytesIO()
    schema = codec.without_logical_types(codec.raw_schema("event"))
    records = [event_to_record(e) for e in events]
    fastavro.writer(out, schema, records, sync_interval=interval, sync_marker=b"0123456789abcdef")
    draft = path.with_name("." + path.name)
    draft.write_bytes(out.getvalue())
    os.replace(draft, path)
    return str(path)


def read_all(reader: FilesReader, number: int | None = None, patience: float = 10.0) -> list[str]:
    """Ids (or reasons) that a reader gives until its end, or so many of them; what comes is kept when nothing does."""
    out: list[str] = []
    deadline = time.monotonic() + patience
    has = number != 0 and reader.start()
    while number is None or len(out) < number:
        if has:
            unit = reader.get_current()
            out.append(unit.event.event_id if unit.event else unit.reason)
            if len(out) == number:
                break
        elif reader.get_watermark() == MAX_TIMESTAMP:
            break
        else:
            assert time.monotonic() < deadline, f"{len(out)} came"
            if number is None:
                reader.get_checkpoint_mark().finalize_checkpoint()
            time.sleep(0.002)
        has = reader.advance()
    return out


def reader_of(mark: FilesMark | None = None, **changes: Any) -> FilesReader:
    source = FilesSource(FilesSettings(**changes), secrets.token_hex(4))  # as in a process of its own
    coder = source.get_checkpoint_mark_coder()
    return source.create_reader(None, None if mark is None else coder.decode(coder.encode(mark)))


@pytest.fixture(name="files")
def files_fixture(tmp_path: Path) -> tuple[str, ...]:
    """Three files, out of order in themselves and between them, one of them damaged."""
    first = write(tmp_path / "a.avro", [event(n, 10 * n) for n in (5, 0, 3, 9)])
    second = write(tmp_path / "b.avro", [event(n, 10 * n) for n in (8, 1, 7)])
    third = Path(write(tmp_path / "c.avro", [event(n, 10 * n) for n in (6, 2, 4)], interval=1))
    third.write_bytes(third.read_bytes()[:-20])
    return first, second, str(third)


# --- order ---------------------------------------------------------------------------------------------------------


def test_units_come_in_the_order_of_received_time_across_files_and_damage_in_its_place(files: tuple[str, ...]) -> None:
    # e4 stood in the block that is cut off; the damage follows e2, which precedes it in its file
    reader = reader_of(files=files)
    assert read_all(reader) == ["e0", "e1", "e2", "truncated", "e3", "e5", "e6", "e7", "e8", "e9"]
    reader.close()


@given(
    plan=st.lists(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=12), min_size=1, max_size=4),
    by_event=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_runs_on_disk_give_what_sorting_in_memory_gives(
    plan: list[list[tuple[int, int]]], by_event: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("runs")
    names, everything, number = [], [], 0
    for index, times in enumerate(plan):
        events = [event(number := number + 1, received, happened) for received, happened in times]
        everything += [
            (e.event_time if by_event else e.received_time, index, place, e) for place, e in enumerate(events)
        ]
        names.append(write(folder / f"{index}.avro", events))
    expected = [e.event_id for *_, e in sorted(everything, key=lambda item: item[:3])]
    patch = pytest.MonkeyPatch()
    patch.setattr(ordered, "RUN_ITEMS", 3)
    patch.setattr(ordered, "FAN_IN", 2)
    try:
        order = Ordered(names, by_event_time) if by_event else Ordered(names)
        order.sort()
        given_out = [p.received.event.event_id for p in order.units() if p.received.event]
        assert given_out == expected
        assert [p.received.event.event_id for p in order.units(5) if p.received.event] == expected[5:]
        order.close()
    finally:
        patch.undo()


# --- watermark -----------------------------------------------------------------------------------------------------


@given(
    plan=st.lists(st.tuples(st.integers(0, 1_000), st.integers(-500, 1_500)), min_size=1, max_size=40),
    lateness=st.integers(0, 400),
)
@settings(max_examples=40, deadline=None)
def test_no_event_within_the_lateness_is_late(
    plan: list[tuple[int, int]], lateness: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    events = [event(number, received, received - delay) for number, (received, delay) in enumerate(plan)]
    folder = tmp_path_factory.mktemp("late")
    files = (write(folder / "a.avro", events[::2]), write(folder / "b.avro", events[1::2]))
    reader = reader_of(files=files)
    has, before, seen = reader.start(), MIN_TIMESTAMP, 0
    while reader.get_watermark() != MAX_TIMESTAMP:
        if has:
            unit = reader.get_current().event
            if unit.received_time - unit.event_time <= lateness:
                assert before == MIN_TIMESTAMP or unit.event_time >= before.micros - lateness
            assert reader.get_watermark() >= before
            before, seen = reader.get_watermark(), seen + 1
        else:
            reader.get_checkpoint_mark().finalize_checkpoint()
        has = reader.advance()
    assert seen == len(events)
    reader.close()


# --- checkpoints ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", [0, 1, 5, 10])
def test_a_reader_goes_on_from_any_checkpoint(files: tuple[str, ...], position: int) -> None:
    whole = read_all(reader_of(files=files))
    first = reader_of(files=files)
    head = read_all(first, position)
    mark = first.get_checkpoint_mark()
    at = first.get_watermark()
    first.close()
    second = reader_of(mark, files=files)
    assert second.get_watermark() == at
    assert head + read_all(second) == whole
    second.close()


def test_following_takes_new_files_once_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "day").mkdir(parents=True)
    asked = {"follow": str(folder), "look_every": 0.02, "idle_after": None}
    reader = reader_of(**asked)
    assert not reader.start()
    write(folder / "b.avro", [event(2, 20), event(1, 10)])
    (folder / ".c.avro").write_bytes(b"not yet")
    (folder / "_c.avro").write_bytes(b"not yet")
    (folder / "c.txt").write_bytes(b"never")
    seen: list[str] = []

    def more(one: FilesReader, number: int) -> list[str]:
        out: list[str] = []
        deadline = time.monotonic() + 10
        while len(out) < number:
            if one.advance():
                out.append(one.get_current().event.event_id)
            assert time.monotonic() < deadline
        return out

    seen += more(reader, 2)
    write(folder / "day" / "a.avro", [event(4, 40), event(3, 30), event(5, 50)])
    seen += more(reader, 1)
    mark = reader.get_checkpoint_mark()
    assert (len(mark.done), len(mark.current), mark.position) == (8, 8, 1)
    reader.close()
    write(folder / "d.avro", [event(6, 60)])
    again = reader_of(mark, **asked)
    seen += [again.get_current().event.event_id] if again.start() else []
    seen += more(again, 6 - len(seen))
    assert seen == ["e1", "e2", "e3", "e4", "e5", "e6"]
    assert again.get_watermark() == Timestamp(micros=NOON + 60)
    time.sleep(0.1)
    assert not again.advance()
    again.close()


def test_a_file_that_was_being_read_and_is_gone_is_said(tmp_path: Path) -> None:
    name = write(tmp_path / "a.avro", [event(1, 10), event(2, 20)])
    asked = {"follow": str(tmp_path), "look_every": 0.0}
    reader = reader_of(**asked)
    assert read_all(reader, 1) == ["e1"]
    mark = reader.get_checkpoint_mark()
    reader.close()
    os.remove(name)
    with pytest.raises(InputError, match="1 files that were being read are gone"):
        reader_of(mark, **asked).start()
    with pytest.raises(InputError, match="no such folder"):
        reader_of(follow=str(tmp_path / "absent")).start()


def test_following_lets_the_watermark_go_on_when_nothing_comes(tmp_path: Path) -> None:
    write(tmp_path / "a.avro", [event(1, 10)])
    reader = reader_of(follow=str(tmp_path), look_every=0.02, idle_after=0.1)
    read_all(reader, 1)
    deadline = time.monotonic() + 10
    while reader.get_watermark() <= Timestamp(micros=NOON + 10):
        assert not reader.advance()
        assert time.monotonic() < deadline
    assert reader.get_watermark() < Timestamp(micros=NOON + 10) + 10
    reader.close()


def test_a_rate_paces_it(tmp_path: Path) -> None:
    files = (write(tmp_path / "a.avro", [event(n, n) for n in range(60)]),)
    began = time.monotonic()
    reader = reader_of(files=files, rate=100.0)
    assert len(read_all(reader)) == 60
    assert 0.55 <= time.monotonic() - began < 3.0
    reader.close()


def test_readers_that_come_and_go_sort_once_and_a_late_close_disturbs_nobody(
    files: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    sorted_how_often: list[int] = []
    sort = Ordered.sort

    def counted(order: Ordered) -> None:
        sorted_how_often.append(1)
        sort(order)

    monkeypatch.setattr(Ordered, "sort", counted)
    source, seen, parked = FilesSource(FilesSettings(files=files), "many"), [], []
    mark = None
    for _ in range(5):
        reader = source.create_reader(None, mark)
        seen += read_all(reader, 2)
        mark = reader.get_checkpoint_mark()
        parked.append(reader)
    parked[0].close()
    parked[3].close()
    assert sorted_how_often == [1]
    assert seen == ["e0", "e1", "e2", "truncated", "e3", "e5", "e6", "e7", "e8", "e9"]
    # a bundle that failed: the same mark comes again, though something was handed out since
    failed = source.create_reader(None, mark)
    assert not failed.start()
    parked.append(failed)
    older = source.create_reader(None, FilesMark(b"", b"", 8, NOON, 1))
    assert read_all(older) == ["e8", "e9"]
    older.close()


# --- pipelines -----------------------------------------------------------------------------------------------------


def _said(unit: Any) -> str:
    return unit.event.event_id if unit.event else unit.reason


class _Stamp(beam.DoFn):  # type: ignore[misc]
    def process(self, element: Any, at: Any = beam.DoFn.TimestampParam) -> Iterator[tuple[str, int]]:
        yield _said(element), at.micros


@pytest.mark.parametrize("engine", ["portable", "direct"])
def test_a_pipeline_over_it_gives_each_unit_once_counts_it_and_ends(
    engine: str, files: tuple[str, ...], tmp_path: Path
) -> None:
    coders.register()
    runner = FnApiRunner() if engine == "portable" else BundleBasedDirectRunner()
    log = tmp_path / "log"
    with beam.Pipeline(runner=runner, options=PipelineOptions(["--streaming"])) as pipeline:
        outputs = pipeline | "Read" >> ReadFilesStream(FilesSettings(files=files), engine)
        _ = outputs.received | "Stamp" >> beam.ParDo(_Stamp()) | "Log" >> beam.ParDo(_Log(log))
        _ = outputs.ledger | "LogCounts" >> beam.ParDo(_Log(log))
    said = [json.loads(line) for line in log.read_text().splitlines()]
    units = {said[0]: said[1] for said in said if len(said) == 2}
    # the direct runner's TestStream knows milliseconds
    assert {name: at for name, at in units.items() if name != "truncated"} == {
        f"e{n}": (NOON + 10 * n) // 1000 * 1000 if engine == "direct" else NOON + 10 * n
        for n in (0, 1, 2, 3, 5, 6, 7, 8, 9)
    }
    counts: Counter[str] = Counter()
    for source, kind, number in (s for s in said if len(s) == 3):
        assert kind == "received"
        counts[source] += number
    assert counts == {"web": len(units) - 1, "c.avro": 1}


class _Log(beam.DoFn):  # type: ignore[misc]
    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def process(self, element: Any) -> Iterator[None]:
        said = [element.source, element.kind, element.n] if isinstance(element, LedgerCount) else list(element)
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(said) + "\n")
        yield from ()


def test_event_time_windows_close_as_the_stream_goes(files: tuple[str, ...]) -> None:
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(["--streaming"])) as pipeline:
        outputs = pipeline | "Read" >> ReadFilesStream(FilesSettings(files=files[:2]))
        sums = (
            outputs.received
            | beam.Map(lambda unit: ("all", 1)).with_output_types(tuple[str, int])
            | beam.WindowInto(beam.window.FixedWindows(3600))
            | beam.CombinePerKey(sum)
        )
        assert_that(sums, equal_to([("all", 7)]))


def test_the_direct_runner_refuses_what_it_cannot_do(files: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="can neither follow"):
        ReadFilesStream(FilesSettings(follow="x"), DIRECT)
    monkeypatch.setattr(files_stream, "MOST_ON_DIRECT", 5)
    with pytest.raises(UsageError, match="too many for the direct runner"):
        _ = beam.Pipeline() | ReadFilesStream(FilesSettings(files=files), DIRECT)


def test_settings_that_do_not_fit_together_are_refused() -> None:
    for wrong in ({}, {"files": ("a",), "follow": "b"}, {"files": ("a",), "rate": 0.0}):
        with pytest.raises(ValueError, match=r"\w"):
            FilesSettings(**wrong)
