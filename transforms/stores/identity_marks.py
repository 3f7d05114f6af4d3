"""Marks of erased events in the identity store: what stays of them where a device is carried.

A row holds the hash of the device and of the login and no name, so that it outlasts ``purge``; a time, and up to when
the login's events are erased. Where that grows, the device's login-less strand is told again: its fold finds with
``marks_of`` whose hands it was in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from contracts.event import Identifier
from contracts.exchange import ErasedMark
from transforms.identity.erasing import in_order
from transforms.stores.database import Transaction
from transforms.stores.identity_schema import id_of, identifier_hash, to_text
from transforms.stores.identity_write import Sequences

_NOBODY = (0, -1)
"""In the place of a login's hash: there was none. No rest of a hash is negative."""

_KEEP = (
    "INSERT INTO identity_marks (device, device_rest, at, login, login_rest, logout, until)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (device, device_rest, at, login, login_rest, logout) DO UPDATE SET until = excluded.until"
    " WHERE excluded.until > identity_marks.until"
)
_FIND = (
    "SELECT m.device, m.device_rest, m.at, m.login, m.login_rest, m.logout, m.until, n.namespace, n.value"
    " FROM identity_marks m LEFT JOIN identity_identifiers n ON n.hash = m.login AND n.rest = m.login_rest"
    " WHERE m.device IN ??"
)


def keep(tx: Transaction, marks: Iterable[ErasedMark]) -> None:
    """Take marks; those that are known only grow."""
    rows = {
        (
            *identifier_hash(m.primary),
            m.event_time,
            *(identifier_hash(m.login) if m.login else _NOBODY),
            int(m.logout),
        ): m
        for m in marks
    }
    tx.execute_many(_KEEP, [(*key, rows[key].until) for key in sorted(rows)])
    # a request may have come after the fold and before its marks
    hashes = sorted({key[3] for key in rows if key[4] != _NOBODY[1]})
    sql = "SELECT hash, rest, erased FROM identity_identifiers WHERE erased IS NOT NULL AND hash IN ??"
    erased_up_to(tx, {(hashed, rest): until for hashed, rest, until in (tx.all(sql, (hashes,)) if hashes else ())})


def marks_of(tx: Transaction, devices: Collection[Identifier]) -> list[ErasedMark]:
    """The marks of devices, in order; a login whose name is forgotten goes by its canonical id."""
    wanted = {identifier_hash(device): device for device in devices}
    found: list[ErasedMark] = []
    for row in tx.all(_FIND, (sorted({hashed for hashed, _ in wanted}),)):
        hashed, rest, at, login_hash, login_rest, logout, until, namespace, value = row
        device = wanted.get((hashed, rest))
        if device is None:
            continue
        login: Identifier | None = None
        if (login_hash, login_rest) != _NOBODY:
            named = value is not None
            login = Identifier(namespace, to_text(value)) if named else Identifier("", id_of(login_hash, login_rest))
        found.append(ErasedMark(device, login, at, bool(logout), until))
    return in_order(found)


def erased_up_to(tx: Transaction, until_of: Mapping[tuple[int, int], int]) -> int:
    """Raise the marks of logins, by their hashes, of which more is erased now; return how many devices were told."""
    hashes = sorted({hashed for hashed, _ in until_of})
    if not hashes:
        return 0
    devices: set[tuple[int, int]] = set()
    raised: defaultdict[tuple[int, int], int] = defaultdict(int)
    sql = "SELECT device, device_rest, login, login_rest, until FROM identity_marks WHERE login IN ??"
    for device, device_rest, login, rest, held in tx.all(sql, (hashes,)):
        until = until_of.get((login, rest))
        if until is not None and held < until:
            devices.add((device, device_rest))
            raised[login, rest] = until
    tx.execute_many(
        "UPDATE identity_marks SET until = ? WHERE login = ? AND login_rest = ? AND until < ?",
        [(until, *login, until) for login, until in sorted(raised.items())],
    )
    sql = "SELECT number, shard, hash, rest FROM identity_identifiers WHERE value IS NOT NULL AND hash IN ??"
    rows = tx.all(sql, (sorted({hashed for hashed, _ in devices}),)) if devices else []
    told = sorted((number, shard) for number, shard, hashed, rest in rows if (hashed, rest) in devices)
    sequences = Sequences(tx)
    sequences.want(shard for _, shard in told)
    sequences.take()
    tx.execute_many(
        "UPDATE identity_identifiers SET sequence = ? WHERE number = ?",
        [(sequences.next(shard), number) for number, shard in told],
    )
    return len(told)
