"""The bulk path of the identity store: whole components, resolved already, written row by row in the order of tables.

A backfill resolves its links in parts and hands each over. Identifiers are compared with what is stored, and only
changed assignments get a new sequence. Where the store knows a link of these identifiers that the part does not, the
part's resolution is not the whole truth: then its links go the way of all links.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import numpy as np

from contracts.event import Identifier
from contracts.exchange import LINK_KINDS, UNLINK
from transforms.identity.graph import NEVER, NO_END, Column, Links, column
from transforms.identity.resolve import APART, Resolution
from transforms.stores.database import Row, Transaction
from transforms.stores.identity import Linked
from transforms.stores.identity_columns import (
    Constant,
    Take,
    degrees,
    dense,
    differing,
    last_times,
    listed,
    namespaces,
    rows,
    sparse,
    texts,
    unless,
    values,
)
from transforms.stores.identity_columns import load as load_columns
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
_VALUE, _DEMOTED, ERASED, _PURGED = (NODE_FIELDS.index(name) for name in ("value", "demoted", "erased", "purged"))
_PERSON, _HOLDER, _CARRY, COMPACTED, _STRANDS, _SHARD, _SEQUENCE, _CHANGE = (
    NODE_FIELDS.index(name)
    for name in ("person", "holder", "carry", "compacted", "strands", "shard", "sequence", "change")
)

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


class _Strands(NamedTuple):
    """Strands of logins, in the order of their table."""

    logins: Column
    devices: Column
    shards: Column


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
    found: dict[Hash, Row] = {}
    # ascending: each page of the index is met once
    for some in batched(np.unique(names.hashes).tolist()):
        stored = tx.all(f"SELECT {NODE_COLUMNS} FROM identity_identifiers WHERE hash IN ??", (some,))
        found.update(((row[1], row[2]), row) for row in stored)
    # of two identifiers with one hash, the other may be no part of this
    old = {key: found[key] for key in names.places() if key in found} if found else found
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
        count = len(links.identifiers)
        self._old: list[Row | None] = [old.pop(key, None) for key in names.places()] if old else [None] * count
        self._left_out = [row for row in old.values() if row[_VALUE] is not None]
        self._names, self._aside, self._own = names, aside, own
        self._crowded = {links.index[identifier]: 1 for identifier in crowded or ()}
        self._elsewhere = {links.index[identifier] for identifier, here in (crowded or {}).items() if not here}
        self._erased = {links.index[identifier]: until for identifier, until in resolution.erasures()}
        self._survivors = links.surviving(self._erased) if self._erased else links
        self._numbers, self._fresh = self._numbered()

    def write(self) -> Linked:
        """Write what differs."""
        new = self._new_strands()
        stored, fresh = self._rows(new)
        before = {row[0]: row for row in self._old if row is not None} | {row[0]: row for row in self._left_out}
        stored += [_alone(row) for row in self._left_out]
        updates = [row for row in stored if row != before[row[0]]]
        told = [row for row in updates if _says(row) != _says(before[row[0]])]
        moved = strands_of(self._tx, [row[0] for row in told])
        moved += self._barred_or_freed({strand[:2] for strand in moved})
        sequences = Sequences(self._tx)
        for wanted in (
            [row[_SHARD] for row in told],
            self._names.shards[self._fresh].tolist(),
            new.shards.tolist(),
            [shard for _, _, shard in moved],
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
        shard = self._names.shards
        fresh += [lambda some: sequences.of_all(shard[some]), Constant(change)]
        load_columns(self._tx, "identity_identifiers", dict(zip(NODE_FIELDS, fresh, strict=True)), self._fresh)
        strands = [*map(dense, new), lambda some: sequences.of_all(new.shards[some])]
        places = np.arange(len(new.logins))
        load_columns(self._tx, "identity_strands", dict(zip(STRAND_FIELDS, strands, strict=True)), places)
        move_strands(self._tx, moved, sequences)
        if self._own is None:
            # other rules are in force: whatever stands is said anew
            self._tx.execute("UPDATE identity_identifiers SET change = ?", (change,))
            self._delete_links("right_no >= ?", change, NOBODY)
        for some in batched(self._own or ()):
            self._delete_links("left_no IN ??", change, some)
            self._delete_links("right_no IN ??", change, some)
        # the links of a crowded identifier are in many parts; its home has what it did alone, and with its like
        like = [NOBODY, *(int(self._numbers[index]) for index in sorted(self._crowded))]
        home = [int(self._numbers[index]) for index in sorted(self._crowded) if index not in self._elsewhere]
        if home and self._own is not None:
            self._delete_links("left_no IN ?? AND right_no IN ??", change, home, like)
        self._load_links(change)
        self._tx.load("identity_links", LINK_FIELDS, sorted((*row[:-1], change) for row in self._aside))
        if self._erased:
            self._tx.execute(_NOT_GONE, (change,))
            self._keep_erasures()
        count = len(told) + len(self._fresh) + len(new.logins) + len(moved)
        return Linked(len(self._links.left), len(self._numbers), count)

    def _keep_erasures(self) -> None:
        """What requests need to ask again."""
        links, names = self._links, self._names
        known = ((links.index[identifier], until) for identifier, until in self._resolution.erasures())
        keep_times(
            self._tx, [(int(names.hashes[i]), int(names.rests[i]), until) for i, until in known if links.known[i]]
        )
        numbers = self._numbers
        pairs = {(int(numbers[left]), int(numbers[right])): at for (left, right), at in links.erased_pairs.items()}
        for left, right, first in self._resolution.erased_on_carried():
            pair = (int(numbers[left]), int(numbers[right]))
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
        numbers = self._numbers
        now = {(int(numbers[left]), int(numbers[right])) for left, right in self._resolution.barred()}
        pairs = (before ^ now) - set(told)
        stored = strands_of(self._tx, {login for login, _ in pairs})
        return [strand for strand in stored if strand[:2] in pairs]

    def _delete_links(self, where: str, change: int, *values: object) -> None:
        """Make room for what is written anew; where something is erased, keep what may be gone."""
        if self._erased:
            self._tx.execute(_GONE.format(where=where), (change, *values))
        self._tx.execute(f"DELETE FROM identity_links WHERE {where}", values)

    def _numbered(self) -> tuple[Column, Column]:
        """The number of each identifier, and which identifiers are new, ascending by number.

        New ones beside others are numbered in the order of their hashes, so that the index of those is met from left to
        right: at random places, each row would read and write a page once the store outgrows the memory of the
        connection. In an empty store the index is made at the end, and what the part has together stays together.
        """
        numbers = np.array([0 if row is None else row[0] for row in self._old], dtype=np.int64)
        fresh = np.flatnonzero(numbers == 0)
        row = self._tx.one("SELECT number FROM identity_meta WHERE name = ?", (NUMBERS,))
        if row is not None:
            fresh = fresh[np.argsort(self._names.hashes[fresh], kind="stable")]
        first = 1 + (row[0] if row else 0)
        numbers[fresh] = np.arange(first, first + len(fresh))
        write_last_number(self._tx, int(numbers.max(initial=0)))
        return numbers, fresh

    def _new_strands(self) -> _Strands:
        """The strands of logins that are not stored."""
        links, numbers = self._links, self._numbers
        left, right, known = column(links.left), column(links.right), links.known_column()
        strands = np.flatnonzero((right != NO_END) & known[left] & ~known[right])
        pairs = np.unique((left[strands] << 32) | right[strands])
        login, device = numbers[pairs >> 32], numbers[pairs & 0xFFFFFFFF]
        shard = self._names.shards[pairs & 0xFFFFFFFF]
        order = np.lexsort((device, login))
        logins = sorted(row[0] for row in self._old if row is not None)
        sql = "SELECT login, device FROM identity_strands WHERE login IN ??"
        stored = {row for some in batched(logins) for row in self._tx.all(sql, (some,))}
        if stored:
            found = zip(login[order].tolist(), device[order].tolist(), strict=True)
            order = order[np.array([pair not in stored for pair in found], dtype=np.bool_)]
        return _Strands(login[order], device[order], shard[order])

    def _rows(self, new: _Strands) -> tuple[list[Row], list[Take]]:
        """The rows of identifiers that are stored, and the columns of all but for the last two."""
        links, identifiers, old = self._survivors, self._links.identifiers, self._old
        numbers = np.append(self._numbers, NOBODY)
        own, holders, carried = self._resolution.own_persons()
        first, known = links.first_times(), [(index, row) for index, row in enumerate(old) if row is not None]
        never = np.flatnonzero(first == NEVER)
        strands = np.bincount(new.devices, minlength=int(numbers.max()) + 1)[self._numbers]
        for index, row in known:
            strands[index] += row[_STRANDS]
        columns: list[Take] = [
            dense(self._numbers),
            dense(self._names.hashes),
            dense(self._names.rests),
            namespaces(identifiers),
            values(identifiers),
            unless(never, first),
            unless(never, last_times(links)),
            dense(degrees(links)),
            sparse("", {links.index[identifier]: why for identifier, why in self._resolution.demoted()}),
            sparse(None, self._erased),
            sparse(None, {i: row[_PURGED] for i, row in known if row[_VALUE] is not None}),
            dense(numbers[own]),
            dense(numbers[holders]),
            sparse(0, self._carry(carried)),
            sparse(0, {i: row[COMPACTED] for i, row in known} | dict.fromkeys(self._crowded, 1)),
            dense(strands),
            dense(self._names.shards),
        ]
        again = rows(columns, np.array([index for index, _ in known], dtype=np.int64))
        stored = [
            (*row[:_STRANDS], made[_STRANDS], *row[_STRANDS + 1 :])
            if index in self._elsewhere
            else (*made, row[_SEQUENCE], row[_CHANGE])
            for (index, row), made in zip(known, again, strict=True)
        ]
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

    def _load_links(self, change: int) -> None:
        """Write the rows of all links that are left, in the order of the table."""
        links, numbers = self._survivors, np.append(self._numbers, NOBODY)
        left, right, kind = numbers[column(links.left)], numbers[column(links.right)], links.kind_column()
        statuses, rules, conflicting = self._resolution.verdicts()

        takes: list[Take] = [
            dense(left),
            dense(right),
            dense(kind.astype(np.int64)),
            dense(column(links.first_time)),
            texts(links.first_id),
            dense(column(links.last_time)),
            differing(links.last_id, links.first_id),
            dense(column(links.received)),
            listed(statuses),
            listed(rules),
            dense(numbers[conflicting]),
            Constant(change),
        ]
        columns = dict(zip(LINK_FIELDS, takes, strict=True))
        load_columns(self._tx, "identity_links", columns, np.lexsort((kind, right, left)))


def _says(row: Row) -> Row:
    """What of an identifier's row its assignments are made of."""
    return (row[_VALUE] is None, row[ERASED], row[_PERSON], row[_CARRY])


def _alone(row: Row) -> Row:
    """The row of an identifier that may not link any more."""
    fields = list(row)
    fields[_PERSON] = fields[_HOLDER] = row[0]
    fields[_CARRY], fields[_DEMOTED] = 0, ""
    return tuple(fields)
