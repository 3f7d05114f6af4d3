"""A connector to BigQuery that stands in for Beam's, which needs Java and a network: an expansion service of its kind.

It takes the configuration that ``WriteToBigQuery`` fills, and keeps rows as BigQuery does, in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import apache_beam as beam
import grpc
import numpy as np
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


def as_bigquery_orders(number: str) -> tuple[int, ...]:
    """Sections of at most 16 hexadecimal digits, compared as numbers, the first first."""
    sections = number.split("/")
    assert len(sections) <= 4
    assert all(1 <= len(section) <= 16 for section in sections)
    return tuple(int(section, 16) for section in sections)


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


@contextmanager
def connector() -> Iterator[str]:
    """Its address, as long as it runs."""
    server = grpc.server(ThreadPoolExecutor(2))
    servicer = Service()
    beam_expansion_api_pb2_grpc.add_ExpansionServiceServicer_to_server(servicer, server)
    beam_artifact_api_pb2_grpc.add_ArtifactRetrievalServiceServicer_to_server(servicer.artifact_service(), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    try:
        yield f"localhost:{port}"
    finally:
        server.stop(None)
