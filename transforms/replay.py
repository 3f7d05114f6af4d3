"""Replay: dead letters back into files that a run can read.

No Beam. Input: the tables ``dead_letters`` and ``expired_late`` of an output folder, and the dead letter key. Output:
event files in another folder: one a reason for whole events and for messages that can be decoded by now, one a letter
for damaged files and parts of them, which are written as they were read. Names and bytes depend on the letters alone,
so writing twice writes the same; and a run over them changes nothing the second time, since an event keeps its id and
what dies again has the same id. It mends nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import fastavro

from contracts import codec
from contracts.errors import InputError, OutputError
from contracts.event_codec import event_to_record
from contracts.tables import DEAD_LETTERS, EXPIRED_LATE, Table
from transforms.dead_letter import EVENT_PAYLOAD, RAW_PAYLOAD, REASONS, DeadLetterBox
from transforms.decode import DecodeError, EventDecoder
from transforms.payloads import decode_message, unpack_message
from transforms.schema_registry import SchemaRegistry, published
from transforms.tables.output import OutputFolder, check_readable
from transforms.tables.views import view_sql

_BATCH = 200
_NO_CONTENT = "unreadable"


@dataclass
class ReplaySummary:
    """Letters by reason: ``events`` and ``raw`` were written, ``skipped`` have no bytes that a run could read (yet)."""

    events: Counter[str] = field(default_factory=Counter)
    raw: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    files: list[Path] = field(default_factory=list)


def _letters(folder: OutputFolder, table: Table, reason: str) -> Iterator[tuple[str, str, str, bytes]]:
    """(id, schema id, payload schema, payload) of the letters of one reason, in order of id."""
    if not any((folder.tables / table.name).glob("*.parquet")):
        return
    connection = duckdb.connect()
    try:
        cursor = connection.execute(
            f"SELECT dead_letter_id, schema_id, payload_schema, payload FROM ({view_sql(folder, table)}) "
            "WHERE reason = ? ORDER BY dead_letter_id",
            [reason],
        )
        while rows := cursor.fetchmany(_BATCH):
            yield from rows
    finally:
        connection.close()


def _decoders() -> dict[str, EventDecoder]:
    """A decoder for every committed version of the event schema, by its fingerprint."""
    made = [EventDecoder(codec.raw_schema("event", version)) for version in codec.versions("event")]
    return {decoder.schema_id: decoder for decoder in made}


class _Replay:
    def __init__(self, out: OutputFolder, to: Path, box: DeadLetterBox, registry: SchemaRegistry) -> None:
        self._registry = registry
        self._out = out
        self._to = to
        self._box = box
        self._decoders = _decoders()
        self.summary = ReplaySummary()

    def replay(self, reason: str) -> None:
        """Write all letters of one reason."""
        table = EXPIRED_LATE if reason == "expired_late" else DEAD_LETTERS
        records = self._records(_letters(self._out, table, reason), reason)
        first = next(records, None)
        if first is None:
            return
        path = self._to / f"dead-letters-{reason}.avro"
        draft = path.with_suffix(".draft")

        def all_records() -> Iterator[dict[str, Any]]:
            yield first
            yield from records

        with draft.open("wb") as file:
            # a marker of its own choice would make the same letters another file
            marker = hashlib.sha256(f"wayline replay {reason}".encode()).digest()[:16]
            fastavro.writer(file, codec.raw_schema("event"), all_records(), codec="deflate", sync_marker=marker)
        os.replace(draft, path)
        self.summary.files.append(path)

    def _records(self, letters: Iterator[tuple[str, str, str, bytes]], reason: str) -> Iterator[dict[str, Any]]:
        for letter_id, schema_id, payload_schema, payload in letters:
            plain = self._box.open(letter_id, payload)
            if payload_schema == EVENT_PAYLOAD and schema_id in self._decoders:
                try:
                    event = self._decoders[schema_id].decode(plain)
                except DecodeError:
                    self.summary.skipped[reason] += 1
                    continue
                self.summary.events[reason] += 1
                yield event_to_record(event)
            elif payload_schema == RAW_PAYLOAD and (message := unpack_message(plain)) is not None:
                try:
                    event = decode_message(message, self._registry)
                except DecodeError:
                    self.summary.skipped[reason] += 1
                    continue
                self.summary.events[reason] += 1
                yield event_to_record(event)
            elif payload_schema == RAW_PAYLOAD and reason != _NO_CONTENT:
                path = self._to / f"raw-{letter_id}.avro"
                path.write_bytes(plain)
                self.summary.raw[reason] += 1
                self.summary.files.append(path)
            else:
                self.summary.skipped[reason] += 1


def check_replayable(out: Path) -> OutputFolder:
    """The output folder of a run. Raises OutputError for any other, and says what to do with that of an import."""
    if not OutputFolder(out).format_file.exists() and any((out / "dead_letters").glob("*.avro")):
        raise OutputError(
            f"{out} holds the dead letters of an import: rows, which no run can read",
            hint=f"mend the mapping or the data and import again: wayline import --mapping … --input … --out {out}; "
            "a run takes from the new events what it does not know yet",
        )
    return check_readable(out)


def replay_dead_letters(
    out: Path,
    to: Path,
    box: DeadLetterBox,
    reasons: Sequence[str] = (),
    registry: SchemaRegistry | None = None,
) -> ReplaySummary:
    """Write dead letters out as event files.

    Args:
        out: the output folder of the runs.
        to: where the files go; made if need be.
        box: opens the letters.
        registry: the schemas by which messages are decoded again; by default our own alone.
        reasons: only these; by default every reason but ``expired_late``, which a run would only expire again.

    Raises:
        InputError: a reason that is none.
        OutputError: ``out`` is no output folder, or ``to`` cannot be written.
        ConfigurationError: the key does not open the letters.
    """
    import difflib

    for reason in reasons:
        if reason not in REASONS:
            near = difflib.get_close_matches(reason, REASONS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"reasons: {', '.join(REASONS)}"
            raise InputError(f"{reason!r} is no reason of a dead letter", hint=hint)
    folder = check_replayable(out)
    if to.resolve().is_relative_to(folder.root.resolve()):
        raise OutputError(f"{to} lies inside {out}", hint="name a folder of its own with --to")
    try:
        to.mkdir(parents=True, exist_ok=True)
        replay = _Replay(folder, to, box, registry or published())
        for reason in reasons or [r for r in REASONS if r != "expired_late"]:
            replay.replay(reason)
    except OSError as error:
        raise OutputError(f"{to} cannot be written: {error.strerror or error}") from error
    return replay.summary
