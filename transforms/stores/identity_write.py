"""Writing what a unit of work of the identity store changed: verdicts, identifiers, links, and the mailbox.

Sequences come from one row a shard, raised in the unit itself and in ascending order of shards. SQLite has one writer;
PostgreSQL lets no second unit raise a row before the first has committed, so numbers are in the order of commits.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable

import numpy as np
import numpy.typing as npt

from contracts.event import Identifier
from contracts.exchange import SEEN, UNLINK
from transforms.identity.demotion import CROWDED
from transforms.identity.resolve import APART, REFUSED, Resolution
from transforms.identity.rules import IdentityRules
from transforms.stores.database import Row, Transaction
from transforms.stores.identity_graph import StoredGraph
from transforms.stores.identity_pairs import keep_pairs, keep_times
from transforms.stores.identity_rows import Edge, Node
from transforms.stores.identity_schema import (
    CHANGES,
    LINK_FIELDS,
    NOBODY,
    NODE_FIELDS,
    NUMBERS,
    STAYS_CARRIED,
    STRAND_FIELDS,
)

UPDATE_NODE = f"UPDATE identity_identifiers SET {', '.join(f'{name} = ?' for name in NODE_FIELDS[3:])} WHERE number = ?"
_UPDATE_LINK = (
    f"UPDATE identity_links SET {', '.join(f'{name} = ?' for name in LINK_FIELDS[3:])}"
    " WHERE left_no = ? AND right_no = ? AND kind = ?"
)
_GONE = (
    "INSERT INTO identity_gone (left_no, right_no, kind, change) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (left_no, right_no, kind) DO UPDATE SET change = excluded.change"
)
_DELETE_LINK = "DELETE FROM identity_links WHERE left_no = ? AND right_no = ? AND kind = ?"
_RAISE = (
    "INSERT INTO identity_shards (shard, sequence) VALUES (?, ?)"
    " ON CONFLICT (shard) DO UPDATE SET sequence = identity_shards.sequence + excluded.sequence"
)


def apply(graph: StoredGraph, targets: Collection[Identifier], resolution: Resolution, rules: IdentityRules) -> None:
    """Take over what a resolution of a neighbourhood says about its targets and about the links it is right about."""
    nodes, edges, is_known = graph.nodes, graph.edges, rules.is_known
    for row in resolution.edges():
        left, right = row.left, row.right
        if left not in targets and right not in targets:
            continue
        known = is_known(left.namespace)
        if known != is_known(right.namespace) and (right if known else left) not in targets:
            # the owner of a group of devices is decided where the group is
            continue
        edge = edges[(left, right, row.kind)]
        conflict = NOBODY if row.conflict is None else nodes[row.conflict].number
        if (edge.rule in APART) != (row.rule in APART) and row.kind != UNLINK and edge.right is not None:
            graph.bar_changed.add((edge.left, edge.right))
        if edge.rule != row.rule or edge.status != row.status or edge.conflict != conflict:
            edge.status, edge.rule, edge.conflict, edge.dirty = row.status, row.rule, conflict, True
    any_erased = any(node.erased is not None for node in nodes.values())
    numbers = {node.canonical: node.number for node in nodes.values()}
    for assignment in resolution.assignments():
        if assignment.login is not None:
            # the strands of a login follow their login's row
            break
        if assignment.primary not in targets:
            continue
        node = nodes[assignment.primary]
        person, holder = numbers[assignment.steps[0][1]], numbers[resolution.person_of(assignment.primary)]
        carry = int(assignment.carry or (any_erased and graph.is_carried_to_erased(node)))
        if node.carry == STAYS_CARRIED:
            carry = STAYS_CARRIED
        if (node.person, node.carry) != (person, carry):
            node.person, node.carry, node.changed = person, carry, True
        if node.holder != holder:
            node.holder, node.dirty = holder, True


def settle_crowded(edges: Collection[Edge]) -> list[Edge]:
    """Give links of newcomers that were seen with a crowd alone their verdict; return those that need a resolution.

    What is crowded links nothing, so such a newcomer is a person by itself, as its row says already. This is what keeps
    a kiosk cheap for who comes to it first, thousands a batch.
    """
    rest: list[Edge] = []
    for edge in edges:
        one, other = edge.left, edge.right
        if other is not None and other.demoted != CROWDED:
            one, other = other, one
        if other is None or not one.new or not all(_is_of_crowd(one, each) for each in one.edges):
            rest.append(edge)
            continue
        edge.status, edge.rule, edge.conflict, edge.dirty = REFUSED, CROWDED, other.number, True
    return rest


def _is_of_crowd(newcomer: Node, edge: Edge) -> bool:
    """Whether a link of a newcomer is one with a crowd, and no word about persons or erasure."""
    crowd = edge.right if edge.left is newcomer else edge.left
    return (
        crowd is not None
        and crowd.demoted == CROWDED
        and crowd.erased is None
        and not newcomer.demoted
        and edge.link.kind == SEEN
        and edge.link.erase_before is None
    )


def write(graph: StoredGraph, tx: Transaction, rules: IdentityRules) -> int:
    """Write all changes; return how many assignments are new or changed."""
    strands = _new_strands(graph, tx)
    for _, device in strands:
        device.strands += 1
        device.dirty = True
    keep_pairs(tx, graph.erased_pairs)
    keep_times(tx, graph.erasures)
    nodes = [node for node in graph.nodes.values() if node.dirty or node.changed]
    edges = [edge for edge in graph.edges.values() if edge.dirty]
    if not nodes and not edges and not graph.removed:
        return 0
    change = next_change(tx)
    changed = [node for node in nodes if node.changed]
    logins = [node.number for node in changed if not node.new and rules.is_known(node.identifier.namespace)]
    moved = strands_of(tx, logins)
    moved += _barred_or_freed(graph, tx, {strand[:2] for strand in moved})
    sequences = Sequences(tx)
    sequences.want(node.shard for node in changed)
    sequences.want(device.shard for _, device in strands)
    sequences.want(shard for _, _, shard in moved)
    sequences.take()
    for node in changed:
        node.sequence = sequences.next(node.shard)
    tx.load("identity_identifiers", NODE_FIELDS, sorted(node.row(change) for node in nodes if node.new))
    stored = sorted(node.row(change) for node in nodes if not node.new)
    tx.execute_many(UPDATE_NODE, [(*row[3:], row[0]) for row in stored])
    new = sorted((login.number, device.number, device) for login, device in strands)
    tx.load(
        "identity_strands",
        STRAND_FIELDS,
        [(login, number, device.shard, sequences.next(device.shard)) for login, number, device in new],
    )
    move_strands(tx, moved, sequences)
    _write_links(graph, tx, edges, change)
    _write_stale(graph, tx)
    if graph.last_number is not None:
        write_last_number(tx, graph.last_number)
    return len(changed) + len(strands) + len(moved)


def _barred_or_freed(graph: StoredGraph, tx: Transaction, told: Collection[Row]) -> list[tuple[int, int, int]]:
    """The stored strands, as (login, device, shard), that an unlink bars now or no longer; not those told already."""
    pairs = {(login.number, device.number) for login, device in graph.bar_changed} - set(told)
    logins = {login for login, _ in pairs}
    return [strand for strand in strands_of(tx, logins) if strand[:2] in pairs]


def move_strands(tx: Transaction, moved: Iterable[tuple[int, int, int]], sequences: Sequences) -> None:
    """Give strands, as (login, device, shard), their new sequences."""
    tx.execute_many(
        "UPDATE identity_strands SET sequence = ? WHERE login = ? AND device = ?",
        [(sequences.next(shard), login, device) for login, device, shard in sorted(moved)],
    )


def write_last_number(tx: Transaction, number: int) -> None:
    """Keep the greatest number that was given to an identifier."""
    tx.execute(
        "INSERT INTO identity_meta (name, word, number) VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET number = excluded.number WHERE excluded.number > identity_meta.number",
        (NUMBERS, "", number),
    )


def next_change(tx: Transaction) -> int:
    """The number of this unit of work, under which the rows that it writes are found by ``rows_since``."""
    tx.execute(
        "INSERT INTO identity_meta (name, word, number) VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET number = identity_meta.number + 1",
        (CHANGES, "", 1),
    )
    return last_change(tx)


def last_change(tx: Transaction) -> int:
    """The number of the last unit of work that wrote something."""
    (number,) = tx.one("SELECT number FROM identity_meta WHERE name = ?", (CHANGES,)) or (0,)
    return int(number)


def _write_links(graph: StoredGraph, tx: Transaction, edges: Collection[Edge], change: int) -> None:
    """Write changed links, and delete those that went."""
    tx.execute_many(_DELETE_LINK, sorted(edge.place for edge in graph.removed.values()))
    tx.load("identity_links", LINK_FIELDS, sorted(edge.row(change) for edge in edges if _is_new(graph, edge)))
    rows = sorted(edge.row(change) for edge in edges if not _is_new(graph, edge))
    tx.execute_many(_UPDATE_LINK, [(*row[3:], *row[:3]) for row in rows])
    tx.execute_many(_GONE, sorted((*edge.place, change) for edge in graph.erased_edges))


def _is_new(graph: StoredGraph, edge: Edge) -> bool:
    return edge.new or edge.key in graph.removed


def _new_strands(graph: StoredGraph, tx: Transaction) -> list[tuple[Node, Node]]:
    """The strands of new links that are not stored."""
    new: list[tuple[Node, Node]] = []
    doubtful: defaultdict[Node, list[Node]] = defaultdict(list)
    for login, device in graph.strands:
        if login.new or device.new:
            new.append((login, device))
        else:
            doubtful[login].append(device)
    few = [login.number for login in doubtful if login.demoted != CROWDED]
    stored = {(login, device) for login, device, _ in strands_of(tx, few)}
    for login, devices in doubtful.items():
        if login.demoted == CROWDED:
            numbers = sorted(device.number for device in devices)
            sql = "SELECT login, device FROM identity_strands WHERE login = ? AND device IN ??"
            stored.update(tx.all(sql, (login.number, numbers)))
        new += [(login, device) for device in devices if (login.number, device.number) not in stored]
    return new


def strands_of(tx: Transaction, logins: Collection[int]) -> list[tuple[int, int, int]]:
    """(login, device, shard) of all strands of some logins."""
    if not logins:
        return []
    sql = "SELECT login, device, shard FROM identity_strands WHERE login IN ??"
    return [(login, device, shard) for login, device, shard in tx.all(sql, (sorted(logins),))]


def _write_stale(graph: StoredGraph, tx: Transaction) -> None:
    """When a node was seen, for those that lost evidence and have more than was read: the database looks."""
    for node in sorted(graph.stale, key=lambda node: node.number):
        found = [
            tx.one(f"SELECT min(first_time), max(last_time) FROM identity_links WHERE {where}", (node.number,))
            for where in ("left_no = ?", "right_no <> 0 AND right_no = ?")
        ]
        seen = [row for row in found if row is not None and row[0] is not None]
        tx.execute(
            "UPDATE identity_identifiers SET first_seen = ?, last_seen = ? WHERE number = ?",
            (min((row[0] for row in seen), default=None), max((row[1] for row in seen), default=None), node.number),
        )


class Sequences:
    """Sequence numbers of shards: said how many, taken once, then given out."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._wanted: Counter[int] = Counter()
        self._next: dict[int, int] = {}

    def want(self, shards: Iterable[int]) -> None:
        """One number for each of these."""
        self._wanted.update(shards)

    def take(self) -> None:
        """Raise the rows of the shards."""
        shards = sorted(self._wanted)
        if not shards:
            return
        self._tx.execute_many(_RAISE, [(shard, self._wanted[shard]) for shard in shards])
        sql = "SELECT shard, sequence FROM identity_shards WHERE shard IN ??"
        self._next = {shard: last - self._wanted[shard] for shard, last in self._tx.all(sql, (shards,))}

    def of_all(self, places: npt.NDArray[np.int64]) -> list[int]:
        """A number for each of these shards, in their order."""
        order = np.argsort(places, kind="stable")
        counts = np.bincount(places)
        # the how manieth of its shard each is
        ranks = np.empty(len(places), dtype=np.int64)
        ranks[order] = np.arange(1, len(places) + 1) - np.repeat(np.cumsum(counts) - counts, counts)
        last = np.array([self._next.get(shard, 0) for shard in range(len(counts))], dtype=np.int64)
        for shard in np.flatnonzero(counts).tolist():
            self._next[shard] += int(counts[shard])
        found: list[int] = (last[places] + ranks).tolist()
        return found

    def next(self, shard: int) -> int:
        """The next number of a shard."""
        self._next[shard] += 1
        return self._next[shard]
