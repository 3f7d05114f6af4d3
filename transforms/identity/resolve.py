"""Resolution: from all links to persons. The partition is a pure function of the set of links.

Pure: no Beam, no database. Input: links (any order, any duplication) and the rules. Output: ``Resolution``. Times are
UTC microseconds of event time. Errors: none; a link that may not hold is refused and recorded. State: none.

1. Known identifiers (logins, contacts, records) are united link by link in the order of first evidence. A link that
   would give a person more values of a namespace than its limit, or more identifiers than ``component_size``, is
   refused; its ends keep their persons.
2. Devices seen together without a login are one group. A group seen with no person is a person of its own; with one,
   it is that person's; with several, the owner policy of its most device-like namespace chooses, unless the group is
   public. This concerns what a device did without a login: an event that names its login is that login's person's.
3. The anchor of a person is its identifier of the highest priority, then of the earliest link, then of the least
   value; ``person_id`` is the anchor's canonical id and the other members' canonical ids are aliases.

Erasure comes before all this, see ``transforms.identity.erasure``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from contracts.event import Identifier
from contracts.exchange import MIN_TIME, Assignment, Link
from transforms.identity.erasure import erased_before
from transforms.identity.graph import NO_END, Column, Links, Union, column
from transforms.identity.ids import canonical_id
from transforms.identity.rules import FIRST_KNOWN, LAST_KNOWN, IdentityRules


class IdentifierRow(NamedTuple):
    """One identifier and who holds it; for a shared device the owner of what it did without a login."""

    namespace: str
    value: str
    person_id: str
    first_seen: int
    last_seen: int


class PersonRow(NamedTuple):
    """One person, or one alias (``merged_into`` set) with the times of its identifier."""

    person_id: str
    first_seen: int
    last_seen: int
    is_current: bool
    merged_into: str | None


class EdgeRow(NamedTuple):
    """What became of one link. ``rule`` says why: see ``docs/identity.md``."""

    left: Identifier
    right: Identifier
    accepted: bool
    rule: str
    first_time: int
    first_event_id: str
    last_time: int
    last_event_id: str
    received_time: int
    rules_version: str


class Resolution:
    """The answer of ``resolve``: compact, one machine word an identifier; the methods write it out."""

    def __init__(
        self,
        rules: IdentityRules,
        all_links: Links,
        links: Links,
        persons: list[int],
        rules_of_links: list[str],
        erased: dict[int, int],
    ) -> None:
        self._rules = rules
        self._all = all_links
        self._links = links
        self._persons = persons
        self._edge_rules = rules_of_links
        self._erased = erased
        self._ids: dict[int, str] = {}
        first, last = _first_and_last(links)
        self._anchors = _anchors(rules, links, persons, first)
        order = np.append(links.order(), NO_END)
        self._first: list[int] = order[first].tolist()
        self._last: list[int] = last.tolist()

    def person_of(self, identifier: Identifier) -> str:
        """The person who holds an identifier; an identifier never seen is a person of its own."""
        index = self._links.index.get(identifier)
        return canonical_id(identifier) if index is None else self._person_id(index)

    def assignments(self, sequence: int = 1) -> Iterator[Assignment]:
        """One assignment for each strand that the links allow for; each strand that has events is among them.

        Args:
            sequence: orders this resolution among others of the same strands.
        """
        identifiers, known, erased = self._all.identifiers, self._all.known, self._erased
        for index, identifier in enumerate(identifiers):
            yield Assignment(identifier, None, sequence, ((MIN_TIME, self._person_id(index)),), erased.get(index))
        for left, right in zip(self._all.left, self._all.right, strict=True):
            if right != NO_END and known[left] and not known[right]:
                yield Assignment(
                    identifiers[right],
                    identifiers[left],
                    sequence,
                    ((MIN_TIME, self._person_id(left)),),
                    erased.get(left),
                )

    def identifiers(self) -> Iterator[IdentifierRow]:
        """The rows of the ``identifiers`` table. What was erased and not seen again has none."""
        for index, (namespace, value) in enumerate(self._links.identifiers):
            first = self._first[index]
            if first != NO_END:
                yield IdentifierRow(
                    namespace, value, self._person_id(index), self._links.first_time[first], self._last[index]
                )

    def persons(self) -> Iterator[PersonRow]:
        """The rows of the ``persons`` table: current persons and aliases.

        A current person's times are those of its events: of the links whose login, or whose device without a login,
        is the person's.
        """
        firsts: dict[int, int] = {}
        lasts: dict[int, int] = {}
        links, persons = self._links, self._persons
        for left, first_time, last_time in zip(links.left, links.first_time, links.last_time, strict=True):
            person = persons[left]
            if first_time < firsts.get(person, first_time + 1):
                firsts[person] = first_time
            if last_time > lasts.get(person, last_time - 1):
                lasts[person] = last_time
        for index, identifier in enumerate(links.identifiers):
            edge = self._first[index]
            if edge == NO_END:
                continue
            person, person_id = persons[index], self._person_id(index)
            first, last = links.first_time[edge], self._last[index]
            if self._anchors[person] == index:
                yield PersonRow(person_id, firsts.get(person, first), lasts.get(person, last), True, None)
            else:
                yield PersonRow(canonical_id(identifier), first, last, False, person_id)

    def edges(self) -> Iterator[EdgeRow]:
        """The ledger of links: each with its evidence and what became of it; erased ones are left out."""
        links = self._links
        for edge, right in enumerate(links.right):
            if right != NO_END:
                rule = self._edge_rules[edge]
                yield EdgeRow(
                    links.identifiers[links.left[edge]],
                    links.identifiers[right],
                    rule in _ACCEPTING,
                    rule,
                    links.first_time[edge],
                    links.first_id[edge],
                    links.last_time[edge],
                    links.last_id[edge],
                    links.received[edge],
                    self._rules.version,
                )

    def erasures(self) -> Iterator[tuple[Identifier, int]]:
        """Identifiers whose events at or before the time must go; keep them and give them to the next ``resolve``."""
        for index in sorted(self._erased):
            yield self._all.identifiers[index], self._erased[index]

    def _person_id(self, index: int) -> str:
        anchor = self._anchors.get(self._persons[index], index)
        made = self._ids.get(anchor)
        if made is None:
            made = self._ids[anchor] = canonical_id(self._links.identifiers[anchor])
        return made


UNITED, GROUPED, ONLY_PERSON, OWNER = "united", "grouped", "only_person", "owner"
PUBLIC, COMPONENT_SIZE = "public", "component_size"
_ACCEPTING = frozenset((UNITED, GROUPED, ONLY_PERSON, OWNER))


def resolve(
    links: Iterable[Link], rules: IdentityRules, tombstones: Mapping[Identifier, int] | None = None
) -> Resolution:
    """Resolve links to persons.

    Args:
        links: in any order, with any repetition.
        rules: the rules in force.
        tombstones: earlier ``Resolution.erasures``; they erase again, see ``identity.erasure``.
    """
    everything = Links(rules)
    everything.add_all(links)
    return resolve_collected(everything, rules, tombstones)


def resolve_collected(
    everything: Links, rules: IdentityRules, tombstones: Mapping[Identifier, int] | None = None
) -> Resolution:
    """``resolve`` for links that are collected already."""
    for identifier in tombstones or ():
        everything.intern(identifier)
    erased = erased_before(everything, rules, tombstones or {})
    links = everything.surviving(erased) if erased else everything
    union = Union(links, rules)
    known, left, right, order = links.known_column(), column(links.left), column(links.right), links.order()
    paired = order[right[order] != NO_END]
    alike = known[left[paired]] == known[right[paired]]
    edge_rules = [""] * len(links.left)
    for edge in paired[alike].tolist():
        refused = union.unite(links.left[edge], links.right[edge])
        edge_rules[edge] = refused or (UNITED if links.known[links.left[edge]] else GROUPED)
    roots = union.roots()
    owner = _Owners(links, rules, union, roots, paired[~alike], edge_rules).decide()
    owned = owner[roots]
    persons: list[int] = np.where(owned == NO_END, roots, owned).tolist()
    return Resolution(rules, everything, links, persons, edge_rules, erased)


class _Owners:
    """Which person owns which device group. Groups and persons go by their roots.

    Args:
        sightings: edges between a device and a known identifier, in their order.
        edge_rules: by edge; those of the sightings are filled in.
    """

    def __init__(
        self,
        links: Links,
        rules: IdentityRules,
        union: Union,
        roots: Column,
        sightings: Column,
        edge_rules: list[str],
    ) -> None:
        self._links, self._rules, self._union = links, rules, union
        self._edges = sightings
        self._edge_rules = edge_rules
        left, right = column(links.left)[sightings], column(links.right)[sightings]
        login_left = links.known_column()[left]
        self._group = roots[np.where(login_left, right, left)]
        self._person = roots[np.where(login_left, left, right)]
        self._owner = np.full(len(links.identifiers), NO_END)

    def decide(self) -> Column:
        """The owner of each group by its root; ``NO_END`` for none."""
        group, person, edges = self._group, self._person, self._edges
        count = len(self._owner)
        least, most = np.full(count, count), np.full(count, NO_END)
        np.minimum.at(least, group, person)
        np.maximum.at(most, group, person)
        alone = (least == most)[group]
        self._owner[group[alone]] = person[alone]
        for edge in edges[alone].tolist():
            self._edge_rules[edge] = ONLY_PERSON
        shared: dict[int, list[tuple[int, int]]] = {}
        for root, edge, holder in zip(
            group[~alone].tolist(), edges[~alone].tolist(), person[~alone].tolist(), strict=True
        ):
            shared.setdefault(root, []).append((edge, holder))
        for root, seen in shared.items():
            self._owner[root] = self._choose(root, seen)
        self._keep_within_size()
        return self._owner

    def _choose(self, group: int, seen: list[tuple[int, int]]) -> int:
        """The owner of a group seen with several persons; ``seen`` are (edge, person) in the order of edges."""
        links = self._links
        namespace = self._rules.namespaces[links.identifiers[links.most_device_like(self._union, group)].namespace]
        if namespace.public_after is not None and len({person for _, person in seen}) > namespace.public_after:
            owner, other = NO_END, PUBLIC
        elif namespace.owner == LAST_KNOWN:
            _, owner = max(seen, key=lambda s: (links.last_time[s[0]], links.last_id[s[0]], links.ends(s[0])))
            other = namespace.owner
        else:
            owner, other = (seen[0][1] if namespace.owner == FIRST_KNOWN else NO_END), namespace.owner
        for edge, person in seen:
            self._edge_rules[edge] = OWNER if person == owner else other
        return owner

    def _keep_within_size(self) -> None:
        """Take groups from persons that have more than ``component_size`` with them, the latest seen first."""
        size = column(self._union.size)
        limit = self._rules.component_size
        groups = np.flatnonzero(self._owner != NO_END)
        total = np.bincount(self._owner[groups], weights=size[groups], minlength=len(size)) + size
        crowded = total[self._owner[groups]] > limit
        if not crowded.any():
            return
        rank = np.full(len(size), len(self._group))
        np.minimum.at(rank, self._group, np.arange(len(self._group)))
        left = {int(person): limit - int(size[person]) for person in np.unique(self._owner[groups[crowded]])}
        refused = np.zeros(len(size), dtype=np.bool_)
        for group in sorted(groups[crowded].tolist(), key=rank.__getitem__):
            person = int(self._owner[group])
            if size[group] > left[person]:
                self._owner[group] = NO_END
                refused[group] = True
            else:
                left[person] -= int(size[group])
        for edge in self._edges[refused[self._group]].tolist():
            if self._edge_rules[edge] in _ACCEPTING:
                self._edge_rules[edge] = COMPONENT_SIZE


def _first_and_last(links: Links) -> tuple[Column, Column]:
    """The position (in the order of links) of the first link and the last time of each identifier.

    The position is that of no link, the number of links, where none is left.
    """
    order, left, right, last_time = links.order(), column(links.left), column(links.right), column(links.last_time)
    position = np.empty_like(order)
    position[order] = np.arange(len(order))
    paired = right != NO_END
    first = np.full(len(links.identifiers), len(order))
    last = np.full(len(links.identifiers), MIN_TIME)
    for ends, of_ends in ((left, slice(None)), (right[paired], paired)):
        np.minimum.at(first, ends, position[of_ends])
        np.maximum.at(last, ends, last_time[of_ends])
    return first, last


def _anchors(rules: IdentityRules, links: Links, persons: list[int], first: Column) -> dict[int, int]:
    """The anchor of each person that any link is left of."""
    names = {name: rules.priority(name) for name in rules.namespaces}
    priority = np.array([names[identifier.namespace] for identifier in links.identifiers], dtype=np.int64)
    person = np.array(persons, dtype=np.int64)
    worse = (priority.max(initial=0) - priority) * (len(links.left) + 1) + first
    alive = first < len(links.left)
    best = np.full(len(person), np.iinfo(np.int64).max)
    np.minimum.at(best, person[alive], worse[alive])
    anchors: dict[int, int] = {}
    for index in np.flatnonzero(alive & (worse == best[person])).tolist():
        held = anchors.get(persons[index])
        # both ends of one link may be equally good
        if held is None or links.identifiers[index] < links.identifiers[held]:
            anchors[persons[index]] = index
    return anchors
