"""Rows for BigQuery: upserts with our order of rows, and a graph that runs against a connector that stands in."""

from __future__ import annotations

from collections.abc import Iterator

import apache_beam as beam
import pytest
from apache_beam import coders
from bigquery_connector import StandIn, Upserted, as_bigquery_orders, connector
from hypothesis import given
from hypothesis import strategies as st
from written import THINGS

from contracts.exchange import StatedRows
from contracts.tables import DEAD_LETTERS, FIXED_TABLES, PERSONS, Table
from transforms.tables.bigquery import WriteStatedToBigQuery, change_number, row_type, upserts
from transforms.tables.log import LOG_TABLE
from transforms.tables.stated import stated

NUMBERS = st.integers(0, 2**64 - 1)


@given(st.tuples(NUMBERS, NUMBERS), st.tuples(NUMBERS, NUMBERS))
def test_changes_are_ordered_by_sequence_then_revision(one: tuple[int, int], other: tuple[int, int]) -> None:
    first, second = (as_bigquery_orders(change_number(*pair)) for pair in (one, other))
    assert (first < second) == (one < other)


def test_a_negative_revision_is_a_defect_by_name() -> None:
    with pytest.raises(ValueError, match="revision -1"):
        change_number(0, -1)


def test_rows_keep_every_microsecond_and_byte_through_the_coder() -> None:
    at = 1_764_000_000_000_001
    row = ("d1", "validate", "no_name", "web", "s", at, "", "event", b"\x00\xff")
    batch = stated(DEAD_LETTERS, 7, [row], sequence=3)
    (made,) = upserts(DEAD_LETTERS, batch)
    coder = coders.registry.get_coder(row_type(DEAD_LETTERS))
    back = coder.decode(coder.encode(made))
    assert back.row_mutation_info.mutation_type == "UPSERT"
    assert back.row_mutation_info.change_sequence_number == "3/7"
    assert back.record.at.micros == at
    assert back.record.payload == b"\x00\xff"
    assert (back.record.revision, back.record.sequence, back.record.is_deleted) == (7, 3, False)


@pytest.mark.parametrize("table", [*FIXED_TABLES, LOG_TABLE], ids=lambda table: table.name)
def test_a_tombstone_of_any_table_has_a_row(table: Table) -> None:
    values = {"text": "k", "timestamp": 1, "bool": False, "int": 1}
    key = [values.get(c.kind, "k") if c.name in table.key else None for c in table.columns]
    (made,) = upserts(table, stated(table, 7, [tuple(key)], deleted=True))
    coder = coders.registry.get_coder(row_type(table))
    record = coder.decode(coder.encode(made)).record
    assert record.is_deleted
    if table is PERSONS:
        assert record.is_current, "the facet of who speaks of current persons"


# --- a connector that stands in ------------------------------------------------------------------------------------


@pytest.fixture
def service() -> Iterator[str]:
    with connector() as address:
        yield address


def test_the_graph_gives_the_connector_upserts_under_our_keys(service: str) -> None:
    said = [
        (b"\x00", stated(THINGS, 5, [("a", 1, 1), ("b", 1, 1)])),
        (b"\x00", stated(THINGS, 9, [("a", 9, 9)], sequence=1)),
        (b"\x01", stated(THINGS, 7, [("a", 7, 7)], sequence=2)),
        (b"\x01", stated(THINGS, 8, [("b", None, None)], deleted=True)),
        (b"\x01", stated(PERSONS, 8, [("p", 1, 2, True, None)])),
        (b"\x01", stated(PERSONS, 9, [("p", 1, 2, False, "q")])),
    ]
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        made = pipeline | beam.Create(said).with_output_types(tuple[bytes, StatedRows])
        refused = made | "BigQuery" >> WriteStatedToBigQuery(
            "project", "wayline", (THINGS, PERSONS), every=2, expansion_service=service
        )
    assert set(refused) == {"things", "persons", "log"}
    asked = StandIn.asked["project:wayline.persons_rows"]
    assert list(asked.primary_key) == ["person_id", "is_current"]
    assert asked.use_cdc_writes
    assert asked.use_at_least_once_semantics
    assert asked.create_disposition == "CREATE_NEVER"
    assert asked.triggering_frequency_seconds == 2
    things = Upserted.kept["project:wayline.things_rows"]
    assert {key: (row.v, row.is_deleted) for key, (_, row) in things.items()} == {
        ("a",): (7, False),
        ("b",): (None, True),
    }
    assert set(Upserted.kept["project:wayline.persons_rows"]) == {("p", True), ("p", False)}
