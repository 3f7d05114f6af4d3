"""The second oracle: the rules replayed naively say the same as resolution, for every rule and world there is."""

from __future__ import annotations

import identity_world as world
from hypothesis import given, settings
from identity_world import Seen, links_of
from naive_oracle import naive

from transforms.identity.ids import canonical_id
from transforms.identity.resolve import resolve
from transforms.identity.rules import IdentityRules


@settings(max_examples=500, deadline=None)
@given(world.worlds(erasing=False, max_size=16), world.any_rules)
def test_replaying_the_rules_naively_gives_the_same_persons_and_the_same_ledger(
    events: list[Seen], rules: IdentityRules
) -> None:
    expected = naive(events, rules)
    found = resolve(links_of(events, rules), rules)
    assert dict(found.demoted()) == expected.demoted
    assert {(e.left, e.right, e.kind): e.rule for e in found.edges()} == expected.fate
    identifiers = {i for word in expected.words for i in word.ends}
    assert {i: found.person_of(i) for i in identifiers} == {i: canonical_id(expected.holder(i)) for i in identifiers}
    loginless = {a.primary: (a.steps[0][1], a.carry) for a in found.assignments() if a.login is None}
    assert loginless == {i: (canonical_id(expected.anchor(i)), i in expected.carried) for i in identifiers}


@settings(max_examples=300, deadline=None)
@given(world.worlds(erasing=False, max_size=16), world.any_rules)
def test_the_ledger_accepts_what_holds_and_nothing_else(events: list[Seen], rules: IdentityRules) -> None:
    """Both ends of an accepted link are one person's; those of an unlink in force are not."""
    found = resolve(links_of(events, rules), rules)
    for edge in found.edges():
        together = found.person_of(edge.left) == found.person_of(edge.right)
        if edge.accepted:
            assert together, edge
        if edge.kind == "unlink":
            assert edge.status == ("removed" if edge.rule == "merge" else "barred")
        elif edge.status == "removed":
            assert (edge.rule, together) == ("unlink", False)
        if edge.rule.startswith("limit:"):
            assert edge.status == "refused"
            assert edge.conflict is not None
            assert edge.conflict.namespace == edge.rule.removeprefix("limit:")
