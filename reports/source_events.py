"""What sources emit, read from where events really are: event files, or the events table of an output folder.

Input: files or OUT. Output: ``transforms.journey.check.emitted.Seen``, one for each name and path. Whoever knows better
what sources emit gives the same three values. Errors: ``InputError``, ``OutputError``. State: none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from contracts.tables import EVENTS, Table
from reports.lookup import JourneyTables
from transforms.avro_file import Damage, read_events
from transforms.inputs import list_inputs, open_file
from transforms.journey.check.emitted import Seen


def seen_in_files(patterns: Sequence[str]) -> Iterator[Seen]:
    """Every named event that the files give, whether or not a run would take it."""
    counts = Counter[tuple[str, str | None]]()
    for name in list_inputs(patterns):
        with open_file(name) as stream:
            for event in read_events(stream):
                if not isinstance(event, Damage) and event.name:
                    counts[event.name, event.context.path] += 1
    for (name, path), times in counts.items():
        yield name, path, times


def seen_in_tables(out: Path, tables: Sequence[Table]) -> Iterator[Seen]:
    """Every accepted event of OUT."""
    opened = JourneyTables(out, tables)
    try:
        counts = Counter((row["name"], row["path"]) for row in opened.rows(EVENTS.name, "TRUE"))
    finally:
        opened.close()
    for (name, path), times in counts.items():
        yield name, path, times
