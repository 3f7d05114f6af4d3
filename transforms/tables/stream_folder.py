"""OUT for a stream: its number, the schema parts, the views. What a launcher does before the graph runs. No Beam.

Streams on one OUT follow each other and are numbered, so that the panes of a new one cannot be taken for those of the
one before. A stream that goes on from a checkpoint keeps its number. Errors: ``OutputError``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

import pyarrow.parquet as pq

from contracts.errors import OutputError
from contracts.tables import Table
from transforms.tables.batches import arrow_schema
from transforms.tables.output import OutputFolder, write_durably
from transforms.tables.part_names import SCHEMA_PART, parts_in, stream_part
from transforms.tables.views import create_views

_NUMBER = "number.json"


def last_stream(folder: OutputFolder) -> int:
    """The number of the last stream on OUT; 0 when there was none. Raises OutputError when it cannot be read."""
    path = folder.streams / _NUMBER
    noted = 0
    if path.exists():
        try:
            noted = int(json.loads(path.read_text(encoding="utf-8"))["stream"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OutputError(
                f"{path} cannot be read: {error}",
                hint='write {"stream": N} into it, with N no less than the number of any stream before',
            ) from error
    parts = (path for place in (*folder.tables.glob("*/"), folder.log) for path in parts_in(place))
    found = (part.stream for path in parts if (part := stream_part(path.name)) is not None)
    return max([noted, *found])


def begin_stream(folder: OutputFolder, tables: Sequence[Table], *, resume: bool = False) -> int:
    """Make OUT ready for a stream: every table has its columns and its view. Returns the number of the stream.

    Args:
        folder: held for writing.
        tables: every table of OUT.
        resume: the stream goes on from a checkpoint of the last one.

    Raises:
        OutputError: OUT cannot be written, or ``resume`` and there was no stream.
    """
    last = last_stream(folder)
    if resume and last == 0:
        raise OutputError(f"{folder.root} never had a stream that could go on", hint="start a new one")
    number = last if resume else last + 1
    try:
        for needed in (folder.streams, folder.log_erased):
            needed.mkdir(parents=True, exist_ok=True)
        write_durably(folder.streams / _NUMBER, json.dumps({"stream": number}))
        for table in tables:
            place = folder.tables / table.name
            place.mkdir(parents=True, exist_ok=True)
            temporary = place / f"schema.{os.getpid()}.tmp"
            pq.write_table(arrow_schema(table).empty_table(), temporary)
            temporary.replace(place / SCHEMA_PART)
    except OSError as error:
        raise OutputError(f"{folder.root} cannot be written: {error.strerror}") from error
    create_views(folder, tables)
    return number
