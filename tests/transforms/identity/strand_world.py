"""Events through resolution and the strand fold: whose is each, and an oracle that looks at one event at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from identity_world import Seen, ident, links_of

from contracts import wire
from contracts.event import Event, Identifier
from contracts.exchange import ShardInput, StrandEvent
from transforms.dead_letter import DeadLetterBox
from transforms.identity.carry import Step
from transforms.identity.resolve import Resolution, resolve
from transforms.identity.rules import IdentityRules
from transforms.identity.strands import ShardResult, fold_shard

BOX = DeadLetterBox(b"k" * 32)


def step(at: int, login: str | None) -> Step:
    return Step(at, None if login is None else ident(login))


def resolution_of(events: Iterable[Seen], rules: IdentityRules) -> Resolution:
    return resolve(links_of(events, rules), rules)


def strand_events(events: Iterable[Seen], rules: IdentityRules) -> list[StrandEvent]:
    made = []
    for e in events:
        key = rules.strand_key(e.identifiers)
        assert key is not None
        event = Event(e.id, e.name, e.time, e.time, "web", "web", tuple(sorted(e.identifiers)))
        logout = rules.kinds.get(e.name) == "logout"
        made.append(StrandEvent(e.id, e.time, e.time, "web", key.primary, key.login, wire.pack(event), logout=logout))
    return made


def folded(events: Sequence[Seen], rules: IdentityRules) -> ShardResult:
    assignments = tuple(resolution_of(events, rules).assignments())
    inputs = [ShardInput(tuple(strand_events(events, rules))), ShardInput((), assignments)]
    return fold_shard(inputs, BOX, carries=rules.carries())


def persons_by_event(events: Sequence[Seen], rules: IdentityRules) -> dict[str, str]:
    """event_id to person, of the events that are kept."""
    return {
        wire.unpack(Event, event).event_id: record.person_id
        for record in folded(events, rules).records
        for event in record.events
    }


def persons_of(events: Sequence[Seen], rules: IdentityRules) -> dict[int, str]:
    """Time to person, of the events that are kept."""
    by_event = persons_by_event(events, rules)
    return {e.time: by_event[e.id] for e in events if e.id in by_event}


def hand_at(event: Seen, ordered: Sequence[Seen], device: Identifier, rules: IdentityRules) -> Identifier | None:
    """Whose the device was at an event without a login, by the definition of ``carry_forward`` for this event alone.

    Of what came at or before its time: the last login that no logout ended before it; else the first login after.
    """
    before: Identifier | None = None
    ended: int | None = None
    for other in ordered:
        key = rules.strand_key(other.identifiers)
        if key is None or key.primary != device:
            continue
        out = rules.kinds.get(other.name) == "logout"
        if other.time <= event.time:
            if key.login is not None:
                before, ended = key.login, None
            if out:
                ended = other.time
        elif (before is None or (ended is not None and ended < event.time)) and key.login is not None:
            return key.login
    return None if ended is not None and ended < event.time else before
