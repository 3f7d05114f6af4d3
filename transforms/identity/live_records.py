"""What a streaming shard of the strand stage remembers of one primary identifier, and how it is written down.

Pure. A record holds the events of the primary identifier as they were packed, in the batches in which they came; what
the fold in order needs of them beside it: their ids, and for each strand its assignment, its last event and what was
told of it to whom. So an event that comes in order costs neither a look at those before nor their unpacking.

Written forms, each one byte of version and then MessagePack: ``Whole`` is a record, ``Growth`` a change of one, both
entries of the shard's log; ``ShardState`` is the shard itself. The record store has ``Whole`` compressed. Errors:
``StateVersionError`` for what a newer release wrote, ``ValueError`` for what is none of these. Times: UTC microseconds
of event time; versions as in ``StrandMessage``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import cramjam
import msgspec

from contracts.errors import StateVersionError
from contracts.event import Identifier
from contracts.exchange import MIN_TIME, Assignment, StrandEvent
from transforms.identity.ids import strand_id

VERSION = 1
_PREFIX = bytes((VERSION,))
_COMPRESSION_LEVEL = 1

Order = tuple[int, str]
"""(event time, event_id)."""

BEFORE_ALL: Order = (MIN_TIME, "")
Steps = tuple[tuple[int, str], ...]
"""(from, person), ascending, the first from ``MIN_TIME``."""
T = TypeVar("T")


# --- written forms -------------------------------------------------------------------------------------------------


class HeldEvent(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An event that a record keeps.

    ``added`` is the version of the shard when the event, or an earlier received copy of it, first came. ``stored``: an
    earlier run counted it. ``lost``: another payload of its event_id was kept, and this one is a dead letter.
    """

    event_id: str
    event_time: int
    received_time: int
    source: str
    event: bytes
    added: int
    stored: bool = False
    logout: bool = False
    lost: bool = False


class Part(msgspec.Struct, array_like=True, frozen=True):
    """Events of one strand that came together; if told as they came, to whom and with which version (else 0)."""

    login: Identifier | None
    person: str
    version: int
    events: list[HeldEvent]


