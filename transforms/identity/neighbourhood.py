"""The neighbourhood of some identifiers: the links that decide who they are, and no others.

Pure; links come from a port. Resolving all links after each new one would cost in proportion to all customers. What
becomes of an identifier depends on few links only: those of its set of known identifiers or of its group of devices,
refused ones included; those of the groups that such known identifiers were seen on; and, since a group's owner depends
on who the others are that were seen on it, those of these others. An unlink is walked as any link is, since which of
two groups kept apart has a person is decided by what that person was seen with. The walk stops at
demoted identifiers. Resolving the links that it finds gives, for its *targets*, the same answer as resolving all links.

A person near ``component_size`` and a component with an erasure are walked to their end, since there one group's size
or one request reaches further than that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, Protocol

from contracts.event import Identifier
from contracts.exchange import Link
from transforms.identity.rules import IdentityRules


class LinkSource(Protocol):
    """Where links are, by their ends. Asked for many identifiers at once, a few times a walk."""

    def links_of(self, identifiers: Collection[Identifier]) -> Iterable[Link]:
        """Every link with one of these as an end; a link may be given twice. Never asked for demoted ones."""
        ...

    def demoted(self, identifiers: Collection[Identifier]) -> Mapping[Identifier, str]:
        """Those of these that link nothing, and why."""
        ...

    def erased(self, identifiers: Collection[Identifier]) -> Mapping[Identifier, Collection[int]]:
        """The tombstones of these: the times up to which they were erased."""
        ...


class Neighbourhood(NamedTuple):
    """``links`` decide who the ``targets`` are; ``demoted`` and ``tombstones`` are those met on the way.

    A link between two demoted identifiers is not among them: a caller adds the links that changed.
    """

    links: list[Link]
    targets: frozenset[Identifier]
    demoted: Mapping[Identifier, str]
    tombstones: Mapping[Identifier, Collection[int]]


def neighbourhood(touched: Iterable[Identifier], source: LinkSource, rules: IdentityRules) -> Neighbourhood:
    """Walk from identifiers whose links have changed.

    Args:
        touched: both ends of every changed link.
        source: the links after the change.
        rules: the rules in force.
    """
    return _Walk(source, rules).from_touched({i for i in touched if rules.links_at_all(i.namespace)})


class _Walk:
    def __init__(self, source: LinkSource, rules: IdentityRules) -> None:
        self._source, self._rules = source, rules
        self._asked: set[Identifier] = set()
        self._links: dict[tuple[Identifier, Identifier | None, str, int | None], Link] = {}
        self._demoted: dict[Identifier, str] = {}
        self._tombstones: dict[Identifier, Collection[int]] = {}
        self._others: defaultdict[Identifier, set[Identifier]] = defaultdict(set)
        self._erasing = False

    def from_touched(self, touched: set[Identifier]) -> Neighbourhood:
        sets = self._alike(touched)
        groups = self._alike(self._unlike(sets, known=True))
        targets = sets | groups
        persons = self._alike(self._unlike(targets, known=False))
        self._alike(self._unlike(persons, known=True))
        if self._erasing or self._crowded(targets | persons):
            # one more round reaches whatever the last one brought in; it ends with the component
            before = -1
            while len(self._asked) != before:
                before = len(self._asked)
                everything = set(self._asked) - self._demoted.keys()
                self._alike(everything | self._unlike(everything, known=True) | self._unlike(everything, known=False))
            targets = self._asked
        # who is seen with a demoted identifier changes nothing about it
        settled = frozenset(targets - (self._demoted.keys() - touched))
        return Neighbourhood(list(self._links.values()), settled, self._demoted, self._tombstones)

    def _ask(self, identifiers: set[Identifier]) -> None:
        new = identifiers - self._asked
        if not new:
            return
        self._asked |= new
        demoted = self._source.demoted(new)
        self._demoted.update(demoted)
        tombstones = self._source.erased(new)
        self._tombstones.update(tombstones)
        self._erasing = self._erasing or bool(tombstones)
        for link in self._source.links_of(new - demoted.keys()):
            key = (link.left, link.right, link.kind, link.erase_before)
            if key in self._links:
                continue
            self._links[key] = link
            if link.erase_before is not None:
                self._erasing = True
            if link.right is not None:
                self._others[link.left].add(link.right)
                self._others[link.right].add(link.left)

    def _alike(self, start: set[Identifier]) -> set[Identifier]:
        """The sets of known identifiers and groups of devices that these belong to, refused links included."""
        known = self._rules.is_known
        found: set[Identifier] = set()
        frontier = start
        while frontier:
            self._ask(frontier)
            found |= frontier
            frontier = {
                other
                for one in frontier
                if one not in self._demoted
                for other in self._others[one]
                if other not in found and known(other.namespace) == known(one.namespace)
            }
        return found

    def _unlike(self, identifiers: set[Identifier], *, known: bool) -> set[Identifier]:
        """What the known ones of these (or the devices among them) were seen with on the other side."""
        is_known = self._rules.is_known
        return {
            other
            for one in identifiers
            if is_known(one.namespace) == known and one not in self._demoted
            for other in self._others[one]
            if is_known(other.namespace) != known
        }

    def _crowded(self, identifiers: set[Identifier]) -> bool:
        """Whether a set of these comes within half of the size at which groups are refused."""
        half = self._rules.component_size // 2
        seen: set[Identifier] = set()
        for one in identifiers:
            if one in seen or one in self._demoted:
                continue
            members = self._alike({one})
            seen |= members
            around = {other for member in members for other in self._others[member]} | members
            groups = {device for device in around if not self._rules.is_known(device.namespace)}
            if len(members) + len(self._alike(groups) - members) > half:
                return True
        return False
