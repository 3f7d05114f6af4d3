"""What would be if some links were not there, or some more were: resolved again, by the rules, not guessed.

Pure; links and events come from ports. Input: identifiers that a change touches. Output: who they would be, and how
many events would go with them. Only the neighbourhood of the touched identifiers is resolved, so that one person of
a million costs what one person costs. Times: UTC microseconds of event time. Errors: none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from contracts.event import Identifier
from contracts.exchange import Assignment, Link, StrandEvent
from transforms.identity.carry import carried_steps, hands
from transforms.identity.demotion import demotion_of
from transforms.identity.erasing import barred_logins
from transforms.identity.evidence import merge_links
from transforms.identity.graph import Links
from transforms.identity.ids import canonical_id
from transforms.identity.neighbourhood import neighbourhood
from transforms.identity.resolve import Resolution, resolve_collected
from transforms.identity.rules import IdentityRules, StrandKey

Pair = frozenset[Identifier]
Fetch = Callable[[Collection[Identifier]], Iterable[Link]]
"""Every link with one of these as an end."""


class Evidence:
    """``neighbourhood.LinkSource`` of links that are fetched once, with some left out and some added.

    State: the links fetched so far, shared with every change of it.

    Args:
        fetch: where links come from.
        rules: the rules in force.
        without: pairs whose links are left out.
        plus: links that are added.
    """

    def __init__(
        self, fetch: Fetch, rules: IdentityRules, *, without: Iterable[Pair] = (), plus: Sequence[Link] = ()
    ) -> None:
        self._fetch = fetch
        self._rules = rules
        self._without = frozenset(without)
        self._plus = tuple(plus)
        self._held: dict[Identifier, list[Link]] = {}

    def changed(self, *, without: Iterable[Pair] = (), plus: Sequence[Link] = ()) -> Evidence:
        """This evidence with a change."""
        made = Evidence(self._fetch, self._rules, without=self._without.union(without), plus=(*self._plus, *plus))
        made._held = self._held
        return made

    def links_of(self, identifiers: Collection[Identifier]) -> Iterable[Link]:
        new = [identifier for identifier in identifiers if identifier not in self._held]
        if new:
            self._held.update({identifier: [] for identifier in new})
            wanted = set(new)
            for link in self._fetch(new):
                for end in {link.left, link.right or link.left} & wanted:
                    self._held[end].append(link)
        asked = set(identifiers)
        kept = (link for one in asked for link in self._held[one] if _pair(link) not in self._without)
        added = [link for link in self._plus if link.left in asked or link.right in asked]
        # an added link may be further evidence of one that is there
        return merge_links([*kept, *added], self._rules) if added else kept

    def demoted(self, identifiers: Collection[Identifier]) -> Mapping[Identifier, str]:
        found: dict[Identifier, str] = {}
        for identifier in identifiers:
            links = list(self.links_of((identifier,)))
            bound = self._rules.namespaces[identifier.namespace].demote_after
            if len(links) <= min(self._rules.crowd, bound.values if bound else self._rules.crowd):
                continue
            why = demotion_of(identifier, links, self._rules)
            if why is not None:
                found[identifier] = why
        return found

    def erased(self, identifiers: Collection[Identifier]) -> Mapping[Identifier, Collection[int]]:
        """None: what was erased has left the ledger of links already."""
        return {}


def _pair(link: Link) -> Pair:
    return frozenset((link.left,) if link.right is None else (link.left, link.right))


class Near(NamedTuple):
    """The resolution of a neighbourhood: right for its ``targets``."""

    resolution: Resolution
    targets: frozenset[Identifier]

    def person_of(self, identifier: Identifier) -> str:
        """Who holds an identifier."""
        return self.resolution.person_of(identifier)

    def members(self, person_id: str) -> set[Identifier]:
        """The targets that a person holds."""
        return {identifier for identifier in self.targets if self.person_of(identifier) == person_id}

    def company(self, of: Collection[Identifier] | None = None) -> set[Identifier]:
        """Some identifiers (the targets by default), and whoever is one person with any of them."""
        asked = self.targets if of is None else of
        persons = {self.person_of(identifier) for identifier in asked}
        return {i for i in self.resolution.known_identifiers() if self.person_of(i) in persons}.union(asked)

    def assignments(self) -> dict[StrandKey, Assignment]:
        """The assignment of each strand of the targets."""
        return {
            StrandKey(assignment.primary, assignment.login): assignment
            for assignment in self.resolution.assignments()
            if (assignment.login or assignment.primary) in self.targets
        }


def resolve_near(touched: Collection[Identifier], evidence: Evidence, rules: IdentityRules) -> Near:
    """Resolve what decides who the touched identifiers are."""
    near = neighbourhood(touched, evidence, rules)
    links = Links(rules)
    for identifier in near.targets:
        links.intern(identifier)
    links.add_all(near.links)
    resolution = resolve_collected(links, rules, None, near.demoted)
    return Near(resolution, near.targets | {identifier for identifier in touched if identifier in links.index})


class Compared(NamedTuple):
    """The same identifiers before and after a change.

    ``concerned`` holds every identifier whose person may be another one, and the companions of each on both sides.
    """

    before: Near
    after: Near
    concerned: frozenset[Identifier]


def compare(touched: Collection[Identifier], before: Evidence, after: Evidence, rules: IdentityRules) -> Compared:
    """Resolve both sides of a change.

    Args:
        touched: the ends of what changes, and whoever else is asked about.
        before, after: the evidence without and with the change.
        rules: the rules in force.
    """
    concerned = resolve_near(touched, after, rules).company()
    concerned |= resolve_near(concerned, before, rules).company(concerned)
    return Compared(resolve_near(concerned, before, rules), resolve_near(concerned, after, rules), frozenset(concerned))


# --- events ---------------------------------------------------------------------------------------------------------


class EventSource(Protocol):
    """Where accepted events are, by their strands."""

    def counts(self, strands: Collection[StrandKey]) -> Mapping[StrandKey, int]:
        """How many events each strand has; one that has none may be missing."""
        ...

    def on_device(self, device: Identifier, logins: Collection[Identifier]) -> Sequence[StrandEvent]:
        """The events of a device, without a login and with each of these, in order of (event time, event_id)."""
        ...


@dataclass(slots=True)
class Moves:
    """How many events go from whom to whom: (person before, person after) to number. ``strands`` in the same way."""

    events: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    strands: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))


def moves(compared: Compared, source: EventSource, rules: IdentityRules) -> Moves:
    """Whose every event of the identifiers concerned is, before and after."""
    concerned = compared.concerned
    old, new = (
        {key: found for key, found in near.assignments().items() if (key.login or key.primary) in concerned}
        for near in (compared.before, compared.after)
    )
    logins: dict[Identifier, set[Identifier]] = defaultdict(set)
    for primary, login in [*old, *new]:
        if login is not None:
            logins[primary].add(login)
    counts = source.counts([*old, *(key for key in new if key not in old)])
    found = Moves()
    for key, number in counts.items():
        if not number:
            continue
        one, other = old.get(key), new.get(key)
        if (one is not None and one.carry) or (other is not None and other.carry):
            events = source.on_device(key.primary, sorted(logins[key.primary]))
            owners = [
                (_at(first, event.event_time), _at(second, event.event_time))
                for first, second in [(_steps(key, old, events, rules), _steps(key, new, events, rules))]
                for event in events
                if event.login is None
            ]
            for pair in owners:
                found.events[pair] += 1
            for pair in set(owners):
                found.strands[pair] += 1
        else:
            pair = (_first(key, one), _first(key, other))
            found.events[pair] += number
            found.strands[pair] += 1
    return found


def _first(key: StrandKey, assignment: Assignment | None) -> str:
    return canonical_id(key.login or key.primary) if assignment is None else assignment.steps[0][1]


def _steps(
    key: StrandKey, assignments: Mapping[StrandKey, Assignment], events: Sequence[StrandEvent], rules: IdentityRules
) -> tuple[tuple[int, str], ...]:
    held = assignments.get(key)
    own = _first(key, held)
    if held is None or not held.carry:
        return ((events[0].event_time if events else 0, own),)

    def person_of(login: Identifier) -> str:
        name = StrandKey(key.primary, login)
        return _first(name, assignments.get(name))

    barred = barred_logins(assignments).get(key.primary, ())
    return carried_steps(hands(events, rules.carry_of(key.primary.namespace), barred), person_of, own)


def _at(steps: Sequence[tuple[int, str]], time: int) -> str:
    person = steps[0][1]
    for start, holder in steps:
        if start > time:
            break
        person = holder
    return person


# --- persons --------------------------------------------------------------------------------------------------------


class Division(NamedTuple):
    """Which persons become which: ``merged`` by the person after, ``split`` by the person before."""

    merged: Mapping[str, frozenset[str]]
    split: Mapping[str, frozenset[str]]


def division(compared: Compared) -> Division:
    """Who would merge and who would split, by the identifiers of both. A person that only gets another id does neither.

    The id follows the anchor, so it may change where nobody joins and nobody leaves.
    """
    became: dict[str, set[str]] = defaultdict(set)
    came: dict[str, set[str]] = defaultdict(set)
    before, after, concerned = compared
    for identifier in concerned:
        one, other = before.person_of(identifier), after.person_of(identifier)
        became[one].add(other)
        came[other].add(one)
    return Division(
        {person: frozenset(sources) for person, sources in sorted(came.items()) if len(sources) > 1},
        {person: frozenset(parts) for person, parts in sorted(became.items()) if len(parts) > 1},
    )
