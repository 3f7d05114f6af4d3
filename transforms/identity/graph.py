"""The graph under resolution: links as columns of numbers, and a union-find that may refuse.

Pure. Columns and not objects, since a run has millions of links and all of them are in memory at once.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Mapping

from contracts.event import Identifier
from contracts.exchange import Link
from transforms.identity.rules import IdentityRules

NO_END = -1
"""The right end of a link that is one identifier alone."""
_SHIFT = 32


class Links:
    """Links merged by their ends. A link's number is its edge, an identifier's number its index.

    Links of namespaces that may not link are left out: the rules may have changed since they were made.
    """

    def __init__(self, rules: IdentityRules) -> None:
        self._rules = rules
        self._edges: dict[int, int] = {}
        self._order: list[int] | None = None
        self.index: dict[Identifier, int] = {}
        self.identifiers: list[Identifier] = []
        self.known = bytearray()
        self.left = array("q")
        self.right = array("q")
        self.first_time = array("q")
        self.first_id: list[str] = []
        self.last_time = array("q")
        self.last_id: list[str] = []
        self.received = array("q")
        self.erase: dict[int, int] = {}

    def intern(self, identifier: Identifier) -> int:
        """The index of an identifier, new or known; ``NO_END`` for one that may not link."""
        found = self.index.get(identifier)
        if found is not None:
            return found
        namespace, value = identifier
        if not self._rules.links_at_all(namespace):
            return NO_END
        kept = Identifier(sys.intern(namespace), value)
        number = self.index[kept] = len(self.identifiers)
        self.identifiers.append(kept)
        self.known.append(self._rules.is_known(namespace))
        return number

    def add(self, link: Link) -> None:
        """Take a link; evidence of the same ends is merged."""
        left = self.intern(link.left)
        if left == NO_END:
            return
        right = NO_END
        if link.right is not None and link.right != link.left:
            right = self.intern(link.right)
            if right == NO_END:
                return
        key = (left << _SHIFT) | (right + 1)
        edge = self._edges.get(key)
        self._order = None
        if edge is None:
            edge = self._edges[key] = len(self.first_id)
            self.left.append(left)
            self.right.append(right)
            self.first_time.append(link.first_time)
            self.first_id.append(link.first_event_id)
            self.last_time.append(link.last_time)
            self.last_id.append(link.last_event_id)
            self.received.append(link.received_time)
        else:
            if (link.first_time, link.first_event_id) < (self.first_time[edge], self.first_id[edge]):
                self.first_time[edge], self.first_id[edge] = link.first_time, link.first_event_id
            if (link.last_time, link.last_event_id) > (self.last_time[edge], self.last_id[edge]):
                self.last_time[edge], self.last_id[edge] = link.last_time, link.last_event_id
            if link.received_time < self.received[edge]:
                self.received[edge] = link.received_time
        if link.erase_before is not None:
            self.erase[edge] = max(link.erase_before, self.erase.get(edge, link.erase_before))

    def sort_key(self, edge: int) -> tuple[int, str, Identifier, Identifier]:
        """The order of links: first evidence, then ends."""
        left, right = self.left[edge], self.right[edge]
        other = self.identifiers[right if right != NO_END else left]
        return (self.first_time[edge], self.first_id[edge], self.identifiers[left], other)

    def order(self) -> list[int]:
        """The edges in their order."""
        if self._order is not None:
            return self._order
        times = self.first_time
        order = sorted(range(len(times)), key=times.__getitem__)
        # whole keys only where times tie: that is a third of the cost
        start = 0
        for end in range(1, len(order) + 1):
            if end == len(order) or times[order[end]] != times[order[start]]:
                if end - start > 1:
                    order[start:end] = sorted(order[start:end], key=self.sort_key)
                start = end
        self._order = order
        return order

    def surviving(self, erased: Mapping[int, int]) -> Links:
        """The links without the evidence of erased events.

        The events behind a link are those of its left end's strands. A link last seen at or before the erasure is
        gone; of one seen again after it, only the last evidence is known to be after it, so it starts there.
        """
        kept = Links(self._rules)
        kept.index, kept.identifiers, kept.known = self.index, self.identifiers, self.known
        for edge, left in enumerate(self.left):
            first_time, first_id = self.first_time[edge], self.first_id[edge]
            last_time, last_id = self.last_time[edge], self.last_id[edge]
            until = erased.get(left)
            if until is not None:
                if last_time <= until:
                    continue
                if first_time <= until:
                    first_time, first_id = last_time, last_id
            kept.left.append(left)
            kept.right.append(self.right[edge])
            kept.first_time.append(first_time)
            kept.first_id.append(first_id)
            kept.last_time.append(last_time)
            kept.last_id.append(last_id)
            kept.received.append(self.received[edge])
        return kept

    def members_of(self, union: Union, roots: Iterable[int]) -> dict[int, int]:
        """For each root the member that is most device-like, the least where several are."""
        priority = {name: self._rules.priority(name) for name in self._rules.namespaces}
        best: dict[int, int] = {}
        for root in roots:
            best[root] = min(
                union.circle(root),
                key=lambda i: (priority[self.identifiers[i].namespace], self.identifiers[i]),
            )
        return best


class Union:
    """Union-find over identifiers with limits: a union that would break one is refused.

    ``size`` is right at roots. Members of a set are a ring, so that they can be listed without a search.
    """

    def __init__(self, links: Links, rules: IdentityRules) -> None:
        count = len(links.identifiers)
        self.size = [1] * count
        self._parent = list(range(count))
        self._next = list(range(count))
        self._component_size = rules.component_size
        limited = [n for n in rules.namespaces.values() if n.limit is not None and n.target == n.name]
        self._limited: list[tuple[str, int, array[int]]] = []
        for namespace in limited:
            held = array("q", (identifier.namespace == namespace.name for identifier in links.identifiers))
            self._limited.append((namespace.name, namespace.limit or 0, held))

    def find(self, index: int) -> int:
        parent = self._parent
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    def unite(self, one: int, other: int) -> str | None:
        """Unite the sets of two identifiers; the rule that refuses it, or None."""
        a, b = self.find(one), self.find(other)
        if a == b:
            return None
        if self.size[a] + self.size[b] > self._component_size:
            return "component_size"
        for namespace, limit, held in self._limited:
            if held[b] and held[a] + held[b] > limit and held[a]:
                return f"limit:{namespace}"
        if self.size[a] < self.size[b]:
            a, b = b, a
        self._parent[b] = a
        self.size[a] += self.size[b]
        self._next[a], self._next[b] = self._next[b], self._next[a]
        for _, _, held in self._limited:
            held[a] += held[b]
        return None

    def circle(self, index: int) -> list[int]:
        """All members of the set of an identifier."""
        members = [index]
        follow = self._next[index]
        while follow != index:
            members.append(follow)
            follow = self._next[follow]
        return members
