"""Which row of a key counts, when a bounded run follows a stream, and when rows are final."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from written import THINGS, VISITS, Stated, part, shown

from contracts.tables import AT_ONCE, FIXED_TABLES, Table
from transforms.tables.batches import columns_of, table_file
from transforms.tables.commit import commit
from transforms.tables.finality import Horizon, write_horizon
from transforms.tables.output import next_revision, writing
from transforms.tables.parts import write_part

CLOCK = 1_764_000_000_000_000
"""A revision of a stream: UTC microseconds."""


def bounded(out: Path, rows: list[tuple[str, int]], *, final: bool = False, now: int = 0) -> int:
    """A bounded run that finds these rows; returns its revision."""
    with writing(out) as folder:
        revision = next_revision(folder, now)
        batch = table_file(THINGS, "p0", columns_of([(k, v, v) for k, v in rows], 3), revision=revision, is_final=final)
        if batch is not None:
            write_part(folder.staging, batch)
        commit(folder, (THINGS, VISITS), revision)
    return revision


@settings(deadline=None, max_examples=20)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(1, 4), st.booleans()), unique=True),
    st.integers(1, 3),
)
def test_the_greatest_sequence_then_revision_counts_however_rows_lie_in_parts(
    tmp_path_factory: pytest.TempPathFactory, stated: list[tuple[str, int, int, bool]], parts: int
) -> None:
    out = tmp_path_factory.mktemp("o")
    part(out, "_schema.parquet", [])
    # of one (key, sequence, revision) there is one statement
    rows: dict[tuple[str, int, int], Stated] = {}
    for number, (key, sequence, revision, deleted) in enumerate(stated):
        rows[key, sequence, revision] = (key, number, sequence, revision, deleted)
    for place in range(parts):
        part(out, f"s0001-00-{place:08d}.parquet", list(rows.values())[place::parts])
    newest: dict[str, Stated] = {}
    for row in rows.values():
        if row[0] not in newest or row[2:4] > newest[row[0]][2:4]:
            newest[row[0]] = row
    assert shown(out) == sorted((row[0], row[1]) for row in newest.values() if not row[4])


def test_parts_of_an_earlier_version_have_no_sequence_and_are_read(tmp_path: Path) -> None:
    for revision in (1, 2):
        old = part(tmp_path, f"r{revision:06d}-p0.parquet", [("a", revision, 0, revision, False)])
        pq.write_table(pq.read_table(old).drop_columns(["sequence"]), old)
    assert shown(tmp_path) == [("a", 2)]
    part(tmp_path, "s0001-00-00000000.parquet", [("a", 3, 7, 1, False)])
    assert shown(tmp_path) == [("a", 3)]


def test_a_bounded_run_after_a_stream_wins_whatever_the_sequence(tmp_path: Path) -> None:
    bounded(tmp_path, [("a", 1), ("b", 1)])
    rows = [("a", 2, 90, CLOCK, False), ("b", 2, 80, CLOCK + 5, False), ("c", 2, 0, CLOCK + 9, False)]
    part(tmp_path, "s0001-00-00000000.parquet", rows)  # type: ignore[arg-type]
    assert bounded(tmp_path, [("a", 3), ("c", 2), ("d", 3)]) == CLOCK + 10
    assert shown(tmp_path) == [("a", 3), ("c", 2), ("d", 3)]
    assert bounded(tmp_path, [("a", 3), ("b", 4), ("c", 2), ("d", 3)]) == CLOCK + 11
    assert shown(tmp_path) == [("a", 3), ("b", 4), ("c", 2), ("d", 3)]


def test_a_stream_after_a_bounded_run_goes_on_with_its_sequences(tmp_path: Path) -> None:
    part(tmp_path / "o", "s0001-00-00000000.parquet", [("a", 1, 90, CLOCK, False)])
    (tmp_path / "o" / "format.json").write_text('{"format": 1}')
    bounded(tmp_path / "o", [("a", 2)])
    part(tmp_path / "o", "s0002-00-00000000.parquet", [("a", 3, 89, CLOCK + 99, False)])
    assert shown(tmp_path / "o") == [("a", 2)], "of an older owner"
    part(tmp_path / "o", "s0002-00-00000001.parquet", [("a", 4, 91, CLOCK + 99, False)])
    assert shown(tmp_path / "o") == [("a", 4)]


def test_the_revision_after_a_stream_is_no_less_than_the_clock(tmp_path: Path) -> None:
    assert bounded(tmp_path, [("a", 1)], now=CLOCK) == 1
    part(tmp_path, "c000001-00.parquet", [("a", 2, 0, CLOCK, False)])
    assert bounded(tmp_path, [("a", 1)], now=CLOCK + 1_000) == CLOCK + 1_000


@pytest.mark.parametrize("table", [THINGS, VISITS])
@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 40), min_size=1, unique=True), st.integers(0, 40), st.integers(0, 9), st.integers(0, 9))
def test_views_tell_finality_of_a_streams_rows_as_a_bounded_run_states_it(
    tmp_path_factory: pytest.TempPathFactory,
    table: Table,
    times: list[int],
    horizon: int,
    lateness: int,
    silence: int,
) -> None:
    out = tmp_path_factory.mktemp("o")
    part(out, "s0001-00-00000000.parquet", [(f"k{time}", time, 0, 1, False) for time in times], table)
    assert not any(final for (final,) in shown(out, table, "is_final")), "nobody said how far the stream is"
    write_horizon(out / "horizon.parquet", Horizon(horizon, lateness, silence))
    # transforms/journey/sessions.py and worker.py
    expected = {
        f"k{time}": time + silence <= horizon - lateness if table.closes else time < horizon - lateness
        for time in times
    }
    assert dict(shown(out, table, "k, is_final")) == expected


def test_after_a_bounded_run_only_what_rows_state_counts(tmp_path: Path) -> None:
    bounded(tmp_path, [("a", 1), ("b", 2)])
    write_horizon(tmp_path / "horizon.parquet", Horizon(100, 1, 1))
    assert shown(tmp_path, columns="k, is_final") == [("a", True), ("b", True)]
    bounded(tmp_path, [("a", 1), ("b", 2)])
    assert shown(tmp_path, columns="k, is_final") == [("a", False), ("b", False)]


def test_every_declared_column_of_finality_is_a_time() -> None:
    for table in FIXED_TABLES:
        if table.final_by not in ("", AT_ONCE):
            assert {column.name: column.kind for column in table.columns}[table.final_by] == "timestamp", table.name
