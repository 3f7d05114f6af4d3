"""What a person holds of each strand, kept right whatever the order in which the strand stage's messages come. Pure.

Input: ``StrandMessage``s and the wall clock. Output: a new ``PersonRecord``, and what is new in it (``Taken``). Records
are never changed, so that a batch that fails leaves the old ones. Time domain: event time inside events; versions and
the clock are wall-clock microseconds. Errors: none.

Of one strand and person, in the order of versions:

- ``whole`` and ``gone`` are taken when their version is above that of what is held;
- ``append`` is taken on exactly the version it names (``after``), kept early while that is not there, and dropped when
  a later one is;
- what is not above the version held is dropped: so a message may come twice.

What came early and what is left of a strand that went are kept for ``KEPT`` after their version: a message is on its
way for seconds, and only a defect can leave one without the one before it. Early messages that expire are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from contracts import wire
from contracts.event import HOUR, Event, Identifier
from contracts.exchange import APPEND, GONE, WHOLE, StrandMessage
from transforms.journey.fold import event_order
from transforms.journey.holdings import Holdings

KEPT = 48 * HOUR
"""How long early messages and the marks of departed strands are kept, wall clock."""

_REMEMBERED = 8_192
_EVENT_BYTES = 64
_STRAND_BYTES = 600


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
    """A strand as last taken; ``gone``: it is another's, and only the version is left. ``size``: about its bytes."""

    strand_id: str
    primary: Identifier
    login: Identifier | None
    sequence: int
    version: int
    events: tuple[bytes, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()
    gone: bool = False
    size: int = _STRAND_BYTES


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

    def events(self) -> list[tuple[bytes, str]]:
        """All packed events, each with its strand."""
        return [(event, held.strand_id) for held in self.strands.values() for event in held.events]

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
        applied, dropped, early: numbers of messages.
    """

    record: PersonRecord
    new: list[tuple[bytes, str]] = field(default_factory=list)
    replaced: bool = False
    moved: bool = False
    missed: bool = False
    erased: list[tuple[bytes, str]] = field(default_factory=list)
    applied: int = 0
    dropped: int = 0
    early: int = 0

    @property
    def changed(self) -> bool:
        return bool(self.applied)


def take(record: PersonRecord, messages: Sequence[StrandMessage]) -> Taken:
    """Take messages to one person, in any order."""
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
            strands[message.strand_id] = _applied(taken, held, message, left_here)
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


def _applied(taken: Taken, held: HeldStrand | None, message: StrandMessage, left_here: set[int]) -> HeldStrand:
    """``left_here``: versions of the departures among these messages."""
    gone = message.kind == GONE
    events = message.events
    size = _size(events) + (held.size if held is not None and message.kind == APPEND else _STRAND_BYTES)
    before = () if held is None else held.events
    present = held is not None and not held.gone
    if message.kind == APPEND:
        taken.new += [(event, message.strand_id) for event in events]
        events = before + events
    else:
        if events[: len(before)] == before:
            taken.new += [(event, message.strand_id) for event in events[len(before) :]]
        else:
            taken.replaced = True
        unseen = held is not None and (message.after != held.version or (held.gone and held.version in left_here))
        taken.missed = taken.missed or unseen
        if gone:
            left_here.add(message.version)
        if message.erased_until is not None:
            left = set(events)
            taken.erased += [(event, message.strand_id) for event in before if event not in left]
    spans = held.spans if held is not None and message.kind == APPEND else message.spans
    if held is None or present == gone or spans != held.spans:
        taken.moved = True
        # what was decided under a strand comes and goes with it
        taken.replaced = taken.replaced or gone or held is not None or message.kind == WHOLE
    return HeldStrand(
        message.strand_id, message.primary, message.login, message.sequence, message.version, events, spans, gone, size
    )


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
