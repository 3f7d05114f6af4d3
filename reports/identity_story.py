"""Why some identifiers are one person: the evidence as a tree, a path, and what would be without an edge.

Input: ``IdentityTables`` of OUT and a person. Output: ``IdentityStory``, and the same as plain values for machines.
What would be is resolved anew by the rules, from the links that OUT holds. Times: UTC microseconds of event time.
Errors: ``InputError`` for a pair that nothing links. State: none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.errors import InputError
from contracts.event import Identifier
from reports.identity_tables import IdentityTables
from transforms.identity.demotion import CROWDED, DEMOTED
from transforms.identity.ids import canonical_id
from transforms.identity.resolve import EdgeRow
from transforms.identity.tree import Tree, Way, path_between, tree_of
from transforms.identity.whatif import Evidence, compare, division, moves

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class WhatIf:
    """What would be without the links of one pair.

    ``stays`` is the person that the anchor would be of. ``leaves`` are the identifiers that would go, by the person
    they would be; ``events`` and ``strands`` what would go with them. ``joins`` are persons that would become one.
    """

    left: Identifier
    right: Identifier
    stays: str
    leaves: dict[str, tuple[Identifier, ...]]
    events: int
    strands: int
    joins: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class IdentityStory:
    """Who holds a person together, and what stands against it.

    Attributes:
        person_id: the person.
        asked: how the id that was asked for leads there, in words.
        members: its identifiers.
        tree: of its accepted edges.
        against: edges with an end in the person that hold nothing together, oldest first.
        demoted: identifiers among them that link nothing, and why.
        whatifs: for edges of the tree, in its order, or for the one that was asked for.
        untold: edges of the tree for which it was not found out.
        way, goal: to another identifier, if one was asked for.
        outdated: rules under which OUT was made, where they are not those in force.
        events: of the person.
    """

    person_id: str
    asked: str
    members: tuple[Identifier, ...]
    tree: Tree
    against: tuple[EdgeRow, ...]
    demoted: dict[Identifier, str]
    whatifs: tuple[WhatIf, ...]
    untold: int
    way: Way | None
    start: Identifier
    goal: Identifier | None
    outdated: str
    events: int


def identity_story(
    source: IdentityTables,
    person_id: str,
    asked: str = "",
    *,
    start: Identifier | None = None,
    goal: Identifier | None = None,
    without: tuple[Identifier, Identifier] | None = None,
    limit: int = 12,
) -> IdentityStory:
    """The story of a current person.

    Args:
        source: identity as OUT holds it.
        person_id: the person.
        asked: how it was found.
        start: where a path begins; the identifier that names the person by default.
        goal: where a path leads.
        without: ask for the removal of this pair alone.
        limit: edges of the tree for which it is found out what would be without them; 0 for all.

    Raises:
        InputError: nothing links the pair.
    """
    members = source.members(person_id)
    anchor = next((member for member in members if canonical_id(member) == person_id), None)
    if anchor is None:
        raise InputError(
            f"no identifier of {person_id} is held by it any more",
            hint="its device is in other hands by now; ask for the person of one of its logins",
        )
    edges = source.edges_of(members)
    tree = tree_of(anchor, members, edges, source.rules)
    pairs = [(branch.edge.left, branch.edge.right) for branch in tree.branches if branch.edge is not None]
    if without is not None:
        if not any({edge.left, edge.right} == set(without) for edge in source.edges_of(without)):
            raise InputError(
                f"{shown(without[0])} and {shown(without[1])} were never seen together",
                hint="name the two ends of an edge that the tree or the list below it shows",
            )
        wanted = [without]
    else:
        wanted = pairs[:limit] if limit else pairs
    evidence = Evidence(source.links_of, source.rules)
    versions = sorted({edge.rules_version for edge in edges} - {source.rules.version})
    return IdentityStory(
        person_id=person_id,
        asked=asked,
        members=tuple(members),
        tree=tree,
        against=tuple(
            sorted(
                (e for e in edges if not e.accepted), key=lambda e: (e.first_time, e.first_event_id, e.left, e.right)
            )
        ),
        demoted={e.conflict: e.rule for e in edges if e.rule in (DEMOTED, CROWDED) and e.conflict is not None},
        whatifs=tuple(_without(source, evidence, pair, person_id, anchor, members) for pair in wanted),
        untold=len(pairs) - len(wanted) if without is None else 0,
        way=None if goal is None else _way(source, start or anchor, goal),
        start=start or anchor,
        goal=goal,
        outdated=", ".join(versions),
        events=sum(source.tables.counts("events", "person_id", [person_id]).values()),
    )


def _without(
    source: IdentityTables,
    evidence: Evidence,
    pair: tuple[Identifier, Identifier],
    person_id: str,
    anchor: Identifier,
    members: Sequence[Identifier],
) -> WhatIf:
    compared = compare({*members, *pair}, evidence, evidence.changed(without=[frozenset(pair)]), source.rules)
    after = compared.after
    stays = after.person_of(anchor)
    leaves: dict[str, list[Identifier]] = {}
    for member in members:
        if (person := after.person_of(member)) != stays:
            leaves.setdefault(person, []).append(member)
    moved = moves(compared, source, source.rules)
    held = compared.before.person_of(anchor)
    joins = {person: tuple(sorted(sources)) for person, sources in division(compared).merged.items()}
    return WhatIf(
        *pair,
        stays=stays,
        leaves={person: tuple(found) for person, found in leaves.items()},
        events=sum(n for (one, other), n in moved.events.items() if one == held and other != stays),
        strands=sum(n for (one, other), n in moved.strands.items() if one == held and other != stays),
        joins=joins,
    )


def _way(source: IdentityTables, start: Identifier, goal: Identifier) -> Way:
    holders: dict[Identifier, str] = {}

    def edges_of(identifiers: Collection[Identifier]) -> list[EdgeRow]:
        found = source.edges_of(identifiers)
        ends = {end for edge in found for end in (edge.left, edge.right)} - holders.keys()
        holders.update(source.holders(ends))
        return found

    def holds(edge: EdgeRow) -> bool:
        return edge.accepted and holders.get(edge.left) == holders.get(edge.right)

    return path_between(start, goal, edges_of, holds)


# --- for machines -------------------------------------------------------------------------------------------------


def shown(identifier: Identifier) -> str:
    """An identifier in one word."""
    return f"{identifier.namespace}:{identifier.value}"


def moment(time: int) -> str:
    """A time for machines: ISO 8601, UTC."""
    return (_EPOCH + timedelta(microseconds=time)).isoformat().replace("+00:00", "Z")


def edge_values(edge: EdgeRow) -> dict[str, Any]:
    """An edge as plain values."""
    return {
        "left": shown(edge.left),
        "right": shown(edge.right),
        "kind": edge.kind,
        "status": edge.status,
        "rule": edge.rule,
        "conflict": None if edge.conflict is None else shown(edge.conflict),
        "first_time": moment(edge.first_time),
        "first_event_id": edge.first_event_id,
        "last_time": moment(edge.last_time),
        "last_event_id": edge.last_event_id,
    }


def story_values(story: IdentityStory, limit: int = 0) -> dict[str, Any]:
    """The story as plain values; ``limit`` bounds each list, 0 for no bound."""
    end = limit or None
    way = story.way
    return {
        "person_id": story.person_id,
        "asked": story.asked,
        "events": story.events,
        "identifiers": len(story.members),
        "other_rules": story.outdated or None,
        "tree": [
            {
                "identifier": shown(branch.identifier),
                "alias": canonical_id(branch.identifier),
                "depth": branch.depth,
                "parent": None if branch.parent is None else shown(branch.parent),
                "edge": None if branch.edge is None else edge_values(branch.edge),
            }
            for branch in story.tree.branches[:end]
        ],
        "carried": [shown(identifier) for identifier in story.tree.loose[:end]],
        "against": [edge_values(edge) for edge in story.against[:end]],
        "demoted": {shown(identifier): why for identifier, why in sorted(story.demoted.items())[:end]},
        "without": [
            {
                "left": shown(what.left),
                "right": shown(what.right),
                "stays": what.stays,
                "leaves": {
                    person: [shown(i) for i in left[:end]] for person, left in sorted(what.leaves.items())[:end]
                },
                "identifiers": sum(map(len, what.leaves.values())),
                "events": what.events,
                "strands": what.strands,
                "joins": {person: list(sources) for person, sources in what.joins.items()},
            }
            for what in story.whatifs
        ],
        "path": None
        if way is None or story.goal is None
        else {
            "from": shown(story.start),
            "to": shown(story.goal),
            "one_person": way.holds,
            "searched": way.searched,
            "gave_up": way.gave_up,
            "steps": None
            if way.steps is None
            else [
                {"from": shown(s.start), "to": shown(s.end), "holds": s.holds, "edge": edge_values(s.edge)}
                for s in way.steps
            ],
        },
    }
