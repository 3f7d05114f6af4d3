"""Resolution: from all links to persons. The partition is a pure function of the set of links.

Pure: no Beam, no database. Input: links (any order, any duplication) and the rules. Output: ``Resolution``. Times are
UTC microseconds of event time. Errors: none; a link that may not hold is refused and recorded. State: none.

1. An identifier seen with too many logins, or too many others, links nothing (``transforms.identity.demotion``).
2. What people asked for comes next: of the merges and unlinks of a pair the newest counts. A merge holds whatever
   limits say; a pair that was unlinked is in no person together, whatever evidence says.
3. Known identifiers (logins, contacts, records) are united link by link in the order of first evidence. A link that
   would give a person more values of a namespace than its limit, or more identifiers than ``component_size``, or both
   ends of an unlinked pair, is refused; its ends keep their persons.
4. Devices seen together without a login are one group. A group seen with no person is a person of its own; with one,
   it is that person's; with several, its owner policy chooses (``transforms.identity.owners``). This concerns what a
   device did without a login: an event that names its login is that login's person's.
5. The anchor of a person is its identifier of the highest priority, then of the earliest link, then of the least
   value; ``person_id`` is the anchor's canonical id and the other members' canonical ids are aliases.

Erasure comes before all this, see ``transforms.identity.erasure``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import Final, NamedTuple

import numpy as np

from contracts.event import Identifier
from contracts.exchange import LINK_KINDS, MIN_TIME, UNLINK, Assignment, Link
from transforms.identity.demotion import CROWDED, DEMOTED
from transforms.identity.demotion import crowded as find_crowded
from transforms.identity.demotion import demoted as find_demoted
from transforms.identity.erasure import erased_before
from transforms.identity.graph import NO_END, Column, Links, column
from transforms.identity.ids import canonical_id
from transforms.identity.owners import ONLY_PERSON, OWNER
from transforms.identity.partition import GROUPED, MERGED, UNITED, UNLINKED, Partition, partition
from transforms.identity.rules import CARRYING, IdentityRules
from transforms.identity.union import BARRED

ACCEPTED, REFUSED, REMOVED = "accepted", "refused", "removed"
STATUSES = (ACCEPTED, REFUSED, REMOVED, BARRED)
_ACCEPTING = frozenset((UNITED, GROUPED, ONLY_PERSON, OWNER, MERGED))
Tombstones = Mapping[Identifier, Collection[int]]
"""Identifiers that were erased, each with the times up to which."""
APART: Final = (UNLINKED, BARRED)
"""Rules under which an unlink takes what was seen from the two ends of a link."""
_UNLINK = LINK_KINDS.index(UNLINK)


class IdentifierRow(NamedTuple):
    """One identifier and who holds it; for a shared device the owner of what it did last without a login."""

    namespace: str
    value: str
    person_id: str
    first_seen: int
    last_seen: int


class PersonRow(NamedTuple):
    """What identity says of the id of one identifier, with the times of that identifier.

    ``merged_into`` is whom the identifier belongs to, null where it belongs to nobody else. ``is_current`` is False:
    which ids are persons the journeys say, in rows of their own that go before these
    (``contracts.tables.Table.facets``).
    """

    person_id: str
    first_seen: int
    last_seen: int
    is_current: bool
    merged_into: str | None


class EdgeRow(NamedTuple):
    """What became of one link. ``status`` is one of ``STATUSES``, ``rule`` says why: see ``docs/identity.md``.

    ``conflict`` is the identifier that stood against it: the value that would have been one too many, the partner of
    the unlinked pair, the demoted end.
    """

    left: Identifier
    right: Identifier
    kind: str
    accepted: bool
    status: str
    rule: str
    conflict: Identifier | None
    first_time: int
    first_event_id: str
    last_time: int
    last_event_id: str
    received_time: int
    rules_version: str

    def columns(self) -> tuple[str, str, str, str, str, bool, str, str, str | None, int, str, int, str, int, str]:
        """The row of the ``edges`` table, as in ``contracts.exchange.IdentityRows``."""
        conflict = None if self.conflict is None else ":".join(self.conflict)
        return (*self.left, *self.right, *self[2:6], conflict, *self[7:])


class Resolution:
    """The answer of ``resolve``: compact, one machine word an identifier; the methods write it out."""

    def __init__(
        self,
        rules: IdentityRules,
        all_links: Links,
        links: Links,
        found: Partition,
        demoted: Mapping[int, str],
        covered: Mapping[int, set[int]],
        elsewhere: frozenset[int] = frozenset(),
    ) -> None:
        self._rules = rules
        self._all = all_links
        self._links = links
        self._found = found
        self._persons = found.persons
        self._demoted = demoted
        self._covered = covered
        self._erased = {index: max(times) for index, times in covered.items()}
        self._elsewhere = elsewhere
        self._ids: dict[int, str] = {}
        first, last = _first_and_last(links)
        self._anchors = _anchors(rules, links, found.persons, first)
        order = np.append(links.order(), NO_END)
        self._first: list[int] = order[first].tolist()
        self._last: list[int] = last.tolist()

    def person_of(self, identifier: Identifier) -> str:
        """The person who holds an identifier; an identifier never seen is a person of its own."""
        index = self._links.index.get(identifier)
        return canonical_id(identifier) if index is None else self._holder_id(index)

    def known_identifiers(self) -> Iterator[Identifier]:
        """Every identifier that any link names."""
        return iter(self._links.identifiers)

    def assignments(self, sequence: int = 1) -> Iterator[Assignment]:
        """One assignment for each strand that the links allow for; each strand that has events is among them.

        Args:
            sequence: orders this resolution among others of the same strands.
        """
        identifiers, known, erased = self._all.identifiers, self._all.known, self._erased
        carried = self._found.carried.keys() | self._carried_before_erasure()
        for index, identifier in enumerate(identifiers):
            if index in self._elsewhere:
                continue
            steps = ((MIN_TIME, self._person_id(index)),)
            yield Assignment(identifier, None, sequence, steps, erased.get(index), index in carried)
        barred = self.barred()
        # a pair has several links where its events say several things, or some of them are erased
        once = len(set(self._all.kind)) <= 1 and not self._all.erased_pairs
        several = None if once else set[tuple[int, int]]()
        for left, right in chain(zip(self._all.left, self._all.right, strict=True), self._all.erased_pairs):
            if right != NO_END and known[left] and not known[right]:
                if several is not None:
                    if (left, right) in several:
                        continue
                    several.add((left, right))
                yield Assignment(
                    identifiers[right],
                    identifiers[left],
                    sequence,
                    ((MIN_TIME, self._person_id(left)),),
                    erased.get(left),
                    barred=(left, right) in barred,
                )

    def barred(self) -> set[tuple[int, int]]:
        """Logins and devices, by their numbers, that were seen together and that an unlink keeps apart."""
        links = self._links
        return {
            (links.left[edge], links.right[edge])
            for edge, rule in enumerate(self._found.rules)
            if rule in APART and links.kind[edge] != _UNLINK
        }

    def own_persons(self) -> tuple[list[int], list[int], frozenset[int]]:
        """What ``assignments`` says of login-less strands, by the numbers that the links give to identifiers.

        The anchor of each identifier's own person, the anchor of who holds it, and which are carried.
        """
        anchors, persons, carried = self._anchors, self._persons, self._found.carried
        own = [anchors.get(person, index) for index, person in enumerate(persons)]
        holders = own.copy()
        for index, holder in carried.items():
            holders[index] = own[holder]
        return own, holders, frozenset(carried.keys() | self._carried_before_erasure())

    def _carried_before_erasure(self) -> set[int]:
        """Devices that were carried to a login whose events are erased now: only the strand stage knows which."""
        erased = self._erased
        if not erased:
            return set()
        ends = chain(zip(self._all.left, self._all.right, strict=True), self._all.erased_pairs)
        return {
            right
            for left, right in ends
            if left in erased and right not in self._demoted and self._may_be_carried(right)
        }

    def erased_on_carried(self) -> Iterator[tuple[int, int, int]]:
        """Logins and devices, by their numbers, of links on devices that are carried whose evidence is erased, at least
        in part, and when it began."""
        links, carried = self._all, self._found.carried
        for left, right, first in zip(links.left, links.right, links.first_time, strict=True):
            until = self._erased.get(left)
            if until is None or first > until or not links.known[left] or right == NO_END or links.known[right]:
                continue
            if right in carried or self._may_be_carried(right):
                yield left, right, first

    def _may_be_carried(self, index: int) -> bool:
        links = self._all
        if index == NO_END or links.known[index]:
            return False
        return self._rules.namespaces[links.identifiers[index].namespace].owner in CARRYING

    def identifiers(self) -> Iterator[IdentifierRow]:
        """The rows of the ``identifiers`` table. What was erased and not seen again has none."""
        for index, (namespace, value) in enumerate(self._links.identifiers):
            first = self._first[index]
            if first != NO_END and index not in self._elsewhere:
                yield IdentifierRow(
                    namespace, value, self._holder_id(index), self._links.first_time[first], self._last[index]
                )

    def persons(self) -> Iterator[PersonRow]:
        """What the ``persons`` table has from identity: a row an identifier, but for what is erased and not seen again.

        The id of an anchor has one too, for it may have been a person and be none any more: an identifier that is by
        itself again holds no events if they all name another. A device that is carried forward is an alias of who had
        it last, also where events between two logins are its own.
        """
        links = self._links
        for index, identifier in enumerate(links.identifiers):
            edge = self._first[index]
            if edge != NO_END and index not in self._elsewhere:
                own, holder = canonical_id(identifier), self._holder_id(index)
                merged_into = None if holder == own else holder
                yield PersonRow(own, links.first_time[edge], self._last[index], False, merged_into)

    def edges(self) -> Iterator[EdgeRow]:
        """The ledger of links: each with its evidence and what became of it; erased ones are left out."""
        links, conflicts = self._links, self._found.conflicts
        for edge, right in enumerate(links.right):
            if right != NO_END:
                rule = self._found.rules[edge]
                conflict = conflicts.get(edge)
                status = self._status(edge, rule)
                yield EdgeRow(
                    links.identifiers[links.left[edge]],
                    links.identifiers[right],
                    LINK_KINDS[links.kind[edge]],
                    status == ACCEPTED,
                    status,
                    rule,
                    None if conflict is None else links.identifiers[conflict],
                    links.first_time[edge],
                    links.first_id[edge],
                    links.last_time[edge],
                    links.last_id[edge],
                    links.received[edge],
                    self._rules.version,
                )

    def verdicts(self) -> tuple[list[str], list[str], list[int]]:
        """Status, rule and number of the conflicting identifier of each link that is left, by its number.

        All three are empty for what stands in no ledger: one identifier alone.
        """
        rules, conflicts = self._found.rules, [NO_END] * len(self._links.right)
        for edge, conflict in self._found.conflicts.items():
            conflicts[edge] = conflict
        by_rule = {rule: self._status(None, rule) for rule in set(rules)} | {"": ""}
        statuses = [by_rule[rule] for rule in rules]
        for edge, kind in enumerate(self._links.kind) if _UNLINK in set(self._links.kind) else ():
            if kind == _UNLINK and rules[edge]:
                statuses[edge] = self._status(edge, rules[edge])
        return statuses, rules, conflicts

    def _status(self, edge: int | None, rule: str) -> str:
        """Of a link, an unlink or another; None: of any that is none."""
        if edge is not None and self._links.kind[edge] == _UNLINK:
            return REMOVED if rule == MERGED else BARRED
        if rule in _ACCEPTING:
            return ACCEPTED
        return {UNLINKED: REMOVED, BARRED: BARRED}.get(rule, REFUSED)

    def erasures(self) -> Iterator[tuple[Identifier, int]]:
        """Identifiers whose events at or before the time must go; keep them and give them to the next ``resolve``.

        A known identifier stands here under each time at which something covered it, ascending, since it asks again at
        each; a device under the last alone.
        """
        for index in sorted(self._erased.keys() - self._elsewhere):
            identifier = self._all.identifiers[index]
            for until in sorted(self._covered[index]) if self._all.known[index] else (self._erased[index],):
                yield identifier, until

    def demoted(self) -> Iterator[tuple[Identifier, str]]:
        """Identifiers that link nothing, and why."""
        for index in sorted(self._demoted.keys() - self._elsewhere):
            yield self._links.identifiers[index], self._demoted[index]

    def _holder_id(self, index: int) -> str:
        """Who holds an identifier now: of a device that is carried forward, who had it last."""
        return self._person_id(self._found.carried.get(index, index))

    def _person_id(self, index: int) -> str:
        anchor = self._anchors.get(self._persons[index], index)
        made = self._ids.get(anchor)
        if made is None:
            made = self._ids[anchor] = canonical_id(self._links.identifiers[anchor])
        return made


def resolve(links: Iterable[Link], rules: IdentityRules, tombstones: Tombstones | None = None) -> Resolution:
    """Resolve links to persons.

    Args:
        links: in any order, with any repetition.
        rules: the rules in force.
        tombstones: earlier ``Resolution.erasures``, all times of an identifier; they erase again, see
            ``identity.erasure``.
    """
    everything = Links(rules)
    everything.add_all(links)
    return resolve_collected(everything, rules, tombstones)


def resolve_collected(
    everything: Links,
    rules: IdentityRules,
    tombstones: Tombstones | None = None,
    demoted: Mapping[Identifier, str] | None = None,
    crowded: Mapping[Identifier, bool] | None = None,
) -> Resolution:
    """``resolve`` for links that are collected already.

    Args:
        demoted: identifiers that link nothing, known to a caller who holds a part of the links only; None finds them.
        crowded: where ``demoted`` is None, those that a caller knows to be crowded, whose links are elsewhere too, and
            whether their rows are to be written here.
    """
    for identifier, times in (tombstones or {}).items():
        if (index := everything.intern(identifier)) != NO_END:
            for until in times:
                everything.tombstone(index, until)
    known_out = {everything.index[i]: why for i, why in (demoted or {}).items() if i in everything.index}
    crowd = {index for index, why in known_out.items() if why == CROWDED}
    if demoted is None:
        crowd = find_crowded(everything, rules) | {everything.index[identifier] for identifier in crowded or ()}
    covered = erased_before(everything, rules, crowd)
    links = everything.surviving({i: max(times) for i, times in covered.items()}) if covered else everything
    out = known_out if demoted is not None else dict.fromkeys(find_demoted(links, rules), DEMOTED)
    out.update(dict.fromkeys(crowd, CROWDED))
    elsewhere = frozenset(links.index[identifier] for identifier, here in (crowded or {}).items() if not here)
    return Resolution(rules, everything, links, partition(links, rules, out), out, covered, elsewhere)


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
