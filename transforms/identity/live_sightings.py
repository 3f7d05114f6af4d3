"""When links were seen again: gathered by a strand shard, told to the identity store now and then.

The store is told at once of what decides who somebody is; that a known link was seen again is for its tables, and for
the links that begin anew after an erasure. So the link stage sends it along with the events, and here the sightings of
a pair become one. Pure but for the store. The
log has them as entries under one key. State: a link a pair, until it is told: every ``TELL_EVERY``, at ``MOST`` pairs,
and at the end. Telling again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from contracts import wire
from contracts.event import SECOND
from contracts.exchange import Link, LinkBatch
from transforms.actor.core import Entry

KEY = b"\x00sightings"
"""In the log of a shard; the keys of records are text without a zero."""
TELL_EVERY = 15 * SECOND
"""Microseconds of processing time."""
MOST = 20_000

Pair = tuple[object, object, str]


class Sightings:
    """The sightings of a shard that are not told yet, by pair."""

    def __init__(self) -> None:
        self._by_pair: dict[Pair, Link] = {}
        self._since: int | None = None

    def __len__(self) -> int:
        return len(self._by_pair)

    def restore(self, entry: Entry) -> None:
        """Take an entry of the log, the oldest first."""
        if entry.whole:
            self._by_pair.clear()
        self.swap_in(wire.unpack_compressed(LinkBatch, entry.data).links if entry.data else (), 0)

    def swap_in(self, links: Iterable[Link], now: int) -> None:
        """Take sightings."""
        for link in links:
            pair = (link.left, link.right, link.kind)
            held = self._by_pair.get(pair)
            self._by_pair[pair] = link if held is None else _merged(held, link)
        if self._by_pair and self._since is None:
            self._since = now

    def is_due(self, now: int) -> bool:
        """Whether they are to be told now."""
        return self._since is not None and (now - self._since >= TELL_EVERY or len(self._by_pair) >= MOST)

    def all(self) -> list[Link]:
        """All of them, with nothing changed."""
        return list(self._by_pair.values())

    def forget(self) -> None:
        """They were told."""
        self._by_pair.clear()
        self._since = None

    def live(self) -> bytes | None:
        """All of them as the data of one whole entry."""
        return packed(self.all()) if self._by_pair else None


def _merged(held: Link, link: Link) -> Link:
    first, last = (
        min(held, link, key=lambda each: (each.first_time, each.first_event_id)),
        max(held, link, key=lambda each: (each.last_time, each.last_event_id)),
    )
    return replace(
        last,
        first_time=first.first_time,
        first_event_id=first.first_event_id,
        received_time=min(held.received_time, link.received_time),
    )


def packed(links: Iterable[Link]) -> bytes:
    """The data of an entry."""
    return wire.pack_compressed(LinkBatch(tuple(links)))
