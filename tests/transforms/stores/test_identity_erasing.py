"""Erasure of what was carried, with the links in a store: marks of erased events are kept there, and change nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import identity_store_world as stored
import identity_world as world
import identity_world_runs
import pytest
import strand_world
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_store_world import emptied, opened
from identity_world import Seen, ident, links_of
from store_world import Place
from test_identity_properties import calm

from contracts.event import Identifier
from contracts.exchange import ErasedMark, ShardInput
from transforms.identity.ids import canonical_id
from transforms.identity.rules import CARRYING, IdentityRules, StrandKey
from transforms.identity.strands import fold_shard
from transforms.stores.identity import IdentityStore

DEVICE, ANN = ident("cookie:a"), ident("user:1")


@pytest.fixture
def prepared(place: Place) -> Place:
    """A place whose tables exist."""
    opened(place.address, world.rules()).close()
    return place


@dataclass
class Batches:
    """One batch after the other: new links to the store, then a fold with what the store says."""

    store: IdentityStore
    rules: IdentityRules
    log: dict[str, Seen] = field(default_factory=dict)

    def take(self, events: list[Seen]) -> dict[str, str]:
        """event_id to person, of what is left."""
        self.store.link(links_of(events, self.rules))
        everything = {**self.log, **{e.id: e for e in events}}
        made = [
            replace(e, stored=e.event_id in self.log)
            for e in strand_world.strand_events(everything.values(), self.rules)
        ]
        marks = self.store.marks_of({e.primary for e in made})
        inputs = [ShardInput(tuple(made), tuple(stored.mailbox(self.store)), tuple(marks))]
        result = fold_shard(inputs, strand_world.BOX, carries=self.rules.carries())
        self.store.keep_marks(result.marks)
        found = identity_world_runs.persons_in(result)
        self.log = {event_id: everything[event_id] for event_id in found}
        return found


@pytest.mark.parametrize("policy", CARRYING)
@settings(calm)
@given(events=identity_world_runs.evenings(), rnd=st.randoms(use_true_random=False))
def test_erasures_over_any_batches_leave_what_each_of_them_with_all_that_had_come_would_leave(
    prepared: Place, policy: str, events: list[Seen], rnd: Any
) -> None:
    rules = world.rules(policy)
    store = opened(emptied(prepared).address, rules)
    parts = list(identity_world_runs.parts_of(events, rnd))
    batches = Batches(store, rules)
    try:
        for number, part in enumerate(parts):
            left = batches.take(part)
            expected, whole = identity_world_runs.left_by(parts[: number + 1], rules)
            assert left.keys() == expected
            if expected == whole.keys():
                assert left == whole
    finally:
        store.close()


def a_mark(login: str | None = "user:1", at: int = 3, until: int | None = 5) -> ErasedMark:
    return ErasedMark(DEVICE, None if login is None else ident(login), at, False, until if login else None)


def test_marks_are_kept_once_and_given_by_device(prepared: Place) -> None:
    store = opened(prepared.address, world.rules("carry_visit"))
    store.link(links_of([Seen(1, "cookie:a user:1"), Seen(2, "cookie:b user:1")], world.rules("carry_visit")))
    marks = [a_mark(None, at=2), a_mark(at=3), a_mark(at=4)]
    store.keep_marks([*marks, replace(a_mark(), primary=ident("cookie:b"))])
    store.keep_marks(marks[:2])
    assert store.marks_of([DEVICE]) == marks
    assert store.marks_of([ident("cookie:z")]) == []
    store.close()


def test_a_later_request_of_the_login_tells_the_device_again(prepared: Place) -> None:
    rules = world.rules("carry_forward")
    store = opened(prepared.address, rules)
    store.link(links_of([Seen(1, "cookie:a user:1"), Seen(2, "cookie:a user:2")], rules))
    store.erase(5, [ANN])
    store.keep_marks([a_mark(at=1)])
    last = max(a.sequence for a in stored.mailbox(store) if a.primary == DEVICE)
    assert store.purge([StrandKey(DEVICE, ANN), StrandKey(ANN, None)], 5) == 2
    assert store.marks_of([DEVICE]) == [replace(a_mark(at=1), login=nameless())]
    store.erase(9, [ANN])
    (told,) = [a for a in stored.mailbox(store) if a.sequence > last and (a.primary, a.login) == (DEVICE, None)]
    assert told.carry
    (mark,) = store.marks_of([DEVICE])
    assert mark.until == 9
    store.close()


def nameless() -> Identifier:
    """Ann, once her name is forgotten."""
    return Identifier("", canonical_id(ANN))


def test_a_mark_that_comes_after_a_later_request_knows_it(prepared: Place) -> None:
    rules = world.rules("carry_forward")
    store = opened(prepared.address, rules)
    store.link(links_of([Seen(1, "cookie:a user:1"), Seen(2, "cookie:a user:2")], rules))
    store.erase(5, [ANN])
    store.erase(9, [ANN])
    store.keep_marks([a_mark(at=1)])
    assert [mark.until for mark in store.marks_of([DEVICE])] == [9]
    store.close()
