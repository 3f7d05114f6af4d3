"""What was erased, as the effect store knows it: strands, and up to when, so that nothing of it is claimed again.

Whoever claims may not have heard of the erasure yet, or be an engine that goes back behind it. A strand's id is a hash
of pseudonyms, and all that stays. Times are event time in UTC microseconds: of the event that something follows from.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from contracts.exchange import MIN_TIME
from transforms.stores.database import Transaction

_NOTE = (
    "INSERT INTO erased VALUES (?, ?) ON CONFLICT (strand_id) DO UPDATE SET until = excluded.until"
    " WHERE excluded.until > erased.until"
)


def note_erased(tx: Transaction, strands: Collection[str], up_to: int) -> None:
    tx.execute_many(_NOTE, sorted((strand, up_to) for strand in set(strands)))


def erased_of(tx: Transaction, strands: Collection[str]) -> dict[str, int]:
    """Up to when strands were erased, of those that were."""
    # mostly nobody was, and then there is nothing to look up
    if not strands or not tx.one("SELECT 1 FROM erased LIMIT 1"):
        return {}
    return dict(tx.all("SELECT strand_id, until FROM erased WHERE strand_id IN ??", (sorted(strands),)))


def covers(gone: Mapping[str, int], strand: str, at: int) -> bool:
    return at <= gone.get(strand, MIN_TIME)
