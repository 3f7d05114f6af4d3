"""Does a decision's own record, as a row of ``decisions``, give the same answer again?

Input: a row, the policies in force. Output: ``Replayed``. Errors: none: a record that cannot be replayed says why.
State: none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from contracts.errors import CheckFailedError
from contracts.exchange import Candidate, Decision
from reports.lookup import Row
from transforms.decide.asking import FROM_STAGE, asking_for, step_slot
from transforms.decide.decide import replay
from transforms.decide.rules import PolicySet

SAME, DIFFERENT, IMPOSSIBLE = "same", "different", "impossible"

_COMPARED = ("chosen", "channel", "reason", "propensity")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Replayed:
    """``verdict`` is one of the three words above; ``detail`` says what differs, or why it cannot be told."""

    verdict: str
    detail: str


def replayed(row: Row, policies: PolicySet) -> Replayed:
    """Decide again from a row of ``decisions``, and compare the answers."""
    record = record_of(row)
    try:
        record = replace(record, slot=_slot_of(record, policies))
        again = replay(record, policies)
    except CheckFailedError as error:
        return Replayed(IMPOSSIBLE, f"{error.message}; {error.hint}" if error.hint else error.message)
    told = [
        f"{name} was {getattr(record, name)}, would be {getattr(again, name)}"
        for name in _COMPARED
        if getattr(record, name) != getattr(again, name)
    ]
    then = {candidate.name: candidate for candidate in record.candidates}
    for candidate in again.candidates:
        before = then.get(candidate.name)
        if before != candidate:
            fate = before.dropped_by or "chosen" if before else "missing"
            told.append(f"{candidate.name} was {fate}, would be {candidate.dropped_by or 'chosen'}")
    if told:
        return Replayed(DIFFERENT, "; ".join(told))
    return Replayed(SAME, f"{again.chosen} is chosen again, and every candidate fares as recorded")


def record_of(row: Row) -> Decision:
    """The decision that a row of ``decisions`` records; the slot is not filled in."""
    candidates = tuple(Candidate(**candidate) for candidate in row["candidates"])
    chosen = next((candidate for candidate in candidates if candidate.dropped_by is None), None)
    return Decision(
        decision_id=row["decision_id"],
        person_id=row["person_id"],
        anchor_strand=row["anchor_strand"],
        at=(row["at"] - _EPOCH) // timedelta(microseconds=1),
        slot="",
        trigger=row["trigger"],
        stage=row["stage"],
        chosen=row["chosen"],
        channel=row["channel"],
        template=chosen.action if chosen else None,
        plan=row["plan"],
        plan_step=row["plan_step"],
        candidates=candidates,
        reason=row["reason"],
        policy_version=row["policy_version"],
        model_version=row["model_version"],
        ontology_version=row["ontology_version"],
        propensity=row["propensity"],
        features=row["features"],
        facts=row["facts"],
        consent=row["consent"],
        session_id=row["session_id"],
    )


def _slot_of(record: Decision, policies: PolicySet) -> str:
    """The slot is no column; it is the one whose candidates the record lists. Raises CheckFailedError for none."""
    if record.policy_version != policies.version:
        return ""
    if record.plan is not None and record.plan_step is not None:
        return step_slot(record.plan, record.plan_step)
    before = record.facts.get(FROM_STAGE)
    asked = asking_for(policies, record.trigger, record.stage, None if before is None else str(before))
    listed = [candidate.name for candidate in record.candidates]
    for slot in asked.slots:
        if [entry.rule.name for entry in slot.entries] == listed:
            return slot.name
    raise CheckFailedError(f"no slot of policy {policies.version} has the candidates that the record lists")
