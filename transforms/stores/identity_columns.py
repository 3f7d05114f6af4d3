"""Rows of the identity store out of whole columns, some thousand at a time.

A million rows at once are tens of millions of objects, which no cache of a processor holds: each would be fetched from
memory twice, when it is made and when it is bound to a statement. A few thousand are still at hand when they are bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import methodcaller
from typing import Any

import numpy as np

from contracts.event import Identifier
from contracts.exchange import LINK_KINDS, UNLINK
from transforms.identity.graph import NO_END, Column, Links, column
from transforms.stores.database import Row, Same, Transaction
from transforms.stores.identity_schema import to_bytes

_SOME = 4_000
_UNLINK = LINK_KINDS.index(UNLINK)

_ENCODED = methodcaller("encode", "utf-8", "surrogatepass")
"""``to_bytes``, without a call of ours for each."""

Take = Callable[[Column], Iterable[Any]]
"""The values of a column at some places, as a statement takes them."""


def dense(values: Column) -> Take:
    """A column of numbers."""
    return lambda places: values[places].tolist()


@dataclass(frozen=True, slots=True)
class Constant:
    """A column that is the same everywhere: a ``Take``."""

    value: Same

    def __call__(self, places: Column) -> Iterable[Same]:
        return repeat(self.value, len(places))


def sparse(usual: Same, others: Mapping[int, Same]) -> Take:
    """A column that is the same nearly everywhere."""
    if not others:
        return Constant(usual)
    return lambda places: [others.get(place, usual) for place in places.tolist()]


def listed(values: Sequence[Any]) -> Take:
    """A column of anything."""
    return lambda places: map(values.__getitem__, places.tolist())


def unless(missing: Column, values: Column) -> Take:
    """A column of numbers, of which some are null."""
    if not len(missing):
        return dense(values)
    found: list[int | None] = values.tolist()
    for place in missing.tolist():
        found[place] = None
    return listed(found)


def texts(values: Sequence[str]) -> Take:
    """A column of any texts, as they stand in the table."""
    return lambda places: map(_ENCODED, map(values.__getitem__, places.tolist()))


def differing(values: Sequence[str], usual: Sequence[str]) -> Take:
    """A column of any texts, null where they are as usual."""

    def take(places: Column) -> list[bytes | None]:
        pairs = [(values[place], usual[place]) for place in places.tolist()]
        return [None if value == other else to_bytes(value) for value, other in pairs]

    return take


def namespaces(identifiers: Sequence[Identifier]) -> Take:
    """The namespaces of identifiers."""
    return lambda places: [identifiers[place][0] for place in places.tolist()]


def values(identifiers: Sequence[Identifier]) -> Take:
    """The values of identifiers, as they stand in the table."""
    return lambda places: map(_ENCODED, [identifiers[place][1] for place in places.tolist()])


def rows(takes: Sequence[Take], places: Column) -> Iterator[Row]:
    """The rows at some places, in their order."""
    for start in range(0, len(places), _SOME):
        some = places[start : start + _SOME]
        yield from zip(*(take(some) for take in takes), strict=True)


def load(tx: Transaction, table: str, columns: Mapping[str, Take], places: Column) -> None:
    """Insert the rows at some places, which are known to be new, into a table, in their order."""
    same = {name: take.value for name, take in columns.items() if isinstance(take, Constant)}
    others = {name: take for name, take in columns.items() if name not in same}
    tx.load(table, tuple(others), rows(tuple(others.values()), places), same)


def last_times(links: Links) -> Column:
    """When each identifier was last seen."""
    last = np.full(len(links.identifiers), np.iinfo(np.int64).min)
    times, left, right = column(links.last_time), column(links.left), column(links.right)
    paired = right != NO_END
    np.maximum.at(last, left, times)
    np.maximum.at(last, right[paired], times[paired])
    return last


def degrees(links: Links) -> Column:
    """How many pairs each identifier is an end of, as demotion counts them."""
    left, right = column(links.left), column(links.right)
    counted = np.flatnonzero((right != NO_END) & (links.kind_column() != _UNLINK))
    pairs = np.unique((left[counted] << 32) | right[counted])
    return np.bincount(np.concatenate((pairs >> 32, pairs & 0xFFFFFFFF)), minlength=len(links.identifiers))
