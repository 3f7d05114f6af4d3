"""The identity store in the shared database; see ``transforms.stores.identity`` for what it promises.

``link`` is one unit of work: merge the batch into the stored links, find whom it puts out of linking, walk the
neighbourhood of what changed, resolve it with the pure core, and write what came out differently.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from contracts.errors import OutputError
from contracts.event import Identifier
from contracts.exchange import ERASED, MAX_TIME, MIN_TIME, SEEN, UNLINK, Assignment, ErasedMark, Link
from transforms.identity.evidence import LinkBook
from transforms.identity.graph import Links
from transforms.identity.neighbourhood import Neighbourhood, neighbourhood
from transforms.identity.resolve import APART, EdgeRow, Resolution, resolve_collected
from transforms.identity.rules import IdentityRules, StrandKey
from transforms.stores.database import Database, Row, Transaction
from transforms.stores.identity import NOTHING, ChangedRows, Linked, Mark
from transforms.stores.identity_compact import compact, cut_folded, purge
from transforms.stores.identity_cut import bury, cut, keep_carried, without_erased
from transforms.stores.identity_graph import StoredGraph
from transforms.stores.identity_ledger import LEDGER, edge_row, rows_since
from transforms.stores.identity_load import load
from transforms.stores.identity_marks import erased_up_to, keep, marks_of
from transforms.stores.identity_reresolve import resolve_all
from transforms.stores.identity_reshard import reshard
from transforms.stores.identity_rows import Edge, EdgeKey
from transforms.stores.identity_schema import (
    KIND_CODES,
    RULES,
    SHARDS,
    hash_of,
    id_of,
    identifier_hash,
    to_text,
)
from transforms.stores.identity_write import apply, settle_crowded, write

_ERASE = "erase"
"""The event id of a request that came without an event; its evidence is erased by itself."""

_STEPS = (
    "SELECT n.sequence, n.namespace, n.value, n.erased, n.carry, p.hash, p.rest FROM identity_identifiers n"
    " JOIN identity_identifiers p ON p.number = n.person"
)
_BARRED = (
    "(SELECT count(*) FROM identity_links l WHERE l.left_no = s.login AND l.right_no = s.device"
    f" AND l.kind <> {KIND_CODES[UNLINK]} AND l.rule IN ({', '.join(repr(rule) for rule in APART)}))"
)
_STRANDS = (
    "SELECT s.sequence, d.namespace, d.value, u.erased, u.namespace, u.value, p.hash, p.rest,"
    f" {_BARRED} FROM identity_strands s"
    " JOIN identity_identifiers d ON d.number = s.device JOIN identity_identifiers u ON u.number = s.login"
    " JOIN identity_identifiers p ON p.number = u.person"
)


class _Batch(NamedTuple):
    """Links of a call, one a pair and kind and one more for each further erasure, and the pieces of merged ones."""

    links: list[Link]
    pieces: Mapping[EdgeKey, Collection[Link]]


class StoredIdentity:
    """``IdentityStore`` on a database, which it closes at the end."""

    def __init__(self, database: Database, rules: IdentityRules, shards: int) -> None:
        self._database, self._rules, self._shards = database, rules, shards

    def close(self) -> None:
        self._database.close()

    # --- writing ------------------------------------------------------------------------------------------------

    def link(self, links: Iterable[Link]) -> Linked:
        batch = self._merged(links)
        return self._database.write(lambda tx: self._link(tx, batch)) if batch.links else NOTHING

    def seen_again(self, links: Iterable[Link]) -> Linked:
        batch = self._merged(links)
        return self._database.write(lambda tx: self._link(tx, batch, erasing=False)) if batch.links else NOTHING

    def load(self, links: Links, resolution: Resolution, crowded: Mapping[Identifier, bool] | None = None) -> Linked:
        def work(tx: Transaction) -> Linked:
            self._check(tx)
            loaded = load(tx, links, resolution, self._shards, crowded or {})
            if loaded is None:
                return self._link(tx, self._merged(links.as_links()))
            told = erased_up_to(tx, {identifier_hash(i): until for i, until in resolution.erasures()})
            return loaded._replace(assignments=loaded.assignments + told)

        return self._database.write(work)

    def adopt(self) -> None:
        def work(tx: Transaction) -> None:
            found = self._check(tx, strict=False)
            if found[SHARDS][1] != self._shards:
                reshard(tx, self._shards)
            if found[RULES][0] != self._rules.version:
                resolve_all(tx, self._rules, self._shards)

        self._database.write(work)

    def reresolve(self) -> Linked:
        def work(tx: Transaction) -> Linked:
            found = self._check(tx, strict=False)
            self._check_shards(found)
            return resolve_all(tx, self._rules, self._shards)

        return self._database.write(work)

    def erase(self, until: int, identifiers: Collection[Identifier] = (), persons: Collection[str] = ()) -> Linked:
        def work(tx: Transaction) -> Linked:
            named = [*identifiers, *_named(tx, persons)]
            requests = [Link(i, None, until, _ERASE, until, _ERASE, until, until) for i in named]
            return self._link(tx, self._merged(requests))

        return self._database.write(work)

    def purge(self, strands: Collection[StrandKey], up_to: int) -> int:
        return self._database.write(lambda tx: purge(self._graph(tx), tx, self._rules, strands, up_to))

    def keep_marks(self, marks: Collection[ErasedMark]) -> None:
        self._database.write(lambda tx: keep(tx, marks))

    def marks_of(self, devices: Collection[Identifier]) -> list[ErasedMark]:
        return self._database.read(lambda tx: marks_of(tx, devices))

    def compact(self) -> int:
        return self._database.write(lambda tx: compact(tx, self._rules, self._shards))

    def _merged(self, links: Iterable[Link]) -> _Batch:
        """Links that may link, one a pair and kind, in an order that is the same everywhere."""
        may_link = self._rules.links_at_all
        book = LinkBook(self._rules)
        single: dict[EdgeKey, Link] = {}
        pieces: defaultdict[EdgeKey, list[Link]] = defaultdict(list)
        for link in links:
            if not may_link(link.left.namespace):
                continue
            if link.right is None or link.right == link.left:
                # with itself it is seen alone, whatever was said of the two
                link = replace(link, right=None, kind=SEEN)
            elif not may_link(link.right.namespace):
                continue
            key = (link.left, link.right, link.kind)
            first = single.setdefault(key, link)
            if first is not link:
                pieces[key] += (first, link)
            book.add(link)
        return _Batch(sorted(book.drain(), key=_by_ends), pieces)

    def _graph(self, tx: Transaction) -> StoredGraph:
        return StoredGraph(tx, self._rules, self._shards)

    def _link(self, tx: Transaction, batch: _Batch, *, erasing: bool = True) -> Linked:
        self._check(tx)
        graph = self._graph(tx)
        graph.pieces = batch.pieces
        changed, grown = graph.merge(batch.links if erasing else without_erased(graph, batch.links))
        resolved = self._resolve(graph, tx, changed)
        written = write(graph, tx, self._rules)
        changed_nodes = (node for node in graph.nodes.values() if node.changed)
        buried = {(n.hash, n.rest): n.erased for n in changed_nodes if n.erased is not None}
        return Linked(grown, resolved, written + erased_up_to(tx, buried))

    def _resolve(self, graph: StoredGraph, tx: Transaction, changed: list[Edge]) -> int:
        """Resolve around changed links until nothing is left to erase; return for how many identifiers."""
        earliest = min((edge.link.first_time for edge in changed), default=MAX_TIME)
        changed = settle_crowded(changed + graph.flipped_edges())
        touched = _ends(changed)
        resolved = 0
        while touched:
            near = neighbourhood(touched, graph, self._rules)
            links = Links(self._rules)
            links.add_all(near.links)
            links.add_all(edge.link for edge in changed)
            for target in near.targets:
                links.intern(target)
            # requests ask again only for what is new and older than they: of what they once did not reach, much stood
            # against links that are erased by now
            latest = max((until for times in near.tombstones.values() for until in times), default=MIN_TIME)
            older = not resolved and earliest <= latest
            tombstones = near.tombstones if older else None
            resolution = resolve_collected(links, self._rules, tombstones, near.demoted)
            apply(graph, near.targets, resolution, self._rules)
            resolved += len(near.targets)
            erasures = list(resolution.erasures())
            if not erasures:
                break
            bury(graph, erasures, self._rules)
            # what is deleted may free an identifier that was seen with too many
            touched = cut(graph, self._rules)
            cut_folded(graph, tx, self._rules)
            changed = [edge for edge in changed if not edge.gone] + graph.flipped_edges()
            keep_carried(graph)
            if touched:
                touched |= _ends(changed)
        return resolved

    def _check(self, tx: Transaction, *, strict: bool = True) -> dict[str, tuple[str, int]]:
        """The rules and shards of the store, said now in a new one; OutputError, if ``strict``, where they differ."""
        found = {name: (word, number) for name, word, number in tx.all("SELECT name, word, number FROM identity_meta")}
        if SHARDS not in found:
            rows = [(RULES, self._rules.version, 0), (SHARDS, "", self._shards)]
            tx.load("identity_meta", ("name", "word", "number"), rows)
            return {name: (word, number) for name, word, number in rows}
        if strict:
            self._check_shards(found)
        if strict and found[RULES][0] != self._rules.version:
            raise OutputError(
                f"the identity store in {self._database.label} was resolved under {found[RULES][0]}, not"
                f" {self._rules.version}",
                hint="run with the rules of before, or ask for the new ones by name: reresolve",
            )
        return found

    def _check_shards(self, found: Mapping[str, tuple[str, int]]) -> None:
        if found[SHARDS][1] != self._shards:
            raise OutputError(
                f"the identity store in {self._database.label} is for {found[SHARDS][1]} shards, this run has"
                f" {self._shards}",
                hint="run with as many shards as before, or make a backfill with the new number",
            )

    # --- reading ------------------------------------------------------------------------------------------------

    def assignments_since(self, shard: int, sequence: int, limit: int = 1_000) -> list[Assignment]:
        def work(tx: Transaction) -> list[Assignment]:
            mine = "{0}.shard = ? AND {0}.sequence > ? ORDER BY {0}.sequence LIMIT ?"
            values = (shard, sequence, limit)
            found = [
                _alone(row) for row in tx.all(f"{_STEPS} WHERE n.value IS NOT NULL AND {mine.format('n')}", values)
            ]
            found += [_of_login(row) for row in tx.all(f"{_STRANDS} WHERE {mine.format('s')}", values)]
            return sorted(found, key=lambda assignment: assignment.sequence)[:limit]

        return self._database.read(work)

    def assignments_of(self, strands: Collection[StrandKey]) -> dict[StrandKey, Assignment]:
        return self._database.read(lambda tx: self._assignments_of(tx, strands))

    def _assignments_of(self, tx: Transaction, strands: Collection[StrandKey]) -> dict[StrandKey, Assignment]:
        graph = self._graph(tx)
        graph.find({end for strand in strands for end in strand if end is not None})
        alone: list[int] = []
        of_logins: defaultdict[int, set[int]] = defaultdict(set)
        for primary, login in strands:
            node, held = graph.nodes.get(primary), None if login is None else graph.nodes.get(login)
            if node is not None and login is None:
                alone.append(node.number)
            elif node is not None and held is not None:
                of_logins[held.number].add(node.number)
        found = [_alone(row) for row in tx.all(f"{_STEPS} WHERE n.value IS NOT NULL AND n.number IN ??", (alone,))]
        for login_no, devices in of_logins.items():
            sql = f"{_STRANDS} WHERE s.login = ? AND s.device IN ??"
            found += [_of_login(row) for row in tx.all(sql, (login_no, sorted(devices)))]
        return {StrandKey(assignment.primary, assignment.login): assignment for assignment in found}

    def person_of(self, ids: Collection[str]) -> dict[str, str]:
        wanted = set(ids)
        hashes = sorted({hash_of(one)[0] for one in wanted})
        sql = (
            "SELECT n.hash, n.rest, h.hash, h.rest FROM identity_identifiers n"
            " JOIN identity_identifiers h ON h.number = n.holder WHERE n.hash IN ??"
        )
        rows = self._database.read(lambda tx: tx.all(sql, (hashes,)))
        pairs = ((id_of(*row[:2]), id_of(*row[2:])) for row in rows)
        return {shown: person for shown, person in pairs if shown in wanted}

    def edges(self, identifiers: Collection[Identifier], limit: int = 1_000) -> list[EdgeRow]:
        def work(tx: Transaction) -> list[EdgeRow]:
            graph = self._graph(tx)
            graph.find(identifiers)
            numbers = sorted(node.number for node in graph.nodes.values())
            (version,) = tx.one("SELECT word FROM identity_meta WHERE name = ?", (RULES,)) or ("",)
            rows: dict[tuple[int, ...], Row] = {}
            for ends in ("l.left_no IN ??", "l.right_no <> 0 AND l.right_no IN ??"):
                sql = f"{LEDGER} AND {ends} ORDER BY l.first_time, l.first_id LIMIT ?"
                rows.update((row[:3], row) for row in tx.all(sql, (numbers, limit)))
            found = [edge_row(row, version) for row in rows.values()]
            return sorted(found, key=lambda e: (e.first_time, e.first_event_id, e.left, e.right, e.kind))[:limit]

        return self._database.read(work)

    def rows_since(self, mark: Mark | None, limit: int = 10_000) -> ChangedRows:
        return self._database.read(lambda tx: rows_since(tx, self._rules, mark, limit))

    def neighbourhood_of(self, identifier: Identifier) -> Neighbourhood:
        def work(tx: Transaction) -> Neighbourhood:
            graph = self._graph(tx)
            graph.find((identifier,))
            near = neighbourhood((identifier,), graph, self._rules)
            return near._replace(links=[link for link in near.links if link.kind != ERASED])

        return self._database.read(work)

    def erasures(self) -> dict[str, int]:
        sql = "SELECT hash, rest, erased FROM identity_identifiers WHERE erased IS NOT NULL"
        rows = self._database.read(lambda tx: tx.all(sql))
        return {id_of(hashed, rest): erased for hashed, rest, erased in rows}


def _ends(edges: Iterable[Edge]) -> set[Identifier]:
    return {end for edge in edges for end in edge.key[:2] if end is not None}


def _by_ends(link: Link) -> tuple[Identifier, Identifier, int]:
    return (link.left, link.left if link.right is None else link.right, KIND_CODES[link.kind])


def _named(tx: Transaction, persons: Collection[str]) -> list[Identifier]:
    """The identifiers whose canonical ids these are, as far as their names are known."""
    hashes = sorted({hash_of(person)[0] for person in persons})
    if not hashes:
        return []
    rows = tx.all("SELECT hash, rest, namespace, value FROM identity_identifiers WHERE hash IN ??", (hashes,))
    return [
        Identifier(namespace, to_text(value))
        for hashed, rest, namespace, value in rows
        if value is not None and id_of(hashed, rest) in persons
    ]


def _alone(row: Row) -> Assignment:
    sequence, namespace, value, erased, carry, hashed, rest = row
    steps = ((MIN_TIME, id_of(hashed, rest)),)
    return Assignment(Identifier(namespace, to_text(value)), None, sequence, steps, erased, bool(carry))


def _of_login(row: Row) -> Assignment:
    sequence, namespace, value, erased, login_namespace, login, hashed, rest, barred = row
    device, user = Identifier(namespace, to_text(value)), Identifier(login_namespace, to_text(login))
    return Assignment(device, user, sequence, ((MIN_TIME, id_of(hashed, rest)),), erased, barred=barred > 0)
