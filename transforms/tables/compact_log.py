"""Compaction of the event log: small parts become a larger one, and what a stream erased leaves every part. No Beam.

The log is a set of events, not of keys: losers of a conflict stay beside the winner, and only rows that are the same
become one. ``OUT/log/erased`` names erased events; a part that holds one is written anew without it, however large, and
the name is kept until no part on the disk holds it. The order of steps is that of ``transforms.tables.compact``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transforms.tables.compact import Compacted, Terms, merging, old_enough, put_merged
from transforms.tables.log import LOG, LOG_TABLE
from transforms.tables.output import OutputFolder
from transforms.tables.part_names import parts_in
from transforms.tables.retired import Retired, changes
from transforms.tables.sql import name_sql, parts_sql, path_sql
from transforms.tables.stream_folder import last_stream

_SAME = " AND ".join(f"l.{name_sql(name)} = e.{name_sql(name)}" for name in LOG_TABLE.key)


def compact_log(folder: OutputFolder, retired: Retired, terms: Terms) -> Compacted | None:
    """Merge the small parts of the log, in an OUT held by ``compacting``; None when there is nothing to do.

    Raises:
        OutputError: a part cannot be read, or the new one not written.
    """
    last = last_stream(folder)
    parts = [part for part in parts_in(folder.log) if part not in retired]
    old = old_enough(parts, last, terms)
    erased = old_enough(parts_in(folder.log_erased), last, terms)
    with merging(folder) as connection:
        holding = _holding(connection, old, erased)
        chosen = old if terms.whole else [p for p in old if p in holding or p.stat().st_size < terms.small]
        if len(chosen) < 2 and not holding and not (terms.whole and chosen):
            compacted = None
        else:
            read = changes(chosen)
            select = f"SELECT DISTINCT * FROM {parts_sql(chosen)} l"
            if erased:
                select += f" WHERE NOT EXISTS (SELECT 1 FROM {parts_sql(erased)} e WHERE {_SAME})"
            rows = connection.execute(f"SELECT count(*) FROM {parts_sql(chosen)}").fetchone()[0]
            kept = put_merged(connection, folder.log, select)
            retired.add(read, terms.clock())
            compacted = Compacted(LOG, len(chosen), int(rows), kept)
        # what is named as erased by files of which no part holds an event any more need not be named
        every = parts_in(folder.log)
        for path in erased:
            if not _holding(connection, every, [path]):
                path.unlink(missing_ok=True)
    return compacted


def settle_log(folder: OutputFolder, now: float) -> None:
    """Before a bounded run reads the log: take out at once what streams erased. No stream may be writing.

    OUT is held by ``compacting`` and for writing.
    """
    if not parts_in(folder.log_erased):
        return
    terms = Terms(lambda: now, older_than=-math.inf, grace=0)
    retired = Retired(folder)
    compact_log(folder, retired, terms)
    retired.remove_before(now)
    compact_log(folder, retired, terms)


def _holding(connection: Any, parts: Sequence[Path], erased: Sequence[Path]) -> set[Path]:
    """The parts that hold an erased event."""
    if not parts or not erased:
        return set()
    listed = ", ".join(map(path_sql, parts))
    found = connection.execute(
        f"SELECT DISTINCT l.filename FROM read_parquet([{listed}], union_by_name = true, filename = true) l "
        f"SEMI JOIN {parts_sql(erased)} e ON {_SAME}"
    ).fetchall()
    return {Path(name) for (name,) in found}
