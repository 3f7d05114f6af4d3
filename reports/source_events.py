"""What sources emit, read from where events really are: event files, or the events table of an output folder.

Input: files or OUT. Output: ``transforms.journey.check.emitted.Seen``, or events as they are. Whoever knows better
what sources emit gives the same three values. Errors: ``InputError``, ``OutputError``. State: none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from contracts.errors import InputError
from contracts.event import Event
from contracts.tables import EVENTS, Table
from reports.lookup import JourneyTables
from transforms.avro_file import Damage, read_events
from transforms.inputs import list_inputs, open_file
from transforms.journey.check.emitted import Seen


def seen_in_files(patterns: Sequence[str]) -> Iterator[Seen]:
    """Every named event that the files give, whether or not a run would take it."""
    for event in events_of(patterns):
        if not isinstance(event, Damage) and event.name:
            yield event.name, event.context.path, 1


def events_of(patterns: Sequence[str]) -> Iterator[Event | Damage]:
    """Every event of the files and, in their place, the parts that cannot be read. Raises InputError."""
    for name in list_inputs(patterns):
        try:
            with open_file(name) as stream:
                yield from read_events(stream)
        except OSError as error:
            raise InputError(f"{name}: cannot be read: {error.strerror or type(error).__name__}") from error


def seen_in_tables(out: Path, tables: Sequence[Table]) -> Iterator[Seen]:
    """Every accepted event of OUT."""
    opened = JourneyTables(out, tables)
    try:
        counts = Counter((row["name"], row["path"]) for row in opened.rows(EVENTS.name, "TRUE"))
    finally:
        opened.close()
    for (name, path), times in counts.items():
        yield name, path, times
