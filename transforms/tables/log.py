"""The event log: every accepted event of earlier runs, as it left the protect stage. No Beam.

It is what makes a second run on the same OUT right: the journey is a function of the set of events, so a run folds the
log and the new input together. One Parquet part a strand shard and commit; the event itself is its in-flight encoding
(``contracts.wire``), with the version of the event schema beside it.

A stream states accepted events like rows of a table (``log_rows``), and erased ones as deleted: those go to
``OUT/log/erased``, keys only, until ``transforms.tables.compact_log`` has taken them out of every part.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from contracts import wire
from contracts.codec import versions
from contracts.errors import OutputError
from contracts.event import Event, Identifier
from contracts.exchange import StatedRows, StrandEvent
from contracts.tables import BLOB, INT, TEXT, TIME, Column, Table
from transforms.identity.rules import IdentityRules
from transforms.tables.stated import Row, stated

LOG_SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.string()),
        pa.field("event_time", pa.timestamp("us", tz="UTC")),
        pa.field("received_time", pa.timestamp("us", tz="UTC")),
        pa.field("source", pa.string()),
        pa.field("primary_namespace", pa.string()),
        pa.field("primary_value", pa.string()),
        pa.field("login_namespace", pa.string()),
        pa.field("login_value", pa.string()),
        pa.field("event", pa.binary()),
        pa.field("schema_version", pa.int32()),
    ]
)


LOG_TABLE = Table(
    "log",
    ("event_id", "primary_namespace", "primary_value"),
    tuple(
        Column(name, kind, "")
        for name, kind in (
            ("event_id", TEXT),
            ("event_time", TIME),
            ("received_time", TIME),
            ("source", TEXT),
            ("primary_namespace", TEXT),
            ("primary_value", TEXT),
            ("login_namespace", TEXT),
            ("login_value", TEXT),
            ("event", BLOB),
            ("schema_version", INT),
        )
    ),
    "The event log as a stream states it: no table of the views.",
    refolded=False,
)

ERASED_SCHEMA = pa.schema([LOG_SCHEMA.field(name) for name in LOG_TABLE.key])
"""Of the parts in ``OUT/log/erased``: the events of these ids, sent for these primary identifiers, are erased."""

LOG, ERASED = "log", "erased"
"""Folders below the staging folder: events to add to the log, and events of it that must go."""


def write_log(staging: Path, shard: str, events: Sequence[StrandEvent], folder: str = LOG) -> None:
    """One part below ``staging/FOLDER``; the same name on a retry."""
    if not events:
        return
    target = staging / folder / f"{shard}.parquet"
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(f".{os.getpid()}.tmp")
    version = versions("event")[-1]
    columns = list(zip(*(_row(event, version) for event in events), strict=True))
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, LOG_SCHEMA, strict=True)]
    pq.write_table(pa.table(arrays, schema=LOG_SCHEMA), temporary, compression="zstd", compression_level=1)
    temporary.replace(target)


def _row(event: StrandEvent, version: int) -> Row:
    return (
        event.event_id,
        event.event_time,
        event.received_time,
        event.source,
        event.primary.namespace,
        event.primary.value,
        event.login.namespace if event.login else None,
        event.login.value if event.login else None,
        event.event,
        version,
    )


def log_rows(events: Iterable[StrandEvent], revision: int) -> StatedRows:
    """Accepted events as a stream states them, for ``transforms.tables.stream``."""
    version = versions("event")[-1]
    return stated(LOG_TABLE, revision, (_row(event, version) for event in events))


def erased_rows(events: Iterable[tuple[str, Identifier]], revision: int) -> StatedRows:
    """Erased events, by id and primary identifier: whatever the log holds of them goes."""
    unknown = [None] * (len(LOG_TABLE.columns) - 6)
    rows = ((event_id, None, None, None, *primary, *unknown) for event_id, primary in events)
    return stated(LOG_TABLE, revision, rows, deleted=True)


def read_log(part: Path) -> Iterator[StrandEvent]:
    """The events of one part, marked ``stored``.

    Raises:
        OutputError: the part was written by a newer event schema, or is damaged.
    """
    newest = versions("event")[-1]
    try:
        file = pq.ParquetFile(part)
        for batch in file.iter_batches(batch_size=4_096):
            table = batch.cast(LOG_SCHEMA) if batch.schema != LOG_SCHEMA else batch
            columns = [
                table.column(i).cast(pa.int64()).to_pylist() if i in (1, 2) else table.column(i).to_pylist()
                for i in range(len(LOG_SCHEMA))
            ]
            for event_id, time, received, source, p_ns, p_value, l_ns, l_value, event, version in zip(
                *columns, strict=True
            ):
                if version > newest:
                    raise OutputError(
                        f"{part} holds events of schema version {version}, but this Wayline reads up to {newest}",
                        hint="use the version of Wayline that wrote it, or a newer one",
                    )
                yield StrandEvent(
                    event_id,
                    time,
                    received,
                    source,
                    Identifier(p_ns, p_value),
                    None if l_ns is None else Identifier(l_ns, l_value),
                    event,
                    stored=True,
                )
    except (OSError, pa.ArrowException) as error:
        raise OutputError(f"{part} of the event log cannot be read: {error}") from error


class Placed(NamedTuple):
    """A stored event, and where it belongs by the rules in force now."""

    event: Event
    stored: StrandEvent


def placed(stored: StrandEvent, rules: IdentityRules) -> Placed | None:
    """A stored event by the rules of now: what counts as primary may have changed since. None: no strand any more."""
    event = wire.unpack(Event, stored.event)
    key = rules.strand_of(event.identifiers, event.name)
    if key is None:
        return None
    logout = rules.is_logout(event.name)
    if key != (stored.primary, stored.login) or logout:
        stored = replace(stored, primary=key.primary, login=key.login, logout=logout)
    return Placed(event, stored)
