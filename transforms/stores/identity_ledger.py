"""Reading the rows of the tables out of the identity store: the ledger of links, and what changed since a mark.

Every unit of work that writes has a number, taken from one row and so in the order of commits. An identifier or a link
bears the number of the last unit that wrote it, so what changed since a mark is as long as there are rows, however
often they changed. A mark is how far its holder has read identifiers, links, and links that an erasure took.
"""

from __future__ import annotations

from contracts.event import Identifier
from contracts.exchange import LINK_KINDS, IdentityRows
from transforms.identity.resolve import ACCEPTED, EdgeRow
from transforms.identity.rules import IdentityRules
from transforms.stores.database import Row, Transaction
from transforms.stores.identity import ChangedRows, GoneRows, Mark
from transforms.stores.identity_rows import link_of_row
from transforms.stores.identity_schema import LINK_FIELDS, RULES, id_of, to_text
from transforms.stores.identity_write import last_change

_BEGIN = ((-1, 0), (-1, 0, 0, 0))
_WIDTH = len(LINK_FIELDS)
_LINKS = (
    f"SELECT {', '.join(f'l.{name}' for name in LINK_FIELDS)}, a.namespace, a.value, b.namespace, b.value,"
    " c.namespace, c.value FROM identity_links l"
    " JOIN identity_identifiers a ON a.number = l.left_no JOIN identity_identifiers b ON b.number = l.right_no"
    " LEFT JOIN identity_identifiers c ON c.number = l.conflict WHERE "
)
LEDGER = f"{_LINKS}l.status <> ''"
"""The links that are in the ledger, for ``edge_row``; a condition on ``l`` may follow."""

_IDENTIFIERS = (
    "SELECT n.change, n.number, n.hash, n.rest, n.namespace, n.value, n.first_seen, n.last_seen, n.erased, n.holder,"
    " h.hash, h.rest FROM identity_identifiers n JOIN identity_identifiers h ON h.number = n.holder"
    " WHERE (n.change, n.number) > (?, ?) ORDER BY n.change, n.number LIMIT ?"
)
_CHANGED = (
    f"{_LINKS}l.right_no <> 0 AND (l.change, l.left_no, l.right_no, l.kind) > (?, ?, ?, ?)"
    " ORDER BY l.change, l.left_no, l.right_no, l.kind LIMIT ?"
)
_GONE = (
    "SELECT g.change, g.left_no, g.right_no, g.kind, a.namespace, a.value, b.namespace, b.value FROM identity_gone g"
    " JOIN identity_identifiers a ON a.number = g.left_no JOIN identity_identifiers b ON b.number = g.right_no"
    " WHERE (g.change, g.left_no, g.right_no, g.kind) > (?, ?, ?, ?) AND NOT EXISTS (SELECT 1 FROM identity_links l"
    " WHERE l.left_no = g.left_no AND l.right_no = g.right_no AND l.kind = g.kind)"
    " ORDER BY g.change, g.left_no, g.right_no, g.kind LIMIT ?"
)


def rows_since(tx: Transaction, rules: IdentityRules, mark: Mark | None, limit: int) -> ChangedRows:
    """``IdentityStore.rows_since``."""
    # who begins has nothing that could be gone
    at = (*_BEGIN, (last_change(tx) + 1, 0, 0, 0)) if mark is None else (mark[:2], mark[2:6], mark[6:])
    (version,) = tx.one("SELECT word FROM identity_meta WHERE name = ?", (RULES,)) or ("",)
    identifiers = tx.all(_IDENTIFIERS, (*at[0], limit))
    links = tx.all(_CHANGED, (*at[1], limit))
    gone = tx.all(_GONE, (*at[2], limit))
    found = _Found(rules, version)
    for row in identifiers:
        found.add_identifier(row)
    for row in links:
        found.add_link(row)
    for row in gone:
        found.add_gone(row)
    reached = (
        *(identifiers[-1][:2] if identifiers else at[0]),
        *((links[-1][_WIDTH - 1], *links[-1][:3]) if links else at[1]),
        *(gone[-1][:4] if gone else at[2]),
    )
    return ChangedRows(found.rows(), found.gone(), reached, limit in (len(identifiers), len(links), len(gone)))


class _Found:
    """Rows of the tables, and keys of rows that are no more, of a page."""

    def __init__(self, rules: IdentityRules, version: str) -> None:
        self._rules, self._version = rules, version
        self._identifiers: list[tuple[str, str, str, int, int]] = []
        self._ids: list[tuple[str, int, int, bool, str | None]] = []
        self._edges: list[tuple[str, str, str, str, str, bool, str, str, str | None, int, str, int, str, int, str]] = []
        self._erasures: list[tuple[str, str, int]] = []
        self._no_identifiers: list[Identifier] = []
        self._no_ids: list[str] = []
        self._no_edges: list[tuple[Identifier, Identifier, str]] = []

    def rows(self) -> IdentityRows:
        return IdentityRows(tuple(self._identifiers), tuple(self._ids), tuple(self._edges), tuple(self._erasures))

    def gone(self) -> GoneRows:
        return GoneRows(tuple(self._no_identifiers), tuple(self._no_ids), tuple(self._no_edges))

    def add_identifier(self, row: Row) -> None:
        _, number, hashed, rest, namespace, name, first, last, erased, holder, *held_by = row
        own = id_of(hashed, rest)
        value = None if name is None else to_text(name)
        if value is not None and erased is not None:
            self._erasures.append((namespace, value, erased))
        if value is None or first is None or not self._rules.links_at_all(namespace):
            self._no_ids.append(own)
            if value is not None:
                self._no_identifiers.append(Identifier(namespace, value))
            return
        person = id_of(*held_by)
        self._identifiers.append((namespace, value, person, first, last))
        # also of who is by itself: it may have been a person, and hold no events any more
        self._ids.append((own, first, last, False, None if holder == number else person))

    def add_link(self, row: Row) -> None:
        if row[8]:
            self._edges.append(edge_row(row, self._version).columns())
        else:
            # kept aside, since a namespace of it may not link now
            self._no_edges.append(_key(row[2], row[_WIDTH : _WIDTH + 4]))

    def add_gone(self, row: Row) -> None:
        if row[5] is not None and row[7] is not None:
            self._no_edges.append(_key(row[3], row[4:]))


def _key(kind: int, ends: Row) -> tuple[Identifier, Identifier, str]:
    left_namespace, left, right_namespace, right = ends
    return Identifier(left_namespace, to_text(left)), Identifier(right_namespace, to_text(right)), LINK_KINDS[kind]


def edge_row(row: Row, version: str) -> EdgeRow:
    """A row of ``LEDGER``, resolved under these rules."""
    status, rule = row[8:10]
    ends = [
        None if value is None else Identifier(name, to_text(value))
        for name, value in zip(row[_WIDTH::2], row[_WIDTH + 1 :: 2], strict=True)
    ]
    left, right, conflict = ends
    assert left is not None
    assert right is not None
    link = link_of_row(row[:11], left, right)
    return EdgeRow(
        left,
        right,
        LINK_KINDS[row[2]],
        status == ACCEPTED,
        status,
        rule,
        conflict,
        link.first_time,
        link.first_event_id,
        link.last_time,
        link.last_event_id,
        link.received_time,
        version,
    )
