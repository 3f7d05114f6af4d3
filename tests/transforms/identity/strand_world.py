"""Events through resolution and the strand fold: whose is each, and an oracle that looks at one event at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from identity_world import Seen, ident, links_of

from contracts import wire
from contracts.event import Event, Identifier
from contracts.exchange import ShardInput, StrandEvent
from transforms.dead_letter import DeadLetterBox
from transforms.identity.carry import Step
from transforms.identity.resolve import Resolution, resolve
from transforms.identity.rules import CARRY_BACK, CARRY_VISIT, IdentityRules
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


def hand_at(
    event: Seen,
    ordered: Sequence[Seen],
    device: Identifier,
    rules: IdentityRules,
    barred: Collection[Identifier] = (),
) -> Identifier | None:
    """Whose the device was at an event without a login, by the definition of its policy for this event alone.

    Args:
        ordered: all events, by (time, id).
        barred: logins that an unlink keeps from the device.
    """
    here = [e for e in ordered if (key := rules.strand_key(e.identifiers)) is not None and key.primary == device]
    marks: list[tuple[int, Identifier | None, bool]] = []
    for other in here:
        login, out = _login(other, rules), rules.kinds.get(other.name) == "logout"
        if login not in barred and (login is not None or out):
            marks.append((other.time, login, out))
    policy, now = rules.carry_of(device.namespace).policy, event.time
    if policy == CARRY_VISIT:
        first, last = _visit(now, [e.time for e in here], rules.visit_gap)
        visit = [mark for mark in marks if first <= mark[0] <= last]
        if visit and visit[0][0] > now and visit[0][1] is not None:
            return visit[0][1]
    before: Identifier | None = None
    ended: int | None = None
    for at, login, out in marks:
        if at <= now:
            if login is not None:
                before, ended = login, None
            if out and ended is None:
                ended = at
    later = [(login, out) for at, login, out in marks if at > now]
    following = next((login for login, _ in later if login is not None), None)
    if before is None:
        return following
    if ended is not None:
        return following if ended < now else before
    if policy == CARRY_BACK and now not in [at for at, login, _ in marks if login is not None]:
        return before if not later or later[0][0] is None else later[0][0]
    return before


def _login(event: Seen, rules: IdentityRules) -> Identifier | None:
    key = rules.strand_key(event.identifiers)
    return None if key is None else key.login


def _visit(now: int, times: Sequence[int], gap: int) -> tuple[int, int]:
    """When the visit began and ended in which something was done now."""
    first = last = now
    while earlier := [at for at in times if first - gap < at < first]:
        first = min(earlier)
    while later := [at for at in times if last < at < last + gap]:
        last = max(later)
    return first, last
