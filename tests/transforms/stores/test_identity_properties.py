"""What the identity store says is what the pure core says of all links, however they came; on both databases."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import identity_store_world as stored
import identity_world as world
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from identity_store_world import emptied, ends_of, opened, said_by_core, said_by_store
from identity_world import Seen, links_of
from store_world import Place

from contracts.exchange import Link
from transforms.identity.graph import Links
from transforms.identity.ids import canonical_id
from transforms.identity.resolve import resolve, resolve_collected
from transforms.identity.rules import IdentityRules

calm = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def prepared(place: Place) -> Place:
    """A place whose tables exist."""
    opened(place.address, world.rules()).close()
    return place


def batches(links: list[Link], rnd: random.Random) -> Iterator[list[Link]]:
    """Links in any order, some twice, in batches of any size."""
    order = [*links, *rnd.sample(links, len(links) // 3)]
    rnd.shuffle(order)
    while order:
        size = rnd.randint(1, 6)
        yield order[:size]
        order = order[size:]


@calm
@given(
    events=world.worlds(max_size=18, erasing=False),
    rules=world.any_rules | st.builds(world.rules, size=st.just(2), crowd=st.integers(2, 4)),
    rnd=st.randoms(use_true_random=False),
)
def test_every_order_and_split_through_two_writers_gives_what_resolving_all_links_gives(
    prepared: Place, events: list[Seen], rules: IdentityRules, rnd: Any
) -> None:
    place, links = emptied(prepared), links_of(events, rules)
    writers = [opened(place.address, rules) for _ in range(2)]
    for number, batch in enumerate(batches(links, rnd)):
        writers[number % 2].link(batch)
    every = ends_of(links)
    try:
        assert said_by_store(writers[0], every) == said_by_core(resolve(links, rules), every)
        assert writers[1].link(links).assignments == 0
    finally:
        for writer in writers:
            writer.close()


@calm
@given(
    events=world.worlds(max_size=18, erasing=False),
    rules=world.any_rules,
    cut=st.integers(0, 18),
    rnd=st.randoms(use_true_random=False),
)
def test_a_bulk_load_among_batches_gives_what_resolving_all_links_gives(
    prepared: Place, events: list[Seen], rules: IdentityRules, cut: int, rnd: Any
) -> None:
    place, links = emptied(prepared), links_of(events, rules)
    store = opened(place.address, rules)
    early, late = links_of(events[:cut], rules), links_of(events[cut:], rules)
    if rnd.random() < 0.3:
        store.link(rnd.sample(links, len(links) // 2))
    loaded = Links(rules)
    loaded.add_all(early)
    store.load(loaded, resolve_collected(loaded, rules))
    for batch in batches(late, rnd):
        store.link(batch)
    every = ends_of(links)
    try:
        assert said_by_store(store, every) == said_by_core(resolve(links, rules), every)
        assert store.reresolve().assignments == 0
        assert said_by_store(store, every) == said_by_core(resolve(links, rules), every)
    finally:
        store.close()


@calm
@given(events=world.worlds(max_size=14), rules=world.any_rules, bulk=st.booleans())
def test_an_erasure_known_with_all_links_covers_what_the_core_says(
    prepared: Place, events: list[Seen], rules: IdentityRules, bulk: bool
) -> None:
    place, links = emptied(prepared), links_of(events, rules)
    store = opened(place.address, rules)
    resolution = resolve(links, rules)
    if bulk:
        loaded = Links(rules)
        loaded.add_all(links)
        store.load(loaded, resolve_collected(loaded, rules))
    else:
        store.link(links)
    every = ends_of(links)
    try:
        assert said_by_store(store, every) == said_by_core(resolution, every)
        assert store.erasures() == {canonical_id(i): until for i, until in resolution.erasures()}
    finally:
        store.close()


@calm
@given(events=world.worlds(max_size=14), rules=world.any_rules, rnd=st.randoms(use_true_random=False))
def test_tombstones_only_grow_and_no_replay_brings_back_what_they_cover(
    prepared: Place, events: list[Seen], rules: IdentityRules, rnd: Any
) -> None:
    place, links = emptied(prepared), links_of(events, rules)
    store = opened(place.address, rules)
    before: dict[str, int] = {}
    try:
        for batch in [*batches(links, rnd), links, *batches(links, rnd)]:
            store.link(batch)
            now = store.erasures()
            assert all(now[person] >= until for person, until in before.items())
            before = now
            for edge in store.edges(ends_of(links)):
                assert edge.first_time > now.get(canonical_id(edge.left), edge.first_time - 1)
        asked = {link.left: link.erase_before for link in links if link.erase_before is not None}
        assert {canonical_id(identifier) for identifier in asked} <= before.keys()
        told = {(a.primary, a.login): a.erased_before for a in stored.mailbox(store)}
        for (primary, login), until in told.items():
            assert until == before.get(canonical_id(login or primary))
    finally:
        store.close()


@calm
@given(events=world.worlds(max_size=18, erasing=False), rnd=st.randoms(use_true_random=False))
def test_compaction_changes_no_answer_about_anybody(prepared: Place, events: list[Seen], rnd: Any) -> None:
    rules = world.rules(size=2, crowd=2)
    place, links = emptied(prepared), links_of(events, rules)
    store = opened(place.address, rules)
    every = ends_of(links)
    for batch in batches(links, rnd):
        store.link(batch)
        if rnd.random() < 0.5:
            before = said_by_store(store, every)
            store.compact()
            after = said_by_store(store, every)
            assert after["assignments"] == before["assignments"]
            assert after["persons"] == before["persons"]
    said, core = said_by_store(store, every), said_by_core(resolve(links, rules), every)
    store.close()
    assert said["assignments"] == core["assignments"]
    assert said["persons"] == core["persons"]
    kept = said["edges"].items()
    assert {(k, e.status, e.rule) for k, e in kept} <= {(k, e.status, e.rule) for k, e in core["edges"].items()}
