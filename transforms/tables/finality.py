"""When a row is final, told by the views: rows of a stream are not written again for that alone. No Beam.

Input: the declaration of a table (``final_by``, ``closes``) and ``OUT/horizon.parquet``, which whoever runs a stream
replaces as the horizon moves on. Output: SQL. Time domain: microseconds of event time. A bounded run states finality
with each row of its own; its commit leaves the file without a row, and then only what is stated counts.
"""

from __future__ import annotations

import os
from dataclasses import astuple, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.tables import AT_ONCE, NEVER, Table
from transforms.tables.output import OutputFolder
from transforms.tables.sql import name_sql, path_sql

_SCHEMA = pa.schema([pa.field(name, pa.int64()) for name in ("horizon", "lateness", "silence")])


@dataclass(frozen=True, slots=True)
class Horizon:
    """How far a stream is: event time up to which journeys are folded, the lateness bound, the silence that ends a
    session (its gap, or the timeout of a tracker's sessions)."""

    horizon: int
    lateness: int
    silence: int


def write_horizon(target: Path, horizon: Horizon | None) -> None:
    """Put the file in place at once; None: no stream, rows say themselves whether they are final."""
    rows = [] if horizon is None else [astuple(horizon)]
    columns = [pa.array([row[i] for row in rows], type=pa.int64()) for i in range(len(_SCHEMA))]
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    pq.write_table(pa.table(columns, schema=_SCHEMA), temporary)
    temporary.replace(target)


def final_sql(folder: OutputFolder, table: Table) -> str:
    """SQL of ``is_final`` of a row, as it is stated or as the horizon tells. The file must be there for a stream."""
    if table.final_by == AT_ONCE:
        return "true"
    if table.final_by == NEVER or not folder.horizon.is_file():
        return "coalesce(is_final, false)"
    # a session ends with its silence, and no late event can come before the moment when it does; else strictly before
    bound, order = ("horizon - lateness - silence", "<=") if table.closes else ("horizon - lateness", "<")
    reach = f"(SELECT make_timestamptz(max({bound})) FROM read_parquet({path_sql(folder.horizon.resolve())}))"
    return f"coalesce(is_final OR {name_sql(table.final_by)} {order} {reach}, false)"
