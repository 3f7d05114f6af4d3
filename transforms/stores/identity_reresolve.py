"""Everything that the identity store holds, resolved again under other rules: with all links in memory, as columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from contracts.event import Identifier
from contracts.exchange import Link
from transforms.identity.graph import Links
from transforms.identity.resolve import resolve_collected
from transforms.identity.rules import IdentityRules
from transforms.stores.database import Row, Transaction
from transforms.stores.identity import Linked
from transforms.stores.identity_load import COMPACTED, ERASED, Bulk, Hash
from transforms.stores.identity_pairs import all_times
from transforms.stores.identity_rows import link_of_row
from transforms.stores.identity_schema import LINK_COLUMNS, NOBODY, NODE_COLUMNS, RULES, names_of, to_text


def resolve_all(tx: Transaction, rules: IdentityRules, shards: int) -> Linked:
    """Resolve all that is stored under rules that are in force from now on."""
    old: dict[Hash, Row] = {(row[1], row[2]): row for row in tx.all(f"SELECT {NODE_COLUMNS} FROM identity_identifiers")}
    names = {row[0]: Identifier(row[3], to_text(row[4])) for row in old.values() if row[4] is not None}
    links = Links(rules)
    aside: list[Row] = []
    links.add_all(_stored(tx, names, rules, aside))
    for identifier in names.values():
        links.intern(identifier)
    named = names_of(links.identifiers, shards)
    times = all_times(tx)
    tombstones: dict[Identifier, set[int]] = {}
    crowded: dict[Identifier, bool] = {}
    for index, key in enumerate(named.places()):
        row = old.get(key)
        if row is not None:
            if row[ERASED] is not None:
                tombstones[links.identifiers[index]] = {row[ERASED], *times.get(key, ())}
            if row[COMPACTED]:
                # its links were shortened, so they do not show the crowd any more
                crowded[links.identifiers[index]] = True
    resolution = resolve_collected(links, rules, tombstones, crowded=crowded)
    tx.execute("UPDATE identity_meta SET word = ? WHERE name = ?", (rules.version, RULES))
    return Bulk(tx, links, resolution, old, named, aside).write()


def _stored(tx: Transaction, names: Mapping[int, Identifier], rules: IdentityRules, aside: list[Row]) -> Iterator[Link]:
    """All stored links; those that may not link under these rules are put aside."""
    for row in tx.all(f"SELECT {LINK_COLUMNS} FROM identity_links"):
        left, right = names[row[0]], names[row[1]] if row[1] else None
        if rules.links_at_all(left.namespace) and (right is None or rules.links_at_all(right.namespace)):
            yield link_of_row(row, left, right)
        else:
            aside.append((*row[:8], "", "", NOBODY, 0))
