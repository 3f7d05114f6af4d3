"""Panes of a stream as parts: names, retries, restarts, the log."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.testing.test_stream import TestStream
from hypothesis import given, settings
from hypothesis import strategies as st
from written import THINGS, shown

from contracts.errors import OutputError
from contracts.event import Identifier
from contracts.exchange import StatedRows, StrandEvent
from transforms.tables.log import erased_rows, log_rows, read_log
from transforms.tables.output import writing
from transforms.tables.pane import PaneWriter
from transforms.tables.part_names import StreamPart, parts_in, stream_part
from transforms.tables.stated import stated
from transforms.tables.stream import WriteStated
from transforms.tables.stream_folder import begin_stream, last_stream


def begun(out: Path, *, resume: bool = False) -> int:
    with writing(out) as folder:
        return begin_stream(folder, (THINGS,), resume=resume)


def rows(key: str, value: int, revision: int, *, sequence: int = 0, deleted: bool = False) -> StatedRows:
    return stated(THINGS, revision, [(key, value, value)], sequence=sequence, deleted=deleted)


def names(out: Path, table: str = "things") -> list[str]:
    """Parts that hold a row."""
    return [p.name for p in parts_in(out / "tables" / table) if pq.read_metadata(p).num_rows]


def test_a_pane_is_a_part_and_the_same_pane_again_the_same_part(tmp_path: Path) -> None:
    writer = PaneWriter(tmp_path, (THINGS,), begun(tmp_path))
    for _ in range(2):
        writer.write(b"\x0a", 3, [rows("a", 1, 5), rows("a", 2, 6)])
    assert names(tmp_path) == ["s0001-0a-00000003.parquet"]
    assert shown(tmp_path) == [("a", 2)]
    assert shown(tmp_path, columns="k, revision, is_final") == [("a", 6, False)]


def test_a_deleted_row_needs_no_more_than_its_key(tmp_path: Path) -> None:
    writer = PaneWriter(tmp_path, (THINGS,), begun(tmp_path))
    writer.write(b"", 0, [rows("a", 1, 5)])
    writer.write(b"", 1, [stated(THINGS, 6, [("a", None, None)], deleted=True)])
    assert shown(tmp_path) == []


def test_rows_of_an_unknown_table_or_width_are_a_defect_by_name(tmp_path: Path) -> None:
    writer = PaneWriter(tmp_path, (), begun(tmp_path))
    with pytest.raises(ValueError, match="things"):
        writer.write(b"", 0, [rows("a", 1, 5)])
    writer = PaneWriter(tmp_path, (THINGS,), 1)
    with pytest.raises(ValueError, match="things has 1 values"):
        writer.write(b"", 0, [stated(THINGS, 5, [("a",)])])
    with pytest.raises(ValueError, match="things"):
        writer.write(b"", 0, [stated(THINGS, 5, [("a", "no number", 1)])])


def test_streams_of_one_folder_are_numbered_and_one_that_goes_on_keeps_its_number(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="never had a stream"):
        begun(tmp_path / "o", resume=True)
    assert begun(tmp_path / "o") == 1
    PaneWriter(tmp_path / "o", (THINGS,), 1).write(b"\x01", 7, [rows("a", 1, 5)])
    assert begun(tmp_path / "o", resume=True) == 1
    assert begun(tmp_path / "o") == 2
    PaneWriter(tmp_path / "o", (THINGS,), 2).write(b"\x01", 0, [rows("b", 1, 5)])
    assert names(tmp_path / "o") == ["s0001-01-00000007.parquet", "s0002-01-00000000.parquet"]
    for path in parts_in(tmp_path / "o" / "tables" / "things"):
        path.unlink()
    with writing(tmp_path / "o") as folder:
        assert last_stream(folder) == 2, "compaction may have taken its parts"


@given(st.integers(1, 99_999), st.binary(max_size=3), st.integers(0, 10**9))
def test_a_stream_parts_name_reads_back(stream: int, shard: bytes, pane: int) -> None:
    part = StreamPart(stream, shard.hex(), pane)
    assert stream_part(part.name) == part


Pane = tuple[bool, str, int]
"""(the other table instead, key, value)."""

OTHER = type(THINGS)("others", THINGS.key, THINGS.columns, "")


@settings(deadline=None, max_examples=15)
@given(st.data())
def test_after_a_restart_nothing_of_the_lost_attempt_is_shown(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Panes of two shards, set back now and then to an earlier number; the oracle is what the last attempts wrote."""
    out = tmp_path_factory.mktemp("o")
    with writing(out) as folder:
        begin_stream(folder, (THINGS, OTHER))
    writers = [PaneWriter(out, (THINGS, OTHER), 1) for _ in range(2)]
    history: dict[bytes, list[list[Pane]]] = {b"\x00": [], b"\x01": []}
    revision = 0
    for _ in range(data.draw(st.integers(1, 8), label="panes")):
        shard = data.draw(st.sampled_from(sorted(history)))
        if history[shard] and data.draw(st.integers(0, 3)) == 0:
            # the whole job is set back: every shard to some earlier pane, written by another process or the same one
            for panes in history.values():
                del panes[data.draw(st.integers(0, len(panes))) :]
            writers.reverse()
            for each, panes in history.items():
                # a shard that never writes again keeps what is on the disk: here each writes its next pane at once
                revision += 1
                panes.append([(False, f"{each.hex()}-restart", revision)])
                writers[0].write(each, len(panes) - 1, [rows(f"{each.hex()}-restart", revision, revision)])
        pane = data.draw(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), st.integers(0, 9)), min_size=1))
        batches = []
        for other, key, value in pane:
            revision += 1
            batches.append(stated(OTHER if other else THINGS, revision, [(f"{shard.hex()}-{key}", value, value)]))
        history[shard].append([(other, f"{shard.hex()}-{key}", value) for other, key, value in pane])
        writers[0].write(shard, len(history[shard]) - 1, batches)
    for table, other in ((THINGS, False), (OTHER, True)):
        expected = {k: v for panes in history.values() for pane in panes for o, k, v in pane if o == other}
        import duckdb

        connection = duckdb.connect(str(out / "wayline.duckdb"), read_only=True)
        assert connection.execute(f"SELECT k, v FROM {table.name} ORDER BY k").fetchall() == sorted(expected.items())
        connection.close()


