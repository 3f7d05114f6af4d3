"""Rows for BigQuery: upserts with our order of rows, and a graph that runs against a connector that stands in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, NamedTuple

import apache_beam as beam
import grpc
import numpy as np
import pytest
from apache_beam import coders
from apache_beam.io.gcp.bigquery import StorageWriteToBigQuery
from apache_beam.portability import common_urns
from apache_beam.portability.api import (
    beam_artifact_api_pb2_grpc,
    beam_expansion_api_pb2,
    beam_expansion_api_pb2_grpc,
    external_transforms_pb2,
)
from apache_beam.runners.portability.expansion_service import ExpansionServiceServicer
from apache_beam.transforms.ptransform import PTransform
from apache_beam.typehints.schemas import named_tuple_from_schema, named_tuple_to_schema
from hypothesis import given
from hypothesis import strategies as st
from written import THINGS

from contracts.exchange import StatedRows
from contracts.tables import DEAD_LETTERS, FIXED_TABLES, PERSONS, Table
from transforms.tables.bigquery import WriteStatedToBigQuery, change_number, row_type, upserts
from transforms.tables.log import LOG_TABLE
from transforms.tables.stated import stated

NUMBERS = st.integers(0, 2**64 - 1)


def as_bigquery_orders(number: str) -> tuple[int, ...]:
    """Sections of at most 16 hexadecimal digits, compared as numbers, the first first."""
    sections = number.split("/")
    assert len(sections) <= 4
    assert all(1 <= len(section) <= 16 for section in sections)
    return tuple(int(section, 16) for section in sections)


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

CONNECTOR = StorageWriteToBigQuery.IDENTIFIER


class HandleErrors(NamedTuple):
    output: str


class Configuration(NamedTuple):
    table: str
    create_disposition: str | None
    write_disposition: str | None
    triggering_frequency_seconds: np.int64 | None
    auto_sharding: bool | None
    num_streams: np.int32 | None
    use_at_least_once_semantics: bool | None
    use_cdc_writes: bool | None
    primary_key: Sequence[str] | None
    clustering_fields: Sequence[str] | None
    big_lake_configuration: Mapping[str, str] | None
    error_handling: HandleErrors | None


"""The fields of the connector of Beam 2.77 that ``WriteToBigQuery`` fills."""


class Upserted(beam.DoFn):  # type: ignore[misc]
    """Keeps the row of the greatest change number of each primary key, as BigQuery does."""

    kept: ClassVar[dict[str, dict[tuple[Any, ...], tuple[tuple[int, ...], Any]]]] = {}

    def __init__(self, table: str, key: list[str]) -> None:
        self._table = table
        self._key = key

    def process(self, row: Any) -> Iterator[Any]:
        number = as_bigquery_orders(row.row_mutation_info.change_sequence_number)
        key = tuple(getattr(row.record, name) for name in self._key)
        table = self.kept.setdefault(self._table, {})
        if key not in table or number > table[key][0]:
            table[key] = (number, row.record)
        yield from ()


class StandIn(PTransform):  # type: ignore[misc]
    """Beam's connector, as far as its configuration and its rows are concerned."""

    asked: ClassVar[dict[str, Any]] = {}

    def __init__(self, payload: external_transforms_pb2.SchemaTransformPayload) -> None:
        super().__init__()
        assert payload.identifier == CONNECTOR
        kind = named_tuple_from_schema(payload.configuration_schema)
        self._configuration = coders.RowCoder(payload.configuration_schema).decode(payload.configuration_row)
        assert set(kind._fields) == set(Configuration._fields)
        StandIn.asked[self._configuration.table] = self._configuration

    def expand(self, rows: beam.PCollection) -> dict[str, beam.PCollection]:
        given = self._configuration
        refused = rows | "Refused" >> beam.ParDo(Upserted(given.table, list(given.primary_key))).with_output_types(str)
        return {given.error_handling["output"]: refused, "post_write": refused | "Written" >> beam.Filter(bool)}

    def to_runner_api_parameter(self, _context: Any) -> tuple[str, None]:
        return "wayline:test:bigquery", None


PTransform.register_urn(common_urns.schematransform_based_expand.urn, external_transforms_pb2.SchemaTransformPayload)(
    lambda _proto, payload, _context: StandIn(payload)
)


class Service(ExpansionServiceServicer):  # type: ignore[misc]
    """Beam's expansion service with one schema transform."""

    def DiscoverSchemaTransform(self, request: Any, context: Any = None) -> Any:  # noqa: N802  # of the protocol
        found = beam_expansion_api_pb2.SchemaTransformConfig(
            config_schema=named_tuple_to_schema(Configuration),
            input_pcollection_names=["input"],
            output_pcollection_names=["FailedRowsWithErrors"],
        )
        return beam_expansion_api_pb2.DiscoverSchemaTransformResponse(schema_transform_configs={CONNECTOR: found})


@pytest.fixture
def service() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    servicer = Service()
    beam_expansion_api_pb2_grpc.add_ExpansionServiceServicer_to_server(servicer, server)
    beam_artifact_api_pb2_grpc.add_ArtifactRetrievalServiceServicer_to_server(servicer.artifact_service(), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    yield f"localhost:{port}"
    server.stop(None)


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
