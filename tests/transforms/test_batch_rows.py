"""Rows are batched as they come: all of them, in few parts, under names that a retry repeats."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.testing.util import assert_that

from contracts import coders
from contracts.exchange import Action, TableFile
from contracts.tables import ACTIONS
from transforms.tables import keyed
from transforms.tables.keyed import BatchRows
from transforms.tables.rows import action_row

coders.register()
RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
FIRST = Action("a0", "d0", "p", "s", "email", "t", "sent", "", 1)
ACTIONS_SENT = [dataclasses.replace(FIRST, action_id=f"a{n}", decision_id=f"d{n}") for n in range(10)]


def ids(batch: TableFile) -> list[str]:
    table = pq.read_table(pa.BufferReader(batch.parquet), columns=["action_id"])
    return [str(value) for value in table.column("action_id").to_pylist()]


def test_every_row_is_in_one_batch() -> None:
    def whole(batches: list[TableFile]) -> None:
        assert sorted(name for batch in batches for name in ids(batch)) == [a.action_id for a in ACTIONS_SENT]
        assert {batch.table for batch in batches} == {"actions"}

    with beam.Pipeline(runner=RUNNER) as p:
        sent = p | beam.Create(ACTIONS_SENT, reshuffle=False).with_output_types(Action)
        assert_that(sent | BatchRows(ACTIONS, action_row, 1, False), whole)


def test_a_full_batch_goes_at_once_and_a_retry_names_parts_the_same() -> None:
    def parts() -> Iterator[str]:
        fn = keyed._BatchRows(ACTIONS, action_row, 1, False)
        fn.start_bundle()
        for action in ACTIONS_SENT * (keyed.ROWS_A_PART // len(ACTIONS_SENT)):
            yield from (batch.part for batch in fn.process(action))
        for action in ACTIONS_SENT[3:]:
            yield from (batch.part for batch in fn.process(action))
        yield from (windowed.value.part for windowed in fn.finish_bundle())

    first, again = list(parts()), list(parts())
    assert first == again
    assert len(set(first)) == 2
