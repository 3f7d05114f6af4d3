"""Which links a worker has to report to the identity store: those that the store does not know from it already.

Pure. Input: the links of events. Output: those to report, merged per pair and kind. State: ``ReportedLinks``, at most
``limit`` pairs, of a worker; forgetting a pair costs one report more and changes no answer. Times: UTC microseconds of
event time.

A link is reported again when an event

- lowers its first evidence, on which the order of resolution rests;
- raises its last where an owner policy compares it (``last_known`` and ``carry_forward``, for a device seen with a
  login), or where the newest word of a person counts (a merge, an unlink, an alias that overrides);
- raises its last by ``refresh`` or more: so that the store knows, to that precision, when everybody was seen last, and
  a pair whose evidence was erased comes back when it is seen again;
- asks for erasure later than before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable

from contracts.event import DAY, Identifier
from contracts.exchange import ALIAS, MERGE, UNLINK, Link
from transforms.identity.evidence import merge_links
from transforms.identity.rules import CARRYING, DEVICE, LAST_KNOWN, IdentityRules, Pair

DEFAULT_LIMIT = 500_000
"""Pairs; about 250 bytes each."""

_Evidence = tuple[tuple[int, str], tuple[int, str], frozenset[int]]
"""First (time, event_id), last (time, event_id), times of the requests for erasure."""


class ReportedLinks:
    """What was reported. ``unreported`` says what to report, ``confirm`` that the store has it.

    Args:
        rules: the rules in force.
        limit: pairs to remember; the one reported longest ago is forgotten first.
        refresh: microseconds of event time after which a pair that goes on being seen is reported again.
    """

    def __init__(self, rules: IdentityRules, limit: int = DEFAULT_LIMIT, refresh: int = DAY) -> None:
        self._rules, self._limit, self._refresh = rules, limit, refresh
        # a plain dict walks over all that it forgot at its front before it finds the first that is left
        self._known: OrderedDict[Pair, _Evidence] = OrderedDict()
        policies = {n.owner for n in rules.namespaces.values() if n.links and n.kind == DEVICE}
        self._sightings_need_last = bool(policies & {LAST_KNOWN, *CARRYING})
        self._words = {MERGE, UNLINK, ALIAS} if rules.alias_overrides else {MERGE, UNLINK}

    def __len__(self) -> int:
        return len(self._known)

    def unreported(self, links: Iterable[Link]) -> list[Link]:
        """Those that the store must be told, merged; nothing is remembered of them before ``confirm``."""
        return self.told_apart(links)[0]

    def told_apart(self, links: Iterable[Link]) -> tuple[list[Link], list[Link]]:
        """``unreported`` links, and those of the others that were seen later than the store knows, both merged."""
        news: list[Link] = []
        later: list[Link] = []
        for link in merge_links(links, self._rules):
            if self._is_news(link):
                news.append(link)
            elif (link.last_time, link.last_event_id) > self._known[link.left, link.right, link.kind][1]:
                later.append(link)
        return news, later

    def confirm(self, links: Iterable[Link]) -> None:
        """The store has taken these: call it after the call that told it has returned."""
        known = self._known
        for link in links:
            pair = (link.left, link.right, link.kind)
            first, last = (link.first_time, link.first_event_id), (link.last_time, link.last_event_id)
            requests = frozenset(() if link.erase_before is None else (link.erase_before,))
            held = known.pop(pair, None)
            if held is not None:
                first, last = min(first, held[0]), max(last, held[1])
                requests |= held[2]
            known[pair] = (first, last, requests)
        while len(known) > self._limit:
            known.popitem(last=False)

    def forget(self, identifiers: Collection[Identifier]) -> None:
        """Forget the pairs of identifiers whose evidence the store deleted: what is seen again is news."""
        gone = set(identifiers)
        for pair in [pair for pair in self._known if pair[0] in gone or pair[1] in gone]:
            del self._known[pair]

    def _is_news(self, link: Link) -> bool:
        held = self._known.get((link.left, link.right, link.kind))
        if held is None:
            return True
        first, last, requests = held
        if (link.first_time, link.first_event_id) < first:
            return True
        if link.erase_before is not None and link.erase_before not in requests:
            return True
        if (link.last_time, link.last_event_id) <= last:
            return False
        return link.last_time - last[0] >= self._refresh or self._needs_last(link)

    def _needs_last(self, link: Link) -> bool:
        if link.kind in self._words:
            return True
        if link.right is None or not self._sightings_need_last:
            return False
        known = self._rules.is_known
        return known(link.left.namespace) != known(link.right.namespace)
