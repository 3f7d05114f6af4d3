"""The graph under resolution: links as columns of numbers.

Pure. Columns and not objects, since a run has millions of links and all of them are in memory at once; whole columns
are worked on by numpy, single links by Python.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.event import Identifier
from contracts.exchange import ERASED, LINK_KINDS, Link
from transforms.identity.rules import IdentityRules

NO_END = -1
"""The right end of a link that is one identifier alone."""
NEVER = np.iinfo(np.int64).max
"""The first time of what was never seen."""
_SHIFT = 32
_KIND_BITS = 3
_CODES = {kind: code for code, kind in enumerate(LINK_KINDS)}
_TOMBSTONE = _CODES[ERASED]

Column = npt.NDArray[np.int64]
ALWAYS = -(2**63)
Sighting = tuple[int, str]
"""(event time, event_id)."""


def first_after(until: int, last: Sighting, seen: Iterable[Sighting]) -> Sighting:
    """The first of some sightings, of which the last is one, after a time that lies before the last."""
    return min((sighting for sighting in seen if sighting[0] > until), default=last)


def column(values: array[int] | list[int]) -> Column:
    """A column as numpy sees it; a view where it can be, so nothing may be appended while it is in use."""
    return np.frombuffer(values, dtype=np.int64) if isinstance(values, array) else np.array(values, dtype=np.int64)


def _packed(values: npt.NDArray[Any]) -> array[int]:
    return array("q", values.astype(np.int64, copy=False).tobytes())


class Links:
    """Links merged by their ends and kind. A link's number is its edge, an identifier's number its index.

    Links of namespaces that may not link are left out: the rules may have changed since they were made.

    Of a link that comes in several pieces each piece's first and last evidence is kept, for an erasure may leave it to
    begin with any of them.

    Args:
        rules: the rules in force.
        after: no erasure is up to an earlier time than this, so that evidence up to it need not be kept in pieces;
            ``NEVER`` where nothing is erased.
    """

    def __init__(self, rules: IdentityRules, after: int = ALWAYS) -> None:
        self._rules = rules
        self._after = after
        self._edges: dict[int, int] = {}
        self._order: Column | None = None
        self.index: dict[Identifier, int] = {}
        self.identifiers: list[Identifier] = []
        self.known = bytearray()
        self.left = array("q")
        self.right = array("q")
        self.kind = bytearray()
        self.first_time = array("q")
        self.first_id: list[str] = []
        self.last_time = array("q")
        self.last_id: list[str] = []
        self.received = array("q")
        self.pieces: dict[int, set[Sighting]] = {}
        """Of a link that came in several pieces, when it was seen, as far as they say."""
        self.erase: dict[int, set[int]] = {}
        self.tombstones: dict[int, set[int]] = {}
        """The times up to which events of an identifier were erased before."""
        self.erased_pairs: dict[tuple[int, int], int] = {}
        """Logins and the devices on which something of theirs was erased, and when they were first seen on them."""

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

    def add_all(self, links: Iterable[Link]) -> None:
        """Take links; evidence of the same ends and kind is merged."""
        index, edges, first_ids, last_ids = self.index, self._edges, self.first_id, self.last_id
        first_times, last_times, received = self.first_time, self.last_time, self.received
        self._order = None
        for link in links:
            found = index.get(link.left)
            left = self.intern(link.left) if found is None else found
            if left == NO_END:
                continue
            right = NO_END
            if link.right is not None and link.right != link.left:
                found = index.get(link.right)
                right = self.intern(link.right) if found is None else found
                if right == NO_END:
                    continue
            code = _CODES[link.kind]
            if code == _TOMBSTONE:
                self.tombstone(left, link.erase_before)
                if right != NO_END:
                    pair = (left, right)
                    self.erased_pairs[pair] = min(link.first_time, self.erased_pairs.get(pair, link.first_time))
                continue
            key = (((left << _SHIFT) | (right + 1)) << _KIND_BITS) | code
            edge = edges.get(key)
            if edge is None:
                edge = edges[key] = len(first_ids)
                self.left.append(left)
                self.right.append(right)
                self.kind.append(code)
                first_times.append(link.first_time)
                first_ids.append(link.first_event_id)
                last_times.append(link.last_time)
                last_ids.append(link.last_event_id)
                received.append(link.received_time)
            else:
                if link.last_time > self._after:
                    self._keep_piece(edge, link)
                if (link.first_time, link.first_event_id) < (first_times[edge], first_ids[edge]):
                    first_times[edge], first_ids[edge] = link.first_time, link.first_event_id
                if (link.last_time, link.last_event_id) > (last_times[edge], last_ids[edge]):
                    last_times[edge], last_ids[edge] = link.last_time, link.last_event_id
                if link.received_time < received[edge]:
                    received[edge] = link.received_time
            if link.erase_before is not None:
                self.erase.setdefault(edge, set()).add(link.erase_before)

    def _keep_piece(self, edge: int, link: Link) -> None:
        found = self.pieces.get(edge)
        if found is None:
            found = self.pieces[edge] = {
                (self.first_time[edge], self.first_id[edge]),
                (self.last_time[edge], self.last_id[edge]),
            }
        found.add((link.first_time, link.first_event_id))
        found.add((link.last_time, link.last_event_id))

    def tombstone(self, index: int, until: int | None) -> None:
        """Events of an identifier up to a time were erased before."""
        if until is not None:
            self.tombstones.setdefault(index, set()).add(until)

    def known_column(self) -> npt.NDArray[np.bool_]:
        """Which identifiers are known ones, by index."""
        return np.frombuffer(bytes(self.known), dtype=np.bool_)

    def kind_column(self) -> npt.NDArray[np.uint8]:
        """The kind of each link, as its place among ``LINK_KINDS``."""
        return np.frombuffer(bytes(self.kind), dtype=np.uint8)

    def sort_key(self, edge: int) -> tuple[int, str, Identifier, Identifier, int]:
        """The order of links: first evidence, then ends, then kind."""
        left, right = self.left[edge], self.right[edge]
        other = self.identifiers[right if right != NO_END else left]
        return (self.first_time[edge], self.first_id[edge], self.identifiers[left], other, self.kind[edge])

    def first_times(self) -> Column:
        """When each identifier was first seen; ``NEVER`` for one that no link is left of."""
        first = np.full(len(self.identifiers), NEVER)
        times, left, right = column(self.first_time), column(self.left), column(self.right)
        paired = right != NO_END
        np.minimum.at(first, left, times)
        np.minimum.at(first, right[paired], times[paired])
        return first

    def order(self) -> Column:
        """The edges in their order."""
        if self._order is None:
            times = column(self.first_time)
            order = np.argsort(times, kind="stable")
            # whole keys only where times tie
            ties = np.flatnonzero(np.diff(times[order]) == 0)
            runs = np.split(ties, np.flatnonzero(np.diff(ties) > 1) + 1) if len(ties) else []
            for run in runs:
                start, end = int(run[0]), int(run[-1]) + 2
                order[start:end] = sorted(order[start:end].tolist(), key=self.sort_key)
            self._order = order
        return self._order

    def surviving(self, erased: Mapping[int, int]) -> Links:
        """The links without the evidence of erased events.

        The events behind a link are those of its left end's strands. A link last seen at or before the erasure is
        gone; one seen again after it begins with the first evidence after it that its pieces tell of.
        """
        until = np.full(len(self.identifiers), np.iinfo(np.int64).min)
        until[list(erased)] = list(erased.values())
        left, first_time, last_time = column(self.left), column(self.first_time), column(self.last_time)
        bound = until[left]
        keep = np.flatnonzero(last_time > bound)
        restart = (first_time <= bound)[keep]
        kept = Links(self._rules)
        kept.index, kept.identifiers, kept.known = self.index, self.identifiers, self.known
        kept.left, kept.right = _packed(left[keep]), _packed(column(self.right)[keep])
        kept.kind = bytearray(self.kind_column()[keep].tobytes())
        kept.first_time = _packed(first_time[keep])
        kept.last_time, kept.received = _packed(last_time[keep]), _packed(column(self.received)[keep])
        edges = keep.tolist()
        kept.last_id = [self.last_id[edge] for edge in edges]
        kept.first_id = [self.first_id[edge] for edge in edges]
        for position in np.flatnonzero(restart).tolist():
            edge, last = edges[position], (kept.last_time[position], kept.last_id[position])
            kept.first_time[position], kept.first_id[position] = first_after(
                int(bound[edge]), last, self.pieces.get(edge, ())
            )
        return kept

    def as_links(self) -> Iterator[Link]:
        """The links as objects, one more for each further request, and for each piece of what came in several."""
        for edge, (left, right) in enumerate(zip(self.left, self.right, strict=True)):
            ends = self.identifiers[left], None if right == NO_END else self.identifiers[right]
            first, last = (self.first_time[edge], self.first_id[edge]), (self.last_time[edge], self.last_id[edge])
            received, kind = self.received[edge], LINK_KINDS[self.kind[edge]]
            for erase in self.erase.get(edge, (None,)):
                yield Link(*ends, *first, *last, received, erase, kind)
            for seen in sorted(self.pieces.get(edge, ())):
                yield Link(*ends, *seen, *seen, received, None, kind)

    def ends(self, edge: int) -> tuple[Identifier, Identifier]:
        """Both ends of a link that has two."""
        return (self.identifiers[self.left[edge]], self.identifiers[self.right[edge]])
