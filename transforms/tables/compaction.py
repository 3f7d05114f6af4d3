"""Compacting OUT: every table and the log, one after the other. What a housekeeper and ``wayline tables`` call."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.tables import Table
from transforms.tables.compact import Compacted, Terms, compact_table
from transforms.tables.compact_log import compact_log
from transforms.tables.output import OutputFolder
from transforms.tables.retired import Retired, compacting


def compact(folder: OutputFolder, tables: Sequence[Table], terms: Terms, *, wait: bool = True) -> list[Compacted]:
    """Compact OUT, also while a stream writes it. Returns what became of each table of which parts were merged.

    Args:
        wait: until another compaction or a bounded run has ended; without it LockedError says so.

    Raises:
        OutputError: a part cannot be read, or a new one not written.
        LockedError: somebody else has the parts.
    """
    done: list[Compacted] = []
    with compacting(folder, wait=wait):
        retired = Retired(folder)
        retired.remove_before(terms.clock() - terms.grace)
        for table in tables:
            if (compacted := compact_table(folder, table, retired, terms)) is not None:
                done.append(compacted)
        if (compacted := compact_log(folder, retired, terms)) is not None:
            done.append(compacted)
    return done
