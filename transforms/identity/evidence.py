"""Evidence of links: many sightings of one pair are one link, whatever order they come in.

Pure. ``LinkBook`` merges sightings and links per pair and kind; merging is commutative, associative and idempotent.
Requests for erasure are never merged: each covers the person as it was at its own time, and a later one may cover less.
State: one entry a pair and kind until ``drain``.

A merged link no longer says with which sighting it begins once an erasure takes what came first. ``FirstAfter`` makes
the links that do: the first sighting after each of the times that an erasure may be up to, added to the merged link.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from contracts.event import Identifier
from contracts.exchange import Link, LinkBatch
from transforms.identity.rules import IdentityRules, Pair

_FIRST_TIME, _FIRST_ID, _LAST_TIME, _LAST_ID, _RECEIVED = range(5)
_PAIRS_LIMIT = 100_000
_BATCH = 5_000


class LinkBook:
    """Links by their ends: ``observe`` takes events, ``add`` links made elsewhere, ``drain`` gives them merged."""

    def __init__(self, rules: IdentityRules) -> None:
        self._rules = rules
        self._evidence: dict[Pair, list[int | str]] = {}
        self._requests: dict[Pair, set[int]] = {}
        self._pairs: dict[tuple[tuple[Identifier, ...], str], tuple[Pair, ...]] = {}

    def __len__(self) -> int:
        return len(self._evidence)

    def observe(
        self, identifiers: Sequence[Identifier], name: str, event_id: str, event_time: int, received_time: int
    ) -> None:
        """Take the evidence of one event; the same as adding each of ``IdentityRules.links``, without building them."""
        key = (tuple(identifiers), name if name in self._rules.kinds else "")
        pairs = self._pairs.get(key)
        if pairs is None:
            if len(self._pairs) >= _PAIRS_LIMIT:
                self._pairs.clear()
            pairs = self._pairs[key] = self._rules.pairs(*key)
        erase = event_time if name in self._rules.erase_events else None
        for pair in pairs:
            self._merge(pair, event_time, event_id, event_time, event_id, received_time, erase)

    def add(self, link: Link) -> None:
        """Take the evidence of a link."""
        self._merge(
            (link.left, link.right, link.kind),
            link.first_time,
            link.first_event_id,
            link.last_time,
            link.last_event_id,
            link.received_time,
            link.erase_before,
        )

    def drain(self) -> list[Link]:
        """The merged links, in no promised order, one more for each further erasure; the book is empty afterwards."""
        requests, once = self._requests, (None,)
        merged = [
            Link(left, right, *entry, erase, kind)  # type: ignore[arg-type, call-arg]
            for (left, right, kind), entry in self._evidence.items()
            for erase in requests.get((left, right, kind), once)
        ]
        self._evidence.clear()
        requests.clear()
        return merged

    def _merge(
        self,
        pair: Pair,
        first_time: int,
        first_id: str,
        last_time: int,
        last_id: str,
        received: int,
        erase: int | None,
    ) -> None:
        if erase is not None:
            self._requests.setdefault(pair, set()).add(erase)
        entry = self._evidence.get(pair)
        if entry is None:
            self._evidence[pair] = [first_time, first_id, last_time, last_id, received]
            return
        if (first_time, first_id) < (entry[_FIRST_TIME], entry[_FIRST_ID]):
            entry[_FIRST_TIME], entry[_FIRST_ID] = first_time, first_id
        if (last_time, last_id) > (entry[_LAST_TIME], entry[_LAST_ID]):
            entry[_LAST_TIME], entry[_LAST_ID] = last_time, last_id
        if received < entry[_RECEIVED]:  # type: ignore[operator]
            entry[_RECEIVED] = received


def link_batches(links: Iterable[Link]) -> Iterator[LinkBatch]:
    """Links in batches for their way from stage to stage, where each element costs more than what is in it."""
    source = iter(links)
    while some := tuple(islice(source, _BATCH)):
        yield LinkBatch(some)


def merge_links(links: Iterable[Link], rules: IdentityRules) -> list[Link]:
    """One link a pair and kind, with the evidence of all; one more for each further erasure."""
    book = LinkBook(rules)
    for link in links:
        book.add(link)
    return book.drain()


class FirstAfter:
    """The first sighting of each pair in each stretch between the times that erasures of its left end may be up to.

    Args:
        rules: the rules in force.
        times_of: of a left end those times, ascending; empty where nothing of it can be erased.
    """

    def __init__(self, rules: IdentityRules, times_of: Callable[[Identifier], Sequence[int]]) -> None:
        self._rules = rules
        self._times_of = times_of
        self._first: dict[tuple[Pair, int], tuple[int, str, int]] = {}

    def __len__(self) -> int:
        return len(self._first)

    def concerns(self, left: Identifier, event_time: int) -> bool:
        """Whether a link of this left end may begin with an event at this time because of an erasure."""
        times = self._times_of(left)
        return bool(times) and event_time > times[0]

    def observe(
        self, identifiers: Sequence[Identifier], name: str, event_id: str, event_time: int, received_time: int
    ) -> None:
        """Take the sightings of one event."""
        for pair in self._rules.pairs(identifiers, name):
            stretch = bisect_left(self._times_of(pair[0]), event_time)
            if stretch:
                key, seen = (pair, stretch), (event_time, event_id, received_time)
                self._first[key] = min(seen, self._first.get(key, seen))

    def drain(self) -> list[Link]:
        """Those sightings as links, to be merged with all others; the book is empty afterwards."""
        links = [
            Link(left, right, time, event_id, time, event_id, received, None, kind)
            for ((left, right, kind), _), (time, event_id, received) in self._first.items()
        ]
        self._first.clear()
        return links
