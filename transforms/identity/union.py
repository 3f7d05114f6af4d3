"""A union-find that may refuse: limits of values, the size of a person, and pairs that were unlinked.

Pure. Input: identifiers by their numbers in ``graph.Links``. Times: UTC microseconds of event time.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from heapq import merge

from transforms.identity.graph import NO_END, Column, Links, column
from transforms.identity.rules import Bound, IdentityRules

COMPONENT_SIZE, BARRED, LIMIT = "component_size", "barred", "limit"

Refusal = tuple[str, int]
"""The rule that refuses, and the identifier with which there is a conflict (``NO_END`` for none)."""


class Union:
    """Sets of identifiers that grow by ``unite``.

    ``size`` is right at roots. Members of a set are a ring, so that they can be listed without a search.

    Args:
        links: numbers the identifiers.
        rules: the limits.
        bars: pairs that may never be in one set.
    """

    def __init__(self, links: Links, rules: IdentityRules, bars: Iterable[tuple[int, int]] = ()) -> None:
        count = len(links.identifiers)
        self.size = [1] * count
        self._identifiers = links.identifiers
        self._parent = list(range(count))
        self._next = list(range(count))
        self._component_size = rules.component_size
        self._counted: list[tuple[str, Bound, array[int]]] = []
        self._timed: list[tuple[str, Bound, dict[int, list[int]]]] = []
        for namespace in rules.namespaces.values():
            bound = namespace.limit
            if bound is None or namespace.target != namespace.name:
                continue
            if bound.within is None:
                held = array("q", (i.namespace == namespace.name for i in links.identifiers))
                self._counted.append((namespace.name, bound, held))
            else:
                first = links.first_times()
                times = {n: [int(first[n])] for n, i in enumerate(links.identifiers) if i.namespace == namespace.name}
                self._timed.append((namespace.name, bound, times))
        self._barred: dict[int, list[tuple[int, int]]] = {}
        for one, other in bars:
            self._barred.setdefault(one, []).append((one, other))
            self._barred.setdefault(other, []).append((other, one))

    def find(self, index: int) -> int:
        parent = self._parent
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    def unite(self, one: int, other: int, *, forced: bool = False) -> Refusal | None:
        """Unite the sets of two identifiers; what refuses it, or None. ``forced``: limits of values do not refuse."""
        a, b = self.find(one), self.find(other)
        if a == b:
            return None
        refusal = self._refusal(a, b, forced)
        if refusal is not None:
            return refusal
        if self.size[a] < self.size[b]:
            a, b = b, a
        self._parent[b] = a
        self.size[a] += self.size[b]
        self._next[a], self._next[b] = self._next[b], self._next[a]
        for _, _, held in self._counted:
            held[a] += held[b]
        for _, _, times in self._timed:
            if b in times:
                times[a] = list(merge(times.get(a, ()), times.pop(b)))
        if b in self._barred:
            self._barred.setdefault(a, []).extend(self._barred.pop(b))
        return None

    def _refusal(self, a: int, b: int, forced: bool) -> Refusal | None:
        """Why the sets of two roots may not be one."""
        if self._barred:
            few, many = (a, b) if len(self._barred.get(a, ())) <= len(self._barred.get(b, ())) else (b, a)
            pairs = [pair for pair in self._barred.get(few, ()) if self.find(pair[1]) == many]
            if pairs:
                # of several pairs the least, as the order in which they came must not show
                return BARRED, min((pair[few != b] for pair in pairs), key=self._identifiers.__getitem__)
        if self.size[a] + self.size[b] > self._component_size:
            return COMPONENT_SIZE, NO_END
        if forced:
            return None
        for name, bound, held in self._counted:
            if held[a] and held[b] and held[a] + held[b] > bound.values:
                return f"{LIMIT}:{name}", self._value_of(b, name)
        for name, bound, times in self._timed:
            if a in times and b in times and bound.is_passed(list(merge(times[a], times[b]))):
                return f"{LIMIT}:{name}", self._value_of(b, name)
        return None

    def _value_of(self, root: int, namespace: str) -> int:
        """The least identifier of a namespace in a set: what a refused union would have brought in."""
        held = (i for i in self.circle(root) if self._identifiers[i].namespace == namespace)
        return min(held, key=self._identifiers.__getitem__)

    def barred_pairs(self, index: int) -> list[tuple[int, int]]:
        """(member, partner) of every bar that concerns the set of an identifier."""
        return self._barred.get(self.find(index), [])

    def barred_roots(self) -> list[int]:
        """The roots of the sets that any bar concerns."""
        return list(self._barred)

    def roots(self) -> Column:
        """The root of each identifier."""
        parent = column(self._parent)
        while not (parent == (shorter := parent[parent])).all():
            parent = shorter
        return parent

    def circle(self, index: int) -> list[int]:
        """All members of the set of an identifier."""
        members = [index]
        follow = self._next[index]
        while follow != index:
            members.append(follow)
            follow = self._next[follow]
        return members
