"""Resolution: from all links to persons. The partition is a pure function of the set of links.

Pure: no Beam, no database. Input: links (any order, any duplication) and the rules. Output: ``Resolution``. Times are
UTC microseconds of event time. Errors: none; a link that may not hold is refused and recorded. State: none.

1. Known identifiers (logins, contacts, records) are united link by link in the order of first evidence. A link that
   would give a person more values of a namespace than its limit, or more identifiers than ``component_size``, is
   refused; its ends keep their persons.
2. Devices seen together without a login are one group. A group seen with no person is a person of its own; with one,
   it is that person's; with several, the owner policy of its most device-like namespace chooses, unless the group is
   public. This concerns what a device did without a login: an event that names its login is that login's person's.
3. The anchor of a person is its identifier of the highest priority, then of the earliest evidence, then of the least
   value; ``person_id`` is the anchor's canonical id and the other members' canonical ids are aliases.

Erasure comes before all this, see ``transforms.identity.erasure``.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from contracts.event import Identifier
from contracts.exchange import MIN_TIME, Assignment, Link
from transforms.identity.erasure import erased_before
from transforms.identity.graph import NO_END, Links, Union
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
        self._first, self._last = _first_and_last(links)
        self._anchors = _anchors(rules, links, persons, self._first)

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
        tombstones: earlier ``Resolution.erasures``; they erase their identifiers again and reach no further.
    """
    everything = Links(rules)
    for link in links:
        everything.add(link)
    return resolve_collected(everything, rules, tombstones)


def resolve_collected(
    everything: Links, rules: IdentityRules, tombstones: Mapping[Identifier, int] | None = None
) -> Resolution:
    """``resolve`` for links that were collected one by one."""
    for identifier in tombstones or ():
        everything.intern(identifier)
    erased = erased_before(everything, rules, tombstones or {})
    links = everything.surviving(erased) if erased else everything
    union = Union(links, rules)
    edge_rules = [""] * len(links.left)
    sightings: dict[int, list[int]] = {}
    order = links.order()
    for edge in order:
        left, right = links.left[edge], links.right[edge]
        if right == NO_END:
            continue
        if links.known[left] == links.known[right]:
            refused = union.unite(left, right)
            edge_rules[edge] = refused or (UNITED if links.known[left] else GROUPED)
    # groups are complete only now
    for edge in order:
        right = links.right[edge]
        if right != NO_END and links.known[links.left[edge]] != links.known[right]:
            device = links.left[edge] if links.known[right] else right
            sightings.setdefault(union.find(device), []).append(edge)
    owners = _owners(links, rules, union, sightings, edge_rules)
    persons = [owners.get(root, root) for root in map(union.find, range(len(links.identifiers)))]
    return Resolution(rules, everything, links, persons, edge_rules, erased)


def _owners(
    links: Links, rules: IdentityRules, union: Union, sightings: Mapping[int, list[int]], edge_rules: list[str]
) -> dict[int, int]:
    """The person (root of known identifiers) who owns each device group that has one; fills in the links' rules.

    ``sightings`` hold their edges in the order of first evidence.
    """
    groups = links.members_of(union, sightings)
    owned: dict[int, list[int]] = {}
    for group, edges in sightings.items():
        persons = {union.find(_known_end(links, edge)) for edge in edges}
        if len(persons) == 1:
            (owner,) = persons
            rule = ONLY_PERSON
        else:
            namespace = rules.namespaces[links.identifiers[groups[group]].namespace]
            if namespace.public_after is not None and len(persons) > namespace.public_after:
                _mark(edges, PUBLIC, edge_rules)
                continue
            if namespace.owner == LAST_KNOWN:
                chosen = max(
                    edges, key=lambda e: (links.last_time[e], links.last_id[e], links.identifiers[_known_end(links, e)])
                )
            elif namespace.owner == FIRST_KNOWN:
                chosen = edges[0]
            else:
                _mark(edges, namespace.owner, edge_rules)
                continue
            owner, rule = union.find(_known_end(links, chosen)), OWNER
            for edge in edges:
                if union.find(_known_end(links, edge)) != owner:
                    edge_rules[edge] = namespace.owner
        for edge in edges:
            edge_rules[edge] = edge_rules[edge] or rule
        owned.setdefault(owner, []).append(group)
    return _within_size(links, rules, union, sightings, owned, edge_rules)


def _within_size(
    links: Links,
    rules: IdentityRules,
    union: Union,
    sightings: Mapping[int, list[int]],
    owned: Mapping[int, list[int]],
    edge_rules: list[str],
) -> dict[int, int]:
    """Take device groups into persons, in the order of first evidence, until a person has ``component_size``."""
    owners: dict[int, int] = {}
    for person, groups in owned.items():
        size = union.size[person]
        if size + sum(union.size[group] for group in groups) > rules.component_size:
            groups = sorted(groups, key=lambda g: links.sort_key(sightings[g][0]))
        for group in groups:
            if size + union.size[group] > rules.component_size:
                for edge in sightings[group]:
                    if edge_rules[edge] in (OWNER, ONLY_PERSON):
                        edge_rules[edge] = COMPONENT_SIZE
                continue
            size += union.size[group]
            owners[group] = person
    return owners


def _known_end(links: Links, edge: int) -> int:
    left = links.left[edge]
    return left if links.known[left] else links.right[edge]


def _mark(edges: Iterable[int], rule: str, edge_rules: list[str]) -> None:
    for edge in edges:
        edge_rules[edge] = rule


def _first_and_last(links: Links) -> tuple[array[int], array[int]]:
    """The edge of the first evidence and the last time of each identifier; ``NO_END`` where no link is left."""
    first = array("q", (NO_END,)) * len(links.identifiers)
    last = array("q", (MIN_TIME,)) * len(links.identifiers)
    lefts, rights, last_times = links.left, links.right, links.last_time
    for edge in links.order():
        last_time = last_times[edge]
        for end in (lefts[edge], rights[edge]):
            if end == NO_END:
                continue
            if first[end] == NO_END:
                first[end] = edge
            if last_time > last[end]:
                last[end] = last_time
    return first, last


def _anchors(rules: IdentityRules, links: Links, persons: list[int], first: array[int]) -> dict[int, int]:
    """The anchor of each person that any link is left of."""
    priority = {name: rules.priority(name) for name in rules.namespaces}
    best: dict[int, int] = {}
    for index, person in enumerate(persons):
        if first[index] == NO_END:
            continue
        held = best.get(person)
        if held is None:
            best[person] = index
            continue
        mine, theirs = links.identifiers[index], links.identifiers[held]
        gain = priority[mine.namespace] - priority[theirs.namespace]
        if gain > 0 or (gain == 0 and _seen_before(links, first, index, held)):
            best[person] = index
    return best


def _seen_before(links: Links, first: array[int], one: int, other: int) -> bool:
    """Earlier first evidence; the lesser value where both were first seen on the same event."""
    a, b = first[one], first[other]
    return (links.first_time[a], links.first_id[a], links.identifiers[one]) < (
        links.first_time[b],
        links.first_id[b],
        links.identifiers[other],
    )
