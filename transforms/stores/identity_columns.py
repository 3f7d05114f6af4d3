"""Rows of the identity store out of whole columns, some thousand at a time.

A million rows at once are tens of millions of objects, which no cache of a processor holds: each would be fetched from
memory twice, when it is made and when it is bound to a statement. A few thousand are still at hand when they are bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np

from contracts.event import Identifier
from contracts.exchange import LINK_KINDS, UNLINK
from transforms.identity.graph import NO_END, Column, Links, column
from transforms.stores.database import Row
from transforms.stores.identity_schema import to_bytes

_SOME = 4_000
_UNLINK = LINK_KINDS.index(UNLINK)

Take = Callable[[Column], Iterable[Any]]
"""The values of a column at some places, as a statement takes them."""


def dense(values: Column) -> Take:
    """A column of numbers."""
    return lambda places: values[places].tolist()


def sparse(usual: object, others: Mapping[int, object]) -> Take:
    """A column that is the same nearly everywhere."""
    if not others:
        return lambda places: repeat(usual, len(places))
    return lambda places: [others.get(place, usual) for place in places.tolist()]


def listed(values: Sequence[Any]) -> Take:
    """A column of anything."""
    return lambda places: [values[place] for place in places.tolist()]


def unless(missing: Column, values: Column) -> Take:
    """A column of numbers, of which some are null."""
    if not len(missing):
        return dense(values)
    found: list[int | None] = values.tolist()
    for place in missing.tolist():
        found[place] = None
    return listed(found)


def namespaces(identifiers: Sequence[Identifier]) -> Take:
    """The namespaces of identifiers."""
    return lambda places: [identifiers[place][0] for place in places.tolist()]


def values(identifiers: Sequence[Identifier]) -> Take:
    """The values of identifiers, as they stand in the table."""
    return lambda places: [to_bytes(identifiers[place][1]) for place in places.tolist()]


def rows(takes: Sequence[Take], places: Column) -> Iterator[Row]:
    """The rows at some places, in their order."""
    for start in range(0, len(places), _SOME):
        some = places[start : start + _SOME]
        yield from zip(*(take(some) for take in takes), strict=True)


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
