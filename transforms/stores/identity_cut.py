"""What an erasure does to the stored graph that a unit of work looks at: tombstones, and evidence that goes.

Pure but for what the graph reads. Evidence at or before the tombstone of a link's left end goes. What is needed of it
to judge requests again stays: who was seen on which device that is carried, and each time of a known identifier.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from contracts.event import Identifier
from contracts.exchange import UNLINK, Link
from transforms.identity.rules import IdentityRules
from transforms.stores.identity_graph import StoredGraph
from transforms.stores.identity_rows import Edge, Node, cut_link
from transforms.stores.identity_schema import STAYS_CARRIED


def bury(graph: StoredGraph, erasures: Iterable[tuple[Identifier, int]], rules: IdentityRules) -> None:
    """Set tombstones; an earlier one never replaces a later one."""
    buried = []
    for identifier, until in erasures:
        node = graph.nodes[identifier]
        if rules.is_known(identifier.namespace):
            graph.erasures.add((node.hash, node.rest, until))
        if node.erased is None or until > node.erased:
            node.erased, node.dirty, node.changed = until, True, True
            buried.append(node)
    graph.complete(buried, right=False)


def cut(graph: StoredGraph, rules: IdentityRules) -> set[Identifier]:
    """Take away evidence at or before the tombstone of its left end; the ends of links that this changed."""
    touched: set[Node] = set()
    graph.requests.clear()
    for edge in list(graph.edges.values()):
        link, until = edge.link, edge.left.erased
        if link.erase_before is not None:
            link = edge.link = replace(link, erase_before=None)
        if until is None or link.first_time > until:
            continue
        _note_pair(graph, edge, rules)
        ends = [node for node in (edge.left, edge.right) if node is not None]
        left = cut_link(link, until, [*edge.pieces, *graph.pieces.get(edge.key, ())])
        if left is None:
            graph.remove(edge)
            if len(ends) == 2 and not edge.new:
                graph.erased_edges.append(edge)
            graph.lost.update(ends[1:])
            if len(ends) == 2 and link.kind != UNLINK and graph.counted(edge) == 0:
                for node in ends:
                    node.degree -= 1
        else:
            edge.link, edge.dirty = left, True
        touched.update(ends)
    for node in touched:
        graph.look_again(node)
        graph.suspects[node] = True
    return {node.identifier for node in touched}


def keep_carried(graph: StoredGraph) -> None:
    """What was carried to an erased login must go, though nothing links the two any more."""
    lost, graph.lost = graph.lost, set()
    for device in lost:
        if device.carry != STAYS_CARRIED and graph.may_carry(device):
            device.changed = device.changed or not device.carry
            device.carry, device.dirty = STAYS_CARRIED, True


def without_erased(graph: StoredGraph, links: Iterable[Link]) -> list[Link]:
    """What tombstones leave of links that come."""
    links = list(links)
    graph.find({link.left for link in links})
    found: list[Link] = []
    for link in links:
        node = graph.nodes.get(link.left)
        left = link if node is None or node.erased is None else cut_link(link, node.erased, ())
        if left is not None:
            found.append(left)
    return found


def _note_pair(graph: StoredGraph, edge: Edge, rules: IdentityRules) -> None:
    """A login was seen on a device that is carried, though the evidence of it goes."""
    left, right = edge.left, edge.right
    if right is None or not rules.is_known(left.identifier.namespace):
        return
    if right.carry or graph.is_carrying(right):
        pair, first = (left.number, right.number), edge.link.first_time
        graph.erased_pairs[pair] = min(first, graph.erased_pairs.get(pair, first))