def event(event_id: str) -> StrandEvent:
    return StrandEvent(event_id, 1, 2, "web", Identifier("anonymous_id", "x"), None, b"bytes of " + event_id.encode())


def test_accepted_events_go_to_the_log_and_erased_ones_beside_it(tmp_path: Path) -> None:
    writer = PaneWriter(tmp_path, (), begun(tmp_path))
    writer.write(b"\x00", 0, [log_rows([event("e1"), event("e2")], 5), rows_erased("e0")])
    (part,) = parts_in(tmp_path / "log")
    assert [e.event_id for e in read_log(part)] == ["e1", "e2"]
    assert next(iter(read_log(part))).event == b"bytes of e1"
    (erased,) = parts_in(tmp_path / "log" / "erased")
    assert pq.read_table(erased).to_pylist() == [
        {"event_id": "e0", "primary_namespace": "anonymous_id", "primary_value": "x"}
    ]


def rows_erased(event_id: str) -> StatedRows:
    return erased_rows([(event_id, Identifier("anonymous_id", "x"))], 5)


def in_elements(values: Iterable[int]) -> list[tuple[bytes, StatedRows]]:
    return [(bytes([value % 2]), rows(f"k{value}", value, value + 1)) for value in values]


def test_direct_writing_keeps_every_row_under_names_of_its_own(tmp_path: Path) -> None:
    stream = begun(tmp_path)
    for start in (0, 10):
        with beam.Pipeline(runner="FnApiRunner") as pipeline:
            made = pipeline | beam.Create(in_elements(range(start, start + 10)))
            _ = {"Things": made} | "Tables" >> WriteStated(str(tmp_path), (THINGS,), stream, direct=True)
    assert shown(tmp_path) == sorted((f"k{n}", n) for n in range(20))
    assert len(names(tmp_path)) >= 4


def test_panes_of_the_engine_become_parts(tmp_path: Path) -> None:
    """The grouping as the engines with retries run it; each pane of a shard has a number of its own."""
    options = PipelineOptions([])
    options.view_as(StandardOptions).streaming = True
    stream = (
        TestStream()
        .add_elements(in_elements(range(4)))
        .advance_processing_time(10)
        .add_elements(in_elements(range(4, 8)))
        .advance_processing_time(10)
        .advance_watermark_to_infinity()
    )
    number = begun(tmp_path)
    with beam.Pipeline(runner="BundleBasedDirectRunner", options=options) as pipeline:
        made = pipeline | stream.with_output_types(tuple[bytes, StatedRows])
        _ = {"Things": made} | "Tables" >> WriteStated(str(tmp_path), (THINGS,), number, every=5)
    assert shown(tmp_path) == sorted((f"k{n}", n) for n in range(8))
    assert {stream_part(name).shard for name in names(tmp_path)} == {"00", "01"}  # type: ignore[union-attr]
