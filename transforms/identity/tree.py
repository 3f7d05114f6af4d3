"""What holds a person together: its edges as a tree, and the way from one identifier to another.

Pure. Input: edges as resolution states them (``EdgeRow``). Output: branches in the order in which a reader goes down
the tree; a path. Times: UTC microseconds of event time. Errors: none. State: none beyond a call.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from contracts.event import Identifier
from contracts.exchange import UNLINK
from transforms.identity.partition import MERGED
from transforms.identity.resolve import REMOVED, EdgeRow
from transforms.identity.rules import IdentityRules

MOST_SEARCHED = 20_000
"""Identifiers that a search for a path looks at: a kiosk leads to everybody."""


class Branch(NamedTuple):
    """An identifier in the tree. ``parent`` and ``edge`` are None for the anchor; ``depth`` counts from it."""

    identifier: Identifier
    parent: Identifier | None
    edge: EdgeRow | None
    depth: int


@dataclass(frozen=True, slots=True)
class Tree:
    """A person's tree. ``loose`` members hang on no accepted edge, as a device that is carried forward does."""

    branches: tuple[Branch, ...]
    loose: tuple[Identifier, ...]


def tree_of(
    anchor: Identifier, members: Collection[Identifier], edges: Iterable[EdgeRow], rules: IdentityRules
) -> Tree:
    """The tree of a person: of all accepted edges those that united, in the order in which resolution takes them.

    Args:
        anchor: the identifier that names the person.
        members: all its identifiers, the anchor among them.
        edges: any edges; those between two members that were accepted count.
        rules: tell known identifiers from devices.
    """
    held = set(members)
    root = {identifier: identifier for identifier in held}

    def find(one: Identifier) -> Identifier:
        while root[one] != one:
            root[one] = root[root[one]]
            one = root[one]
        return one

    around: dict[Identifier, list[tuple[Identifier, EdgeRow]]] = {}
    accepted = [edge for edge in edges if edge.accepted and edge.left in held and edge.right in held]
    for edge in sorted(accepted, key=lambda edge: _order(edge, rules)):
        one, other = find(edge.left), find(edge.right)
        if one != other:
            root[one] = other
            around.setdefault(edge.left, []).append((edge.right, edge))
            around.setdefault(edge.right, []).append((edge.left, edge))
    branches = tuple(_down(anchor, around))
    reached = {branch.identifier for branch in branches}
    return Tree(branches, tuple(sorted(held - reached)))


def _order(edge: EdgeRow, rules: IdentityRules) -> tuple[bool, bool, int, str, Identifier, Identifier]:
    """Requests first, then edges between alike identifiers, then devices to persons; each by first evidence."""
    unlike = rules.is_known(edge.left.namespace) != rules.is_known(edge.right.namespace)
    return (edge.rule != MERGED, unlike, edge.first_time, edge.first_event_id, edge.left, edge.right)


def _down(anchor: Identifier, around: Mapping[Identifier, list[tuple[Identifier, EdgeRow]]]) -> Iterator[Branch]:
    seen = {anchor}
    waiting = [Branch(anchor, None, None, 0)]
    while waiting:
        branch = waiting.pop()
        yield branch
        below = [(other, edge) for other, edge in around.get(branch.identifier, ()) if other not in seen]
        seen.update(other for other, _ in below)
        # the last one pushed is told first
        waiting.extend(Branch(other, branch.identifier, edge, branch.depth + 1) for other, edge in reversed(below))


# --- paths ----------------------------------------------------------------------------------------------------------


class Step(NamedTuple):
    """One edge of a path, walked from one identifier to the next; ``holds`` when it keeps both in one person."""

    start: Identifier
    end: Identifier
    edge: EdgeRow
    holds: bool


@dataclass(frozen=True, slots=True)
class Way:
    """The answer of ``path_between``: ``steps`` is None when there is no path.

    ``searched`` identifiers were looked at; ``gave_up``: the search ended at its limit, not for want of edges.
    """

    steps: tuple[Step, ...] | None
    searched: int
    gave_up: bool = False

    @property
    def holds(self) -> bool:
        """Whether every edge of it holds."""
        return self.steps is not None and all(step.holds for step in self.steps)

    @property
    def gaps(self) -> tuple[Step, ...]:
        """The edges of it that were refused, removed or barred."""
        return tuple(step for step in self.steps or () if not step.holds)


def path_between(
    start: Identifier,
    goal: Identifier,
    edges_of: Callable[[Collection[Identifier]], Iterable[EdgeRow]],
    holds: Callable[[EdgeRow], bool],
    most: int = MOST_SEARCHED,
) -> Way:
    """The path with the fewest edges that do not hold, and among these the shortest.

    Args:
        edges_of: every edge with one of these as an end; asked for a whole layer at once.
        holds: whether an edge keeps its ends in one person.
        most: identifiers to look at before giving up.
    """
    came: dict[Identifier, Step | None] = {start: None}
    layer: list[Identifier] = [start]
    while layer:
        beyond: dict[Identifier, Step] = {}
        while layer:
            if goal in came:
                return Way(_back(goal, came), len(came))
            if len(came) > most:
                return Way(None, len(came), gave_up=True)
            layer = _next_layer(layer, edges_of, holds, came, beyond)
        beyond = {other: step for other, step in beyond.items() if other not in came}
        came.update(beyond)
        layer = list(beyond)
    return Way(_back(goal, came), len(came)) if goal in came else Way(None, len(came))


def _next_layer(
    layer: Collection[Identifier],
    edges_of: Callable[[Collection[Identifier]], Iterable[EdgeRow]],
    holds: Callable[[EdgeRow], bool],
    came: dict[Identifier, Step | None],
    beyond: dict[Identifier, Step],
) -> list[Identifier]:
    """Walk every edge that holds; what other edges lead to goes to ``beyond``."""
    here = set(layer)
    reached: list[Identifier] = []
    for edge in sorted(edges_of(layer), key=lambda edge: (edge.first_time, edge.first_event_id, edge.left, edge.right)):
        if edge.kind == UNLINK and edge.status == REMOVED:
            continue  # lifted by a merge: it stands between nobody
        for one, other in ((edge.left, edge.right), (edge.right, edge.left)):
            if one not in here or other in came:
                continue
            if holds(edge):
                came[other] = Step(one, other, edge, True)
                reached.append(other)
            else:
                beyond.setdefault(other, Step(one, other, edge, False))
    return reached


def _back(goal: Identifier, came: Mapping[Identifier, Step | None]) -> tuple[Step, ...]:
    steps: list[Step] = []
    step = came[goal]
    while step is not None:
        steps.append(step)
        step = came[step.start]
    return tuple(reversed(steps))
