"""Two sets of rules over the same events: which journeys merge, which split, what changes hands.

Pure. Input: how many events go from each person under the first rules to each under the second. Output:
``Difference``. Ids do not matter, only company: a person that only gets another id has not changed. State: the flows,
one entry a pair of persons that share an event. Errors: none.

Persons are matched where each gives the other most: of the persons that take a person's events the one that takes
most, if that person's events come mostly from it (ties: the lesser id). Events between persons that are not matched
change hands.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

NOBODY = ""
"""In the place of a person: the event has none under these rules, since no identifier is usable or it is erased."""


@dataclass(frozen=True, slots=True)
class Joining:
    """A person after, and the events that each person before brings."""

    person: str
    sources: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Parting:
    """A person before, and the events that go to each person after."""

    person: str
    parts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Difference:
    """What the second rules change.

    Attributes:
        before, after: persons that have events.
        joined: persons after with events of several before, those with most events in other hands first.
        parted: persons before whose events go to several after, in the same order.
        same: persons that keep exactly their events.
        renamed: of them, those that go by another id.
        moved: events that change hands.
        lost, gained: events that only the first, or only the second rules give to anybody.
        changed: persons before whose events are not exactly those of a person after.
    """

    before: int
    after: int
    joined: tuple[Joining, ...]
    parted: tuple[Parting, ...]
    same: int
    renamed: int
    moved: int
    lost: int
    gained: int
    changed: frozenset[str]


class Flows:
    """Counts of events from person to person; ``add`` them in any order, then ask for the ``difference``."""

    def __init__(self) -> None:
        self._flows: defaultdict[str, dict[str, int]] = defaultdict(dict)

    def add(self, before: str, after: str, events: int = 1) -> None:
        """Events of ``before`` under the first rules that are ``after``'s under the second; ``NOBODY`` for no one."""
        to = self._flows[before]
        to[after] = to.get(after, 0) + events

    def matched(self) -> dict[str, str]:
        """Person before to the person after that goes on as it."""
        return self._match(self._turned())

    def difference(self) -> Difference:
        """What changed."""
        backward = self._turned()
        match = self._match(backward)
        whole = {one for one, other in match.items() if len(self._flows[one]) == 1 and len(backward[other]) == 1}
        persons = [person for person in self._flows if person != NOBODY]
        moved = sum(
            events
            for one, to in self._flows.items()
            for other, events in to.items()
            if NOBODY not in (one, other) and match.get(one) != other
        )
        return Difference(
            before=len(persons),
            after=sum(1 for other in backward if other != NOBODY),
            joined=tuple(sorted(self._joined(backward), key=lambda j: (-_lesser(j.sources), j.person))),
            parted=tuple(sorted(self._parted(), key=lambda p: (-_lesser(p.parts), p.person))),
            same=len(whole),
            renamed=sum(1 for one in whole if match[one] != one),
            moved=moved,
            lost=self._lost(),
            gained=sum(events for other, events in self._flows.get(NOBODY, {}).items() if other != NOBODY),
            changed=frozenset(person for person in persons if person not in whole),
        )

    def _turned(self) -> dict[str, dict[str, int]]:
        backward: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for one, to in self._flows.items():
            for other, events in to.items():
                backward[other][one] = events
        return backward

    def _lost(self) -> int:
        return sum(to.get(NOBODY, 0) for one, to in self._flows.items() if one != NOBODY)

    def _match(self, backward: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
        found: dict[str, str] = {}
        for one, to in self._flows.items():
            if one == NOBODY:
                continue
            other = _most(to)
            if other is not None and _most(backward[other]) == one:
                found[one] = other
        return found

    def _joined(self, backward: Mapping[str, Mapping[str, int]]) -> Iterator[Joining]:
        for other, sources in backward.items():
            known = _somebody(sources)
            if other != NOBODY and len(known) > 1:
                yield Joining(other, known)

    def _parted(self) -> Iterator[Parting]:
        for one, to in self._flows.items():
            known = _somebody(to)
            if one != NOBODY and len(known) > 1:
                yield Parting(one, known)


def _somebody(counts: Mapping[str, int]) -> dict[str, int]:
    return {person: n for person, n in sorted(counts.items(), key=_by_most) if person != NOBODY}


def _by_most(item: tuple[str, int]) -> tuple[int, str]:
    return (-item[1], item[0])


def _most(counts: Mapping[str, int]) -> str | None:
    known: Iterable[tuple[str, int]] = ((person, n) for person, n in counts.items() if person != NOBODY)
    best = min(known, key=_by_most, default=None)
    return None if best is None else best[0]


def _lesser(counts: Mapping[str, int]) -> int:
    """Events beside the greatest share."""
    return sum(counts.values()) - max(counts.values())
