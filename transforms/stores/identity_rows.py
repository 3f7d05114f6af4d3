"""Identifiers and links as a unit of work of the identity store holds them, and their rows.

Pure. A ``Node`` is an identifier with what is stored of it, an ``Edge`` a link with its verdict. Both know whether they
must be written.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from contracts.event import Identifier
from contracts.exchange import LINK_KINDS, MERGE, UNLINK, Link
from transforms.identity.graph import first_after
from transforms.identity.rules import IdentityRules
from transforms.stores.database import Row
from transforms.stores.identity_schema import KIND_CODES, NOBODY, id_of, identifier_hash, to_bytes, to_text

EdgeKey = tuple[Identifier, Identifier | None, str]


class Node:
    """An identifier. ``edges`` holds those of its links that are loaded: all of them once both flags are set."""

    __slots__ = (
        "carry", "changed", "compacted", "degree", "demoted", "dirty", "edges", "erased", "first_seen", "hash",
        "holder", "identifier", "last_seen", "left_loaded", "nameless", "new", "number", "person", "purged", "rest",
        "right_loaded", "sequence", "shard", "strands",
    )  # fmt: skip

    def __init__(self, number: int, identifier: Identifier, hashed: int, rest: int, shard: int) -> None:
        self.number, self.identifier, self.hash, self.rest, self.shard = number, identifier, hashed, rest, shard
        self.first_seen: int | None = None
        self.last_seen: int | None = None
        self.degree = 0
        self.demoted = ""
        self.erased: int | None = None
        self.purged: int | None = None
        self.person = self.holder = number
        self.carry = 0
        self.compacted = self.nameless = False
        self.strands = self.sequence = 0
        self.edges: list[Edge] = []
        self.new = self.dirty = self.changed = self.left_loaded = self.right_loaded = True

    @classmethod
    def of_row(cls, row: Row, identifier: Identifier | None) -> Node:
        """A stored node; ``identifier`` is its name when a caller has it, which a nameless row needs."""
        (number, hashed, rest, namespace, value, *others) = row
        named = value is not None
        if named:
            identifier = Identifier(namespace, to_text(value))
        node = cls(number, identifier or Identifier("", id_of(hashed, rest)), hashed, rest, 0)
        (node.first_seen, node.last_seen, node.degree, node.demoted, node.erased, node.purged) = others[:6]
        (node.person, node.holder, node.carry, compacted, node.strands, node.shard, node.sequence) = others[6:13]
        node.compacted = bool(compacted)
        node.nameless = not named
        node.new = node.dirty = node.changed = node.left_loaded = node.right_loaded = False
        return node

    def row(self, change: int) -> Row:
        """What is stored of it by a change, in the order of ``NODE_COLUMNS``."""
        namespace, value = self.identifier
        return (
            self.number,
            self.hash,
            self.rest,
            namespace,
            to_bytes(value),
            self.first_seen,
            self.last_seen,
            self.degree,
            self.demoted,
            self.erased,
            self.purged,
            self.person,
            self.holder,
            self.carry,
            int(self.compacted),
            self.strands,
            self.shard,
            self.sequence,
            change,
        )

    @property
    def canonical(self) -> str:
        return id_of(self.hash, self.rest)

    def see(self, first: int, last: int) -> None:
        """Evidence of it in a stretch of time."""
        if self.first_seen is None or first < self.first_seen:
            self.first_seen, self.dirty = first, True
        if self.last_seen is None or last > self.last_seen:
            self.last_seen, self.dirty = last, True


class Edge:
    """A link between two nodes, or of one, and what became of it."""

    __slots__ = ("conflict", "dirty", "gone", "left", "link", "new", "pieces", "right", "rule", "status")

    def __init__(self, left: Node, right: Node | None, link: Link) -> None:
        self.left, self.right, self.link = left, right, link
        self.status = self.rule = ""
        self.conflict = NOBODY
        self.new = self.dirty = True
        self.gone = False
        self.pieces: list[Link] = []
        """Evidence of it that this unit of work merged."""

    @property
    def key(self) -> EdgeKey:
        return (self.link.left, self.link.right, self.link.kind)

    @property
    def place(self) -> tuple[int, int, int]:
        """Its primary key."""
        right = NOBODY if self.right is None else self.right.number
        return (self.left.number, right, KIND_CODES[self.link.kind])

    def row(self, change: int) -> Row:
        """What is stored of it by a change, in the order of ``LINK_COLUMNS``."""
        link = self.link
        return (
            *self.place,
            link.first_time,
            to_bytes(link.first_event_id),
            link.last_time,
            None if link.last_event_id == link.first_event_id else to_bytes(link.last_event_id),
            link.received_time,
            self.status,
            self.rule,
            self.conflict,
            change,
        )


def link_of_row(row: Row, left: Identifier, right: Identifier | None) -> Link:
    """The link of a row of ``LINK_COLUMNS``."""
    _, _, kind, first_time, first_id, last_time, last_id, received, *_ = row
    first = to_text(first_id)
    last = first if last_id is None else to_text(last_id)
    return Link(left, right, first_time, first, last_time, last, received, None, LINK_KINDS[kind])


def merged(held: Link, link: Link) -> tuple[Link, bool, bool]:
    """Both evidences as one, and whether the first became earlier and the last later than those held."""
    lowers = (link.first_time, link.first_event_id) < (held.first_time, held.first_event_id)
    raises = (link.last_time, link.last_event_id) > (held.last_time, held.last_event_id)
    first, last = link if lowers else held, link if raises else held
    erase = held.erase_before
    if link.erase_before is not None and (erase is None or link.erase_before > erase):
        erase = link.erase_before
    whole = Link(
        held.left,
        held.right,
        first.first_time,
        first.first_event_id,
        last.last_time,
        last.last_event_id,
        min(held.received_time, link.received_time),
        erase,
        held.kind,
    )
    return whole, lowers, raises


def cut_link(link: Link, until: int, pieces: Collection[Link]) -> Link | None:
    """What is left of a link whose evidence up to a time goes, as far as its pieces tell; None for nothing."""
    if link.first_time > until:
        return link
    if link.last_time <= until:
        return None
    last = (link.last_time, link.last_event_id)
    seen = {(piece.first_time, piece.first_event_id) for piece in pieces}
    seen.update((piece.last_time, piece.last_event_id) for piece in pieces)
    first_time, first_id = first_after(until, last, seen)
    return replace(link, first_time=first_time, first_event_id=first_id)


def new_node(number: int, identifier: Identifier, shard: int) -> Node:
    """A node that is not stored yet."""
    return Node(number, identifier, *identifier_hash(identifier), shard)


def may_fold(link: Link, rules: IdentityRules) -> bool:
    """Whether a link of a crowded identifier may be forgotten, since its strand keeps that the pair was seen."""
    if link.right is None or link.kind in (MERGE, UNLINK) or link.erase_before is not None:
        return False
    return rules.is_known(link.left.namespace) and not rules.is_known(link.right.namespace)


def logins_of(node: Node, rules: IdentityRules) -> list[tuple[str, int]]:
    """(namespace, first time) of each known identifier that a node is the right end of a link with."""
    first: dict[Identifier, int] = {}
    for edge in node.edges:
        link = edge.link
        if edge.right is node and link.kind != UNLINK and rules.is_known(link.left.namespace):
            first[link.left] = min(link.first_time, first.get(link.left, link.first_time))
    return [(login.namespace, time) for login, time in first.items()]
