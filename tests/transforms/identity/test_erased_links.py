"""With what a link begins once its older part is erased: as if nothing but what stayed had ever been seen."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import identity_world as world
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_world import Seen, firsts_of, ident, links_of
from identity_world_runs import parts_of

from contracts.event import Identifier
from contracts.exchange import ERASED, MIN_TIME, Link
from transforms.identity.evidence import merge_links
from transforms.identity.resolve import Resolution, resolve
from transforms.identity.rules import IdentityRules

PLAIN = st.builds(
    world.rules,
    owner=st.sampled_from(["last_known", "first_known", "keep_apart"]),
    unique=st.booleans(),
    size=st.sampled_from([2, 3, 1000]),
    limit=st.sampled_from([None, None, "2", "{values: 1, within: 4us}"]),
    overrides=st.booleans(),
)


def rows(resolution: Resolution) -> dict[str, Any]:
    """What it says to the tables, but for when links were received, which of what is left nobody keeps apart."""
    return {
        "identifiers": sorted(resolution.identifiers()),
        "persons": sorted(tuple(map(str, row)) for row in resolution.persons()),
        "edges": sorted(tuple(map(str, edge[:11])) for edge in resolution.edges()),
    }


def left_of(events: Sequence[Seen], resolution: Resolution, rules: IdentityRules) -> list[Seen]:
    """The events that no tombstone covers."""
    erased = dict(resolution.erasures())
    left = []
    for e in events:
        key = rules.strand_key(e.identifiers)
        assert key is not None
        if e.time > erased.get(key.login or key.primary, MIN_TIME):
            left.append(e)
    return left


@settings(max_examples=300, deadline=None)
@given(events=world.worlds(max_size=18) | world.dense() | world.repeated(), rules=world.any_rules)
def test_the_run_that_erases_says_what_the_next_one_will_find(events: list[Seen], rules: IdentityRules) -> None:
    found = resolve(links_of(events, rules), rules)
    again = resolve(links_of(left_of(events, found, rules), rules), rules)
    assert rows(found) == rows(again)


@settings(max_examples=150, deadline=None)
@given(events=world.worlds(max_size=18) | world.repeated(), rules=PLAIN, rnd=st.randoms(use_true_random=False))
def test_each_of_any_runs_says_what_resolving_what_stayed_says(
    events: list[Seen], rules: IdentityRules, rnd: random.Random
) -> None:
    log: list[Seen] = []
    tombstones: set[tuple[Identifier, int]] = set()
    for part in parts_of(events, rnd):
        log = list({e.id: e for e in [*log, *part]}.values())
        buried = [Link(i, None, until, "", until, "", until, until, ERASED) for i, until in sorted(tombstones)]
        found = resolve([*_as_merged(log, buried, rules, rnd), *buried], rules)
        tombstones |= set(found.erasures())
        log = left_of(log, found, rules)
        assert rows(found) == rows(resolve(links_of(log, rules), rules))


def _as_merged(events: list[Seen], buried: list[Link], rules: IdentityRules, rnd: random.Random) -> list[Link]:
    """Links as bundles merge them, and the first after each request, as a bounded run has them."""
    order = rnd.sample(events, len(events))
    cut = rnd.randint(0, len(order))
    bundles = [merge_links(links_of(some, rules), rules) for some in (order[:cut], order[cut:])]
    asked = [link.first_time for link in buried]
    return [link for bundle in bundles for link in bundle] + firsts_of(events, rules, asked)


def test_each_request_of_a_login_asks_again_though_a_later_one_covered_less() -> None:
    rules = world.rules("keep_apart")
    asked = [Seen(17, "user:1", name="erase"), Seen(23, "cookie:a user:3"), Seen(36, "user:1", name="erase")]
    first = resolve(links_of(asked, rules), rules)
    assert [until for identifier, until in first.erasures() if identifier == ident("user:1")] == [17, 36]
    tombstones = {ident("user:1"): [17, 36]}
    late = [asked[1], Seen(12, "cookie:a user:1"), Seen(14, "cookie:a")]
    erased = dict(resolve(links_of(late, rules), rules, tombstones).erasures())
    assert erased == {ident("user:1"): 36, ident("cookie:a"): 17}
