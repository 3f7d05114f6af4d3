"""Carry forward: an event without a login belongs to the login most recently seen on its device."""

from __future__ import annotations

import random

import identity_world as world
import pytest
import strand_world
from hypothesis import example, given, settings
from hypothesis import strategies as st
from identity_world import Seen, ident

from contracts.exchange import MAX_TIME, MIN_TIME
from transforms.identity.carry import carried_steps, spans_of
from transforms.identity.ids import canonical_id
from transforms.identity.rules import CARRYING, IdentityRules

RULES = world.rules("carry_forward")


def owners(*events: Seen, rules: IdentityRules = RULES) -> dict[int, str]:
    """The person of each event by its time."""
    names = {canonical_id(ident(n)): n for e in events for n in e.names.split()}
    return {time: names[p] for time, p in strand_world.persons_of(events, rules).items()}


def test_an_anonymous_event_belongs_to_the_login_before_it_and_the_first_one_to_the_login_after_it() -> None:
    found = owners(
        Seen(1, "cookie:a"),
        Seen(2, "cookie:a user:ann"),
        Seen(3, "cookie:a"),
        Seen(4, "cookie:a user:bob"),
        Seen(5, "cookie:a"),
        Seen(6, "cookie:a user:ann"),
        Seen(7, "cookie:a"),
    )
    ann, bob = "user:ann", "user:bob"
    assert found == {1: ann, 2: ann, 3: ann, 4: bob, 5: bob, 6: ann, 7: ann}


def test_after_a_logout_the_next_login_has_the_device_and_nobody_where_none_follows() -> None:
    found = owners(
        Seen(2, "cookie:a user:ann"),
        Seen(3, "cookie:a user:ann", name="logout"),
        Seen(4, "cookie:a"),
        Seen(5, "cookie:a user:bob"),
        Seen(6, "cookie:a", name="logout"),
        Seen(7, "cookie:a"),
    )
    ann, bob = "user:ann", "user:bob"
    assert found == {2: ann, 3: ann, 4: bob, 5: bob, 6: bob, 7: "cookie:a"}


def test_a_logout_without_a_login_still_belongs_to_who_was_there() -> None:
    before = Seen(1, "cookie:a user:bob")
    found = owners(before, Seen(2, "cookie:a user:ann"), Seen(3, "cookie:a", name="logout"), Seen(9, "cookie:a"))
    assert found == {1: "user:bob", 2: "user:ann", 3: "user:ann", 9: "cookie:a"}


@pytest.mark.parametrize("policy", CARRYING)
def test_of_several_logouts_in_a_row_the_first_is_the_end(policy: str) -> None:
    events = [Seen(1, "cookie:a user:ann"), Seen(3, "cookie:a", name="logout"), Seen(4, "cookie:a")]
    found = by_policy(policy, *events, Seen(6, "cookie:a", name="logout"), Seen(8, "cookie:a user:bob"))
    assert (found[3], found[4], found[6]) == ("user:ann", "user:bob", "user:bob")


@pytest.mark.parametrize("policy", CARRYING)
def test_a_login_that_an_unlink_keeps_from_the_device_takes_nothing_and_ends_nothing(policy: str) -> None:
    two = [Seen(1, "cookie:a user:ann"), Seen(2, "cookie:a"), Seen(9, "cookie:a user:bob"), Seen(10, "cookie:a")]
    third = [
        Seen(4, "cookie:a user:cleo"),
        Seen(5, "cookie:a"),
        Seen(6, "cookie:a user:cleo", name="logout"),
        Seen(7, "cookie:a"),
    ]
    unlink = Seen(20, "cookie:a user:cleo", name="unlink")
    found = by_policy(policy, *two, *third, unlink)
    expected = by_policy(policy, *two, *(Seen(e.time, "cookie:a") for e in third))
    assert {at: found[at] for at in (2, 5, 7, 10)} == {at: expected[at] for at in (2, 5, 7, 10)}
    assert found[4] == found[6] == "user:cleo"
    lifted = by_policy(policy, *two, *third, unlink, Seen(21, "cookie:a user:cleo", name="merge"))
    assert lifted[5] == "user:cleo"


def test_a_login_in_the_instant_of_a_logout_counts() -> None:
    found = owners(
        Seen(2, "cookie:a user:ann"),
        Seen(3, "cookie:a user:ann", "e1", name="logout"),
        Seen(3, "cookie:a user:ann", "e2"),
        Seen(4, "cookie:a"),
    )
    assert found[4] == "user:ann"


def test_logins_of_one_person_are_one_step() -> None:
    steps = [(1, "x"), (5, "y")]
    assert carried_steps(
        [strand_world.step(MIN_TIME, "user:1"), strand_world.step(5, "user:2"), strand_world.step(9, None)],
        lambda login: "p",
        "own",
    ) == ((MIN_TIME, "p"), (9, "own"))
    assert spans_of(tuple(steps)) == {"x": ((1, 5),), "y": ((5, MAX_TIME),)}


def by_policy(policy: str, *events: Seen) -> dict[int, str]:
    return owners(*events, rules=world.rules(policy))


