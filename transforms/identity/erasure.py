"""Erasure: which identifiers' events a request covers.

Pure. A request at time T covers the person as resolved from the links whose first evidence is at or before T, so
links that come later neither widen it nor take it back:

- A request that names a login covers the known identifiers of that login's person, hence every strand with one of them
  as login, and what those persons' devices did without a login up to T.
- A device that was seen with several persons up to T is covered when the request comes from its first
  (``first_known``) or from any of them (``last_known``: who was last before T is not kept, and to return what was
  erased would be worse than to erase too much), and never when it is public or ``keep_apart``. Strands of other logins
  are never covered.
- A request that names only devices covers what they did without a login, and their person if they had exactly one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from contracts.event import Identifier
from transforms.identity.graph import NO_END, Links, Union, column
from transforms.identity.rules import FIRST_KNOWN, LAST_KNOWN, IdentityRules


def erased_before(links: Links, rules: IdentityRules, tombstones: Mapping[Identifier, int]) -> dict[int, int]:
    """For each covered identifier (by index) the time at or before which its events must go.

    Args:
        links: all links.
        rules: the rules in force.
        tombstones: what earlier runs erased. A known identifier among them asks again, so that links that arrive
            later but are older than the request still widen it. A device is taken as it is: the link that covered it
            is erased, and whoever it was seen with since did not ask.
    """
    erased: dict[int, int] = {}
    requests = [(until, links.left[edge]) for edge, until in links.erase.items()]
    for identifier, until in tombstones.items():
        index = links.index[identifier]
        _cover(erased, (index,), until)
        if links.known[index]:
            requests.append((until, index))
    if requests:
        _Requests(links, rules, erased).serve(sorted(requests))
    return erased


class _Requests:
    """One walk through the links in order; requests are served in between, with the union as of their time."""

    def __init__(self, links: Links, rules: IdentityRules, erased: dict[int, int]) -> None:
        self._links = links
        self._rules = rules
        self._erased = erased
        self._union = Union(links, rules)
        self._by_known: dict[int, list[int]] = {}
        self._by_device: dict[int, list[int]] = {}

    def serve(self, requests: Sequence[tuple[int, int]]) -> None:
        links = self._links
        # only what some link holds together with a requester can matter
        label = links.components()
        touched = np.isin(label, label[[requester for _, requester in requests]])
        order = links.order()
        order = order[touched[column(links.left)[order]]]
        times = column(links.first_time)[order]
        position = 0
        for until, requester in requests:
            reached = int(np.searchsorted(times, until, side="right"))
            for edge in order[position:reached].tolist():
                self._take(edge)
            position = max(position, reached)
            self._serve_one(until, requester)

    def _take(self, edge: int) -> None:
        left, right = self._links.left[edge], self._links.right[edge]
        if right == NO_END:
            return
        known = self._links.known
        if known[left] == known[right]:
            self._union.unite(left, right)
            return
        login, device = (left, right) if known[left] else (right, left)
        # lists grow in the order of first evidence
        self._by_known.setdefault(login, []).append(device)
        self._by_device.setdefault(device, []).append(edge)

    def _serve_one(self, until: int, requester: int) -> None:
        if self._links.known[requester]:
            self._cover_person(self._union.find(requester), until)
            return
        group = self._union.circle(requester)
        _cover(self._erased, group, until)
        persons = self._persons_seen(group, 1)
        if len(persons) == 1:
            self._cover_person(next(iter(persons)), until)

    def _cover_person(self, person: int, until: int) -> None:
        members = self._union.circle(person)
        _cover(self._erased, members, until)
        groups = {self._union.find(device): None for member in members for device in self._by_known.get(member, ())}
        for root in groups:
            group = self._union.circle(root)
            if self._may_cover(group, person):
                _cover(self._erased, group, until)

    def _may_cover(self, group: list[int], person: int) -> bool:
        links = self._links
        most_device_like = links.most_device_like(self._union, group[0])
        namespace = self._rules.namespaces[links.identifiers[most_device_like].namespace]
        public_after = namespace.public_after
        persons = self._persons_seen(group, public_after)
        if len(persons) == 1:
            return True
        if public_after is not None and len(persons) > public_after:
            return False
        if namespace.owner == FIRST_KNOWN:
            edges = (self._by_device[device][0] for device in group if device in self._by_device)
            return self._person(min(edges, key=links.sort_key)) == person
        return namespace.owner == LAST_KNOWN

    def _persons_seen(self, group: list[int], at_most: int | None) -> set[int]:
        """The persons a device group was seen with so far; one more than ``at_most`` is enough to know."""
        persons: set[int] = set()
        for device in group:
            for edge in self._by_device.get(device, ()):
                persons.add(self._person(edge))
                if at_most is not None and len(persons) > at_most:
                    return persons
        return persons

    def _person(self, edge: int) -> int:
        left = self._links.left[edge]
        return self._union.find(left if self._links.known[left] else self._links.right[edge])


def _cover(erased: dict[int, int], indices: Iterable[int], until: int) -> None:
    for index in indices:
        if until > erased.get(index, until - 1):
            erased[index] = until
