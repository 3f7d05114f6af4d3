"""What an identity store says, read out of it whole, and what the pure core says, in the same shape."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "identity"))

from store_world import Place

from contracts.event import Identifier
from contracts.exchange import Assignment, Link, LinkBatch
from transforms.identity.components import Placement, pairs_of, place
from transforms.identity.ids import canonical_id
from transforms.identity.resolve import Resolution
from transforms.identity.rules import IdentityRules
from transforms.link import PAIRS, MergeLinks
from transforms.stores.database import StoreAddress
from transforms.stores.identity import IdentityStore, open_identity

SHARDS = 4

Answers = dict[str, dict[Any, Any]]


def opened(address: StoreAddress, rules: IdentityRules, timeout: float = 60.0) -> IdentityStore:
    return open_identity(address, rules, SHARDS, timeout)


def mailbox(store: IdentityStore, limit: int = 1_000) -> list[Assignment]:
    """All assignments, page by page."""
    found: list[Assignment] = []
    for shard in range(SHARDS):
        last = 0
        while page := store.assignments_since(shard, last, limit):
            assert [a.sequence for a in page] == sorted({a.sequence for a in page})
            assert page[0].sequence > last
            last = page[-1].sequence
            found += page
    return found


def said_by_store(store: IdentityStore, identifiers: Iterable[Identifier]) -> Answers:
    every = sorted(set(identifiers))
    persons = store.person_of([canonical_id(identifier) for identifier in every])
    return {
        "assignments": _by_strand(mailbox(store)),
        "persons": {i: persons[canonical_id(i)] for i in every if canonical_id(i) in persons},
        "edges": {(e.left, e.right, e.kind): e for e in store.edges(every, limit=100_000)},
    }


def said_by_core(resolution: Resolution, identifiers: Iterable[Identifier]) -> Answers:
    return {
        "assignments": _by_strand(resolution.assignments()),
        "persons": {identifier: resolution.person_of(identifier) for identifier in identifiers},
        "edges": {(e.left, e.right, e.kind): e for e in resolution.edges()},
    }


def ends_of(links: Iterable[Link]) -> set[Identifier]:
    return {end for link in links for end in (link.left, link.right) if end is not None}


def _by_strand(assignments: Iterable[Assignment]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for a in assignments:
        assert (a.primary, a.login) not in found, "a strand stands under one number only"
        found[(a.primary, a.login)] = (a.steps, a.erased_before, a.carry, a.barred)
    return found


def placed(links: Iterable[Link], rules: IdentityRules) -> Placement:
    """What one shard of a bounded run knows about the parts of merged links."""
    book = MergeLinks(rules, 1)
    book.start_bundle()
    assert list(book.process(LinkBatch(tuple(links)))) == []
    packed = [made.value.value[1] for made in book.finish_bundle() if getattr(made, "tag", None) == PAIRS]
    return place(pairs_of(packed), rules.crowd, 64, 1)[0]


TABLES = (
    "identity_meta",
    "identity_shards",
    "identity_identifiers",
    "identity_links",
    "identity_strands",
    "identity_gone",
    "identity_marks",
    "identity_erasures",
    "identity_erased_pairs",
)


def emptied(place: Place) -> Place:
    """The place without what an identity store wrote there."""
    place.behind(*(f"DELETE FROM {table}" for table in TABLES))
    return place
