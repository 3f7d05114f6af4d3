"""What requests for erasure need to ask again: each of their times, and who was seen on which device.

A request covers the person as it was at its own time, so a later one may cover less than an earlier one: of a known
identifier each time stays, not only the last. And who else was on a device that is carried decides whether a request
covers it, so that a login was seen on one outlasts the evidence of it, from the unit of work that takes it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from contracts.exchange import ERASED, Link
from transforms.stores.database import Row, Transaction
from transforms.stores.identity_rows import Node
from transforms.stores.identity_schema import STAYS_CARRIED

_MARKED = (
    "SELECT u.number, d.number, min(m.at) FROM identity_marks m"
    " JOIN identity_identifiers u ON u.hash = m.login AND u.rest = m.login_rest"
    " JOIN identity_identifiers d ON d.hash = m.device AND d.rest = m.device_rest"
    " WHERE u.value IS NOT NULL AND d.value IS NOT NULL AND {}.number IN ?? GROUP BY u.number, d.number"
)
_TAKEN = (
    "SELECT p.login, p.device, p.first_time FROM identity_erased_pairs p"
    " JOIN identity_identifiers u ON u.number = p.login JOIN identity_identifiers d ON d.number = p.device"
    " WHERE u.value IS NOT NULL AND d.value IS NOT NULL AND {}.number IN ??"
)
_KEEP_PAIR = (
    "INSERT INTO identity_erased_pairs (login, device, first_time) VALUES (?, ?, ?)"
    " ON CONFLICT (login, device) DO UPDATE SET first_time = excluded.first_time"
    " WHERE excluded.first_time < identity_erased_pairs.first_time"
)
_KEEP_TIME = (
    "INSERT INTO identity_erasures (hash, rest, until) VALUES (?, ?, ?) ON CONFLICT (hash, rest, until) DO NOTHING"
)


def erased_links(
    tx: Transaction, nodes: Collection[Node], numbered: Callable[[Collection[int]], list[Node]]
) -> Iterator[Link]:
    """Logins and the devices on which evidence of theirs was erased, where one of these is an end; none without a name.

    They ask for nothing by themselves: the tombstone of the login does.

    Args:
        nodes: of which something is erased, or which are carried to somebody erased; others have no such pairs.
        numbered: finds the nodes of numbers.
    """
    found: dict[Row, int] = {}
    logins = sorted(node.number for node in nodes if node.erased is not None)
    devices = sorted(node.number for node in nodes if node.carry == STAYS_CARRIED)
    for sql in (_TAKEN, _MARKED):
        for end, numbers in (("u", logins), ("d", devices)):
            if numbers:
                for login, device, first in tx.all(sql.format(end), (numbers,)):
                    found[login, device] = min(first, found.get((login, device), first))
    for ends, first in sorted(found.items()):
        login, device = numbered(ends)
        yield Link(login.identifier, device.identifier, first, "", first, "", first, None, ERASED)


def keep_pairs(tx: Transaction, pairs: Mapping[tuple[int, int], int]) -> None:
    """Keep when logins were first seen on devices, by their numbers; what is known only becomes earlier."""
    tx.execute_many(_KEEP_PAIR, [(*pair, first) for pair, first in sorted(pairs.items())])


def keep_times(tx: Transaction, times: Iterable[tuple[int, int, int]]) -> None:
    """Keep times up to which known identifiers were erased, as (hash, rest, until)."""
    tx.execute_many(_KEEP_TIME, sorted(times))


def times_of(tx: Transaction, nodes: Iterable[Node]) -> dict[tuple[int, int], set[int]]:
    """The times up to which erased nodes were erased, by their hashes."""
    found = {(node.hash, node.rest): {node.erased} for node in nodes if node.erased is not None}
    if found:
        sql = "SELECT hash, rest, until FROM identity_erasures WHERE hash IN ??"
        for hashed, rest, until in tx.all(sql, (sorted({hashed for hashed, _ in found}),)):
            if (hashed, rest) in found:
                found[hashed, rest].add(until)
    return found


def all_times(tx: Transaction) -> Mapping[tuple[int, int], set[int]]:
    """The times of all known identifiers, by their hashes."""
    found: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    for hashed, rest, until in tx.all("SELECT hash, rest, until FROM identity_erasures"):
        found[hashed, rest].add(until)
    return found
