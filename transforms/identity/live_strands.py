"""The strand fold of a stream, again: all events of one primary identifier, and what is new since it was last told.

Pure. ``refold`` asks ``fold_shard`` about everything in a record and what came since, and tells the difference to what
was told before; ``live_growth.grow`` spares it the trouble where events come in order. Neither changes a record: they
build what ``Change.apply`` swaps in. Times: UTC microseconds of event time. Errors: none; conflicting payloads become
dead letters.

Every copy of an erased event is counted as erased: a duplicate becomes so with it, one that comes later is so at once.
The dead letter of a payload that is no longer rejected, since it was erased or what it lost to was, is taken back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from contracts import wire
from contracts.event import Event, Identifier
from contracts.exchange import (
    MIN_TIME,
    Assignment,
    ErasedMark,
    Link,
    Purge,
    ShardInput,
    StrandEvent,
)
from transforms.identity.carry import hands
from transforms.identity.erasing import FORWARD, barred_logins
from transforms.identity.evidence import LinkBook
from transforms.identity.ids import strand_id
from transforms.identity.live_change import Change
from transforms.identity.live_records import (
    BEFORE_ALL,
    HEAD_SIZE,
    UNKNOWN,
    Again,
    Growth,
    Head,
    Held,
    HeldEvent,
    Order,
    Part,
    Record,
    Strand,
    Unknown,
    held_event,
    key_of,
    order_of,
    pack_chunk,
)
from transforms.identity.live_telling import Divided, Logins, Teller, Versions, divide, own_steps
from transforms.identity.rules import Carry, IdentityRules
from transforms.identity.strands import (
    ACCEPTED,
    DEAD_LETTERED,
    DUPLICATE,
    ERASED,
    Fates,
    Rejects,
    conflict,
    fold_shard,
    payload_hash,
)

_CHUNK_EVENTS = 500
"""Events of a chunk that is written anew."""


@dataclass(frozen=True, slots=True)
class Folding:
    """What ``refold`` needs beside the record: arguments as of ``fold_shard``."""

    box: Rejects
    schema_id: str
    carries: Mapping[str, Carry]
    rules: IdentityRules


def refold(
    record: Record | None,
    primary: Identifier,
    events: Sequence[StrandEvent],
    assignments: Mapping[Logins, Assignment],
    versions: Versions,
    how: Folding,
    archived: Sequence[bytes] = (),
    marks: Sequence[ErasedMark] = (),
) -> Change:
    """Fold all events of a primary identifier and tell what is new.

    Args:
        record: as it is; None when there is none.
        primary: the identifier.
        events: new ones, maybe none.
        assignments: of strands that are new, or have another one than in the record.
        versions: of the shard.
        how: the rules.
        archived: the chunks of all archives of the record.
        marks: of what was erased on this device before.
    """
    old_strands: Mapping[Logins, Strand] = {} if record is None else record.strands
    held = [] if record is None else list(record.held(archived))
    by_id = {id(one.event): one for one in held}
    known = {login: s.assignment for login, s in old_strands.items() if s.assignment is not None} | dict(assignments)
    fates = Fates()
    result = fold_shard(
        [ShardInput((*(one.event for one in held), *events), tuple(known.values()), tuple(marks))],
        how.box, how.schema_id, carries=how.carries, fates=fates,
    )  # fmt: skip
    change = Change(key_of(primary))
    change.counts = result.counts
    for one in held:
        if not one.event.stored:
            change.counts[one.event.source, DEAD_LETTERED if one.lost else ACCEPTED] -= 1
    change.log = [event for event in result.log if id(event) not in by_id]
    change.erased = [event for event in fates.erased if id(event) in by_id]

    change.marks = result.marks
    added = versions.next()
    again = _again([] if record is None else record.head.again, fates, added, change)
    kept = _kept(fates, by_id, added)
    strands = _strands(primary, old_strands, known, fates)
    _purges(result.purges, old_strands, strands, change)
    before = _divided([one.event for one in held if not one.lost], old_strands)
    after = _divided(fates.accepted, strands)
    teller = Teller(primary, strands, versions, record is not None and record.distrusted)
    change.messages = teller.tell(before, after, {event.event_id for event in change.erased})
    if change.erased:
        # copies of the record may hold them, whatever was purged before
        gone = tuple((strand_id(primary, e.login), e.event_time, e.event_id) for e in change.erased)
        first, *others = change.purges or result.purges[:1]
        change.purges = [replace(first, events=gone), *others]
    change.purges = [replace(purge, persons=tuple(sorted(_told(strands, purge.login)))) for purge in change.purges]

    _letters(record, held, fates, how, change)
    _rebuild(record, primary, held, kept, strands, versions, change)
    assert change.record is not None
    change.record.head.again = again
    hand: Identifier | Unknown | None = UNKNOWN
    if _is_carried(strands):
        ordered = sorted(fates.accepted, key=order_of)
        barred = barred_logins({(primary, login): a for login, a in known.items()}).get(primary, ())
        hand = hands(ordered, how.carries.get(primary.namespace, FORWARD), barred)[-1].login
    change.record.hand = hand
    change.record.head.marked = bool(marks or result.marks)
    change.sightings = links_after_erasure(fates.accepted, strands, how.rules)
    return change


def links_after_erasure(
    events: Iterable[StrandEvent], strands: Mapping[Logins, Strand], rules: IdentityRules
) -> list[Link]:
    """The links of events of those strands of which something was erased: who resolves has kept less of them.

    Args:
        events: of one primary identifier, that stay.
        strands: by login.
    """
    erased = {
        login
        for login, strand in strands.items()
        if strand.assignment is not None and strand.assignment.erased_before is not None
    }
    if not erased:
        return []
    book = LinkBook(rules)
    for stored in events:
        if stored.login in erased:
            event = wire.unpack(Event, stored.event)
            book.observe(event.identifiers, event.name, stored.event_id, stored.event_time, stored.received_time)
    return [replace(link, erase_before=None) for link in book.drain()]


def _letters(record: Record | None, held: Sequence[Held], fates: Fates, how: Folding, change: Change) -> None:
    """Dead letters that are new, and those of before that no longer hold.

    What was told is made again from the events that lost: a dead letter's id depends on its event alone.
    """
    now = {letter.dead_letter_id: letter for _, letter in fates.rejected}
    lost = [one.event for one in held if one.lost]
    before = {
        letter.dead_letter_id: letter for event in lost if (letter := conflict(event, "", how.box, how.schema_id))
    }
    is_doubtful = record is not None and record.distrusted
    change.dead_letters = [letter for name, letter in now.items() if is_doubtful or name not in before]
    change.withdrawn = [letter for name, letter in before.items() if name not in now]


def _again(before: Sequence[Again], fates: Fates, added: int, change: Change) -> list[Again]:
    """The duplicates of events that are still there; those of erased ones become erased."""
    again = [
        Again(event.event_id, payload_hash(event.event), copy.source, added) for event, copy in fates.duplicates
    ]  # fmt: skip
    if not before or not fates.erased:
        return [*before, *again]
    ids = {one.event_id for one in before}
    gone = {(e.event_id, payload_hash(e.event)) for e in fates.erased if e.event_id in ids}
    for one in before:
        if (one.event_id, one.payload) in gone:
            change.counts[one.source, DUPLICATE] -= 1
            change.counts[one.source, ERASED] += 1
        else:
            again.append(one)
    return again


def _kept(fates: Fates, by_id: Mapping[int, Held], added: int) -> list[Held]:
    """Every event to keep. One that takes the place of a copy is as old, and as counted, as that."""
    kept: list[Held] = []
    rejected = [event for event, _ in fates.rejected]
    for events, lost in ((fates.accepted, False), (rejected, True)):
        for event in events:
            held = by_id.get(id(event))
            copies = [by_id[id(copy)] for copy in fates.copies.get(id(event), ()) if id(copy) in by_id]
            if held is not None:
                copies.append(held)
            stored = any(copy.event.stored for copy in copies)
            if held is None and stored and not event.stored:
                event = replace(event, stored=True)
            since = min((copy.added for copy in copies), default=added)
            kept.append(Held(event, since, lost, held is not None and held.is_archived))
    return kept


def _strands(
    primary: Identifier, old: Mapping[Logins, Strand], known: Mapping[Logins, Assignment], fates: Fates
) -> dict[Logins, Strand]:
    """The strands that have events, or of which somebody was told, as they are now."""
    strands: dict[Logins, Strand] = {}
    last: dict[Logins, Order] = {}
    for event in fates.accepted:
        last[event.login] = max(last.get(event.login, BEFORE_ALL), order_of(event))
    for login in {*old, *last}:
        was = old.get(login)
        divided = fates.assignments.get((primary, login), known.get(login))
        steps = own_steps(primary, login) if divided is None or not divided.steps else divided.steps
        told = {} if was is None else dict(was.told)
        newest = max(last.get(login, BEFORE_ALL), BEFORE_ALL if was is None else was.last)
        purged = None if was is None else was.purged
        strands[login] = Strand(login, known.get(login), steps, told, newest, purged)
    return strands


def _purges(
    purges: Sequence[Purge], old: Mapping[Logins, Strand], strands: Mapping[Logins, Strand], change: Change
) -> None:
    for purge in purges:
        was = old.get(purge.login)
        if was is None or was.purged is None or was.purged < purge.until:
            change.purges.append(purge)
        if (strand := strands.get(purge.login)) is not None:
            strand.purged = purge.until


def _told(strands: Mapping[Logins, Strand], login: Logins) -> Iterable[str]:
    strand = strands.get(login)
    return () if strand is None else strand.told


def _divided(events: Sequence[StrandEvent], strands: Mapping[Logins, Strand]) -> dict[Logins, Divided]:
    found: dict[Logins, list[StrandEvent]] = {}
    for event in events:
        found.setdefault(event.login, []).append(event)
    return {login: divide(sorted(some, key=order_of), strands[login].steps) for login, some in found.items()}


def _is_carried(strands: Mapping[Logins, Strand]) -> bool:
    device = strands.get(None)
    return device is not None and device.assignment is not None and device.assignment.carry


def _rebuild(
    record: Record | None,
    primary: Identifier,
    held: Sequence[Held],
    kept: Sequence[Held],
    strands: dict[Logins, Strand],
    versions: Versions,
    change: Change,
) -> None:
    """The new record: the old chunks and one more where they stay as they are, else all of them written anew."""
    stay = {id(one.event): one.lost for one in held}
    same = [one for one in kept if stay.get(id(one.event)) == one.lost]
    more = [one for one in kept if id(one.event) not in stay]
    old = Head(primary, 0, []) if record is None else record.head
    archives, chunks = list(old.archives), [] if record is None else list(record.chunks)
    is_same = len(same) == len(held) and (record is None or not record.distrusted)
    if not is_same:
        change.garbage = [archive.number for archive in archives]
        archives, chunks, more = [], [], list(kept)
    added = _chunks(more)
    chunks += added
    head = msgspec.structs.replace(old, version=versions.last, strands=list(strands.values()), archives=archives)
    if record is not None and is_same:
        ids, missing = dict(record.ids), record.ids_missing and not any(one.is_archived for one in held)
        in_chunks = record.events + len(more)
        if record.ids_missing:
            _note_ids(ids, held)
    else:
        ids, missing, in_chunks = {}, False, len(more)
    _note_ids(ids, more)
    times = [one.event.event_time for one in kept]
    first = min(times, default=MIN_TIME if record is None else record.first)
    last = max((strand.last for strand in strands.values()), default=BEFORE_ALL)
    if record is not None and not kept:
        last = max(last, record.last)
    change.last = last
    change.record = Record(
        change.key, head, strands, chunks, ids, first, max(last, BEFORE_ALL), in_chunks,
        HEAD_SIZE + sum(map(len, chunks)), ids_missing=missing,
    )  # fmt: skip
    if is_same and len(added) <= 1:
        change.entry = Growth(added[0] if added else b"", head)


def _note_ids(ids: dict[str, int], held: Sequence[Held]) -> None:
    for one in held:
        at = one.event.event_time
        ids[one.event.event_id] = max(at, ids.get(one.event.event_id, at))


def _chunks(held: Sequence[Held]) -> list[bytes]:
    by_login: dict[Logins, list[HeldEvent]] = {}
    made: list[bytes] = []
    count = 0
    for one in sorted(held, key=_held_order):
        by_login.setdefault(one.event.login, []).append(held_event(one.event, one.added, one.lost))
        count += 1
        if count >= _CHUNK_EVENTS:
            made.append(_chunk(by_login))
            by_login, count = {}, 0
    if by_login:
        made.append(_chunk(by_login))
    return made


def _chunk(by_login: Mapping[Logins, list[HeldEvent]]) -> bytes:
    return pack_chunk([Part(login, "", 0, events) for login, events in by_login.items()])


def _held_order(held: Held) -> Order:
    return order_of(held.event)
