"""What a person holds of each strand, kept right whatever the order in which the strand stage's messages come. Pure.

Input: ``StrandMessage``s and the wall clock. Output: a new ``PersonRecord``, and what is new in it (``Taken``). Records
are never changed, so that a batch that fails leaves the old ones. Time domain: event time inside events; versions and
the clock are wall-clock microseconds. Errors: none.

Of one strand and person, in the order of versions:

- ``whole`` and ``gone`` are taken when their version is above that of what is held;
- ``append`` is taken on exactly the version it names (``after``), kept early while that is not there, and dropped when
  a later one is;
- what is not above the version held is dropped: so a message may come twice.

Of a long strand the events before ``HeldStrand.events`` lie in archives (``archiving``). Going on needs them not; a
``whole`` or ``gone`` is held against them, if they are given: archives that hold the same as before are kept.

What came early and what is left of a strand that went are kept for ``KEPT`` after their version: a message is on its
way for seconds, and only a defect can leave one without the one before it. Early messages that expire are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain

from contracts import wire
from contracts.event import HOUR, Event, Identifier
from contracts.exchange import APPEND, GONE, MIN_TIME, WHOLE, ArchivedEvents, StrandMessage
from transforms.journey.fold import event_order
from transforms.journey.holdings import Holdings

KEPT = 48 * HOUR
"""How long early messages and the marks of departed strands are kept, wall clock."""

_REMEMBERED = 8_192
_EVENT_BYTES = 64
_STRAND_BYTES = 600
_ARCHIVE_BYTES = 200

Archived = Mapping[str, Sequence[Sequence[bytes]]]
"""By strand, what each of its archives holds."""
NONE_ARCHIVED: Archived = {}


@lru_cache(_REMEMBERED)
def event_of(packed: bytes) -> Event:
    """A packed event; those lately asked for are remembered in the process, since a journey folded again needs all.

    Bound: some thousand events, about 25 MB. Raises ``msgspec.DecodeError`` or ``ValidationError`` for what is none.
    """
    return wire.unpack(Event, packed)


def ordered(packed: Iterable[tuple[bytes, str]]) -> list[tuple[Event, str]]:
    """Packed events, each with its strand, unpacked and in the order in which a journey takes them."""
    found = [(event_of(event), strand) for event, strand in packed]
    found.sort(key=event_order)
    return found


@dataclass(frozen=True, slots=True)
class HeldStrand:
    """A strand as last taken; ``gone``: it is another's, and only the version is left. ``size``: about its bytes.

    ``archives`` hold the events before ``events``, which are not empty then.
    """

    strand_id: str
    primary: Identifier
    login: Identifier | None
    sequence: int
    version: int
    events: tuple[bytes, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()
    gone: bool = False
    size: int = _STRAND_BYTES
    archives: tuple[ArchivedEvents, ...] = ()

    @property
    def tail(self) -> int:
        """About the bytes of the events that lie in no archive."""
        return self.size - _STRAND_BYTES - _ARCHIVE_BYTES * len(self.archives)


@dataclass(frozen=True, slots=True)
class PersonRecord:
    """What is remembered of a person: the strands, and messages that came early. ``size`` is about its bytes."""

    person_id: str
    strands: Mapping[str, HeldStrand] = field(default_factory=dict)
    early: tuple[StrandMessage, ...] = ()

    @property
    def size(self) -> int:
        early = sum(_STRAND_BYTES + _size(message.events) for message in self.early)
        return early + sum(held.size for held in self.strands.values())

    @property
    def tail(self) -> int:
        """About the bytes of the events that lie in no archive."""
        return sum(held.tail for held in self.strands.values())

    @property
    def has_archives(self) -> bool:
        return any(held.archives for held in self.strands.values())

    @property
    def has_events(self) -> bool:
        return any(held.events for held in self.strands.values())

    @property
    def last_time(self) -> int:
        """The time of the latest event. Raises ValueError without any."""
        return max(event_of(held.events[-1]).event_time for held in self.strands.values() if held.events)

    @property
    def version(self) -> int:
        """The greatest version taken."""
        return max((held.version for held in self.strands.values()), default=0)

    def events(self, archived: Archived = NONE_ARCHIVED) -> list[tuple[bytes, str]]:
        """All packed events, each with its strand; ``archived``: what lies in archives."""
        return [
            (event, strand)
            for strand, held in self.strands.items()
            for event in chain(*archived.get(strand, ()), held.events)
        ]

    def holdings(self) -> Holdings:
        """The strands that the person holds, and when."""
        strands = {held.strand_id for held in self.strands.values() if not held.gone}
        return Holdings(strands, {s: held.spans for s in strands if (held := self.strands[s]).spans})

    def version_of(self, strand_id: str) -> int:
        """The version last taken of a strand, 0 of one that is not known."""
        held = self.strands.get(strand_id)
        return 0 if held is None else held.version


@dataclass(slots=True)
class Taken:
    """What some messages made of a record.

    Attributes:
        record: the new one.
        new: events that were added, when nothing else changed.
        replaced: something that was held is not any more, or holds for other stretches of time: fold again.
        moved: the strands held, or their stretches, are others than before.
        missed: a strand is back that was gone, unseen by whoever states: others may have stated it meanwhile.
        erased: packed events that were erased, each with its strand, whether or not anybody ever stated them here.
        until: of strands of which something was erased, up to when.
        applied, dropped, early: numbers of messages.
    """

    record: PersonRecord
    new: list[tuple[bytes, str]] = field(default_factory=list)
    replaced: bool = False
    moved: bool = False
    missed: bool = False
    erased: list[tuple[bytes, str]] = field(default_factory=list)
    until: dict[str, int] = field(default_factory=dict)
    applied: int = 0
    dropped: int = 0
    early: int = 0

    @property
    def changed(self) -> bool:
        return bool(self.applied)


def take(record: PersonRecord, messages: Sequence[StrandMessage], archived: Archived = NONE_ARCHIVED) -> Taken:
    """Take messages to one person, in any order.

    ``archived``: what lies in archives. Where they are reached and it is not given, the new record is right, but not
    what is said to be new, replaced and erased.
    """
    taken = Taken(record)
    strands = dict(record.strands)
    early: list[StrandMessage] = []
    left_here: set[int] = set()
    # In the order of versions an append finds what it is to be put on, wherever it stood in the batch.
    for message in sorted((*record.early, *messages), key=_version):
        held = strands.get(message.strand_id)
        version = 0 if held is None else held.version
        if message.version <= version or (message.kind == APPEND and message.after < version):
            taken.dropped += 1
        elif message.kind == APPEND and message.after > version:
            early.append(message)
        else:
            strands[message.strand_id] = _applied(taken, held, message, left_here, archived)
            taken.applied += 1
    # what came with a later one that holds all of it waits for nothing
    waiting = [
        message
        for message in early
        if (held := strands.get(message.strand_id)) is None or message.version > held.version
    ]
    taken.dropped += len(early) - len(waiting)
    early = waiting
    taken.early = len(early)
    if taken.applied or len(early) != len(record.early):
        taken.record = PersonRecord(record.person_id, strands, tuple(early))
    return taken


def _applied(
    taken: Taken, held: HeldStrand | None, message: StrandMessage, left_here: set[int], archived: Archived
) -> HeldStrand:
    """``left_here``: versions of the departures among these messages."""
    gone = message.kind == GONE
    events, archives = message.events, message.archives
    present = held is not None and not held.gone
    if message.kind == APPEND:
        taken.new += [(event, message.strand_id) for event in events]
        if held is not None:
            events, archives = held.events + events, held.archives
        size = _size(message.events) + (_STRAND_BYTES if held is None else held.size)
    else:
        pieces = archived.get(message.strand_id, ()) if held is not None and held.archives else ()
        before = () if held is None else (*chain(*pieces), *held.events)
        if events[: len(before)] == before:
            taken.new += [(event, message.strand_id) for event in events[len(before) :]]
        else:
            taken.replaced = True
        unseen = held is not None and (message.after != held.version or (held.gone and held.version in left_here))
        taken.missed = taken.missed or unseen
        if gone:
            left_here.add(message.version)
        if message.erased_until is not None:
            taken.until[message.strand_id] = max(message.erased_until, taken.until.get(message.strand_id, MIN_TIME))
            left = set(events)
            taken.erased += [(event, message.strand_id) for event in before if event not in left]
        if held is not None and pieces:
            archives, events = _still_archived(held.archives, pieces, events)
        size = _STRAND_BYTES + _ARCHIVE_BYTES * len(archives) + _size(events)
    spans = held.spans if held is not None and message.kind == APPEND else message.spans
    if held is None or present == gone or spans != held.spans:
        taken.moved = True
        # what was decided under a strand comes and goes with it
        taken.replaced = taken.replaced or gone or held is not None or message.kind == WHOLE
    return HeldStrand(
        message.strand_id, message.primary, message.login, message.sequence, message.version, events, spans, gone, size,
        archives,
    )  # fmt: skip


def _still_archived(
    archives: Sequence[ArchivedEvents], pieces: Sequence[Sequence[bytes]], events: tuple[bytes, ...]
) -> tuple[tuple[ArchivedEvents, ...], tuple[bytes, ...]]:
    """The archives that hold what events begin with, and the events that are not in them, at least the last."""
    kept, count = 0, 0
    for piece in pieces:
        end = count + len(piece)
        if end >= len(events) or events[count:end] != tuple(piece):
            break
        kept, count = kept + 1, end
    return tuple(archives[:kept]), events[count:]


class Reading:
    """Takes messages into records and reads their events, some of which may lie in archives.

    Args:
        archived: reads the archives of a record.
    """

    def __init__(self, archived: Callable[[PersonRecord], Archived] = lambda _: NONE_ARCHIVED) -> None:
        self._archived = archived

    def take(self, record: PersonRecord, messages: Sequence[StrandMessage]) -> Taken:
        """As ``take``; archives are read when a message replaces a strand that has some."""
        is_reached = any(
            held is not None and held.archives and message.version > held.version
            for message in messages
            if message.kind != APPEND
            for held in (record.strands.get(message.strand_id),)
        )
        return take(record, messages, self._archived(record) if is_reached else NONE_ARCHIVED)

    def events(self, record: PersonRecord) -> list[tuple[Event, str]]:
        """All events, each with its strand, in the order in which a journey takes them."""
        return ordered(record.events(self._archived(record)))


def without_oldest(held: HeldStrand, archives: Sequence[ArchivedEvents], count: int) -> HeldStrand:
    """A strand of which so many of its first events lie in these archives from now on."""
    size = held.size - _size(held.events[:count]) + _ARCHIVE_BYTES * len(archives)
    return replace(held, events=held.events[count:], archives=(*held.archives, *archives), size=size)


def size_of(event: bytes) -> int:
    """About what a packed event takes."""
    return len(event) + _EVENT_BYTES


def _size(events: Sequence[bytes]) -> int:
    return sum(map(len, events)) + _EVENT_BYTES * len(events)


def _version(message: StrandMessage) -> int:
    return message.version


def expired(record: PersonRecord, now: int) -> tuple[PersonRecord, int]:
    """The record without what is kept no longer, and how many early messages that took."""
    before = now - KEPT
    early = tuple(message for message in record.early if message.version >= before)
    strands = {s: held for s, held in record.strands.items() if not held.gone or held.version >= before}
    if len(early) == len(record.early) and len(strands) == len(record.strands):
        return record, 0
    return replace(record, strands=strands, early=early), len(record.early) - len(early)


def as_messages(record: PersonRecord) -> tuple[StrandMessage, ...]:
    """Messages that make the record when they are taken: how it is written down."""
    person = record.person_id
    return (
        *(
            StrandMessage(
                held.strand_id,
                held.primary,
                held.login,
                person,
                GONE if held.gone else WHOLE,
                held.sequence,
                held.version,
                0,
                held.events,
                held.spans,
                archives=held.archives,
            )
            for held in record.strands.values()
        ),
        *record.early,
    )


def by_person(messages: Iterable[StrandMessage]) -> dict[str, list[StrandMessage]]:
    """Messages by the person they go to."""
    found: dict[str, list[StrandMessage]] = {}
    for message in messages:
        found.setdefault(message.person_id, []).append(message)
    return found
