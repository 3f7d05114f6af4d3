"""What the identity store forgets: the long tail of crowded identifiers, and the names of who was erased."""

from __future__ import annotations

from collections.abc import Collection

from contracts.exchange import ALIAS, LINK_KINDS, SEEN, Link
from transforms.identity.demotion import CROWDED
from transforms.identity.rules import IdentityRules, StrandKey
from transforms.stores.database import Transaction
from transforms.stores.identity_graph import StoredGraph
from transforms.stores.identity_rows import Edge, Node, may_fold
from transforms.stores.identity_write import next_change, strands_of, write


def compact(tx: Transaction, rules: IdentityRules, shards: int) -> int:
    """Keep of each crowded identifier the first ``crowd`` + 1 links with logins, or with devices, and all others."""
    gone = 0
    for (number,) in tx.all("SELECT number FROM identity_identifiers WHERE demoted = ? ORDER BY number", (CROWDED,)):
        gone += _compact_one(tx, rules, shards, number)
    return gone


def _compact_one(tx: Transaction, rules: IdentityRules, shards: int, number: int) -> int:
    graph = StoredGraph(tx, rules, shards)
    (node,) = graph.numbered([number])
    graph.complete([node])
    edges = [edge for edge in node.edges if may_fold(edge.link, rules)]
    edges.sort(key=lambda edge: (edge.link.first_time, edge.link.first_event_id, edge.key))
    extra = edges[rules.crowd + 1 :]
    if not extra:
        return 0
    node.compacted = node.dirty = True
    for edge in extra:
        graph.remove(edge)
    graph.merge([edge.link for edge in extra])
    write(graph, tx, rules)
    return len(extra)


def cut_folded(graph: StoredGraph, tx: Transaction, rules: IdentityRules) -> None:
    """What an erasure takes of links that ``compact`` folded: the tables drop them, and they count no longer.

    When a folded pair was seen is not kept. It counts until no evidence of its login is left, which is all of it then;
    the tables drop it as soon as anything of its login is erased.
    """
    logins = {
        node.number: node
        for node in graph.nodes.values()
        if node.erased is not None and not node.compacted and rules.is_known(node.identifier.namespace)
    }
    found = strands_of(tx, list(logins))
    graph.numbered({device for _, device, _ in found})
    for login_no, device_no, _ in found:
        login, (device,) = logins[login_no], graph.numbered([device_no])
        keys = [(login.identifier, device.identifier, kind) for kind in LINK_KINDS]
        if not device.compacted or any(key in graph.edges or key in graph.removed for key in keys):
            continue
        for kind in (SEEN, ALIAS):
            graph.erased_edges.append(Edge(login, device, Link(*keys[0][:2], 0, "", 0, "", 0, None, kind)))
        if login.degree and not login.edges and login.left_loaded and login.right_loaded:
            for node in (login, device):
                node.degree -= 1
                node.dirty = True


def purge(graph: StoredGraph, tx: Transaction, rules: IdentityRules, strands: Collection[StrandKey], up_to: int) -> int:
    """Forget strands that are erased up to a time, and the names that only they still need."""
    graph.find({end for strand in strands for end in strand if end is not None})
    gone: list[tuple[int, int]] = []
    concerned: set[Node] = set()
    pairs: list[tuple[Node, Node]] = []
    forgotten = 0
    for primary, login in set(strands):
        node, user = graph.nodes.get(primary), None if login is None else graph.nodes.get(login)
        subject = node if login is None else user
        if node is None or subject is None or subject.erased is None or subject.erased > up_to:
            continue
        if user is None:
            if node.first_seen is None and node.purged != node.erased:
                node.purged, node.dirty = node.erased, True
                concerned.add(node)
                forgotten += 1
        else:
            pairs.append((user, node))
    for user, node in pairs:
        found = tx.one("SELECT 1 FROM identity_strands WHERE login = ? AND device = ?", (user.number, node.number))
        seen = tx.one("SELECT 1 FROM identity_links WHERE left_no = ? AND right_no = ?", (user.number, node.number))
        if found and not seen:
            gone.append((user.number, node.number))
            node.strands -= 1
            node.dirty = True
            concerned |= {user, node}
            forgotten += 1
    tx.execute_many("DELETE FROM identity_strands WHERE login = ? AND device = ?", sorted(gone))
    write(graph, tx, rules)
    _forget_names(tx, concerned)
    return forgotten


def _forget_names(tx: Transaction, nodes: Collection[Node]) -> None:
    """Take the names of identifiers that nothing is left of but tombstones."""
    if not nodes:
        return
    numbers = sorted(node.number for node in nodes)
    change = next_change(tx)
    tx.execute(
        "UPDATE identity_identifiers SET namespace = '', value = NULL, change = ? WHERE number IN ??"
        " AND first_seen IS NULL"
        " AND purged = erased AND strands = 0"
        " AND number NOT IN (SELECT login FROM identity_strands WHERE login IN ??)",
        (change, numbers, numbers),
    )
    # without a name they can be told to nobody
    tx.execute(
        "DELETE FROM identity_gone WHERE left_no IN ??"
        " AND left_no IN (SELECT number FROM identity_identifiers WHERE number IN ?? AND value IS NULL)",
        (numbers, numbers),
    )
