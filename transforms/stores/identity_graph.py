"""The part of the stored graph that one unit of work looks at: read when needed, changed in memory, written at the end.

It is the ``LinkSource`` of the walk through a neighbourhood. It reads all links of an identifier only while that one is
not crowded, so that what it holds is bounded by the batch, by ``crowd`` and by the size of persons.

What a batch changes is first merged into it (``merge``), then it says whom the changes put out of linking, or back into
it (``flips``). What an erasure takes of it is in ``transforms.stores.identity_cut``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from contracts.event import Identifier
from contracts.exchange import ALIAS, LINK_KINDS, MERGE, SEEN, UNLINK, Link
from transforms.identity.demotion import CROWDED, DEMOTED, is_demoted
from transforms.identity.ids import shard_of
from transforms.identity.rules import CARRYING, LAST_KNOWN, Bound, IdentityRules
from transforms.stores.database import Row, Transaction
from transforms.stores.identity_pairs import erased_links, times_of
from transforms.stores.identity_rows import (
    Edge,
    EdgeKey,
    Node,
    link_of_row,
    logins_of,
    may_fold,
    merged,
    new_node,
)
from transforms.stores.identity_schema import LINK_COLUMNS, NODE_COLUMNS, NUMBERS, identifier_hash

_NODES = f"SELECT {NODE_COLUMNS} FROM identity_identifiers"
_LINKS = f"SELECT {LINK_COLUMNS} FROM identity_links"
_BY_LAST = frozenset((LAST_KNOWN, *CARRYING))
"""Rules of refused links whose last evidence the policy compares with that of others."""


class StoredGraph:
    """See the module. For one unit of work.

    Args:
        tx: the unit's transaction.
        rules: the rules in force.
        shards: how many strand shards there are.
    """

    def __init__(self, tx: Transaction, rules: IdentityRules, shards: int) -> None:
        self._tx, self._rules, self._shards = tx, rules, shards
        self.nodes: dict[Identifier, Node] = {}
        self.edges: dict[EdgeKey, Edge] = {}
        self.removed: dict[EdgeKey, Edge] = {}
        self.erased_edges: list[Edge] = []
        """Links of two ends whose evidence is erased, of those that were stored."""
        self.pieces: Mapping[EdgeKey, Collection[Link]] = {}
        """Of links that came in several pieces, those; an erasure may leave one to begin with any of them."""
        self.erased_pairs: dict[tuple[int, int], int] = {}
        """Numbers of logins and devices whose evidence is erased, and when it began."""
        self.erasures: set[tuple[int, int, int]] = set()
        """(hash, rest, until) of known identifiers that are erased."""
        self.strands: set[tuple[Node, Node]] = set()
        """(login, device) of links that are new to the store: their strands may be."""
        self.stale: set[Node] = set()
        """Nodes that lost evidence and whose other evidence is not all here."""
        self.last_number: int | None = None
        """The greatest number given; None while none was."""
        self._by_number: dict[int, Node] = {}
        self.lost: set[Node] = set()
        """Nodes that an erased identifier is linked with no longer."""
        self.bar_changed: set[tuple[Node, Node]] = set()
        """(left, right) of links that an unlink takes now, or gives back."""
        self.requests: defaultdict[EdgeKey, set[int]] = defaultdict(set)
        """Of links with several requests for erasure in one batch, the times of all of them."""
        self.suspects: dict[Node, bool] = {}
        """Nodes that may be demoted now; True: or that may not be any more."""

    # --- reading ------------------------------------------------------------------------------------------------

    def find(self, identifiers: Iterable[Identifier]) -> None:
        """Read the nodes of identifiers, as far as they are stored."""
        wanted: defaultdict[int, list[tuple[int, Identifier]]] = defaultdict(list)
        for identifier in identifiers:
            if identifier not in self.nodes:
                hashed, rest = identifier_hash(identifier)
                wanted[hashed].append((rest, identifier))
        if not wanted:
            return
        for row in self._tx.all(f"{_NODES} WHERE hash IN ??", (sorted(wanted),)):
            for rest, identifier in wanted[row[1]]:
                if rest == row[2]:
                    self._keep(Node.of_row(row, identifier))

    def numbered(self, numbers: Collection[int]) -> list[Node]:
        """Read the nodes of these numbers."""
        missing = sorted(number for number in numbers if number not in self._by_number)
        if missing:
            for row in self._tx.all(f"{_NODES} WHERE number IN ??", (missing,)):
                self._keep(Node.of_row(row, None))
        return [self._by_number[number] for number in numbers]

    def complete(self, nodes: Iterable[Node], *, left: bool = True, right: bool = True) -> None:
        """Read the links that these are the left end of, the right end, or both."""
        lefts, rights = [], []
        for node in nodes:
            if left and not node.left_loaded:
                node.left_loaded = True
                lefts.append(node.number)
            if right and not node.right_loaded:
                node.right_loaded = True
                rights.append(node.number)
        rows: list[Row] = []
        if lefts:
            rows += self._tx.all(f"{_LINKS} WHERE left_no IN ??", (lefts,))
        if rights:
            rows += self._tx.all(f"{_LINKS} WHERE right_no <> 0 AND right_no IN ??", (rights,))
        self._take(rows)

    def links_of(self, identifiers: Collection[Identifier]) -> Iterator[Link]:
        """Every link with one of these as an end."""
        nodes = [self.nodes[i] for i in identifiers if i in self.nodes]
        self.complete(nodes)
        may_link = self._rules.links_at_all
        for node in nodes:
            for edge in node.edges:
                link = edge.link
                if may_link(link.left.namespace) and (link.right is None or may_link(link.right.namespace)):
                    yield link
                    for until in self.requests.get(edge.key, ()):
                        yield replace(link, erase_before=until)
        yield from erased_links(self._tx, nodes, self.numbered)

    def demoted(self, identifiers: Collection[Identifier]) -> Mapping[Identifier, str]:
        """Those of these that link nothing, and why."""
        nodes = self.nodes
        return {i: nodes[i].demoted for i in identifiers if i in nodes and nodes[i].demoted}

    def erased(self, identifiers: Collection[Identifier]) -> Mapping[Identifier, Collection[int]]:
        """The tombstones of these."""
        nodes = [self.nodes[i] for i in identifiers if i in self.nodes and self.nodes[i].erased is not None]
        times = times_of(self._tx, nodes)
        return {node.identifier: times[node.hash, node.rest] for node in nodes}

    def _keep(self, node: Node) -> Node:
        self.nodes[node.identifier] = node
        self._by_number[node.number] = node
        return node

    def _take(self, rows: Iterable[Row]) -> None:
        rows = list(rows)
        by_number = self._by_number
        self.numbered({number for row in rows for number in row[:2] if number})
        for row in rows:
            left, right = by_number[row[0]], by_number[row[1]] if row[1] else None
            key = (left.identifier, None if right is None else right.identifier, LINK_KINDS[row[2]])
            if key in self.edges or key in self.removed:
                continue
            edge = self._put(Edge(left, right, link_of_row(row, key[0], key[1])))
            edge.status, edge.rule, edge.conflict = row[8:11]
            edge.new = edge.dirty = False

    def _put(self, edge: Edge) -> Edge:
        self.edges[edge.key] = edge
        edge.left.edges.append(edge)
        if edge.right is not None:
            edge.right.edges.append(edge)
        return edge

    # --- merging ------------------------------------------------------------------------------------------------

    def merge(self, links: Collection[Link]) -> tuple[list[Edge], int]:
        """Merge links, one a pair and kind; those whose change may change a person, and how many changed at all."""
        ends = {end for link in links for end in (link.left, link.right) if end is not None}
        self.find(ends)
        for node in (self.nodes[end] for end in ends if end in self.nodes):
            if node.nameless:
                # it comes back with its name, and its strands are told what holds for them
                node.nameless, node.purged = False, None
                node.dirty = node.changed = True
        self._load_pairs(links)
        changed: list[Edge] = []
        folded: list[Link] = []
        grown = 0
        for link in links:
            edge = self.edges.get((link.left, link.right, link.kind))
            if edge is None:
                left, right = self._node(link.left), None if link.right is None else self._node(link.right)
                if right is not None and (left.compacted or right.compacted) and may_fold(link, self._rules):
                    folded.append(link)
                    continue
                changed.append(self._add(left, right, link))
            else:
                edge.pieces += (edge.link, link)
                whole, lowers, raises = merged(edge.link, link)
                if link.erase_before is not None and edge.link.erase_before not in (None, link.erase_before):
                    # each request covers what was the person's at its own time
                    self.requests[edge.key].update((link.erase_before, edge.link.erase_before))
                elif whole == edge.link:
                    continue
                edge.link, edge.dirty = whole, True
                if lowers or whole.erase_before is not None or (raises and self._needs_last(edge)):
                    changed.append(edge)
                if lowers and edge.right is not None:
                    self.suspects[edge.right] = True
            grown += 1
            edge = self.edges[(link.left, link.right, link.kind)]
            for end in (edge.left, edge.right):
                if end is not None:
                    end.see(edge.link.first_time, edge.link.last_time)
        if folded:
            more, count = self.merge(self._fold(folded))
            return changed + more, grown + count
        return changed, grown

    def _load_pairs(self, links: Iterable[Link]) -> None:
        """Read the stored links of the same ends."""
        lefts: set[Node] = set()
        of_crowded: defaultdict[Node, set[int]] = defaultdict(set)
        for link in links:
            left = self.nodes.get(link.left)
            if left is None or left.left_loaded:
                continue
            if left.demoted != CROWDED:
                lefts.add(left)
            elif link.right is None:
                of_crowded[left].add(0)
            elif link.right in self.nodes:
                of_crowded[left].add(self.nodes[link.right].number)
        self.complete(sorted(lefts, key=_number), right=False)
        for left, rights in of_crowded.items():
            sql = f"{_LINKS} WHERE left_no = ? AND right_no IN ??"
            self._take(self._tx.all(sql, (left.number, sorted(rights))))

    def _node(self, identifier: Identifier) -> Node:
        node = self.nodes.get(identifier)
        if node is None:
            if self.last_number is None:
                row = self._tx.one("SELECT number FROM identity_meta WHERE name = ?", (NUMBERS,))
                self.last_number = row[0] if row else 0
            self.last_number += 1
            shard = int.from_bytes(shard_of(identifier, self._shards), "big")
            node = self._keep(new_node(self.last_number, identifier, shard))
        return node

    def _add(self, left: Node, right: Node | None, link: Link) -> Edge:
        edge = self._put(Edge(left, right, link))
        if right is None:
            return edge
        is_known = self._rules.is_known
        if is_known(link.left.namespace) and not is_known(right.identifier.namespace):
            self.strands.add((left, right))
        if link.kind == UNLINK:
            return edge
        if self.counted(edge) == 1:
            for node in (left, right):
                node.degree += 1
                node.dirty = True
                self.suspects.setdefault(node, False)
        else:
            # a word of another kind may be the earlier evidence of a pair that is counted
            self.suspects[right] = True
        return edge

    def counted(self, edge: Edge) -> int:
        """How many links of these ends count for the number of others that they were seen with."""
        left, right, _ = edge.key
        return sum((left, right, kind) in self.edges for kind in LINK_KINDS if kind != UNLINK)

    def _fold(self, links: Sequence[Link]) -> list[Link]:
        """Links of identifiers whose ledger was compacted, as sightings of the other end alone."""
        alone: dict[Identifier, Link] = {}
        back = {node for node in self.nodes.values() if node.first_seen is None}
        pairs: dict[tuple[Node, Node], None] = {}
        for link in links:
            assert link.right is not None
            left, right = self.nodes[link.left], self.nodes[link.right]
            pairs[left, right] = None
            for node in (left, right):
                node.see(link.first_time, link.last_time)
                if not node.compacted:
                    sighting = replace(link, left=node.identifier, right=None, kind=SEEN)
                    held = alone.get(node.identifier)
                    alone[node.identifier] = sighting if held is None else merged(held, sighting)[0]
        of_login: defaultdict[Node, list[Node]] = defaultdict(list)
        for login, device in pairs:
            of_login[login].append(device)
        for login, devices in of_login.items():
            sql = "SELECT device FROM identity_strands WHERE login = ? AND device IN ??"
            found = self._tx.all(sql, (login.number, sorted(device.number for device in devices)))
            seen = {number for (number,) in found}
            for device in devices:
                if (device.number in seen and login not in back) or (login, device) in self.strands:
                    continue
                self.strands.add((login, device))
                for node in (login, device):
                    node.degree += 1
                    node.dirty = True
                    self.suspects.setdefault(node, False)
        return list(alone.values())

    def _needs_last(self, edge: Edge) -> bool:
        """Whether somebody's person may depend on when a link was seen last."""
        kind = edge.link.kind
        return kind in (MERGE, UNLINK) or (kind == ALIAS and self._rules.alias_overrides) or edge.rule in _BY_LAST

    # --- demotion -----------------------------------------------------------------------------------------------

    def flips(self) -> set[Node]:
        """The nodes that link no longer, or link again, or do not link for another reason, since the last call."""
        suspects, self.suspects = self.suspects, {}
        flipped: set[Node] = set()
        bounded: list[tuple[Node, Bound]] = []
        for node, freed in suspects.items():
            if node.compacted:
                continue
            if node.degree > self._rules.crowd:
                self._settle(node, CROWDED, flipped)
                continue
            bound = self._rules.namespaces[node.identifier.namespace].demote_after
            if bound is None or node.degree <= bound.values:
                self._settle(node, "", flipped)
            elif freed or node.demoted != DEMOTED:
                bounded.append((node, bound))
        self.complete((node for node, _ in bounded), left=False)
        for node, bound in bounded:
            passed = is_demoted(self._rules, node.identifier, bound, logins_of(node, self._rules))
            self._settle(node, DEMOTED if passed else "", flipped)
        return flipped

    def _settle(self, node: Node, why: str, flipped: set[Node]) -> None:
        if node.demoted != why:
            node.demoted, node.dirty = why, True
            flipped.add(node)

    def flipped_edges(self) -> list[Edge]:
        """All links of the nodes that ``flips`` gives: the verdict on each, and the person beyond, may be another."""
        flipped = self.flips()
        self.complete(flipped)
        return [edge for node in flipped for edge in node.edges]

    def is_carried_to_erased(self, node: Node) -> bool:
        """Whether a device may have been carried to a login of which something is erased."""
        return self.may_carry(node) and any(edge.right is node and edge.left.erased is not None for edge in node.edges)

    def may_carry(self, node: Node) -> bool:
        return not node.demoted and self.is_carrying(node)

    def is_carrying(self, node: Node) -> bool:
        namespace = node.identifier.namespace
        return not self._rules.is_known(namespace) and self._rules.namespaces[namespace].owner in CARRYING

    def remove(self, edge: Edge) -> None:
        """Take a link out of the ledger."""
        del self.edges[edge.key]
        edge.gone = True
        if not edge.new:
            self.removed[edge.key] = edge

    def look_again(self, node: Node) -> None:
        """When a node was seen, by the evidence that is left."""
        node.dirty = True
        node.edges = [edge for edge in node.edges if not edge.gone]
        if node.left_loaded and node.right_loaded:
            node.first_seen = min((edge.link.first_time for edge in node.edges), default=None)
            node.last_seen = max((edge.link.last_time for edge in node.edges), default=None)
        else:
            self.stale.add(node)


def _number(node: Node) -> int:
    return node.number
