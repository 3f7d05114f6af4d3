"""The commit of a bounded run: what it staged becomes revisions in OUT, never doubles. No Beam.

For each table the staged rows are compared with the newest rows of OUT by key: unchanged rows are dropped, new and
changed ones become a part of the new revision (with the sequence that the key has), and for a table that the run
states whole (``Table.refolded``) a key that vanished gets a tombstone. On a first run nothing is compared and the
staged parts are moved as they are. When
events of earlier runs were erased, the old parts of refolded tables are replaced whole, and the log, ``decisions`` and
``actions`` are written anew without what was erased, so that nothing of it stays on disk. The history file of the
feature store, a copy of a table, is removed: it is made again from the tables when somebody asks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from contracts.tables import ACTIONS, DECISIONS, META, Table
from features.names import HISTORY_FILE
from transforms.tables.batches import arrow_schema
from transforms.tables.decided_notes import Noted, read_noted
from transforms.tables.finality import write_horizon
from transforms.tables.log import ERASED
from transforms.tables.output import MARKS, TOMBSTONES, Moves, OutputFolder, publish
from transforms.tables.part_names import SCHEMA_PART, parts_in
from transforms.tables.sql import name_sql, newest_rows, newest_statements, parts_sql, quote

PURGES = "purges"
"""Folder below the staging folder: (strand, time up to which it is erased)."""

_OF_DECISIONS = (DECISIONS.name, ACTIONS.name)
_MEMORY = "700MB"


def connect(folder: OutputFolder, spill: Path | None = None) -> Any:
    """An in-memory DuckDB for set operations over parts; stays off the network.

    Args:
        spill: folder for what does not fit into memory; by default one in the staging folder.
    """
    spill = spill or folder.staging / "spill"
    connection = duckdb.connect(":memory:")
    connection.execute(f"SET memory_limit = '{_MEMORY}'")
    connection.execute(f"SET temp_directory = {quote(str(spill))}")
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET autoload_known_extensions = false")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET preserve_insertion_order = false")
    return connection


def commit(
    folder: OutputFolder,
    tables: Sequence[Table],
    revision: int,
) -> dict[str, int]:
    """Publish what lies in the staging folder. Returns the rows each table gained.

    Args:
        tables: every table of OUT, also those without a staged row.
    """
    rename: list[tuple[str, str]] = []
    remove: list[str] = []
    gained: dict[str, int] = {}
    connection = connect(folder)
    try:
        erased = sorted((folder.staging / ERASED).glob("*.parquet"))
        noted = read_noted(folder.decided_notes)
        forgotten = _forget_decisions(connection, folder, noted)
        rewrite = bool(erased) or forgotten
        for table in tables:
            staged = sorted((folder.staging / table.name).glob("*.parquet"))
            current = parts_in(folder.tables / table.name)
            rename.append(_schema_part(folder, table))
            if rewrite and table.refolded:
                remove.extend(_relative(folder, path) for path in current)
                current = []
            if not current:
                for path in staged:
                    rename.append((_relative(folder, path), f"tables/{table.name}/r{revision:06d}-{path.name}"))
                gained[table.name] = sum(pq.read_metadata(path).num_rows for path in staged)
                continue
            delta = folder.staging / f"delta-{table.name}.parquet"
            gained[table.name] = _write_delta(connection, table, staged, current, revision, delta)
            if forgotten and table.name in _OF_DECISIONS:
                whole = folder.staging / f"kept-{table.name}.parquet"
                _write_kept(connection, table, [*current, delta], whole)
                remove.extend(_relative(folder, path) for path in current)
                rename.append((_relative(folder, whole), f"tables/{table.name}/r{revision:06d}-kept.parquet"))
            elif gained[table.name]:
                target = f"tables/{table.name}/r{revision:06d}-delta.parquet"
                rename.append((_relative(folder, delta), target))
        # every row says itself whether it is final; what a stream said of its rows is over
        no_stream = folder.staging / folder.horizon.name
        write_horizon(no_stream, None)
        rename.append((_relative(folder, no_stream), folder.horizon.name))
        for path in sorted((folder.staging / "log").glob("*.parquet")):
            rename.append((_relative(folder, path), f"log/r{revision:06d}-{path.name}"))
        for path in sorted(path for end in (TOMBSTONES, MARKS) for path in folder.staging.glob(f"*{end}")):
            rename.append((_relative(folder, path), f"stores/{path.name}"))
        if rewrite:
            # with what a process that was killed while writing it may have left
            remove.extend(_relative(folder, path) for path in sorted(folder.feast.glob(f"{HISTORY_FILE}*")))
        if erased:
            for path, kept in _without_erased(connection, folder, erased):
                remove.append(_relative(folder, path))
                if kept is not None:
                    rename.append((_relative(folder, kept), f"log/r{revision:06d}-kept-{path.name}"))
    finally:
        connection.close()
    publish(folder, Moves(tuple(rename), tuple(remove)))
    noted.forget()
    return gained


def _forget_decisions(connection: Any, folder: OutputFolder, noted: Noted) -> bool:
    """Fill ``forgotten`` with decisions that were noted, and those of erased strands up to their erasure. Returns
    whether there is one.

    By the strand is found what nobody noted: earlier versions did not, and a store may have been lost.
    """
    purges = [row for path in (folder.staging / PURGES).glob("*.json") for row in json.loads(path.read_text())]
    parts = parts_in(folder.tables / DECISIONS.name)
    if not (purges or noted.decisions) or not parts:
        return False
    for name, columns, rows in (
        ("purges", "strand VARCHAR, until BIGINT", purges),
        ("decided", "decision_id VARCHAR", [[decision_id] for decision_id in noted.decisions]),
    ):
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} ({columns})")
        if rows:
            connection.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(rows[0]))})", rows)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE forgotten AS SELECT DISTINCT decision_id FROM "
        f'{parts_sql(parts)} LEFT JOIN purges ON anchor_strand = strand AND epoch_us("at") <= until '
        "WHERE strand IS NOT NULL OR decision_id IN (SELECT decision_id FROM decided)"
    )
    return bool(connection.execute("SELECT count(*) FROM forgotten").fetchone()[0])


def _write_kept(connection: Any, table: Table, parts: Sequence[Path], target: Path) -> None:
    """The newest rows that belong to no forgotten decision."""
    select = f"SELECT * FROM ({newest_rows(table, parts_sql(parts))}) ANTI JOIN forgotten USING (decision_id)"
    connection.execute(f"COPY ({select}) TO {quote(str(target))} (FORMAT parquet, COMPRESSION zstd)")


def _without_erased(
    connection: Any, folder: OutputFolder, erased: Sequence[Path]
) -> Iterator[tuple[Path, Path | None]]:
    """Each part of the log that holds an erased event, and its replacement without it; None if nothing is left."""
    connection.execute(f"CREATE OR REPLACE TEMP VIEW erased AS SELECT event_id, event FROM {parts_sql(erased)}")
    for path in parts_in(folder.log):
        part = parts_sql([path])
        left = f"SELECT l.* FROM {part} l ANTI JOIN erased e ON l.event_id = e.event_id AND l.event = e.event"
        (rows,) = connection.execute(f"SELECT count(*) FROM ({left})").fetchone()
        if rows == pq.read_metadata(path).num_rows:
            continue
        kept = folder.staging / f"kept-{path.name}" if rows else None
        if kept is not None:
            connection.execute(f"COPY ({left}) TO {quote(str(kept))} (FORMAT parquet, COMPRESSION zstd)")
        yield path, kept


def _write_delta(
    connection: Any, table: Table, staged: Sequence[Path], current: Sequence[Path], revision: int, target: Path
) -> int:
    """Changed, new and vanished rows to ``target``; returns how many there are."""
    names = [name_sql(column.name) for column in (*table.columns, *META)]
    keys = [name_sql(name) for name in table.statement]
    empty = target.parent / f"empty-{table.name}.parquet"
    pq.write_table(arrow_schema(table).empty_table(), empty)
    connection.execute(f"CREATE OR REPLACE TEMP VIEW staged AS {newest_statements(table, parts_sql([empty, *staged]))}")
    # a column that did not exist when the current parts were written reads as null
    connection.execute(f"CREATE OR REPLACE TEMP VIEW known AS {newest_statements(table, parts_sql([empty, *current]))}")
    same_key = " AND ".join(f"s.{key} IS NOT DISTINCT FROM k.{key}" for key in keys)
    compared = [name for name in names if name not in {'"revision"', '"is_deleted"', '"sequence"'}]
    changed = " OR ".join(f"s.{name} IS DISTINCT FROM k.{name}" for name in compared)
    # the run is right about a row whoever had it: it takes the sequence that is known, and a greater revision
    stated = [f"s.{name}" for name in names[:-1]] + ["coalesce(k.sequence, 0) AS sequence"]
    select = (
        f"SELECT {', '.join(stated)} FROM staged s LEFT JOIN known k ON {same_key} "
        f"WHERE k.revision IS NULL OR k.is_deleted OR {changed}"
    )
    if table.refolded:
        columns = ", ".join(f"k.{name_sql(name)}" for name in table.column_names)
        select += (
            f" UNION ALL SELECT {columns}, {revision}::BIGINT AS revision, k.is_final, true AS is_deleted, "
            f"coalesce(k.sequence, 0) AS sequence FROM known k ANTI JOIN staged s ON {same_key} WHERE NOT k.is_deleted"
        )
    connection.execute(f"COPY ({select}) TO {quote(str(target))} (FORMAT parquet, COMPRESSION zstd)")
    return int(pq.read_metadata(target).num_rows)


def _schema_part(folder: OutputFolder, table: Table) -> tuple[str, str]:
    path = folder.staging / f"schema-{table.name}.parquet"
    pq.write_table(arrow_schema(table).empty_table(), path)
    return _relative(folder, path), f"tables/{table.name}/{SCHEMA_PART}"


def _relative(folder: OutputFolder, path: Path) -> str:
    return str(path.relative_to(folder.root))
