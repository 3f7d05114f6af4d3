"""What the strand stage tells the journey stage when the strands of one primary identifier change.

Pure. Input: who had which events before and who has them now. Output: ``StrandMessage`` in the order of their versions.
Applied in that order they lead from the one to the other, and what takes an event from a person comes before what gives
it to another: first what was erased goes, then what moved leaves, then it arrives.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from contracts.event import Identifier
from contracts.exchange import APPEND, GONE, MIN_TIME, WHOLE, StrandEvent, StrandMessage
from transforms.identity.carry import spans_of
from transforms.identity.ids import canonical_id, strand_id
from transforms.identity.live_records import Steps, Strand, Told

Spans = tuple[tuple[int, int], ...]
Logins = Identifier | None


class Versions:
    """The versions of a shard's messages: each the clock in microseconds, or one more than the last."""

    def __init__(self, last: int, now: int) -> None:
        self.last = last
        self._now = now

    def next(self) -> int:
        self.last = max(self._now, self.last + 1)
        return self.last


@dataclass(frozen=True, slots=True)
class Divided:
    """The events of a strand by person, in order; and of a strand of several persons their stretches of time."""

    events: Mapping[str, Sequence[StrandEvent]]
    spans: Mapping[str, Spans]


NOTHING = Divided({}, {})

_Due = tuple[Logins, str, str, Sequence[StrandEvent], Spans, int | None]
"""A message without its version: login, person, kind, events, spans, erased until."""


def own_steps(primary: Identifier, login: Logins) -> Steps:
    """The steps of a strand without an assignment: it stands for itself."""
    return ((MIN_TIME, canonical_id(login or primary)),)


def divide(events: Sequence[StrandEvent], steps: Steps) -> Divided:
    """Events of a strand, in order, by the steps of its assignment."""
    if not events:
        return NOTHING
    if len(steps) == 1:
        return Divided({steps[0][1]: events}, {})
    found: dict[str, list[StrandEvent]] = {}
    times = [at for at, _ in steps]
    for event in events:
        found.setdefault(steps[max(bisect_right(times, event.event_time) - 1, 0)][1], []).append(event)
    spans = spans_of(steps)
    return Divided(found, {person: spans[person] for person in found})


@dataclass(slots=True)
class Teller:
    """Makes the messages about one primary identifier; ``tell`` once, and the ``told`` of each strand is the new one.

    Args:
        primary: the identifier.
        strands: as they are now, their ``told`` as it was.
        versions: of the shard.
        distrusted: whoever was told anything is told anew, whatever it was.
    """

    primary: Identifier
    strands: Mapping[Logins, Strand]
    versions: Versions
    distrusted: bool = False
    _takes: list[_Due] = field(default_factory=list)
    _gives: list[_Due] = field(default_factory=list)
    _erased: list[_Due] = field(default_factory=list)

    def tell(
        self, before: Mapping[Logins, Divided], after: Mapping[Logins, Divided], erased: Collection[str]
    ) -> list[StrandMessage]:
        """The messages from ``before`` to ``after``; ``erased`` are ids of events of before that were erased."""
        had: dict[str, tuple[Logins, str]] = {
            event.event_id: (login, person)
            for login, divided in before.items()
            for person, events in divided.events.items()
            for event in events
        }
        for login in sorted(self.strands, key=_by_login):
            old, new = before.get(login, NOTHING), after.get(login, NOTHING)
            for person in sorted({*old.events, *new.events, *self._told_of(login)}):
                self._compare(login, person, old, new, erased, had)
        messages: list[StrandMessage] = []
        for due in (self._erased, self._takes, self._gives):
            messages.extend(self._message(*what) for what in due)
        return messages

    def _told_of(self, login: Logins) -> Iterable[str]:
        return self.strands[login].told if self.distrusted else ()

    def _compare(
        self,
        login: Logins,
        person: str,
        old_parts: Divided,
        new_parts: Divided,
        erased: Collection[str],
        had: Mapping[str, tuple[Logins, str]],
    ) -> None:
        old, new = old_parts.events.get(person, ()), new_parts.events.get(person, ())
        old_spans, new_spans = old_parts.spans.get(person, ()), new_parts.spans.get(person, ())
        if self.distrusted:
            (self._gives if new else self._takes).append((login, person, WHOLE if new else GONE, new, new_spans, None))
            return
        gone = [event for event in old if event.event_id in erased]
        if gone:
            until = self._until(login, gone)
            old = [event for event in old if event.event_id not in erased]
            if not old:
                self._erased.append((login, person, GONE, (), (), until))
            elif _same(old, new) and old_spans != new_spans:
                self._erased.append((login, person, WHOLE, old, new_spans, until))
                return
            else:
                self._erased.append((login, person, WHOLE, old, old_spans, until))
        if _same(old, new) and (old_spans == new_spans or not new):
            return
        if not new:
            self._takes.append((login, person, GONE, (), (), None))
            return
        old_ids, new_ids = {e.event_id for e in old}, {e.event_id for e in new}
        lost, gained = old_ids - new_ids, new_ids - old_ids
        if lost and any(had.get(event_id, (login, person)) != (login, person) for event_id in gained):
            stay = [event for event in new if event.event_id in old_ids]
            if stay:
                self._takes.append((login, person, WHOLE, stay, new_spans, None))
            else:
                self._takes.append((login, person, GONE, (), (), None))
            self._gives.append((login, person, WHOLE, new, new_spans, None))
        elif lost or not gained:
            self._takes.append((login, person, WHOLE, new, new_spans, None))
        elif old and old_spans == new_spans and _same(old, new[: len(old)]):
            self._gives.append((login, person, APPEND, new[len(old) :], new_spans, None))
        else:
            self._gives.append((login, person, WHOLE, new, new_spans, None))

    def _until(self, login: Logins, gone: Sequence[StrandEvent]) -> int:
        assignment = self.strands[login].assignment
        latest = max(event.event_time for event in gone)
        if assignment is None or assignment.erased_before is None:
            return latest
        return max(latest, assignment.erased_before)

    def _message(
        self, login: Logins, person: str, kind: str, events: Sequence[StrandEvent], spans: Spans, until: int | None
    ) -> StrandMessage:
        strand = self.strands[login]
        told = strand.told.get(person)
        version = self.versions.next()
        strand.told[person] = Told(version, bool(events))
        return StrandMessage(
            strand_id(self.primary, login),
            self.primary,
            login,
            person,
            kind,
            0 if strand.assignment is None else strand.assignment.sequence,
            version,
            0 if told is None else told.version,
            tuple([event.event for event in events]),
            spans,
            until,
        )


def _by_login(login: Logins) -> tuple[bool, Identifier]:
    return (login is not None, login or Identifier("", ""))


def _same(one: Sequence[StrandEvent], other: Sequence[StrandEvent]) -> bool:
    return len(one) == len(other) and all(a.event == b.event for a, b in zip(one, other, strict=True))
