"""How records of the journey stage are written down: entries of a shard's log, and bodies in the record store. Pure.

An entry is a frame of fixed fields and, behind them, Avro of ``strand_messages`` in the version that the frame names:
the messages that were taken, or with ``WHOLE`` those that make the record (``messages.as_messages``). So the log holds
events and whose they are, never what was made of them. ``due`` is when time alone does something for the person next;
a person asleep has nothing else in the log, and ``stored`` says which version of the record store is meant. An entry of
kind ``FOLDED`` has ``folded_by`` behind it: by which activations the shard was folded. A shard without one was folded
without any.

Input and output: bytes. Errors: ``StateVersionError`` for bytes of a later version, ValueError for others that
are none.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import fastavro

from contracts import codec, records
from contracts.errors import StateVersionError
from contracts.event import Identifier
from contracts.exchange import MAX_TIME, ArchivedEvents, FoldedBy, StrandMessage
from transforms.journey.dated import NOTHING, Activated
from transforms.journey.live.messages import PersonRecord, take

TAKEN, RECORD, ASLEEP, SERVED, FOLDED = 1, 2, 3, 4, 5
"""Kinds of entry: messages that were taken; a record; where it is otherwise; watermark and revision of the shard; by
what it was folded."""

_SCHEMA, _FOLDED_BY = "strand_messages", "folded_by"
_HEAD = struct.Struct(">BHqqH")
_IDENTIFIER = ("namespace", "value")


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry. ``due`` is None when time alone does nothing any more.

    For ``SERVED`` it is the watermark, and ``stored`` the revision. Of messages and records ``stored`` is how many
    records of activations the person was folded by then.
    """

    kind: int
    person_id: str
    due: int | None
    messages: tuple[StrandMessage, ...] = ()
    stored: int = 0


def pack_entry(entry: LogEntry) -> bytes:
    """An entry to bytes."""
    person = entry.person_id.encode()
    due = MAX_TIME if entry.due is None else entry.due
    head = _HEAD.pack(entry.kind, body_version(), due, entry.stored, len(person))
    return head + person + (pack_messages(entry.messages) if entry.messages else b"")


def unpack_entry(data: bytes) -> LogEntry:
    """The inverse of ``pack_entry``."""
    kind, version, due, stored, length = _HEAD.unpack_from(data)
    start = _HEAD.size + length
    person = data[_HEAD.size : start].decode()
    messages = unpack_messages(data[start:], version) if len(data) > start else ()
    return LogEntry(kind, person, None if due == MAX_TIME else due, messages, stored)


class Folded(NamedTuple):
    """By what a shard was folded; and by what it is being folded again, if it is, the record store up to ``after``."""

    by: Activated
    to: Activated | None = None
    after: str | None = None


def pack_folded(folded: Folded) -> bytes:
    """It as an entry of the log."""
    note = FoldedBy(
        folded.by.ontologies,
        folded.by.models,
        None if folded.to is None else folded.to.ontologies,
        None if folded.to is None else folded.to.models,
        folded.after,
    )
    head = _HEAD.pack(FOLDED, codec.versions(_FOLDED_BY)[-1], MAX_TIME, 0, 0)
    return head + records.encode(note)


def is_folded(data: bytes) -> bool:
    """Whether an entry is of that kind."""
    return data[0] == FOLDED


def unpack_folded(data: bytes) -> Folded:
    """The inverse of ``pack_folded``. Raises StateVersionError for an entry of a later version."""
    _, version, *_ = _HEAD.unpack_from(data)
    newest = codec.versions(_FOLDED_BY)[-1]
    if version > newest:
        raise StateVersionError("what the journey stage was folded by", version, newest)
    note = records.decode(FoldedBy, data[_HEAD.size :])
    ontologies, models = note.next_ontologies, note.next_models
    to = None if ontologies is None or models is None else Activated(ontologies, models)
    return Folded(Activated(note.ontologies, note.models), to, note.after)


@dataclass(slots=True)
class ReadLog:
    """What the entries of a log come to.

    Attributes:
        records: by person; ``numbers``: of records of activations that each of them was folded by.
        asleep: who is in the record store, and in which version.
        dues: when time alone does something for a person.
        served: the newest entry of that kind.
        folded: by what the shard was folded; None of an empty log.
    """

    records: dict[str, PersonRecord] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    asleep: dict[str, int] = field(default_factory=dict)
    dues: dict[str, int | None] = field(default_factory=dict)
    served: LogEntry | None = None
    folded: Folded | None = None


def read_log(entries: Iterable[bytes]) -> ReadLog:
    """Entries, the oldest first, to what they come to. Raises StateVersionError for entries of a later version."""
    log = ReadLog()
    for data in entries:
        log.folded = log.folded or Folded(NOTHING)
        if is_folded(data):
            log.folded = unpack_folded(data)
            continue
        entry = unpack_entry(data)
        person = entry.person_id
        if entry.kind == SERVED:
            log.served = entry
            continue
        if entry.kind == ASLEEP:
            log.records.pop(person, None)
            log.asleep[person] = entry.stored
        else:
            held = None if entry.kind == RECORD else log.records.get(person)
            log.records[person] = take(held or PersonRecord(person), entry.messages).record
            log.asleep.pop(person, None)
            log.numbers[person] = entry.stored
        log.dues[person] = entry.due
    return log


def body_version() -> int:
    """The version of the schema in which messages are written."""
    return codec.versions(_SCHEMA)[-1]


def pack_messages(messages: Sequence[StrandMessage]) -> bytes:
    """Messages to Avro."""
    out = io.BytesIO()
    record = {"messages": [_record(message) for message in messages]}
    fastavro.schemaless_writer(out, codec.plain_schema(_SCHEMA), record)
    return out.getvalue()


def unpack_messages(data: bytes, version: int) -> tuple[StrandMessage, ...]:
    """Avro of a version of the schema to messages."""
    if version > body_version():
        raise StateVersionError("a record of the journey stage", version, body_version())
    source = io.BytesIO(data)
    record: Any = fastavro.schemaless_reader(source, _written(version), codec.plain_schema(_SCHEMA))
    if source.tell() != len(data):
        raise ValueError(f"{len(data) - source.tell()} bytes are left over after a record of the journey stage")
    return tuple(_message(found) for found in record["messages"])


@cache
def _written(version: int) -> Any:
    return fastavro.parse_schema(codec.without_logical_types(deepcopy(codec.raw_schema(_SCHEMA, version))))


def _record(message: StrandMessage) -> dict[str, Any]:
    login = message.login
    return {
        "strand_id": message.strand_id,
        "primary": dict(zip(_IDENTIFIER, message.primary, strict=True)),
        "login": None if login is None else dict(zip(_IDENTIFIER, login, strict=True)),
        "person_id": message.person_id,
        "kind": message.kind,
        "sequence": message.sequence,
        "version": message.version,
        "after": message.after,
        "events": message.events,
        "spans": [{"from_time": start, "before": before} for start, before in message.spans],
        "erased_until": message.erased_until,
        "archives": [archive._asdict() for archive in message.archives],
    }


def _message(record: dict[str, Any]) -> StrandMessage:
    login = record["login"]
    return StrandMessage(
        record["strand_id"],
        Identifier(**record["primary"]),
        None if login is None else Identifier(**login),
        record["person_id"],
        record["kind"],
        record["sequence"],
        record["version"],
        record["after"],
        tuple(record["events"]),
        tuple((span["from_time"], span["before"]) for span in record["spans"]),
        record["erased_until"],
        tuple(ArchivedEvents(**archive) for archive in record["archives"]),
    )
