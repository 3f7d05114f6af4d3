"""Erasing on a strand shard: which events go, and the marks that stay of those that went.

Pure: no Beam. Input: all events and assignments of a shard, and the marks of events that were erased before. Output:
for each event whether it goes, and new marks. Times: UTC microseconds of event time. Errors: none. State: the events of
devices from which something carried is erased, for one call of the fold.

What was carried to an erased login must go, and in whose hands a device was is told by all events on it, erased ones
included. So of each erased event on a device that may be carried its time, login and logout stay (``ErasedMark``), as
part of the tombstone: as if it were still there, the hands come out the same in whatever runs the events arrive. Marks
that can make no difference are not kept: under ``carry_visit`` one between two others of one visit, under the other
policies one without login and logout.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from contracts.event import Identifier
from contracts.exchange import ERASED, Assignment, ErasedMark, Link, StrandEvent
from transforms.identity.carry import Step, hands
from transforms.identity.rules import CARRY_FORWARD, CARRY_VISIT, Carry, StrandKey

FORWARD = Carry(CARRY_FORWARD, 0)
"""How a device is carried whose own namespace is not: another one of its group is."""

StrandName = tuple[Identifier, Identifier | None]
_Mark = tuple[int, Identifier | None, bool]
"""Event time, login, logout."""


class Erasing:
    """Which events go: those of an erased strand, and what was carried to the login of one.

    Args:
        assignments: by strand.
        events: by primary identifier and event id.
        clashes: further copies of events, and conflicting ones.
        carries: how devices of a namespace are carried.
        marks: of events that were erased before.
    """

    def __init__(
        self,
        assignments: Mapping[StrandName, Assignment],
        events: Mapping[Identifier, Mapping[str, StrandEvent]],
        clashes: Mapping[tuple[Identifier, str], Sequence[StrandEvent]],
        carries: Mapping[str, Carry],
        marks: Iterable[ErasedMark] = (),
    ) -> None:
        self._carries = carries
        self._until = {name: a.erased_before for name, a in assignments.items() if a.erased_before is not None}
        self._known: defaultdict[Identifier, set[_Mark]] = defaultdict(set)
        self._found: defaultdict[Identifier, set[_Mark]] = defaultdict(set)
        kept: defaultdict[Identifier, list[ErasedMark]] = defaultdict(list)
        for mark in marks:
            told = (mark.event_time, mark.login, mark.logout)
            if told not in self._known[mark.primary]:
                self._known[mark.primary].add(told)
                kept[mark.primary].append(mark)
            if mark.login is not None and mark.until is not None:
                name = (mark.primary, mark.login)
                self._until[name] = max(mark.until, self._until.get(name, mark.until))
        concerned = {primary for primary, _ in self._until}
        self._carried = {p for p in concerned if (a := assignments.get((p, None))) is not None and a.carry}
        seen: dict[Identifier, list[StrandEvent | ErasedMark]] = {
            p: [*events.get(p, {}).values(), *kept[p]] for p in self._carried
        }
        for (primary, _), copies in clashes.items():
            if primary in self._carried:
                seen[primary].extend(copies)
        barred = barred_logins(assignments)
        self._hands: dict[Identifier, list[Step]] = {}
        for primary, every in seen.items():
            every.sort(key=_order)
            self._hands[primary] = hands(every, carries.get(primary.namespace, FORWARD), barred.get(primary, ()))

    def concerns(self, primary: Identifier, login: Identifier | None) -> bool:
        """Whether anything of a strand may go."""
        return (primary, login) in self._until or (login is None and primary in self._hands)

    def is_erased(self, event: StrandEvent) -> bool:
        """Whether an event goes."""
        until = self._until.get((event.primary, event.login))
        if until is not None and event.event_time <= until:
            return True
        steps = self._hands.get(event.primary) if event.login is None else None
        if steps is None:
            return False
        login = steps[bisect_right(steps, event.event_time, key=_step_time) - 1].login
        until = self._until.get((event.primary, login)) if login is not None else None
        return until is not None and event.event_time <= until

    def went(self, event: StrandEvent) -> None:
        """Note that an event went."""
        primary = event.primary
        if primary.namespace in self._carries or primary in self._carried:
            self._found[primary].add((event.event_time, event.login, event.logout))

    def new_marks(self) -> Iterator[ErasedMark]:
        """The marks of what went that are not known and make a difference, in order."""
        for primary, found in sorted(self._found.items()):
            known = self._known.get(primary, set())
            for at, login, logout in self._that_matter(primary, found | known):
                if (at, login, logout) not in known:
                    yield ErasedMark(primary, login, at, logout, self._until.get((primary, login)) if login else None)

    def _that_matter(self, primary: Identifier, marks: Iterable[_Mark]) -> Iterator[_Mark]:
        carry = self._carries.get(primary.namespace, FORWARD)
        ordered = sorted(marks, key=lambda mark: (mark[0], mark[1] is not None, mark[1] or primary, mark[2]))
        last: int | None = None
        for number, mark in enumerate(ordered):
            at, login, logout = mark
            if login is None and not logout:
                if carry.policy != CARRY_VISIT:
                    continue
                after = ordered[number + 1][0] if number + 1 < len(ordered) else None
                if last is not None and after is not None and after - last < carry.visit_gap:
                    continue
            last = at
            yield mark


def barred_logins(
    assignments: Mapping[StrandName, Assignment] | Mapping[StrandKey, Assignment],
) -> dict[Identifier, set[Identifier]]:
    """The logins that an unlink keeps from each device."""
    found: defaultdict[Identifier, set[Identifier]] = defaultdict(set)
    for (primary, login), assignment in assignments.items():
        if assignment.barred and login is not None:
            found[primary].add(login)
    return found


def in_order(marks: Iterable[ErasedMark]) -> list[ErasedMark]:
    """Marks by device, time and login."""
    return sorted(marks, key=lambda m: (m.primary, m.event_time, m.login is not None, m.login or m.primary, m.logout))


def erased_pairs(marks: Iterable[ErasedMark]) -> list[Link]:
    """The logins and devices of marks, as tombstones: each login's later request concerns those devices too."""
    pairs: dict[tuple[Identifier, Identifier], tuple[int, int]] = {}
    for mark in marks:
        if mark.login is not None and mark.until is not None:
            pair = (mark.login, mark.primary)
            first, until = pairs.get(pair, (mark.event_time, mark.until))
            pairs[pair] = (min(first, mark.event_time), max(until, mark.until))
    return [Link(*pair, first, "", first, "", first, until, ERASED) for pair, (first, until) in sorted(pairs.items())]


def _step_time(step: Step) -> int:
    return step.at


def _order(event: StrandEvent | ErasedMark) -> tuple[int, str, bool, Identifier, bool]:
    event_id = event.event_id if isinstance(event, StrandEvent) else ""
    return (event.event_time, event_id, event.login is not None, event.login or event.primary, event.logout)
