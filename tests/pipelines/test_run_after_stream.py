"""A bounded run on a folder whose rows and log a stream wrote: it takes them for what they are."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from run_world import HOUR, MINUTE, NOON, Runs, assert_same, event

from pipelines.definitions import load_definitions
from transforms.tables.output import writing
from transforms.tables.part_names import StreamPart, parts_in
from transforms.tables.stream_folder import begin_stream

CLOCK = 1_764_000_000_000_000
PHONE, BOTH = {"anonymous_id": "a"}, {"anonymous_id": "a", "user_id": "u"}
FIRST = [event(n, "product_view", NOON + n * MINUTE, PHONE) for n in range(4)]
SECOND = [event(9, "login", NOON + 2 * HOUR, BOTH), event(10, "pricing_view", NOON + 3 * HOUR, {"user_id": "u"})]


def as_of_a_stream(runs: Runs) -> None:
    """Make every part one of a stream: its name, revisions of the clock, sequences of strands, nothing final."""
    with writing(runs.out) as folder:
        number = begin_stream(folder, load_definitions(runs.config).tables)
        for pane, path in enumerate(parts_in(folder.log)):
            path.rename(folder.log / StreamPart(number, "00", pane).name)
        for place in folder.tables.iterdir():
            for pane, path in enumerate(parts_in(place)):
                rows = pq.read_table(path)
                stated = {
                    "revision": pc.add(rows["revision"], CLOCK),
                    "sequence": pa.array([CLOCK] * rows.num_rows, pa.int64()),
                    "is_final": pa.array([False] * rows.num_rows),
                }
                for name, values in stated.items():
                    rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), values)
                pq.write_table(rows, place / StreamPart(number, "00", pane).name)
                path.unlink()


def test_a_bounded_run_goes_on_from_a_streams_log_and_wins_over_its_rows(make_runs: Callable[[str], Runs]) -> None:
    once, split = make_runs("once"), make_runs("split")
    once.run([*FIRST, *SECOND])
    split.run(FIRST)
    as_of_a_stream(split)
    report = split.run([*FIRST[2:], *SECOND])
    assert (report.total.accepted, report.total.duplicate) == (2, 2), "it knows the events of the stream"
    assert report.revision > CLOCK
    assert_same(split.views(), once.views())
