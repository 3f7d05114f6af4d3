"""Compaction: the small parts of a table become a larger one, while a stream writes and others read. No Beam.

Of the parts that are merged the newest row of each key is kept. A tombstone is kept as long as any part on the disk,
a replaced one included, holds a row of its key: else that row would come back. The order makes it safe at any
instant: the new part is put in place, then the old ones are listed as replaced (``transforms.tables.retired``), and
removed by a later compaction. A reader sees a row from the new part, the old ones, or both, and of one key the newest
counts. A process killed in between leaves parts that the next compaction merges again.

Parts of a stream are left until they are old enough: an engine that is set back to a checkpoint writes those after it
anew, and must find them under their names. The age is told by the newest part of the last stream, so that the parts of
a stream that is down do not age. Errors: ``OutputError``. State: the parts themselves. Times are seconds, wall clock.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.errors import OutputError
from contracts.tables import Table
from transforms.tables.commit import connect
from transforms.tables.output import OutputFolder, to_disk
from transforms.tables.part_names import SCHEMA_PART, compaction_number, parts_in, stream_part
from transforms.tables.retired import Retired, changes
from transforms.tables.sql import name_sql, newest_statements, parts_sql, quote
from transforms.tables.stream_folder import last_stream

OLDER_THAN = 600.0
GRACE = 600.0
SMALL = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Terms:
    """When a part is merged, and when a replaced one removed.

    ``clock``: seconds since 1970, asked when something is done. ``older_than``: seconds until a part of a stream is
    merged, longer than the time between two checkpoints. ``grace``: seconds until a replaced part is removed, longer
    than a query. ``small``: bytes from which a part is left as it is. ``whole``: take every part that is old enough, so
    that no row that is not the newest of its key stays on the disk: after an erasure.
    """

    clock: Callable[[], float]
    older_than: float = OLDER_THAN
    grace: float = GRACE
    small: int = SMALL
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Compacted:
    """What became of a table: ``parts`` merged into at most one, with how many ``rows`` before and ``kept`` after."""

    table: str
    parts: int
    rows: int
    kept: int


def compact_table(folder: OutputFolder, table: Table, retired: Retired, terms: Terms) -> Compacted | None:
    """Merge the small parts of one table, in an OUT held by ``compacting``; None when there is nothing to merge.

    Raises:
        OutputError: a part cannot be read, or the new one not written.
    """
    place = folder.tables / table.name
    parts = [part for part in parts_in(place) if part not in retired]
    old = old_enough(parts, last_stream(folder), terms)
    chosen = old if terms.whole else [part for part in old if part.stat().st_size < terms.small]
    if len(chosen) < 2 and not (terms.whole and chosen and _worth_writing(chosen[0])):
        return None
    read = changes(chosen)
    schema = [path for path in (place / SCHEMA_PART,) if path.exists()]
    with merging(folder) as connection:
        newest = newest_statements(table, parts_sql([*schema, *chosen]))
        keys = " AND ".join(f"n.{k} IS NOT DISTINCT FROM o.{k}" for k in map(name_sql, table.statement))
        # also in the parts that are merged now: they stay for a while, and go in any order
        held = f"SELECT 1 FROM {parts_sql(parts_in(place))} o WHERE NOT o.is_deleted AND {keys}"
        select = f"SELECT * FROM ({newest}) n WHERE NOT is_deleted OR EXISTS ({held})"
        rows = connection.execute(f"SELECT count(*) FROM {parts_sql(chosen)}").fetchone()[0]
        kept = put_merged(connection, place, select)
    retired.add(read, terms.clock())
    return Compacted(table.name, len(chosen), int(rows), kept)


def old_enough(parts: Sequence[Path], last: int, terms: Terms) -> list[Path]:
    """The parts that nobody will write anew.

    Args:
        last: number of the last stream on OUT, which may still go on.
    """
    now = terms.clock()
    changed = {part: part.stat().st_mtime for part in parts}
    numbers = {part: found.stream for part in parts if (found := stream_part(part.name)) is not None}
    # a stream that is down may go on: its last parts do not grow old
    newest = max((changed[part] for part, stream in numbers.items() if stream == last), default=now)
    ages = {p: (min(newest, now) if stream == last else now) - changed[p] for p, stream in numbers.items()}
    return [part for part in parts if part not in ages or ages[part] >= terms.older_than]


def _worth_writing(alone: Path) -> bool:
    """Whether a part that nothing is merged with can have become smaller: it has tombstones, or was never compacted."""
    if compaction_number(alone.name) is None:
        return True
    return bool(pc.any(pq.read_table(alone, columns=["is_deleted"])["is_deleted"]).as_py())


@contextmanager
def merging(folder: OutputFolder) -> Iterator[Any]:
    """A connection for merging parts of an OUT; its failures are OutputErrors."""
    spill = folder.root / ".compact-spill"
    connection = connect(folder, spill)
    try:
        yield connection
    except (duckdb.Error, OSError) as error:
        raise OutputError(
            f"the tables of {folder.root} cannot be compacted: {str(error).splitlines()[0]}",
            hint="make room or mend permissions; nothing was lost, compact again",
        ) from error
    finally:
        connection.close()
        shutil.rmtree(spill, ignore_errors=True)


def put_merged(connection: Any, place: Path, select: str) -> int:
    """Write what a query gives as the next compacted part of a folder, at once and durably. Returns its rows.

    Without a row there is no part.
    """
    number = 1 + max((n for path in place.iterdir() if (n := compaction_number(path.name)) is not None), default=0)
    temporary = place / f"c{number:06d}-00.tmp"
    try:
        sql = f"COPY ({select}) TO {quote(str(temporary))} (FORMAT parquet, COMPRESSION zstd)"
        kept = int(connection.execute(sql).fetchone()[0])
        if kept:
            to_disk(temporary)
            temporary.replace(temporary.with_suffix(".parquet"))
            to_disk(place)
    finally:
        temporary.unlink(missing_ok=True)
    return kept
