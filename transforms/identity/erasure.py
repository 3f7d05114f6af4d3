"""Erasure: which identifiers' events a request covers.

Pure. A request at time T covers the person as resolved from the links whose first evidence is at or before T, so
links that come later neither widen it nor take it back. Only the first and the last evidence of a link are kept, so of
the merges and unlinks of a pair the one counts here that was said for the first time last:

- A request that names a login covers the known identifiers of that login's person, hence every strand with one of them
  as login, and what those persons' devices did without a login up to T.
- A device that was seen with several persons up to T is covered when the request comes from its first
  (``first_known``) or from any of them (``last_known``: who was last before T is not kept, and to return what was
  erased would be worse than to erase too much), and never when it is demoted or ``keep_apart``. Under
  a policy that carries the strand stage erases what was carried to the covered logins. Strands of other logins are
  never covered, nor is a device for a person from whom an unlink keeps it.
- A request that names only devices covers what they did without a login, and their person if they had exactly one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from contracts.event import Identifier
from contracts.exchange import ERASED, LINK_KINDS, Link
from transforms.identity.demotion import CROWDED, demotion_of
from transforms.identity.graph import NO_END, Column, Links, column
from transforms.identity.neighbourhood import neighbourhood
from transforms.identity.partition import UNLINKED, Partition, partition
from transforms.identity.rules import FIRST_KNOWN, LAST_KNOWN, IdentityRules
from transforms.identity.union import BARRED


def erased_before(links: Links, rules: IdentityRules, crowded: Collection[int] = ()) -> dict[int, set[int]]:
    """For each covered identifier (by index) the times of what covers it: its events up to the last of them must go.

    Args:
        links: all links. A known identifier among their tombstones asks again, so that links that arrive later but are
            older than the request still widen it; at each of its times, since a later request may cover less than an
            earlier one. A device is taken as it is: the link that covered it is erased, and whoever it was seen with
            since did not ask.
        rules: the rules in force.
        crowded: identifiers that link nothing at any time: a crowd is not looked at again for each request.
    """
    erased: dict[int, set[int]] = {}
    requests = {(until, links.left[edge]) for edge, times in links.erase.items() for until in times}
    for index, times in links.tombstones.items():
        erased[index] = set(times)
        if links.known[index]:
            requests.update((until, index) for until in times)
    if requests:
        adjacency = _Adjacency(links, frozenset(crowded))
        for until, requester in sorted(requests):
            covered = _Request(adjacency.until(until, rules), rules, links.identifiers[requester]).covered()
            for identifier in covered:
                erased.setdefault(links.index[identifier], set()).add(until)
    return erased


class _Request:
    """What one request covers, from the links up to its time."""

    def __init__(self, source: _Until, rules: IdentityRules, requester: Identifier) -> None:
        near = neighbourhood((requester,), source, rules)
        self._links = Links(rules)
        self._requester = self._links.intern(requester)
        self._links.add_all(near.links)
        self._rules = rules
        out = {self._links.index[i]: why for i, why in near.demoted.items() if i in self._links.index}
        self._demoted = out
        found = partition(self._links, rules, out)
        self._union = found.union
        apart = self._apart(found)
        self._seen: dict[int, list[int]] = {}
        """Group to the known identifiers that were seen with it, in the order of links."""
        known = self._links.known
        for edge in self._links.order().tolist():
            left, right = self._links.left[edge], self._links.right[edge]
            if right == NO_END or known[left] == known[right] or left in out or right in out:
                continue
            login, device = (left, right) if known[left] else (right, left)
            if (self._union.find(login), self._union.find(device)) not in apart:
                self._seen.setdefault(self._union.find(device), []).append(login)
        # where a device is carried, those count too whose events on it are erased by now; no other policy asks who
        for login, device in sorted(self._links.erased_pairs):
            if login not in out and device not in out:
                self._seen.setdefault(self._union.find(device), []).append(login)

    def _apart(self, found: Partition) -> set[tuple[int, int]]:
        """Persons and groups of devices that an unlink keeps apart."""
        links, find = self._links, self._union.find
        return {
            (find(left), find(right)) if links.known[left] else (find(right), find(left))
            for left, right, rule in zip(links.left, links.right, found.rules, strict=True)
            if rule in (BARRED, UNLINKED) and links.known[left] != links.known[right]
        }

    def covered(self) -> set[Identifier]:
        requester = self._requester
        found = set(self._union.circle(requester))
        if self._links.known[requester]:
            found |= self._devices_of(requester)
        else:
            persons = self._persons_seen(requester)
            if len(persons) == 1:
                person = next(iter(persons))
                found |= set(self._union.circle(person)) | self._devices_of(person)
        return {self._links.identifiers[index] for index in found}

    def _devices_of(self, person: int) -> set[int]:
        root = self._union.find(person)
        return {
            device
            for group, seen in self._seen.items()
            if any(self._union.find(login) == root for login in seen) and self._may_cover(group, root)
            for device in self._union.circle(group)
        }

    def _may_cover(self, group: int, person: int) -> bool:
        if len(self._persons_seen(group)) == 1:
            return True
        identifiers, priority = self._links.identifiers, self._rules.priority
        first = min(self._union.circle(group), key=lambda i: (priority(identifiers[i].namespace), identifiers[i]))
        policy = self._rules.namespaces[identifiers[first].namespace].owner
        if policy == FIRST_KNOWN:
            return self._union.find(self._seen[group][0]) == person
        return policy == LAST_KNOWN

    def _persons_seen(self, device: int) -> set[int]:
        return {self._union.find(login) for login in self._seen.get(self._union.find(device), ())}


class _Adjacency:
    """The links of each identifier, found without a dictionary of all of them."""

    def __init__(self, links: Links, crowded: frozenset[int]) -> None:
        self.links = links
        self.crowded = crowded
        left, right = column(links.left), column(links.right)
        edges = np.arange(len(left))
        paired = right != NO_END
        ends = np.concatenate((left, right[paired]))
        order = np.argsort(ends, kind="stable")
        self._ends: Column = ends[order]
        self._edges: Column = np.concatenate((edges, edges[paired]))[order]
        self._erased: dict[int, list[tuple[int, int]]] = {}
        for pair in links.erased_pairs:
            for end in pair:
                self._erased.setdefault(end, []).append(pair)

    def edges_of(self, index: int) -> Column:
        start, end = np.searchsorted(self._ends, (index, index + 1))
        return self._edges[start:end]

    def erased_pairs_of(self, index: int) -> list[tuple[int, int]]:
        return self._erased.get(index, [])

    def until(self, until: int, rules: IdentityRules) -> _Until:
        return _Until(self, until, rules)


class _Until:
    """``neighbourhood.LinkSource`` of the links whose first evidence is at or before a time, with no later one."""

    def __init__(self, adjacency: _Adjacency, until: int, rules: IdentityRules) -> None:
        self._adjacency, self._until, self._rules = adjacency, until, rules

    def links_of(self, identifiers: Collection[Identifier]) -> Iterable[Link]:
        links = self._adjacency.links
        for identifier in identifiers:
            for edge in self._edges(identifier):
                right = links.right[edge]
                yield Link(
                    links.identifiers[links.left[edge]],
                    None if right == NO_END else links.identifiers[right],
                    links.first_time[edge],
                    links.first_id[edge],
                    links.first_time[edge],
                    links.first_id[edge],
                    links.received[edge],
                    None,
                    LINK_KINDS[links.kind[edge]],
                )
            for left, right in self._adjacency.erased_pairs_of(links.index[identifier]):
                first = links.erased_pairs[left, right]
                if first <= self._until:
                    ends = links.identifiers[left], links.identifiers[right]
                    yield Link(*ends, first, "", first, "", first, None, ERASED)

    def demoted(self, identifiers: Collection[Identifier]) -> Mapping[Identifier, str]:
        found: dict[Identifier, str] = {}
        for identifier in identifiers:
            if self._adjacency.links.index[identifier] in self._adjacency.crowded:
                found[identifier] = CROWDED
                continue
            bound = self._rules.namespaces[identifier.namespace].demote_after
            if bound is not None and len(self._edges(identifier)) > bound.values:
                why = demotion_of(identifier, self.links_of((identifier,)), self._rules)
                if why is not None:
                    found[identifier] = why
        return found

    def erased(self, identifiers: Collection[Identifier]) -> Mapping[Identifier, Collection[int]]:
        return {}

    def _edges(self, identifier: Identifier) -> list[int]:
        links = self._adjacency.links
        edges = self._adjacency.edges_of(links.index[identifier])
        return [int(edge) for edge in edges.tolist() if links.first_time[edge] <= self._until]
