"""OUT for a stream: its number, the schema parts, the views. What a launcher does before the graph runs. No Beam.

Streams on one OUT follow each other and are numbered, so that the panes of a new one cannot be taken for those of the
one before. A stream that goes on from a checkpoint keeps its number. Errors: ``OutputError``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

import pyarrow.parquet as pq

from contracts.errors import OutputError, UsageError
from contracts.tables import Table
from transforms.tables.batches import arrow_schema
from transforms.tables.output import OutputFolder, write_durably
from transforms.tables.part_names import SCHEMA_PART, parts_in, stream_part
from transforms.tables.views import create_views

DEFAULT_SHARDS = 16
"""Actors a keyed stage where nothing else is known. A cluster takes a thousand; OUT keeps that of its first stream."""
_NUMBER = "number.json"


def last_stream(folder: OutputFolder) -> int:
    """The number of the last stream on OUT; 0 when there was none. Raises OutputError when it cannot be read."""
    noted = _noted(folder).get("stream", 0)
    parts = (path for place in (*folder.tables.glob("*/"), folder.log) for path in parts_in(place))
    found = (part.stream for path in parts if (part := stream_part(path.name)) is not None)
    return max([noted, *found])


def shards_before(folder: OutputFolder) -> int | None:
    """Actors a stage of the streams before on OUT (0: journeys by person); None when there was none."""
    return _noted(folder).get("shards")


def check_shards(folder: OutputFolder, shards: int) -> None:
    """Whether a stream on OUT may have so many actors a stage (0: journeys by person).

    What left the memory of an actor lies in the record store under its shard, and a checkpoint has a state a shard.

    Raises:
        UsageError: the streams before had another number.
    """
    before = shards_before(folder)
    if before is not None and before != shards:
        raise UsageError(
            f"{folder.root} was streamed with --state-shards {before}, and its stores are laid out for that",
            hint=f"give --state-shards {before}, or stream to another folder",
        )


def _noted(folder: OutputFolder) -> dict[str, int]:
    path = folder.streams / _NUMBER
    if not path.exists():
        return {}
    try:
        noted = {str(name): int(value) for name, value in json.loads(path.read_text(encoding="utf-8")).items()}
        if "stream" not in noted:
            raise ValueError("it names no stream")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise OutputError(
            f"{path} cannot be read: {error}",
            hint='write {"stream": N} into it, with N no less than the number of any stream before',
        ) from error
    return noted


def begin_stream(
    folder: OutputFolder, tables: Sequence[Table], *, resume: bool = False, shards: int | None = None
) -> int:
    """Make OUT ready for a stream: every table has its columns and its view. Returns the number of the stream.

    Args:
        folder: held for writing.
        tables: every table of OUT.
        resume: the stream goes on from a checkpoint of the last one.
        shards: its actors a stage, noted for ``check_shards``.

    Raises:
        OutputError: OUT cannot be written, or ``resume`` and there was no stream.
    """
    last = last_stream(folder)
    if resume and last == 0:
        raise OutputError(f"{folder.root} never had a stream that could go on", hint="start a new one")
    number = last if resume else last + 1
    noted = {**_noted(folder), "stream": number, **({} if shards is None else {"shards": shards})}
    try:
        for needed in (folder.streams, folder.log_erased):
            needed.mkdir(parents=True, exist_ok=True)
        write_durably(folder.streams / _NUMBER, json.dumps(noted))
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
