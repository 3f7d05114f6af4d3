"""Logins and the devices on which something of theirs was erased, as the marks in the identity store say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from contracts.exchange import ERASED, Link
from transforms.stores.database import Row, Transaction
from transforms.stores.identity_rows import Node
from transforms.stores.identity_schema import STAYS_CARRIED

_PAIRS = (
    "SELECT u.number, d.number, min(m.at), max(m.until) FROM identity_marks m"
    " JOIN identity_identifiers u ON u.hash = m.login AND u.rest = m.login_rest"
    " JOIN identity_identifiers d ON d.hash = m.device AND d.rest = m.device_rest"
    " WHERE u.value IS NOT NULL AND d.value IS NOT NULL AND {} IN ?? GROUP BY u.number, d.number"
)


def erased_links(
    tx: Transaction, nodes: Collection[Node], numbered: Callable[[Collection[int]], list[Node]]
) -> Iterator[Link]:
    """Logins and devices of marks as tombstones, where one of these is an end; none whose name is forgotten.

    Their links may be gone: who else was on a device still decides whether a request covers it.

    Args:
        nodes: of which something is erased, or which are carried to somebody erased; others have no marks.
        numbered: finds the nodes of numbers.
    """
    found: dict[tuple[int, int], Row] = {}
    logins = sorted(node.number for node in nodes if node.erased is not None)
    devices = sorted(node.number for node in nodes if node.carry == STAYS_CARRIED)
    for end, numbers in (("u.number", logins), ("d.number", devices)):
        if numbers:
            found.update((row[:2], row[2:]) for row in tx.all(_PAIRS.format(end), (numbers,)))
    for ends, (first, until) in sorted(found.items()):
        login, device = numbered(ends)
        yield Link(login.identifier, device.identifier, first, "", first, "", first, until, ERASED)
