"""A backfill hands its parts to the store; a stream goes on from there; both say what all links at once say."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import identity_store_world as stored
import identity_world as world
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from identity_store_world import emptied, ends_of, mailbox, placed, said_by_core, said_by_store
from identity_world import Seen, links_of
from store_world import MakePlace, Place, another

from contracts.event import Identifier
from contracts.exchange import Link
from transforms.identity import components
from transforms.identity.evidence import merge_links
from transforms.identity.graph import Links
from transforms.identity.resolve import resolve, resolve_collected
from transforms.identity.rules import IdentityRules, StrandKey
from transforms.link import ResolveLinks, route
from transforms.stores.identity import IdentityStore

calm = settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components, "_WANTED", 1)


@pytest.fixture
def prepared(place: Place) -> Place:  # the fixture of this folder
    """A place whose tables exist."""
    stored.opened(place.address, world.rules()).close()
    return place


def backfill(store: IdentityStore, links: list[Link], rules: IdentityRules) -> int:
    """What the link stage of a bounded run does with the store; returns the number of parts."""
    merged = merge_links(links, rules)
    placement = placed(merged, rules)
    parts: defaultdict[int, list[Link]] = defaultdict(list)
    for link in merged:
        for part, sent in route(link, placement):
            parts[part].append(sent)
    for part, some in sorted(parts.items()):
        collected = Links(rules)
        collected.add_all(some)
        crowded = ResolveLinks._crowded(collected, placement.crowd_alone().pack(), part)
        store.load(collected, resolve_collected(collected, rules, crowded=crowded), crowded)
    return len(parts)


@calm
@given(
    events=world.worlds(max_size=18, erasing=False),
    rules=world.any_rules,
    cut=st.integers(0, 18),
    overlap=st.integers(0, 6),
)
def test_a_backfill_then_a_stream_with_overlap_is_one_backfill_of_all(
    prepared: Place, events: list[Seen], rules: IdentityRules, cut: int, overlap: int
) -> None:
    here, links = emptied(prepared), links_of(events, rules)
    store = stored.opened(here.address, rules)
    every = ends_of(links)
    try:
        backfill(store, links_of(events[:cut], rules), rules)
        for event in events[max(0, cut - overlap) :]:
            store.link(links_of([event], rules))
        assert said_by_store(store, every) == said_by_core(resolve(links, rules), every)
    finally:
        store.close()


@calm
@given(events=world.worlds(max_size=18, erasing=False), rules=world.any_rules, cut=st.integers(0, 18))
def test_backfills_one_after_the_other_are_one_and_the_same_again_changes_nothing(
    prepared: Place, events: list[Seen], rules: IdentityRules, cut: int
) -> None:
    here, links = emptied(prepared), links_of(events, rules)
    store = stored.opened(here.address, rules)
    every = ends_of(links)
    try:
        backfill(store, links_of(events[:cut], rules), rules)
        backfill(store, links, rules)
        assert said_by_store(store, every) == said_by_core(resolve(links, rules), every)
        before = mailbox(store)
        backfill(store, links, rules)
        assert mailbox(store) == before
    finally:
        store.close()


@calm
@given(events=world.worlds(max_size=14, erasing=False), more=world.worlds(max_size=4, erasing=False))
def test_links_that_only_the_store_knows_are_resolved_with_a_backfill(
    prepared: Place, events: list[Seen], more: list[Seen]
) -> None:
    rules = world.rules()
    here = emptied(prepared)
    store = stored.opened(here.address, rules)
    links = links_of([*events, *more], rules)
    every = ends_of(links)
    try:
        store.link(links_of(more, rules))
        backfill(store, links_of(events, rules), rules)
        assert said_by_store(store, every) == said_by_core(resolve(links, rules), every)
    finally:
        store.close()


def test_a_crowd_is_known_as_one_whatever_part_its_links_are_in(prepared: Place) -> None:
    rules = world.rules(size=4, crowd=4)
    events = [Seen(n, f"cookie:kiosk user:{n}") for n in range(12)]
    events += [Seen(20 + n, f"user:{n} email:{n}") for n in range(12)]
    store = stored.opened(emptied(prepared).address, rules)
    links = links_of(events, rules)
    every = ends_of(links)
    try:
        assert backfill(store, links, rules) > 3
        assert said_by_store(store, every) == said_by_core(resolve(links, rules), every)
        later = links_of([Seen(99, "cookie:kiosk user:3"), Seen(99, "cookie:kiosk user:new")], rules)
        store.link(later)
        every |= ends_of(later)
        assert (
            said_by_store(store, every)["persons"] == said_by_core(resolve([*links, *later], rules), every)["persons"]
        )
    finally:
        store.close()


def test_another_number_of_shards_and_other_rules_are_adopted_before_a_backfill(prepared: Place) -> None:
    from transforms.stores.identity import open_identity

    here = emptied(prepared)
    events = [Seen(1, "cookie:a user:1"), Seen(2, "cookie:a user:2"), Seen(3, "cookie:b user:2"), Seen(4, "cookie:c")]
    first, second = world.rules("last_known"), world.rules("first_known")
    store = stored.opened(here.address, first)
    backfill(store, links_of(events, first), first)
    store.close()
    wider = open_identity(here.address, second, 16)
    try:
        wider.adopt()
        found: dict[tuple[Identifier, Identifier | None], Any] = {}
        for shard in range(16):
            for a in wider.assignments_since(shard, 0):
                found[a.primary, a.login] = a.steps
        assert found == {(a.primary, a.login): a.steps for a in resolve(links_of(events, second), second).assignments()}
        backfill(wider, links_of(events, second), second)
    finally:
        wider.close()


def town(number: int) -> list[Seen]:
    """A hundred events of people who meet nobody of another town."""
    rnd = random.Random(number)
    return [Seen(n, f"cookie:{number}-{rnd.randrange(90)} user:{number}-{rnd.randrange(60)}") for n in range(120)]


TOWNS = 5
KILLED = """
import sys
sys.path[:0] = sys.argv[1].split(":")
from store_world import address_of
from test_identity_parts import TOWNS, load_town, town
from identity_store_world import opened
from identity_world import rules
store = opened(address_of(sys.argv[2:4]), rules())
for number in range(TOWNS):
    print(number, flush=True)
    load_town(store, number)
