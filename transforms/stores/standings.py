"""Who has which strand, as the effect store knows it: noted with the decisions, looked up when an action is claimed.

A strand that several persons have in turn is noted under the last of them, and since when. Whatever followed from its
events before stays with whom it was decided about, so it makes no difference which of them is noted or acts first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

from contracts.exchange import MIN_TIME
from transforms.stores.database import Transaction
from transforms.stores.effects import PlannedAction, Standing


def note_persons(tx: Transaction, standings: Sequence[Standing]) -> None:
    # What is known of a strand that had one owner before says nothing of those who have it in turn now: the last of
    # them is noted in its turn, and until then the others must not take the old owner for theirs.
    tx.execute_many(
        "DELETE FROM strands WHERE strand_id = ? AND at < ? AND since < ?",
        sorted((strand, standing.at, until) for standing in standings for strand, until in standing.until.items()),
    )
    tx.execute_many(
        "INSERT INTO strands VALUES (?, ?, ?, ?) ON CONFLICT (strand_id) DO UPDATE"
        " SET person_id = excluded.person_id, at = excluded.at, since = excluded.since WHERE excluded.at >= strands.at",
        sorted(
            (strand, standing.person_id, standing.at, standing.since.get(strand, MIN_TIME))
            for standing in standings
            for strand in standing.strands
        ),
    )
    # nor does a person keep what it does not have any more, whether the new owner was noted before or comes later
    tx.execute_many(
        "DELETE FROM strands WHERE person_id = ? AND at < ?",
        sorted((standing.person_id, standing.at) for standing in standings),
    )
    tx.execute_many(
        "INSERT INTO persons VALUES (?, ?, ?) ON CONFLICT (person_id) DO UPDATE"
        " SET at = excluded.at, consent = excluded.consent WHERE excluded.at >= persons.at",
        sorted((standing.person_id, standing.at, json.dumps(standing.consent)) for standing in standings),
    )


def of_current_persons(tx: Transaction, planned: Sequence[PlannedAction]) -> Iterator[PlannedAction]:
    """The plans under whom their strands belong to now; of a strand that was another's, only what its events since
    led to."""
    strands = [plan.action.anchor_strand for plan in planned]
    found = tx.all("SELECT strand_id, person_id, since FROM strands WHERE strand_id IN ??", (strands,))
    persons: dict[str, tuple[str, int]] = {strand: (person, since) for strand, person, since in found}
    for plan in planned:
        person, since = persons.get(plan.action.anchor_strand, (plan.action.person_id, MIN_TIME))
        same = person == plan.action.person_id or plan.held_at < since
        yield plan if same else replace(plan, action=replace(plan.action, person_id=person))
