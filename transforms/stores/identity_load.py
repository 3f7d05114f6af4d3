"""The bulk path of the identity store: whole components, resolved already, written row by row in the order of tables.

A backfill resolves its links in parts and hands each over. Identifiers are compared with what is stored, and only
changed assignments get a new sequence. Where the store knows a link of these identifiers that the part does not, the
part's resolution is not the whole truth: then its links go the way of all links. New rules resolve everything at once,
with all links in memory, as columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

import numpy as np

from contracts.event import Identifier
from contracts.exchange import LINK_KINDS, LOGOUT, UNLINK, Link
from transforms.identity.graph import NEVER, NO_END, Column, Links, column
from transforms.identity.ids import canonical_id, shard_of
from transforms.identity.resolve import Resolution, resolve_collected
from transforms.identity.rules import IdentityRules
from transforms.stores.database import Row, Transaction
from transforms.stores.identity import Linked
from transforms.stores.identity_rows import link_of_row
from transforms.stores.identity_schema import (
    LINK_COLUMNS,
    LINK_FIELDS,
    NOBODY,
    NODE_COLUMNS,
    NODE_FIELDS,
    NUMBERS,
    RULES,
    STRAND_FIELDS,
    hash_of,
    id_of,
    to_bytes,
    to_text,
)
from transforms.stores.identity_write import UPDATE_NODE, Sequences, move_strands, strands_of, write_last_number

_LOGOUT, _UNLINK = LINK_KINDS.index(LOGOUT), LINK_KINDS.index(UNLINK)
_VALUE, _DEMOTED, _ERASED, _PURGED, _PERSON, _HOLDER, _CARRY, _COMPACTED, _STRANDS, _SHARD, _SEQUENCE = (
    NODE_FIELDS.index(name) for name in (
        "value", "demoted", "erased", "purged", "person", "holder", "carry", "compacted", "strands", "shard", "sequence"
    )
)  # fmt: skip

Hash = tuple[int, int]


def load(
    tx: Transaction, links: Links, resolution: Resolution, shards: int, crowded: Mapping[Identifier, bool]
) -> Linked | None:
    """Take a part of a backfill; None, and nothing is written, when the store has links that the part has not.

    Args:
        crowded: identifiers of the part that are crowded, and whether the part is to write their rows.
    """
    hashes = [_hash(identifier) for identifier in links.identifiers]
    old: dict[Hash, Row] = {}
    for some in batched([key[0] for key in hashes]):
        sql = f"SELECT {NODE_COLUMNS} FROM identity_identifiers WHERE hash IN ??"
        old.update(((row[1], row[2]), row) for row in tx.all(sql, (some,)))
    known = set(hashes)
    old = {key: row for key, row in old.items() if key in known}
    own = sorted(
        old[key][0]
        for key, identifier in zip(hashes, links.identifiers, strict=True)
        if key in old and crowded.get(identifier) is not False
    )
    if not _is_covered(tx, links, [old.get(key) for key in hashes], own):
        return None
    return _Bulk(tx, links, resolution, shards, old, hashes, own=own, crowded=crowded).write()


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


def resolve_all(tx: Transaction, rules: IdentityRules, shards: int) -> Linked:
    """Resolve all that is stored under rules that are in force from now on."""
    old: dict[Hash, Row] = {(row[1], row[2]): row for row in tx.all(f"SELECT {NODE_COLUMNS} FROM identity_identifiers")}
    names = {row[0]: Identifier(row[3], to_text(row[4])) for row in old.values() if row[4] is not None}
    links = Links(rules)
    aside: list[Row] = []
    links.add_all(_stored(tx, names, rules, aside))
    for identifier in names.values():
        links.intern(identifier)
    hashes = [_hash(identifier) for identifier in links.identifiers]
    tombstones: dict[Identifier, int] = {}
    crowded: dict[Identifier, bool] = {}
    for index, key in enumerate(hashes):
        row = old.get(key)
        if row is not None:
            if row[_ERASED] is not None:
                tombstones[links.identifiers[index]] = row[_ERASED]
            if row[_COMPACTED]:
                # its links were shortened, so they do not show the crowd any more
                crowded[links.identifiers[index]] = True
    resolution = resolve_collected(links, rules, tombstones, crowded=crowded)
    tx.execute("UPDATE identity_meta SET word = ? WHERE name = ?", (rules.version, RULES))
    return _Bulk(tx, links, resolution, shards, old, hashes, aside).write()


def _stored(tx: Transaction, names: Mapping[int, Identifier], rules: IdentityRules, aside: list[Row]) -> Iterator[Link]:
    """All stored links; those that may not link under these rules are put aside."""
    for row in tx.all(f"SELECT {LINK_COLUMNS} FROM identity_links"):
        left, right = names[row[0]], names[row[1]] if row[1] else None
        if rules.links_at_all(left.namespace) and (right is None or rules.links_at_all(right.namespace)):
            yield link_of_row(row, left, right)
        else:
            aside.append((*row[:8], "", "", NOBODY))


def of_columns(links: Links) -> Iterator[Link]:
    """The links of columns, as objects."""
    identifiers = links.identifiers
    for edge, (left, right) in enumerate(zip(links.left, links.right, strict=True)):
        yield Link(
            identifiers[left],
            None if right == NO_END else identifiers[right],
            links.first_time[edge],
            links.first_id[edge],
            links.last_time[edge],
            links.last_id[edge],
            links.received[edge],
            links.erase.get(edge),
            LINK_KINDS[links.kind[edge]],
        )


def _hash(identifier: Identifier) -> Hash:
    return hash_of(canonical_id(identifier))


class _Bulk:
    """Writes a resolution over what is stored.

    Args:
        links, resolution: whole components.
        old: the stored identifiers by their hash.
        hashes: of each identifier of ``links``.
        aside: rows of links that are kept, out of the ledger.
        own: numbers of the stored identifiers whose links these are; None: there are no others in the store.
        crowded: as in ``load``.
    """

    def __init__(
        self,
        tx: Transaction,
        links: Links,
        resolution: Resolution,
        shards: int,
        old: dict[Hash, Row],
        hashes: list[Hash],
        aside: Iterable[Row] = (),
        own: list[int] | None = None,
        crowded: Mapping[Identifier, bool] | None = None,
    ) -> None:
        self._tx, self._links, self._resolution = tx, links, resolution
        self._old = [old.pop(key, None) for key in hashes]
        self._left_out = [row for row in old.values() if row[_VALUE] is not None]
        self._hashes, self._aside, self._own = hashes, aside, own
        self._crowded = {links.index[identifier] for identifier in crowded or ()}
        self._elsewhere = {links.index[identifier] for identifier, here in (crowded or {}).items() if not here}
        self._erased = {links.index[identifier]: until for identifier, until in resolution.erasures()}
        self._survivors = links.surviving(self._erased) if self._erased else links
        self._shard = [int.from_bytes(shard_of(identifier, shards), "big") for identifier in links.identifiers]
        self._numbers, self._fresh = self._numbered()

    def write(self) -> Linked:
        """Write what differs."""
        persons, carried, pairs = self._answers()
        new = self._new_pairs(pairs)
        updates, fresh = self._rows(persons, carried, new)
        updates += [_alone(row) for row in self._left_out]
        before = {row[0]: row for row in self._old if row is not None} | {row[0]: row for row in self._left_out}
        updates = [row for row in updates if row != before[row[0]]]
        told = [row for row in updates if _says(row) != _says(before[row[0]])]
        moved = strands_of(self._tx, [row[0] for row in told])
        shard, numbers = self._shard, self._numbers
        sequences = Sequences(self._tx)
        for some in (
            (row[_SHARD] for row in told),
            (shard[index] for index in self._fresh),
            (shard[device] for _, device in new),
            (of_device for _, _, of_device in moved),
        ):
            sequences.want(some)
        sequences.take()
        again = {row[0] for row in told}
        self._tx.execute_many(
            UPDATE_NODE,
            (
                (*row[3:-1], sequences.next(row[_SHARD]) if row[0] in again else row[_SEQUENCE], row[0])
                for row in sorted(updates)
            ),
        )
        self._tx.load("identity_identifiers", NODE_FIELDS, ((*row, sequences.next(row[_SHARD])) for row in fresh))
        self._tx.load(
            "identity_strands",
            STRAND_FIELDS,
            (
                (login, number, at, sequences.next(at))
                for login, number, at in sorted((numbers[login], numbers[d], shard[d]) for login, d in new)
            ),
        )
        move_strands(self._tx, moved, sequences)
        if self._own is None:
            self._tx.execute("DELETE FROM identity_links")
        else:
            for numbers_of_own in batched(self._own):
                self._tx.execute("DELETE FROM identity_links WHERE left_no IN ??", (numbers_of_own,))
                self._tx.execute("DELETE FROM identity_links WHERE right_no IN ??", (numbers_of_own,))
        self._tx.load("identity_links", LINK_FIELDS, self._link_rows())
        self._tx.load("identity_links", LINK_FIELDS, sorted(self._aside))
        return Linked(len(self._links.left), len(shard), len(told) + len(self._fresh) + len(new) + len(moved))

    def _numbered(self) -> tuple[list[int], list[int]]:
        """The number of each identifier, and which identifiers are new, ascending by number.

        New ones are numbered in the order of their hashes, so that the index of these is written from left to right.
        """
        numbers = [0 if row is None else int(row[0]) for row in self._old]
        fresh = [index for index, number in enumerate(numbers) if not number]
        fresh.sort(key=self._hashes.__getitem__)
        row = self._tx.one("SELECT number FROM identity_meta WHERE name = ?", (NUMBERS,))
        for number, index in enumerate(fresh, start=1 + (row[0] if row else 0)):
            numbers[index] = number
        write_last_number(self._tx, max(numbers, default=0))
        return numbers, fresh

    def _answers(self) -> tuple[list[int], set[int], list[tuple[int, int]]]:
        """The person of each identifier by number, which are carried, and the strands of logins as (login, device)."""
        index, numbers = self._links.index, self._numbers
        by_id = {id_of(*key): number for key, number in zip(self._hashes, numbers, strict=True)}
        persons = list(numbers)
        carried: set[int] = set()
        pairs: list[tuple[int, int]] = []
        for assignment in self._resolution.assignments():
            if assignment.login is None:
                place = index[assignment.primary]
                if assignment.carry:
                    carried.add(place)
                persons[place] = by_id[assignment.steps[0][1]]
            else:
                pairs.append((index[assignment.login], index[assignment.primary]))
        self._by_id = by_id
        return persons, carried, pairs

    def _new_pairs(self, pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
        numbers = self._numbers
        logins = sorted({numbers[login] for login, _ in pairs if self._old[login] is not None})
        sql = "SELECT login, device FROM identity_strands WHERE login IN ??"
        stored = {row for some in batched(logins) for row in self._tx.all(sql, (some,))}
        return [pair for pair in pairs if (numbers[pair[0]], numbers[pair[1]]) not in stored] if stored else pairs

    def _rows(
        self, persons: list[int], carried: set[int], new: list[tuple[int, int]]
    ) -> tuple[list[Row], Iterator[Row]]:
        """The rows of identifiers that are stored, and those, without their sequence, of new ones."""
        links, identifiers, resolution = self._survivors, self._links.identifiers, self._resolution
        count = len(identifiers)
        first = links.first_times()
        seen = (first != NEVER).tolist()
        firsts, lasts = first.tolist(), _last_times(links).tolist()
        degrees = _degrees(links).tolist()
        strands = np.bincount([device for _, device in new], minlength=count).tolist() if new else [0] * count
        demoted = {self._links.index[identifier]: why for identifier, why in resolution.demoted()}

        def row(index: int) -> Row:
            old, (namespace, value), person = self._old[index], identifiers[index], persons[index]
            holder = self._by_id[resolution.person_of(identifiers[index])] if index in carried else person
            return (
                self._numbers[index],
                *self._hashes[index],
                namespace,
                to_bytes(value),
                firsts[index] if seen[index] else None,
                lasts[index] if seen[index] else None,
                degrees[index],
                demoted.get(index, ""),
                self._erased.get(index),
                None if old is None or old[_VALUE] is None else old[_PURGED],
                person,
                holder,
                int(index in carried),
                1 if index in self._crowded else 0 if old is None else old[_COMPACTED],
                strands[index] + (0 if old is None else old[_STRANDS]),
                self._shard[index],
            )

        def grown(old: Row, more: int) -> Row:
            return (*old[:_STRANDS], old[_STRANDS] + more, *old[_STRANDS + 1 :])

        stored = [
            grown(old, strands[i]) if i in self._elsewhere else (*row(i), old[_SEQUENCE])
            for i, old in enumerate(self._old)
            if old is not None
        ]
        return stored, (row(index) for index in self._fresh)

    def _link_rows(self) -> Iterator[Row]:
        """The rows of all links that are left, in the order of the table."""
        links, numbers = self._survivors, np.array([*self._numbers, NOBODY], dtype=np.int64)
        left, right = numbers[column(links.left)], numbers[column(links.right)]
        verdicts = self._verdicts(len(links.left))
        lefts, rights = left.tolist(), right.tolist()
        for edge in np.lexsort((links.kind_column(), right, left)).tolist():
            first, last = links.first_id[edge], links.last_id[edge]
            yield (
                lefts[edge],
                rights[edge],
                links.kind[edge],
                links.first_time[edge],
                to_bytes(first),
                links.last_time[edge],
                None if last == first else to_bytes(last),
                links.received[edge],
                *verdicts[edge],
            )

    def _verdicts(self, count: int) -> list[tuple[str, str, int]]:
        """(status, rule, conflict) of each link."""
        links, index, numbers = self._survivors, self._links.index, self._numbers
        verdicts = [("", "", NOBODY)] * count
        paired = np.flatnonzero((column(links.right) != NO_END) & (links.kind_column() != _LOGOUT)).tolist()
        for edge, row in zip(paired, self._resolution.edges(), strict=True):
            conflict = NOBODY if row.conflict is None else numbers[index[row.conflict]]
            verdicts[edge] = (row.status, row.rule, conflict)
        return verdicts


def _says(row: Row) -> Row:
    """What of an identifier's row its assignments are made of."""
    return (row[_VALUE] is None, row[_ERASED], row[_PERSON], row[_CARRY])


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
