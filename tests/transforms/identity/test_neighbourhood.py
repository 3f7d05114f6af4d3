"""The neighbourhood: resolving the few links around a change gives the same as resolving all of them.

With requests for erasure among the links that holds in one resolution where nobody is demoted, and only there. The walk
stops at demoted identifiers, by the verdict on the links as they stand before the erasure, and what is deleted may free
one; and a request that comes from a demoted identifier goes by who it was with at its own time, perhaps not demoted
then. So the store resolves again around what an erasure took until nothing is left to erase
(``IdentityStore.link``), and what comes of that is proved over any batches by ``test_identity_erasing``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import identity_world as world
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_world import Seen, ident, links_of

from contracts.event import Identifier
from contracts.exchange import Link
from transforms.identity.evidence import merge_links
from transforms.identity.graph import Links
from transforms.identity.neighbourhood import neighbourhood
from transforms.identity.resolve import Resolution, resolve, resolve_collected
from transforms.identity.rules import IdentityRules


class InMemory:
    """All links, by their ends; counts what it gives away."""

    def __init__(self, links: Iterable[Link], rules: IdentityRules) -> None:
        self.all = merge_links(links, rules)
        self.given = 0
        self._by_end: dict[Identifier, list[Link]] = defaultdict(list)
        for link in self.all:
            self._by_end[link.left].append(link)
            if link.right is not None:
                self._by_end[link.right].append(link)
        everything = resolve(self.all, rules)
        self._demoted = dict(everything.demoted())
        self._erased: dict[Identifier, set[int]] = defaultdict(set)
        for identifier, until in everything.erasures():
            self._erased[identifier].add(until)

    def links_of(self, identifiers: Collection[Identifier]) -> Iterable[Link]:
        assert not self._demoted.keys() & set(identifiers)
        for identifier in identifiers:
            self.given += len(self._by_end[identifier])
            yield from self._by_end[identifier]

    def demoted(self, identifiers: Collection[Identifier]) -> Mapping[Identifier, str]:
        return {i: self._demoted[i] for i in identifiers if i in self._demoted}

    def erased(self, identifiers: Collection[Identifier]) -> Mapping[Identifier, Collection[int]]:
        return {i: self._erased[i] for i in identifiers if i in self._erased}


def assignments(
    resolution: Resolution, targets: Collection[Identifier], everything: Resolution, changed: Iterable[Link] = ()
) -> dict[Any, Any]:
    """Those of the targets. A demoted login keeps its strands as they are, but for new ones."""
    demoted = {identifier for identifier, _ in everything.demoted()}
    new = {(link.right, link.left) for link in changed}
    return {
        (a.primary, a.login): (a.steps, a.erased_before, a.carry)
        for a in resolution.assignments()
        if (a.login or a.primary) in targets and (a.login not in demoted or (a.primary, a.login) in new)
    }


def near(
    source: InMemory, touched: Iterable[Identifier], rules: IdentityRules, changed: Iterable[Link] = ()
) -> tuple[Resolution, frozenset[Identifier]]:
    found = neighbourhood(touched, source, rules)
    links = Links(rules)
    links.add_all([*found.links, *changed])
    for target in found.targets:
        links.intern(target)
    return resolve_collected(links, rules, found.tombstones, found.demoted), found.targets


def cases(size: int) -> st.SearchStrategy[tuple[list[Seen], IdentityRules]]:
    """Worlds and rules: with demotion and no erasure, or with erasure and nobody demoted; see the module."""
    demoting = st.tuples(world.worlds(max_size=size, erasing=False) | world.dense(erasing=False), world.any_rules)
    erasing = st.tuples(world.worlds(max_size=size) | world.dense(), world.any_rules.filter(demotes_nobody))
    return demoting | erasing


def demotes_nobody(rules: IdentityRules) -> bool:
    return all(namespace.demote_after is None for namespace in rules.namespaces.values())


@settings(max_examples=300, deadline=None)
@given(cases(18), st.randoms(use_true_random=False))
def test_what_is_resolved_nearby_is_what_resolving_everything_says(
    case: tuple[list[Seen], IdentityRules], rnd: Any
) -> None:
    events, rules = case
    source = InMemory(links_of(events, rules), rules)
    everything = resolve(source.all, rules)
    every = [link.left for link in source.all]
    touched = rnd.sample(every, min(len(every), 2))
    resolution, targets = near(source, touched, rules)
    assert set(touched) <= targets
    assert assignments(resolution, targets, everything) == assignments(everything, targets, everything)
    persons = {i: everything.person_of(i) for i in targets}
    assert {i: resolution.person_of(i) for i in targets} == persons


@settings(max_examples=300, deadline=None)
@given(cases(14), st.integers(0, 13))
def test_a_change_moves_nobody_outside_its_neighbourhood(case: tuple[list[Seen], IdentityRules], cut: int) -> None:
    """Requests for erasure among the changes too, where nobody is demoted: see the module for why only there."""
    events, rules = case
    before = resolve(links_of(events[:cut], rules), rules)
    source = InMemory(links_of(events, rules), rules)
    after = resolve(source.all, rules)
    new = links_of(events[cut:], rules)
    flipped = {i for i, _ in before.demoted()} ^ {i for i, _ in after.demoted()}
    beside = {
        end for link in source.all for end in (link.left, link.right) if end and {link.left, link.right} & flipped
    }
    touched = {end for link in new for end in (link.left, link.right) if end} | flipped | beside
    resolution, targets = near(source, touched, rules, new)
    assert assignments(resolution, targets, after, new) == assignments(after, targets, after, new)
    left = {i for link in source.all for i in (link.left, link.right) if i} - targets
    assert assignments(before, left, after) == assignments(after, left, after)


def test_a_person_is_resolved_without_the_rest_of_the_world() -> None:
    rules = world.rules(demote_after="8")
    events = [Seen(n, f"cookie:{n // 2} user:{n}") for n in range(4000)]
    events += [Seen(5000 + n, f"cookie:kiosk user:{n}") for n in range(4000)]
    source = InMemory(links_of(events, rules), rules)
    resolution, targets = near(source, [ident("user:7")], rules)
    assert targets == {ident("user:7"), ident("cookie:3")}
    assert resolution.person_of(ident("cookie:3")) == resolution.person_of(ident("user:7"))
    assert source.given < 20
