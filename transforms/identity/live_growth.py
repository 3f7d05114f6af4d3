"""What comes in order on a device, taken into its record without a look at what came before.

Pure. Input: the record, and events of its primary identifier. Output: the ``Change``, or None where the events are not
in order, come a second time, or divide what is there in another way. Then ``live_strands.refold`` has to be asked,
which gives the same wherever both can be (a property test says so). Times: UTC microseconds of event time. State: none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from contracts.event import Identifier
from contracts.exchange import (
    APPEND,
    WHOLE,
    Assignment,
    StrandEvent,
    StrandMessage,
)
from transforms.identity.carry import spans_of
from transforms.identity.ids import strand_id
from transforms.identity.live_change import Change
from transforms.identity.live_records import (
    HEAD_SIZE,
    Growth,
    Head,
    Part,
    Record,
    Strand,
    Told,
    Unknown,
    held_event,
    key_of,
    order_of,
    pack_chunk,
)
from transforms.identity.live_telling import Logins, Versions, own_steps
from transforms.identity.strands import ACCEPTED


def grow(
    record: Record | None,
    events: Sequence[StrandEvent],
    assignments: Mapping[Logins, Assignment],
    versions: Versions,
) -> Change | None:
    """Take events that come in order; None where anything of them needs a look at others.

    Args:
        record: of the primary identifier; None when there is none.
        events: of the primary identifier, at least one.
        assignments: of its strands that are new.
        versions: of the shard.
    """
    by_login = _in_order(record, events)
    if by_login is None:
        return None
    strands = {} if record is None else record.strands
    new: dict[Logins, Strand] = {}
    for login in by_login:
        strand = strands.get(login) or _new_strand(events[0].primary, login, assignments.get(login))
        if strand is None or not _may_grow(record, strand, by_login[login]):
            return None
        new[login] = Strand(login, strand.assignment, strand.steps, dict(strand.told), strand.last, strand.purged)
    change = Change("" if record is None else record.key, grown=record)
    parts: list[Part] = []
    for login, found in by_login.items():
        parts.append(_append(new[login], found, versions, change))
    chunk = pack_chunk(parts)
    change.ids = {event.event_id: event.event_time for event in events}
    change.strands = new
    for event in events:
        change.first = min(change.first, event.event_time)
        if not event.stored:
            change.counts[event.source, ACCEPTED] += 1
            change.log.append(event)
    change.last = max(strand.last for strand in new.values())
    if record is None:
        primary = events[0].primary
        head = Head(primary, versions.last, list(new.values()))
        change.key = key_of(primary)
        change.entry = Growth(chunk, head)
        change.record = Record(
            change.key, head, dict(new), [chunk], dict(change.ids), change.first, change.last, len(events),
            HEAD_SIZE + len(chunk),
        )  # fmt: skip
    else:
        is_known = all(login in strands for login in new)
        old, every = record.head, list({**strands, **new}.values())
        head = msgspec.structs.replace(old, version=versions.last, strands=every)
        change.entry = Growth(chunk, None if is_known else head)
    return change


def _in_order(record: Record | None, events: Sequence[StrandEvent]) -> dict[Logins, list[StrandEvent]] | None:
    """The events by strand, in order; None when one id comes twice, or one comes before what is there."""
    known: Mapping[str, int] = {}
    strands: Mapping[Logins, Strand] = {}
    if record is not None:
        if record.distrusted or record.ids_missing:
            return None
        known, strands = record.ids, record.strands
    if len(events) == 1:
        (event,) = events
        if event.event_id in known:
            return None
        by_login = {event.login: [event]}
    else:
        by_login = {}
        seen: set[str] = set()
        for event in events:
            if event.event_id in known or event.event_id in seen:
                return None
            seen.add(event.event_id)
            by_login.setdefault(event.login, []).append(event)
        for found in by_login.values():
            found.sort(key=order_of)
    for login, found in by_login.items():
        strand = strands.get(login)
        if strand is not None and order_of(found[0]) <= strand.last:
            return None
    return by_login


def _new_strand(primary: Identifier, login: Logins, assignment: Assignment | None) -> Strand | None:
    if assignment is None or not assignment.steps:
        return Strand(login, assignment, own_steps(primary, login), {})
    if assignment.carry or len(assignment.steps) > 1:
        return None
    return Strand(login, assignment, assignment.steps, {})


def _may_grow(record: Record | None, strand: Strand, events: Sequence[StrandEvent]) -> bool:
    """Whether events in order, of this strand, change nothing but what comes after."""
    assignment = strand.assignment
    until = None if assignment is None else assignment.erased_before
    if until is not None and events[0].event_time <= until:
        return False
    if record is None:
        return True
    device = record.strands.get(None)
    if device is None or device.assignment is None or not device.assignment.carry:
        return len(strand.steps) == 1
    # a carried device is in the hands of whoever logged in last: a new hand, a logout or a time that is not the last
    # of all may divide what is there another way
    if record.head.marked or isinstance(record.hand, Unknown) or events[0].event_time <= record.last[0]:
        return False
    if any(s.assignment is not None and s.assignment.erased_before is not None for s in record.strands.values()):
        return False
    if any(event.logout for event in events):
        return False
    return strand.login is None or (strand.login == record.hand and len(strand.steps) == 1)


def _append(strand: Strand, events: Sequence[StrandEvent], versions: Versions, change: Change) -> Part:
    """Tell of events that come last; ``strand`` is made for it."""
    person = strand.steps[-1][1]
    told = strand.told.get(person)
    version = versions.next()
    primary = events[0].primary
    change.messages.append(
        StrandMessage(
            strand_id(primary, strand.login),
            primary,
            strand.login,
            person,
            APPEND if told is not None and told.has else WHOLE,
            0 if strand.assignment is None else strand.assignment.sequence,
            version,
            0 if told is None else told.version,
            tuple([event.event for event in events]),
            () if len(strand.steps) == 1 else spans_of(strand.steps)[person],
        )
    )
    strand.told[person] = Told(version, True)
    strand.last = order_of(events[-1])
    return Part(strand.login, person, version, [held_event(event, version) for event in events])