def test_carry_back_gives_what_lies_between_two_logins_to_the_later_one() -> None:
    found = by_policy(
        "carry_back",
        Seen(1, "cookie:a"),
        Seen(2, "cookie:a user:ann"),
        Seen(3, "cookie:a"),
        Seen(4, "cookie:a user:bob"),
        Seen(5, "cookie:a"),
    )
    assert found == {1: "user:ann", 2: "user:ann", 3: "user:bob", 4: "user:bob", 5: "user:bob"}


def test_carry_visit_gives_a_visit_to_its_first_login_from_its_beginning() -> None:
    minute = 60_000_000
    visits = [
        Seen(0, "cookie:a user:ann"),
        Seen(10 * minute, "cookie:a"),
        # a silence of half an hour begins another visit
        Seen(40 * minute, "cookie:a"),
        Seen(45 * minute, "cookie:a user:bob"),
        Seen(50 * minute, "cookie:a"),
        # nobody logs in here: it is carried forward
        Seen(200 * minute, "cookie:a"),
    ]
    found = by_policy("carry_visit", *visits)
    assert [found[e.time] for e in visits] == ["user:ann", "user:ann", "user:bob", "user:bob", "user:bob", "user:bob"]
    forward = by_policy("carry_forward", *visits)
    assert forward[40 * minute] == "user:ann"


def test_carry_visit_lets_a_second_login_of_a_visit_begin_where_it_is() -> None:
    found = by_policy(
        "carry_visit",
        Seen(0, "cookie:a"),
        Seen(1, "cookie:a user:ann"),
        Seen(2, "cookie:a"),
        Seen(3, "cookie:a user:bob"),
        Seen(4, "cookie:a"),
    )
    assert found == {0: "user:ann", 1: "user:ann", 2: "user:ann", 3: "user:bob", 4: "user:bob"}


@pytest.mark.parametrize("policy", CARRYING)
def test_of_two_first_logins_in_one_instant_the_lesser_event_id_is_the_first(policy: str) -> None:
    before, after = Seen(0, "cookie:a"), Seen(9, "cookie:a")
    events = [before, Seen(2, "cookie:a user:ann", "e2"), Seen(2, "cookie:a user:bob", "e1"), after]
    found = by_policy(policy, *events)
    assert (found[0], found[9]) == ("user:bob", "user:ann")


@pytest.mark.parametrize("policy", CARRYING)
@settings(max_examples=60, deadline=None)
@given(events=world.worlds(erasing=False), rnd=st.randoms(use_true_random=False))
def test_whose_an_event_is_depends_on_no_order(policy: str, events: list[Seen], rnd: random.Random) -> None:
    rules = world.rules(policy)
    events = list({e.id: e for e in events}.values())
    assert strand_world.persons_by_event(rnd.sample(events, len(events)), rules) == strand_world.persons_by_event(
        events, rules
    )


UNLINKED = [
    Seen(0, "cookie:a"),
    Seen(0, "cookie:a user:1"),
    Seen(0, "cookie:a user:1", name="unlink"),
    Seen(0, "cookie:a app:x user:2"),
    Seen(1, "cookie:a user:3"),
]
"""User 1 was on the device last before the event without a login, and is kept from it: user 2 has it."""


@settings(max_examples=150, deadline=None)
@example(UNLINKED, random.Random(0))
@given(world.worlds(erasing=False), st.randoms(use_true_random=False))
def test_every_event_goes_where_looking_back_on_its_device_says(events: list[Seen], rnd: random.Random) -> None:
    """An oracle that looks at each event by itself."""
    events = list({e.id: e for e in events}.values())
    found = strand_world.persons_by_event(rnd.sample(events, len(events)), RULES)
    resolution = strand_world.resolution_of(events, RULES)
    carried = {a.primary for a in resolution.assignments() if a.carry}
    apart = {(a.primary, a.login) for a in resolution.assignments() if a.barred}
    ordered = sorted(events, key=lambda e: (e.time, e.id))
    for event in ordered:
        key = RULES.strand_key(event.identifiers)
        assert key is not None
        if key.login is not None:
            assert found[event.id] == resolution.person_of(key.login)
        elif key.primary in carried:
            barred = [login for device, login in apart if device == key.primary and login is not None]
            login = strand_world.hand_at(event, ordered, key.primary, RULES, barred)
            assert found[event.id] == (canonical_id(key.primary) if login is None else resolution.person_of(login)) or (
                # devices seen together are one person of their own, named after one of them
                login is None and found[event.id] in {canonical_id(a) for a in carried}
            )


def test_erasure_takes_what_was_carried_to_the_login_and_nothing_of_others() -> None:
    kept = owners(
        Seen(1, "cookie:a user:ann"),
        Seen(2, "cookie:a"),
        Seen(3, "cookie:a user:bob"),
        Seen(4, "cookie:a"),
        Seen(5, "user:ann", name="erase"),
        Seen(6, "cookie:a user:bob"),
    )
    assert kept == {3: "user:bob", 4: "user:bob", 6: "user:bob"}
