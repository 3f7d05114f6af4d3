"""The tree that holds a person together, and paths: both agree with resolution."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import identity_world as world
from hypothesis import given, settings
from identity_world import Seen, ident, links_of

from contracts.event import Identifier
from transforms.identity.ids import canonical_id
from transforms.identity.resolve import EdgeRow, Resolution, resolve
from transforms.identity.rules import IdentityRules
from transforms.identity.tree import Way, path_between, tree_of


def resolved(*events: Seen, rules: IdentityRules | None = None) -> Resolution:
    by = rules or world.rules()
    return resolve(links_of(events, by), by)


def names(steps: Iterable[object]) -> list[str]:
    return [":".join(step.end) for step in steps]  # type: ignore[attr-defined]


def way(resolution: Resolution, start: str, goal: str, most: int = 1000) -> Way:
    edges = list(resolution.edges())

    def edges_of(asked: Collection[Identifier]) -> list[EdgeRow]:
        return [edge for edge in edges if edge.left in asked or edge.right in asked]

    def holds(edge: EdgeRow) -> bool:
        return edge.accepted and resolution.person_of(edge.left) == resolution.person_of(edge.right)

    return path_between(ident(start), ident(goal), edges_of, holds, most)


def test_the_tree_has_the_edges_that_united_in_their_order() -> None:
    resolution = resolved(
        Seen(1, "user:1 crm:k"), Seen(2, "crm:k email:e"), Seen(3, "user:1 email:e"), Seen(4, "cookie:a user:1")
    )
    members = [ident(name) for name in ("user:1", "crm:k", "email:e", "cookie:a")]
    tree = tree_of(ident("user:1"), members, resolution.edges(), world.rules())
    assert [(":".join(b.identifier), b.depth, b.edge.first_time if b.edge else None) for b in tree.branches] == [
        ("user:1", 0, None),
        ("crm:k", 1, 1),
        ("email:e", 2, 2),
        ("cookie:a", 1, 4),
    ]
    assert tree.loose == ()


def test_a_carried_device_hangs_on_no_accepted_edge() -> None:
    rules = world.rules("carry_forward")
    resolution = resolved(Seen(1, "cookie:a user:1"), Seen(2, "cookie:a user:2"), rules=rules)
    tree = tree_of(ident("user:2"), [ident("user:2"), ident("cookie:a")], resolution.edges(), rules)
    assert tree.loose == (ident("cookie:a"),)


def test_a_path_says_which_refused_edge_stands_between() -> None:
    resolution = resolved(Seen(1, "cookie:a user:1"), Seen(2, "user:1 email:e"), Seen(3, "email:e user:2"))
    found = way(resolution, "cookie:a", "user:2")
    assert found.steps is not None
    assert names(found.steps) == ["user:1", "email:e", "user:2"]
    assert not found.holds
    (gap,) = found.gaps
    assert (gap.edge.status, gap.edge.rule, gap.edge.conflict) == ("refused", "limit:user", ident("user:1"))


def test_a_longer_path_that_holds_is_better_than_a_shorter_one_that_does_not() -> None:
    resolution = resolved(
        Seen(1, "user:1 crm:k"),
        Seen(2, "crm:k email:e"),
        Seen(3, "cookie:b user:1"),
        Seen(4, "cookie:b email:e", name="unlink"),
        Seen(5, "user:1 email:f"),
        rules=world.rules("first_known"),
    )
    assert way(resolution, "cookie:b", "email:e").gaps
    found = way(resolution, "email:f", "email:e")
    assert found.holds
    assert names(found.steps or ()) == ["user:1", "crm:k", "email:e"]


def test_what_was_never_seen_together_has_no_path() -> None:
    found = way(resolved(Seen(1, "user:1 crm:k"), Seen(2, "user:2 crm:l")), "user:1", "user:2")
    assert (found.steps, found.gave_up, found.searched) == (None, False, 2)


def test_an_unlink_that_a_merge_lifted_stands_between_nobody() -> None:
    events = [Seen(1, "user:1 email:e", name="unlink"), Seen(2, "user:1 email:e", name="merge")]
    found = way(resolved(*events), "user:1", "email:e")
    assert found.holds
    assert [step.edge.kind for step in found.steps or ()] == ["merge"]


def test_a_search_ends_at_its_limit_and_says_so() -> None:
    events = [Seen(n, f"email:{n} crm:{n}") for n in range(9)] + [
        Seen(20 + n, f"email:{n + 1} crm:{n}") for n in range(8)
    ]
    assert way(resolved(*events), "email:0", "crm:8", most=4).gave_up
    assert way(resolved(*events), "email:0", "crm:8").holds


@settings(max_examples=150, deadline=None)
@given(world.worlds(), world.any_rules)
def test_every_member_is_in_the_tree_once_or_is_carried(events: list[Seen], rules: IdentityRules) -> None:
    resolution = resolve(links_of(events, rules), rules)
    rows = list(resolution.identifiers())
    edges = list(resolution.edges())
    carried = {a.primary for a in resolution.assignments() if a.carry}
    for person in {row.person_id for row in rows}:
        members = [Identifier(row.namespace, row.value) for row in rows if row.person_id == person]
        anchors = [m for m in members if canonical_id(m) == person]
        if not anchors:
            continue
        tree = tree_of(anchors[0], members, edges, rules)
        assert sorted([*(b.identifier for b in tree.branches), *tree.loose]) == sorted(members)
        assert len(tree.branches) + len(tree.loose) == len(members)
        devices = {m for m in members if not rules.is_known(m.namespace)}
        assert set(tree.loose) <= devices & carried
