"""Logins and the devices on which something of theirs was erased, as the marks in the identity store say."""

from __future__ import annotations

from collections.abc import Collection

from transforms.stores.database import Row, Transaction
from transforms.stores.identity_rows import Node

_PAIRS = (
    "SELECT u.number, d.number, min(m.at), max(m.until) FROM identity_marks m"
    " JOIN identity_identifiers u ON u.hash = m.login AND u.rest = m.login_rest"
    " JOIN identity_identifiers d ON d.hash = m.device AND d.rest = m.device_rest"
    " WHERE u.value IS NOT NULL AND d.value IS NOT NULL AND {} IN ?? GROUP BY u.number, d.number"
)


def pairs_of(tx: Transaction, logins: Collection[Node], devices: Collection[Node]) -> dict[tuple[int, int], Row]:
    """(login, device) by their numbers to (first time, erased up to), of marks of either; none whose name is forgotten.

    Their links may be gone: who else was on a device still decides whether a request covers it.
    """
    found: dict[tuple[int, int], Row] = {}
    for end, nodes in (("u.number", logins), ("d.number", devices)):
        numbers = sorted(node.number for node in nodes)
        if numbers:
            found.update((row[:2], row[2:]) for row in tx.all(_PAIRS.format(end), (numbers,)))
    return found
