"""Erasures over several runs: a run in the small, what it hands to the next, and what all at once would leave."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import strand_world
from hypothesis import strategies as st
from identity_world import Seen, links_of

from contracts import wire
from contracts.event import Event, Identifier
from contracts.exchange import ERASED, MIN_TIME, ErasedMark, Link, ShardInput, StrandEvent
from transforms.identity.erasing import erased_pairs
from transforms.identity.resolve import resolve
from transforms.identity.rules import IdentityRules
from transforms.identity.strands import ShardResult, fold_shard

TEN_MINUTES = 600_000_000


def persons_in(result: ShardResult) -> dict[str, str]:
    """event_id to person, of what a fold kept."""
    return {
        wire.unpack(Event, event).event_id: record.person_id for record in result.records for event in record.events
    }


@dataclass
class Runs:
    """One run after the other, as on the bounded path: the log, the tombstones and the marks go to the next one."""

    rules: IdentityRules
    log: dict[str, Seen] = field(default_factory=dict)
    tombstones: set[tuple[Identifier, int]] = field(default_factory=set)
    marks: set[ErasedMark] = field(default_factory=set)

    def run(self, events: Sequence[Seen]) -> dict[str, str]:
        """event_id to person, of what is left."""
        everything = {**self.log, **{e.id: e for e in events}}
        newest = dict(sorted(self.tombstones))
        marks = [replace(m, until=newest.get(m.login, m.until)) if m.login else m for m in self.marks]
        buried = [Link(i, None, until, "", until, "", until, until, ERASED) for i, until in sorted(self.tombstones)]
        links = [*links_of(everything.values(), self.rules), *buried, *erased_pairs(marks)]
        resolution = resolve(links, self.rules)
        made = [replace(e, stored=e.event_id in self.log) for e in strand_events(everything.values(), self.rules)]
        inputs = [ShardInput(tuple(made), tuple(resolution.assignments()), tuple(marks))]
        result = fold_shard(inputs, strand_world.BOX, carries=self.rules.carries())
        self.tombstones |= set(resolution.erasures())
        self.marks |= set(result.marks)
        found = persons_in(result)
        self.log = {event_id: everything[event_id] for event_id in found}
        return found


def strand_events(events: Iterable[Seen], rules: IdentityRules) -> list[StrandEvent]:
    return strand_world.strand_events(events, rules)


def left_by(parts: Sequence[Sequence[Seen]], rules: IdentityRules) -> tuple[set[str], dict[str, str]]:
    """What must be left of events that came in parts, and to whom one run with all of them gives what it leaves.

    What is erased cannot come back: an event goes once all that had come by then says so, or says that its device or
    login is erased up to a later time.
    """
    came: list[Seen] = []
    gone: set[str] = set()
    tombstones: dict[Identifier, int] = {}
    whole: dict[str, str] = {}
    for part in parts:
        came += part
        whole = strand_world.persons_by_event(came, rules)
        gone |= {e.id for e in came} - whole.keys()
        for identifier, until in strand_world.resolution_of(came, rules).erasures():
            tombstones[identifier] = max(until, tombstones.get(identifier, until))
        for event in strand_events(came, rules):
            if event.event_time <= tombstones.get(event.login or event.primary, MIN_TIME):
                gone.add(event.event_id)
    return {e.id for e in came} - gone, whole


def parts_of(events: Sequence[Seen], rnd: Any) -> Iterator[list[Seen]]:
    """Events in any order, in parts of any size."""
    order = list(events)
    rnd.shuffle(order)
    while order:
        size = rnd.randint(1, 5)
        yield order[:size]
        order = order[size:]


@st.composite
def evenings(draw: st.DrawFn) -> list[Seen]:
    """Two devices, three logins, erasures; no two events in one microsecond, visits of some ten minutes."""
    what = st.tuples(
        st.sampled_from(["cookie:a", "cookie:a", "cookie:a", "cookie:b"]),
        st.sampled_from(["", "", "", "user:1", "user:2", "user:3"]),
        st.sampled_from(["view", "view", "view", "logout"]),
    )
    asked = st.tuples(st.just(""), st.sampled_from(["user:1", "user:2", "cookie:a user:1"]), st.just("erase"))
    times = draw(st.lists(st.integers(0, 40), min_size=3, max_size=12, unique=True))
    return [
        Seen(time * TEN_MINUTES, f"{device} {login}".strip(), name=name)
        for time in times
        for device, login, name in [draw(what | what | what | asked)]
    ]