class Told(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The version of the last message about a strand to a person, and whether it has events of it since."""

    version: int
    has: bool


class Strand(msgspec.Struct, array_like=True):
    """A strand: its newest assignment, how its events are divided by what was told last, its last event.

    ``purged`` is the erasure that every store was told of.
    """

    login: Identifier | None
    assignment: Assignment | None
    steps: Steps
    told: dict[str, Told]
    last: Order = BEFORE_ALL
    purged: int | None = None


class Archive(msgspec.Struct, array_like=True, frozen=True):
    """Events of a record that lie in the record store by themselves."""

    number: int
    events: int
    first_time: int
    last_time: int


class Again(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A copy that was counted as a duplicate: of which event and payload, its source, and when it came (``added``)."""

    event_id: str
    payload: bytes
    source: str
    added: int


class Head(msgspec.Struct, array_like=True):
    """A record without its events. ``copied``: the record store may have an older state of it. ``marked``: something
    was erased on this device, of which the identity store has the marks. ``again``: the duplicates of its events, which
    are erased with them. ``kept_until`` (of the clock): until then the record store's older state stays as it is."""

    primary: Identifier
    version: int
    strands: list[Strand]
    archives: list[Archive] = []
    next_archive: int = 0
    copied: bool = False
    marked: bool = False
    again: list[Again] = []
    kept_until: int = 0


class Whole(msgspec.Struct, array_like=True, tag="whole"):
    """A record: its head and its chunks, each packed ``list[Part]``."""

    head: Head
    chunks: list[bytes]


class Growth(msgspec.Struct, array_like=True, tag="growth"):
    """A change of a record: one more chunk, if it is not empty, and its head where that is not told by the chunk."""

    chunk: bytes
    head: Head | None = None


class ShardState(msgspec.Struct, array_like=True):
    """The shard.

    ``version`` is the last given to a message, ``sequence`` the last seen in the mailbox, ``watermark`` the last heard
    of. ``gaps`` are ranges of versions, ends excluded, of attempts whose log was lost. ``garbage`` are keys of the
    record store that nothing refers to, and when they go. ``began`` is the first version of this stream: what is older
    was counted by another.
    """

    version: int = 0
    sequence: int = 0
    watermark: int = MIN_TIME
    gaps: list[tuple[int, int]] = []
    garbage: list[tuple[str, int]] = []
    began: int = 0


_encode = msgspec.msgpack.Encoder().encode
_parts = msgspec.msgpack.Decoder(list[Part])
_entry: msgspec.msgpack.Decoder[Whole | Growth] = msgspec.msgpack.Decoder(Whole | Growth)
_state = msgspec.msgpack.Decoder(ShardState)


def _decoded(decoder: msgspec.msgpack.Decoder[T], what: str, data: bytes, *, compressed: bool = False) -> T:
    if not data:
        raise ValueError(f"{what} is empty")
    if data[0] > VERSION:
        raise StateVersionError(what, data[0], VERSION)
    try:
        content = bytes(cramjam.zstd.decompress(data[1:])) if compressed else memoryview(data)[1:]
        return decoder.decode(content)
    except (msgspec.DecodeError, cramjam.DecompressionError) as error:
        raise ValueError(f"{what} cannot be read: {error}") from error


def _compressed(content: Any) -> bytes:
    return _PREFIX + bytes(cramjam.zstd.compress(_encode(content), _COMPRESSION_LEVEL))


def pack_chunk(parts: list[Part]) -> bytes:
    return _encode(parts)


def unpack_chunk(chunk: bytes) -> list[Part]:
    return _parts.decode(chunk)


def pack_entry(entry: Whole | Growth) -> bytes:
    return _PREFIX + _encode(entry)


def unpack_entry(data: bytes) -> Whole | Growth:
    return _decoded(_entry, "a strand record in the log", data)


def pack_state(state: ShardState) -> bytes:
    return _PREFIX + _encode(state)


def unpack_state(data: bytes) -> ShardState:
    return _decoded(_state, "the state of a strand shard", data)


def pack_evicted(record: Whole) -> bytes:
    return _compressed(record)


def unpack_evicted(data: bytes) -> Whole:
    entry = _decoded(_entry, "a strand record in the record store", data, compressed=True)
    if not isinstance(entry, Whole):
        raise ValueError("a strand record in the record store is a change of one")
    return entry


def key_of(primary: Identifier) -> str:
    """The name of a record in the log and in the record store: says nothing of whom it is of."""
    return strand_id(primary, None)


# --- in memory -----------------------------------------------------------------------------------------------------


class Held(NamedTuple):
    """A kept event as the fold takes it; ``is_archived``: it lies in an archive."""

    event: StrandEvent
    added: int
    lost: bool
    is_archived: bool = False


class Unknown:
    """No login: in whose hands a device is has to be asked of all its events."""


UNKNOWN = Unknown()


@dataclass(slots=True)
class Record:
    """A record in memory.

    ``ids`` are the event ids that a duplicate may still come of, with their times; ``ids_missing``: those of recent
    archives are not among them yet. ``hand``: in whose hands the device is after its last event. ``distrusted``: it
    was read from the record store as an attempt left it whose log was lost; what it told has to be told again.
    """

    key: str
    head: Head
    strands: dict[Identifier | None, Strand]
    chunks: list[bytes]
    ids: dict[str, int]
    first: int
    last: Order
    events: int
    size: int
    hand: Identifier | Unknown | None = UNKNOWN
    ids_missing: bool = False
    distrusted: bool = False
    ids_pruned: int = 0

    @property
    def primary(self) -> Identifier:
        return self.head.primary

    def whole(self, version: int | None = None) -> Whole:
        """Its written form, ``version`` being that of the shard if another one than before."""
        head = self.head
        version = head.version if version is None else version
        return Whole(msgspec.structs.replace(head, version=version, strands=list(self.strands.values())), self.chunks)

    def live(self) -> bytes:
        """The record as the data of one whole entry."""
        return pack_entry(self.whole())

    def take(self, chunk: bytes) -> None:
        """Take the events of one more chunk, and what it says was told."""
        if not chunk:
            return
        for part in unpack_chunk(chunk):
            strand = self.strands[part.login]
            if part.version:
                told = strand.told.get(part.person)
                if told is None or told.version < part.version:
                    strand.told[part.person] = Told(part.version, True)
            for event in part.events:
                self.ids[event.event_id] = max(event.event_time, self.ids.get(event.event_id, event.event_time))
                order = (event.event_time, event.event_id)
                if not event.lost and order > strand.last:
                    strand.last = order
                self.last = max(self.last, order)
                self.first = min(self.first, event.event_time)
            self.events += len(part.events)
        self.chunks.append(chunk)
        self.size += len(chunk)

    def held(self, archived: Iterable[bytes] = ()) -> Iterator[Held]:
        """Every event of the record; ``archived`` are the chunks of its archives."""
        for chunks, is_archived in ((archived, True), (self.chunks, False)):
            for chunk in chunks:
                for part in unpack_chunk(chunk):
                    for e in part.events:
                        yield Held(self._event(part.login, e), e.added, e.lost, is_archived)

    def _event(self, login: Identifier | None, held: HeldEvent) -> StrandEvent:
        return StrandEvent(
            held.event_id,
            held.event_time,
            held.received_time,
            held.source,
            self.head.primary,
            login,
            held.event,
            held.stored,
            held.logout,
        )


def order_of(event: StrandEvent) -> Order:
    return (event.event_time, event.event_id)


HEAD_SIZE = 400
"""Bytes that a record without events takes, roughly."""


def record_of(whole: Whole) -> Record:
    """A record from its written form; of archives nothing but where they are is read."""
    head = whole.head
    last = max((strand.last for strand in head.strands), default=BEFORE_ALL)
    archives = head.archives
    if archives:
        last = max(last, (max(a.last_time for a in archives), ""))
    first = min((a.first_time for a in archives), default=last[0])
    strands = {strand.login: strand for strand in head.strands}
    record = Record(key_of(head.primary), head, strands, [], {}, first, last, 0, HEAD_SIZE, ids_missing=bool(archives))
    for chunk in whole.chunks:
        record.take(chunk)
    return record


def held_event(event: StrandEvent, added: int, lost: bool = False) -> HeldEvent:
    return HeldEvent(
        event.event_id,
        event.event_time,
        event.received_time,
        event.source,
        event.event,
        added,
        event.stored,
        event.logout,
        lost,
    )
