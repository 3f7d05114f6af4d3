"""Tables in BigQuery: what a stream states becomes upserts there, by the same keys, under the same rule of what counts.

Contract: (writer shard, ``StatedRows``) in, as ``transforms.tables.stream``; out come the rows that BigQuery refused. A
row goes to ``DATASET.NAME_rows`` as an upsert by the Storage Write API, at least once: its primary key is the key of
the table with its facets, its change sequence number (sequence, revision), so that BigQuery keeps the row that our
views would show, in whatever order rows arrive and however often. A tombstone is a row with ``is_deleted``, which the
views of ``infra/bigquery`` hide; they also tell finality. The event log goes to ``log_rows`` in the same way. Tables
and views are made by those files, not here: a table without its primary key would keep every revision.

Errors: a dataset or table that is missing fails the job when it starts; ``EngineError`` where the graph is built and
Beam's connector, which needs Java, cannot be had. State: none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import grpc
import numpy as np
from apache_beam.io.gcp.bigquery import BigQueryDisposition, WriteToBigQuery
from apache_beam.metrics import Metrics
from apache_beam.typehints.row_type import RowTypeConstraint
from apache_beam.utils.timestamp import Timestamp

from contracts import coders as _coders  # noqa: F401  # registers the coder of StatedRows
from contracts.errors import EngineError
from contracts.exchange import StatedRows
from contracts.tables import BLOB, BOOL, INT, JSON, META, REAL, TEXT, TIME, Table
from transforms.tables.log import LOG_TABLE
from transforms.tables.stated import newest_stated

ROWS = "_rows"
"""End of the name of a table of rows; without it is the name of its view."""

_TYPES: dict[str, Any] = {
    TEXT: str,
    JSON: str,
    TIME: Timestamp,
    INT: np.int64,
    REAL: np.float64,
    BOOL: bool,
    BLOB: bytes,
}
_CHANGE = RowTypeConstraint.from_fields([("mutation_type", str), ("change_sequence_number", str)])
_MOST_SECTION = 2**64 - 1


def camel_case(name: str) -> str:
    """``run_ledger`` to ``RunLedger``: tables in labels."""
    return "".join(word.capitalize() for word in name.split("_"))


def row_type(table: Table) -> Any:
    """The Beam type of an upsert of a table: ``record`` beside ``row_mutation_info``, as the connector wants them."""
    required = set(table.statement)
    columns = (*table.columns, *META)
    fields = [(c.name, _TYPES[c.kind] if c.name in required else _TYPES[c.kind] | None) for c in columns]
    record = RowTypeConstraint.from_fields(fields)
    return RowTypeConstraint.from_fields([("row_mutation_info", _CHANGE), ("record", record)])


def upserts(table: Table, batch: StatedRows) -> Iterator[Any]:
    """Rows of one table as upserts.

    Raises:
        ValueError: a row does not fit its table, or its sequence or revision is negative.
    """
    times = {place for place, column in enumerate(table.columns) if column.kind == TIME}
    names = (*table.column_names, *(column.name for column in META))
    for sequence, revision, deleted, values in newest_stated(table, [batch]):
        made = [Timestamp(micros=v) if place in times and v is not None else v for place, v in enumerate(values)]
        meta = {"revision": revision, "is_final": False, "is_deleted": deleted, "sequence": sequence}
        record = dict(zip(names, (*made, *(meta[column.name] for column in META)), strict=True))
        change = beam.Row(mutation_type="UPSERT", change_sequence_number=change_number(sequence, revision))
        yield beam.Row(row_mutation_info=change, record=beam.Row(**record))


def change_number(sequence: int, revision: int) -> str:
    """What BigQuery orders the changes of a key by: sections of hexadecimal digits, compared as numbers, in order."""
    if not (0 <= sequence <= _MOST_SECTION and 0 <= revision <= _MOST_SECTION):
        raise ValueError(f"sequence {sequence} and revision {revision} must be from 0 to 2^64 - 1")
    return f"{sequence:x}/{revision:x}"


class _Upserts(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    """The rows of one table among what is stated."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def process(self, element: tuple[bytes, StatedRows]) -> Iterator[Any]:
        batch = element[1]
        if batch.table == self._table.name:
            yield from upserts(self._table, batch)


class WriteStatedToBigQuery(beam.PTransform):  # type: ignore[misc]
    """(writer shard, ``StatedRows``) to upserts in BigQuery. Output: refused rows, by the name of their table.

    Args:
        project: Google Cloud project.
        dataset: in which ``infra/bigquery`` made the tables.
        tables: every table that may be stated; the log goes without saying.
        every: seconds between two flushes of a worker; 0 leaves it to the connector.
        expansion_service: address of a running one; None starts Beam's own, with Java.
    """

    def __init__(
        self,
        project: str,
        dataset: str,
        tables: Sequence[Table],
        *,
        every: int = 0,
        expansion_service: str | None = None,
    ) -> None:
        super().__init__()
        self._place = f"{project}:{dataset}"
        self._tables = (*tables, LOG_TABLE)
        self._every = every
        self._expansion_service = expansion_service

    def expand(self, rows: beam.PCollection[tuple[bytes, StatedRows]]) -> Mapping[str, beam.PCollection]:
        refused = {}
        for table in self._tables:
            label = camel_case(table.name)
            made = rows | f"{label}Upserts" >> beam.ParDo(_Upserts(table)).with_output_types(row_type(table))
            write = WriteToBigQuery(
                table=f"{self._place}.{table.name}{ROWS}",
                method=WriteToBigQuery.Method.STORAGE_WRITE_API,
                use_at_least_once=True,
                use_cdc_writes=True,
                primary_key=list(table.statement),
                triggering_frequency=self._every,
                create_disposition=BigQueryDisposition.CREATE_NEVER,
                write_disposition=BigQueryDisposition.WRITE_APPEND,
                expansion_service=self._expansion_service,
            )
            try:
                written = made | f"Write{label}" >> write
            except (OSError, RuntimeError, grpc.RpcError) as error:
                where = self._expansion_service or "Beam's own, which is started with Java and fetched from Maven"
                raise EngineError(
                    f"Beam's BigQuery connector cannot be had from {where}: {str(error).splitlines()[0]}",
                    hint="install Java 17 and let this machine reach Maven, or name one that runs: "
                    "--bigquery-connector HOST:PORT",
                ) from error
            refused[table.name] = written.failed_rows_with_errors
        return refused


class CountRefused(beam.PTransform):  # type: ignore[misc]
    """Rows that BigQuery refused, by table: counted as ``wayline.bigquery/refused_TABLE``, and nothing more.

    What they hold is in the parts of OUT. An alarm belongs on these counters.
    """

    def expand(self, refused: Mapping[str, beam.PCollection]) -> beam.PCollection[None]:
        counted = [
            rows | f"Count{camel_case(name)}" >> beam.ParDo(_Count(f"refused_{name}")).with_output_types(bytes)
            for name, rows in refused.items()
        ]
        return counted | "AllRefused" >> beam.Flatten()


class _Count(beam.DoFn):  # type: ignore[misc]
    def __init__(self, name: str) -> None:
        self._counter = Metrics.counter("wayline.bigquery", name)

    def process(self, _row: Any) -> None:
        self._counter.inc()
