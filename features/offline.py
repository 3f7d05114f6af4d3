"""Features as they were: the history file that Feast reads, and point-in-time training joins over it.

The ``features`` table keeps every revision of a vector and tombstones of those that vanished. A join must see neither,
so ``materialise_history`` writes the newest revision of each (person, evaluation point), without deleted ones, as one
Parquet file. Importing this module imports no Feast, pandas or DuckDB; its functions do.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.errors import InputError, OutputError
from contracts.tables import feature_tables
from features import names
from features.journey_features import FEATURE_NAMES
from transforms.tables.part_names import SCHEMA_PART, bounded_revision
from transforms.tables.sql import newest_rows, parts_sql, quote

if TYPE_CHECKING:
    import pandas as pd

_MEMORY = "700MB"
_COLUMNS = (names.JOIN_KEY, "at", "created", *FEATURE_NAMES, "revision")


def history_file(out: Path) -> Path:
    """Where the history of an output folder is."""
    return out / "feast" / names.HISTORY_FILE


def create_history(out: Path) -> Path:
    """The history file; an empty one when there is none yet, since Feast wants a file to point at."""
    target = history_file(out)
    if not target.is_file():
        import pyarrow as pa
        import pyarrow.parquet as pq

        moment = pa.timestamp("us", tz="UTC")
        types = {names.JOIN_KEY: pa.string(), "at": moment, "created": moment, "revision": pa.int64()}
        schema = pa.schema([pa.field(name, types.get(name, pa.float64())) for name in _COLUMNS])
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(target)
        pq.write_table(schema.empty_table(), temporary)
        temporary.replace(target)
    return target


def materialise_history(out: Path) -> Path:
    """Write the history file from the ``features`` table of OUT, whole, and put it in place at once.

    A feature that was declared after a part was written is null in the rows of that part: it was never computed.

    Raises:
        InputError: OUT has no features yet.
        OutputError: the table cannot be read, or the file cannot be written.
    """
    import duckdb

    parts = sorted((out / "tables" / "features").glob("*.parquet"))
    if not parts:
        raise InputError(f"{out} has no features", hint="run `wayline run --out` on it first")
    target = history_file(out)
    temporary = _temporary(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        connection = duckdb.connect(":memory:")
        try:
            connection.execute(f"SET memory_limit = '{_MEMORY}'")
            connection.execute(f"SET temp_directory = {quote(str(target.parent / 'spill'))}")
            connection.execute("SET autoinstall_known_extensions = false")
            connection.execute("SET autoload_known_extensions = false")
            connection.execute("SET preserve_insertion_order = false")
            connection.execute(_history_sql(connection, parts, temporary))
        finally:
            connection.close()
        temporary.replace(target)
    except duckdb.Error as error:
        raise OutputError(f"the features of {out} cannot be read: {error}") from error
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return target


def historical(
    out: Path, entities: pd.DataFrame, *, service: str = names.JOURNEY_SERVICE, materialise: bool = True
) -> pd.DataFrame:
    """Features as they were known at given moments: a point-in-time join through Feast.

    For each row the newest vector is taken whose evaluation point and whose ``created`` (the latest received time of
    the events used) are both at or before ``event_timestamp``, so nothing leaks that arrived later. To get the vector
    of an evaluation point itself, ask at the moment when it was first known, ``max(at, created)``, not at ``at``.

    Args:
        out: output folder of a run.
        entities: columns ``person_id`` and ``event_timestamp`` (UTC), and any others, which are kept; none may be
            named like a feature.
        service: Feast feature service; by default every feature, and the revision.
        materialise: write the history file first. False when the caller just did.

    Returns:
        The rows of ``entities`` in their order, with the features; NaN where the person had no vector yet.

    Raises:
        InputError: OUT has no features, or ``entities`` has not the columns described.
    """
    missing = {names.JOIN_KEY, "event_timestamp"} - set(entities.columns)
    if missing:
        raise InputError(f"the entity rows have no column {', '.join(sorted(missing))}")
    clash = set(entities.columns) & {*FEATURE_NAMES, "revision", _ROW}
    if clash:
        raise InputError(f"the entity rows have columns named like features: {', '.join(sorted(clash))}")
    if materialise:
        materialise_history(out)
    from features.repository import open_store

    store = open_store(out)
    wanted = store.get_feature_service(service)
    if entities.empty:
        columns = [field.name for projection in wanted.feature_view_projections for field in projection.features]
        return entities.assign(**{name: [] for name in columns})
    numbered = entities.reset_index(drop=True)
    numbered[_ROW] = range(len(numbered))
    job = store.get_historical_features(entity_df=numbered, features=wanted, filter_by_created_timestamp=True)
    joined: Any = job.to_df().sort_values(_ROW).drop(columns=_ROW)
    joined.index = entities.index
    frame: pd.DataFrame = joined
    return frame


_ROW = "wayline_row"


def _history_sql(connection: Any, parts: list[Path], target: Path) -> str:
    source = parts_sql(parts)
    present = {row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
    columns = ", ".join(f'"{name}"' if name in present else f'CAST(NULL AS DOUBLE) AS "{name}"' for name in _COLUMNS)
    if all(bounded_revision(part.name) is not None or part.name == SCHEMA_PART for part in parts):
        # the newest revision is found over the key alone: a window over the whole rows took three times as long
        newest = (
            f"{source} SEMI JOIN"
            f' (SELECT {names.JOIN_KEY}, "at", max(revision) AS revision FROM {source} GROUP BY ALL)'
            f' USING ({names.JOIN_KEY}, "at", revision)'
        )
    else:
        # a stream that was set back may have written a row twice, and so has a compaction just now
        newest = f"({newest_rows(feature_tables((), ())[0], source)})"
    return (
        f"COPY (SELECT {columns} FROM {newest} WHERE NOT is_deleted)"
        f" TO {quote(str(target))} (FORMAT parquet, COMPRESSION zstd)"
    )


def _temporary(target: Path) -> Path:
    return target.with_name(f"{target.name}.{os.getpid()}.tmp")
