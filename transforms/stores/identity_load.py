"""The bulk path of the identity store: whole components, resolved already, written row by row in the order of tables.

A backfill resolves its links in parts and hands each over. Identifiers are compared with what is stored, and only
changed assignments get a new sequence. Where the store knows a link of these identifiers that the part does not, the
part's resolution is not the whole truth: then its links go the way of all links.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice, repeat
from operator import methodcaller
from typing import Any

import numpy as np

from contracts.event import Identifier
from contracts.exchange import LINK_KINDS, UNLINK
from transforms.identity.graph import NEVER, NO_END, Column, Links, column
from transforms.identity.resolve import APART, Resolution
from transforms.stores.database import Row, Transaction
from transforms.stores.identity import Linked
from transforms.stores.identity_pairs import keep_pairs, keep_times
from transforms.stores.identity_schema import (
    CHANGE_INDEXES,
    INDEXES,
    LINK_FIELDS,
    NOBODY,
    NODE_COLUMNS,
    NODE_FIELDS,
    NUMBERS,
    STAYS_CARRIED,
    STRAND_FIELDS,
    Names,
    names_of,
    to_bytes,
    to_text,
)
from transforms.stores.identity_write import (
    UPDATE_NODE,
    Sequences,
    move_strands,
    next_change,
    strands_of,
    write_last_number,
)

_UNLINK = LINK_KINDS.index(UNLINK)
_VALUE, _FIRST_SEEN, _LAST_SEEN, _DEMOTED, ERASED, _PURGED = (
    NODE_FIELDS.index(name) for name in ("value", "first_seen", "last_seen", "demoted", "erased", "purged")
)
_PERSON, _HOLDER, _CARRY, COMPACTED, _STRANDS, _SHARD, _SEQUENCE, _CHANGE = (
    NODE_FIELDS.index(name)
    for name in ("person", "holder", "carry", "compacted", "strands", "shard", "sequence", "change")
)

_ENCODED = methodcaller("encode", "utf-8", "surrogatepass")
"""``to_bytes``, without a call of ours for each."""

_GONE = (
    "INSERT INTO identity_gone (left_no, right_no, kind, change)"
    " SELECT left_no, right_no, kind, ? FROM identity_links WHERE right_no <> 0 AND {where}"
    " ON CONFLICT (left_no, right_no, kind) DO UPDATE SET change = excluded.change"
)
_NOT_GONE = (
    "DELETE FROM identity_gone WHERE change = ? AND EXISTS (SELECT 1 FROM identity_links l"
    " WHERE l.left_no = identity_gone.left_no AND l.right_no = identity_gone.right_no AND l.kind = identity_gone.kind)"
)

Hash = tuple[int, int]


def load(
    tx: Transaction, links: Links, resolution: Resolution, shards: int, crowded: Mapping[Identifier, bool]
) -> Linked | None:
    """Take a part of a backfill; None, and nothing is written, when the store has links that the part has not.

    Args:
        crowded: identifiers of the part that are crowded, and whether the part is to write their rows.
    """
    names = names_of(links.identifiers, shards)
    if tx.one("SELECT 1 FROM identity_identifiers LIMIT 1") is None:
        # an index that is made of finished rows costs a fraction of one that is kept up with each
        indexes = INDEXES | CHANGE_INDEXES
        for name in indexes:
            tx.execute(f"DROP INDEX {name}")
        linked = Bulk(tx, links, resolution, {}, names, own=[], crowded=crowded).write()
        for made in indexes.values():
            tx.execute(made)
        return linked
    old: dict[Hash, Row] = {}
    known = set(names.places())
    for some in batched(names.hashes):
        rows = tx.all(f"SELECT {NODE_COLUMNS} FROM identity_identifiers WHERE hash IN ??", (some,))
        old.update(((row[1], row[2]), row) for row in rows if (row[1], row[2]) in known)
    own = sorted(
        old[key][0]
        for key, identifier in zip(names.places(), links.identifiers, strict=True)
        if key in old and identifier not in crowded
    )
    if not _is_covered(tx, links, [old.get(key) for key in names.places()], own):
        return None
    return Bulk(tx, links, resolution, old, names, own=own, crowded=crowded).write()


def batched(values: Iterable[int], size: int = 10_000) -> Iterator[list[int]]:
    """Values in lists of some thousands, for statements with a list."""
    source = iter(values)
    while some := list(islice(source, size)):
        yield some


def _is_covered(tx: Transaction, links: Links, nodes: list[Row | None], own: list[int]) -> bool:
    """Whether each stored link of some identifiers is among the links, with at least its evidence."""
    if not own:
        return True
    numbers = [0 if row is None else int(row[0]) for row in nodes]
    edges = {
        (numbers[left], numbers[right] if right != NO_END else NOBODY, kind): edge
        for edge, (left, right, kind) in enumerate(zip(links.left, links.right, links.kind, strict=True))
    }
    columns = "left_no, right_no, kind, first_time, first_id, last_time, last_id"
    for end in ("left_no", "right_no"):
        for some in batched(own):
            for left, right, kind, first, first_id, last, last_id in tx.all(
                f"SELECT {columns} FROM identity_links WHERE {end} IN ??", (some,)
            ):
                edge = edges.get((left, right, kind))
                if edge is None:
                    return False
                if (links.first_time[edge], links.first_id[edge]) > (first, to_text(first_id)):
                    return False
                if (links.last_time[edge], links.last_id[edge]) < (last, to_text(last_id or first_id)):
                    return False
    return True


class Bulk:
    """Writes a resolution over what is stored.

    Args:
        links, resolution: whole components.
        old: the stored identifiers by their hash.
        names: of the identifiers of ``links``.
        aside: rows of links that are kept, out of the ledger.
        own: numbers of the stored identifiers whose links these are; None: there are no others in the store.
        crowded: as in ``load``.
    """

    def __init__(
        self,
        tx: Transaction,
        links: Links,
        resolution: Resolution,
        old: dict[Hash, Row],
        names: Names,
        aside: Iterable[Row] = (),
        own: list[int] | None = None,
        crowded: Mapping[Identifier, bool] | None = None,
    ) -> None:
        self._tx, self._links, self._resolution = tx, links, resolution
        self._old = [old.pop(key, None) for key in names.places()]
        self._left_out = [row for row in old.values() if row[_VALUE] is not None]
        self._names, self._aside, self._own = names, aside, own
        self._crowded = {links.index[identifier]: 1 for identifier in crowded or ()}
        self._elsewhere = {links.index[identifier] for identifier, here in (crowded or {}).items() if not here}
        self._erased = {links.index[identifier]: until for identifier, until in resolution.erasures()}
        self._survivors = links.surviving(self._erased) if self._erased else links
        self._shard = names.shards
        self._numbers, self._fresh = self._numbered()

    def write(self) -> Linked:
        """Write what differs."""
        new = self._new_pairs()
        stored, columns = self._rows(new)
        before = {row[0]: row for row in self._old if row is not None} | {row[0]: row for row in self._left_out}
        stored += [_alone(row) for row in self._left_out]
        updates = [row for row in stored if row != before[row[0]]]
        told = [row for row in updates if _says(row) != _says(before[row[0]])]
        moved = strands_of(self._tx, [row[0] for row in told])
        moved += self._barred_or_freed({strand[:2] for strand in moved})
        sequences = Sequences(self._tx)
        for wanted in (
            (row[_SHARD] for row in told),
            (self._shard[index] for index in self._fresh),
            (shard for _, _, shard in new),
            (shard for _, _, shard in moved),
        ):
            sequences.want(wanted)
        sequences.take()
        again = {row[0] for row in told}
        change = next_change(self._tx)
        self._tx.execute_many(
            UPDATE_NODE,
            (
                (*row[3:_SEQUENCE], sequences.next(row[_SHARD]) if row[0] in again else row[_SEQUENCE], change, row[0])
                for row in sorted(updates)
            ),
        )
        fresh = [list(map(values.__getitem__, self._fresh)) for values in columns]
        numbered = sequences.of_all(fresh[_SHARD])
        self._tx.load("identity_identifiers", NODE_FIELDS, zip(*fresh, numbered, repeat(change)))
        new.sort()
        numbered = sequences.of_all([shard for _, _, shard in new])
        self._tx.load(
            "identity_strands", STRAND_FIELDS, ((*row, number) for row, number in zip(new, numbered, strict=True))
        )
        move_strands(self._tx, moved, sequences)
        if self._own is None:
            # other rules are in force: whatever stands is said anew
            self._tx.execute("UPDATE identity_identifiers SET change = ?", (change,))
            self._delete_links("right_no >= ?", change, NOBODY)
        for some in batched(self._own or ()):
            self._delete_links("left_no IN ??", change, some)
            self._delete_links("right_no IN ??", change, some)
        # the links of a crowded identifier are in many parts; its home has what it did alone, and with its like
        like = [NOBODY, *(self._numbers[index] for index in sorted(self._crowded))]
        home = [self._numbers[index] for index in sorted(self._crowded) if index not in self._elsewhere]
        if home and self._own is not None:
            self._delete_links("left_no IN ?? AND right_no IN ??", change, home, like)
        self._tx.load("identity_links", LINK_FIELDS, self._link_rows(change))
        self._tx.load("identity_links", LINK_FIELDS, sorted((*row[:-1], change) for row in self._aside))
        if self._erased:
            self._tx.execute(_NOT_GONE, (change,))
            self._keep_erasures()
        count = len(told) + len(self._fresh) + len(new) + len(moved)
        return Linked(len(self._links.left), len(self._shard), count)

    def _keep_erasures(self) -> None:
        """What requests need to ask again."""
        links, names = self._links, self._names
        known = ((links.index[identifier], until) for identifier, until in self._resolution.erasures())
        keep_times(self._tx, [(names.hashes[i], names.rests[i], until) for i, until in known if links.known[i]])
        pairs = {(self._numbers[left], self._numbers[right]): at for (left, right), at in links.erased_pairs.items()}
        for left, right, first in self._resolution.erased_on_carried():
            pair = (self._numbers[left], self._numbers[right])
            pairs[pair] = min(first, pairs.get(pair, first))
        keep_pairs(self._tx, pairs)

    def _barred_or_freed(self, told: Collection[Row]) -> list[tuple[int, int, int]]:
        """The stored strands, (login, device, shard), that an unlink bars now or no longer; not those told already."""
        sql = f"SELECT left_no, right_no FROM identity_links WHERE kind <> {_UNLINK} AND rule IN ??"
        before: set[Row] = set()
        if self._own is None:
            before.update(self._tx.all(sql, (list(APART),)))
        for some in batched(self._own or ()):
            before.update(self._tx.all(f"{sql} AND left_no IN ??", (list(APART), some)))
        now = {(self._numbers[left], self._numbers[right]) for left, right in self._resolution.barred()}
        pairs = (before ^ now) - set(told)
        stored = strands_of(self._tx, {login for login, _ in pairs})
        return [strand for strand in stored if strand[:2] in pairs]

    def _delete_links(self, where: str, change: int, *values: object) -> None:
        """Make room for what is written anew; where something is erased, keep what may be gone."""
        if self._erased:
            self._tx.execute(_GONE.format(where=where), (change, *values))
        self._tx.execute(f"DELETE FROM identity_links WHERE {where}", values)

    def _numbered(self) -> tuple[list[int], list[int]]:
        """The number of each identifier, and which identifiers are new, ascending by number."""
        numbers = [0 if row is None else int(row[0]) for row in self._old]
        fresh = [index for index, number in enumerate(numbers) if not number]
        row = self._tx.one("SELECT number FROM identity_meta WHERE name = ?", (NUMBERS,))
        for number, index in enumerate(fresh, start=1 + (row[0] if row else 0)):
            numbers[index] = number
        write_last_number(self._tx, max(numbers, default=0))
        return numbers, fresh

    def _new_pairs(self) -> list[tuple[int, int, int]]:
        """The strands of logins that are not stored, as (login, device, shard)."""
        links, numbers, shard = self._links, np.array(self._numbers, dtype=np.int64), self._shard
        left, right, known = column(links.left), column(links.right), links.known_column()
        strands = np.flatnonzero((right != NO_END) & known[left] & ~known[right])
        pairs = np.unique((left[strands] << 32) | right[strands])
        devices = pairs & 0xFFFFFFFF
        found = zip(
            numbers[pairs >> 32].tolist(),
            numbers[devices].tolist(),
            np.array(shard, dtype=np.int64)[devices].tolist(),
            strict=True,
        )
        logins = sorted(row[0] for row in self._old if row is not None)
        sql = "SELECT login, device FROM identity_strands WHERE login IN ??"
        stored = {row for some in batched(logins) for row in self._tx.all(sql, (some,))}
        return [pair for pair in found if pair[:2] not in stored] if stored else list(found)

    def _rows(self, new: list[tuple[int, int, int]]) -> tuple[list[Row], list[list[Any]]]:
        """The rows of identifiers that are stored, and the columns of all but for the last two."""
        links, identifiers, old = self._survivors, self._links.identifiers, self._old
        numbers = np.array([*self._numbers, NOBODY], dtype=np.int64)
        own, holders, carried = self._resolution.own_persons()
        first = links.first_times()
        strands = np.zeros(int(numbers.max(initial=0)) + 1, dtype=np.int64)
        np.add.at(strands, [device for _, device, _ in new], 1)
        columns: list[list[Any]] = [
            self._numbers,
            self._names.hashes,
            self._names.rests,
            [namespace for namespace, _ in identifiers],
            self._names.values,
            first.tolist(),
            _last_times(links).tolist(),
            _degrees(links).tolist(),
            self._by_index("", {links.index[identifier]: why for identifier, why in self._resolution.demoted()}),
            self._by_index(None, self._erased),
            self._by_index(None, {i: row[_PURGED] for i, row in enumerate(old) if row and row[_VALUE] is not None}),
            numbers[own].tolist(),
            numbers[holders].tolist(),
            self._by_index(0, self._carry(carried)),
            self._by_index(
                0, {i: row[COMPACTED] for i, row in enumerate(old) if row} | dict.fromkeys(self._crowded, 1)
            ),
            strands[numbers[:-1]].tolist(),
            self._shard,
        ]
        for index in np.flatnonzero(first == NEVER).tolist():
            columns[_FIRST_SEEN][index] = columns[_LAST_SEEN][index] = None
        stored: list[Row] = []
        for index, row in enumerate(old):
            if row is not None:
                columns[_STRANDS][index] += row[_STRANDS]
                if index in self._elsewhere:
                    stored.append((*row[:_STRANDS], columns[_STRANDS][index], *row[_STRANDS + 1 :]))
                else:
                    stored.append((*(values[index] for values in columns), row[_SEQUENCE], row[_CHANGE]))
        return stored, columns

    def _carry(self, carried: Collection[int]) -> dict[int, int]:
        """How devices are carried, those that are not left out."""
        found = dict.fromkeys(carried, 1)
        for index, row in enumerate(self._old):
            if row is not None and row[_CARRY] == STAYS_CARRIED:
                found[index] = STAYS_CARRIED
        if self._erased:
            lost = column(self._links.right)[np.isin(column(self._links.left), list(self._erased))]
            found.update((device, STAYS_CARRIED) for device in lost.tolist() if device in carried)
        return found

    def _by_index(self, usual: object, others: Mapping[int, object]) -> list[Any]:
        values = [usual] * len(self._shard)
        for index, value in others.items():
            values[index] = value
        return values

    def _link_rows(self, change: int) -> Iterator[Row]:
        """The rows of all links that are left, in the order of the table."""
        links, numbers = self._survivors, np.array([*self._numbers, NOBODY], dtype=np.int64)
        left, right, kind = numbers[column(links.left)], numbers[column(links.right)], links.kind_column()
        order = np.lexsort((kind, right, left))
        edges = order.tolist()
        first_ids = list(map(links.first_id.__getitem__, edges))
        last_ids = map(links.last_id.__getitem__, edges)
        statuses, rules, conflicting = self._resolution.verdicts()
        conflicts = numbers[conflicting]
        return zip(
            left[order].tolist(),
            right[order].tolist(),
            kind[order].tolist(),
            column(links.first_time)[order].tolist(),
            map(_ENCODED, first_ids),
            column(links.last_time)[order].tolist(),
            (None if last == first else to_bytes(last) for first, last in zip(first_ids, last_ids, strict=True)),
            column(links.received)[order].tolist(),
            map(statuses.__getitem__, edges),
            map(rules.__getitem__, edges),
            conflicts[order].tolist(),
            repeat(change, len(edges)),
            strict=True,
        )


def _says(row: Row) -> Row:
    """What of an identifier's row its assignments are made of."""
    return (row[_VALUE] is None, row[ERASED], row[_PERSON], row[_CARRY])


def _alone(row: Row) -> Row:
    """The row of an identifier that may not link any more."""
    fields = list(row)
    fields[_PERSON] = fields[_HOLDER] = row[0]
    fields[_CARRY], fields[_DEMOTED] = 0, ""
    return tuple(fields)


def _last_times(links: Links) -> Column:
    last = np.full(len(links.identifiers), np.iinfo(np.int64).min)
    times, left, right = column(links.last_time), column(links.left), column(links.right)
    paired = right != NO_END
    np.maximum.at(last, left, times)
    np.maximum.at(last, right[paired], times[paired])
    return last


def _degrees(links: Links) -> Column:
    """How many pairs each identifier is an end of, as demotion counts them."""
    left, right = column(links.left), column(links.right)
    counted = np.flatnonzero((right != NO_END) & (links.kind_column() != _UNLINK))
    pairs = np.unique((left[counted] << 32) | right[counted])
    return np.bincount(np.concatenate((pairs >> 32, pairs & 0xFFFFFFFF)), minlength=len(links.identifiers))