print("done", flush=True)
"""


def load_town(store: IdentityStore, number: int) -> None:
    """One part of a backfill."""
    part = Links(world.rules())
    part.add_all(links_of(town(number), world.rules()))
    store.load(part, resolve_collected(part, world.rules()))


def test_a_backfill_that_is_killed_in_a_part_leaves_whole_parts_and_the_next_one_ends_it(make_place: MakePlace) -> None:
    place, rules = make_place(), world.rules()
    stored.opened(place.address, rules).close()
    for kept in (0, 2):
        process = subprocess.Popen(another(KILLED, place), stdout=subprocess.PIPE, text=True)
        assert process.stdout
        while process.stdout.readline() != f"{kept}\n":
            assert process.poll() is None
        time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
        process.communicate()
        store = stored.opened(place.address, rules)
        told = mailbox(store)
        # a commit may have come before the signal, and before the word about it
        assert any({(a.primary, a.login) for a in told} == strands_of(range(n)) for n in range(kept, TOWNS + 1))
        store.close()
    done = subprocess.run(another(KILLED, place), stdout=subprocess.PIPE, text=True, check=True, timeout=120)
    assert done.stdout.endswith("done\n")
    links = [link for number in range(TOWNS) for link in links_of(town(number), rules)]
    store = stored.opened(place.address, rules)
    assert said_by_store(store, ends_of(links)) == said_by_core(resolve(links, rules), ends_of(links))
    store.close()


def strands_of(towns: Iterable[int]) -> set[StrandKey]:
    links = [link for number in towns for link in links_of(town(number), world.rules())]
    return {(a.primary, a.login) for a in resolve(links, world.rules()).assignments()}
