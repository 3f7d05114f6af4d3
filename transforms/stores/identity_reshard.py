"""Another number of shards: every strand gets the mailbox and a sequence of its new shard, in one unit of work.

Sequences only grow, also here, but what a shard has read says nothing about what it holds now: whoever reads a mailbox
begins anew. State: the identifiers in memory, some hundred bytes each.
"""

from __future__ import annotations

from contracts.event import Identifier
from transforms.identity.ids import shard_of
from transforms.stores.database import Transaction
from transforms.stores.identity_schema import SHARDS, to_text
from transforms.stores.identity_write import Sequences


def reshard(tx: Transaction, shards: int) -> None:
    """Spread what is stored over ``shards`` shards."""
    tx.execute("UPDATE identity_meta SET number = ? WHERE name = ?", (shards, SHARDS))
    named = tx.all("SELECT number, namespace, value FROM identity_identifiers WHERE value IS NOT NULL ORDER BY number")
    shard = {
        number: int.from_bytes(shard_of(Identifier(namespace, to_text(value)), shards), "big")
        for number, namespace, value in named
    }
    strands = tx.all("SELECT login, device FROM identity_strands ORDER BY login, device")
    highest = tx.one("SELECT max(sequence) FROM identity_shards")
    floor = highest[0] if highest and highest[0] else 0
    rows = [(number, floor) for number in range(shards)]
    tx.execute("DELETE FROM identity_shards")
    tx.load("identity_shards", ("shard", "sequence"), rows)
    sequences = Sequences(tx)
    sequences.want(shard.values())
    sequences.want(shard[device] for _, device in strands)
    sequences.take()
    tx.execute_many(
        "UPDATE identity_identifiers SET shard = ?, sequence = ? WHERE number = ?",
        [(at, sequences.next(at), number) for number, at in shard.items()],
    )
    tx.execute_many(
        "UPDATE identity_strands SET shard = ?, sequence = ? WHERE login = ? AND device = ?",
        [(shard[device], sequences.next(shard[device]), login, device) for login, device in strands],
    )
