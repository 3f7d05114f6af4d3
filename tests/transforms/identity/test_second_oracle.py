"""The second oracle: the rules replayed naively say the same as resolution, for every rule and world there is."""

from __future__ import annotations

import random
from dataclasses import replace

import identity_world as world
import strand_world
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_world import Seen, links_of
from naive_oracle import naive

from transforms.identity.ids import canonical_id
from transforms.identity.resolve import APART, resolve
from transforms.identity.rules import IdentityRules


@settings(max_examples=600, deadline=None)
@given(world.worlds(max_size=16) | world.dense(), world.any_rules)
def test_replaying_the_rules_naively_gives_the_same_persons_and_the_same_ledger(
    events: list[Seen], rules: IdentityRules
) -> None:
    expected, erased = naive(events, rules)
    found = resolve(links_of(events, rules), rules)
    assert dict(found.erasures()) == erased
    assert dict(found.demoted()) == expected.demoted
    assert {(e.left, e.right, e.kind): (e.rule, e.conflict) for e in found.edges()} == expected.fate
    identifiers = {i for word in expected.words for i in word.ends}
    assert {i: found.person_of(i) for i in identifiers} == {i: canonical_id(expected.holder(i)) for i in identifiers}
    loginless = {a.primary: a for a in found.assignments() if a.login is None}
    assert {i: loginless[i].steps[0][1] for i in identifiers} == {
        i: canonical_id(expected.anchor(i)) for i in identifiers
    }
    assert {i: a.erased_before for i, a in loginless.items() if a.erased_before is not None} == erased
    if not erased:  # else the strand stage has to look at more devices, since it alone knows what was carried
        assert {i for i, a in loginless.items() if a.carry} == expected.carried.keys()


@settings(max_examples=300, deadline=None)
@given(world.worlds(max_size=16) | world.dense(), world.any_rules)
def test_the_ledger_accepts_what_holds_and_nothing_else(events: list[Seen], rules: IdentityRules) -> None:
    """Both ends of an accepted link are one person's; those of an unlink in force are not."""
    found = resolve(links_of(events, rules), rules)
    for edge in found.edges():
        together = found.person_of(edge.left) == found.person_of(edge.right)
        if edge.accepted:
            assert together, edge
        if edge.kind == "unlink":
            assert edge.status == ("removed" if edge.rule == "merge" else "barred")
            assert not together or edge.status == "removed"
        elif edge.status == "removed":
            assert edge.rule == "unlink"
            assert not together
        if edge.rule.startswith("limit:"):
            assert edge.status == "refused"
            assert edge.conflict is not None
            assert edge.conflict.namespace == edge.rule.removeprefix("limit:")


@settings(max_examples=300, deadline=None)
@given(world.dense(), world.any_rules, st.randoms(use_true_random=False))
def test_which_of_several_conflicts_is_reported_does_not_depend_on_arrival(
    events: list[Seen], rules: IdentityRules, rnd: random.Random
) -> None:
    shuffled = rnd.sample(events, len(events))
    expected = world.everything(resolve(links_of(events, rules), rules))
    assert world.everything(resolve(links_of(shuffled, rules), rules)) == expected


@settings(max_examples=300, deadline=None)
@given(world.worlds(erasing=False, max_size=16) | world.dense(erasing=False), world.any_rules, st.integers(1, 9))
def test_each_event_goes_to_whom_the_rules_say_looking_at_it_alone(
    events: list[Seen], rules: IdentityRules, gap: int
) -> None:
    """Through the strand fold: its login's person, else its device's, else whoever had the device in hand."""
    rules = replace(rules, visit_gap=gap)
    events = list({e.id: e for e in events}.values())
    who, _ = naive(events, rules)
    ordered = sorted(events, key=lambda e: (e.time, e.id))
    expected = {}
    apart = {(left, right) for (left, right, kind), (rule, _) in who.fate.items() if kind != "unlink" and rule in APART}
    for event in events:
        key = rules.strand_key(event.identifiers)
        assert key is not None
        holder = key.login or key.primary
        if key.login is None and key.primary in who.carried:
            barred = {login for login, device in apart if device == key.primary}
            holder = strand_world.hand_at(event, ordered, key.primary, rules, barred) or key.primary
        expected[event.id] = canonical_id(who.anchor(holder))
    assert strand_world.persons_by_event(events, rules) == expected
