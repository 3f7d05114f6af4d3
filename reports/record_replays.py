"""Whether what an output folder decided follows from its own records: how decisions, actions and labels are compared.

What is decided depends on what was known when, so two ways to the same tables decide differently, and both may be
right. Each is right if every decision, made again from its record, comes out the same, every action does what its
decision says, and every label says of its decision what was done.

No Beam. Input: an output folder, its tables' contracts, and the policies in force. Output: ``RecordReplays``. Errors:
``OutputError`` for what is no output folder. State: one connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from contracts.tables import ACTIONS, DECISIONS, LABELS, Table
from reports.lookup import JourneyTables, Row
from reports.replaying import DIFFERENT, IMPOSSIBLE, SAME, record_of, replayed
from transforms.actions import NOTHING, action_id_of
from transforms.decide.rules import PolicySet
from transforms.labels import POLICY, as_done, as_meant


@dataclass(frozen=True, slots=True)
class RecordReplays:
    """Numbers of records that came out the same, of decisions that cannot be made again, and what is wrong, in words.

    A decision cannot be made again when another version of the policies made it.
    """

    decisions: int = 0
    actions: int = 0
    labels: int = 0
    impossible: int = 0
    wrong: tuple[str, ...] = field(default=())


def replay_records(out: Path, tables: Sequence[Table], policies: PolicySet) -> RecordReplays:
    """Make every decision again, and hold actions and labels against them."""
    known = JourneyTables(out, tables)
    try:
        decisions: dict[str, Row] = {row["decision_id"]: row for row in known.rows(DECISIONS.name, "TRUE")}
        actions = known.rows(ACTIONS.name, "TRUE")
        labels = known.rows(LABELS.name, "origin = ?", [POLICY])
    finally:
        known.close()
    wrong: list[str] = []
    verdicts = {SAME: 0, DIFFERENT: 0, IMPOSSIBLE: 0}
    for name, row in decisions.items():
        found = replayed(row, policies)
        verdicts[found.verdict] += 1
        if found.verdict == DIFFERENT:
            wrong.append(f"decision {name}: {found.detail}")
    statuses: dict[str, str] = {}
    right = 0
    for action in actions:
        statuses[action["decision_id"]] = action["status"]
        told = _action(action, decisions.get(action["decision_id"]))
        wrong += [f"action {action['action_id']}: {told}"] if told else []
        right += not told
    labelled = 0
    for label in labels:
        decision = decisions.get(label["decision_id"])
        told = _label(label, decision, statuses.get(label["decision_id"]))
        wrong += [f"label of decision {label['decision_id']}: {told}"] if told else []
        labelled += not told
    return RecordReplays(verdicts[SAME], right, labelled, verdicts[IMPOSSIBLE], tuple(wrong))


def _action(action: Row, row: Row | None) -> str:
    """What is wrong with an action; nothing if it is right."""
    if row is None:
        return f"no decision {action['decision_id']} is known"
    decision = record_of(row)
    nothing = decision.chosen == NOTHING or decision.channel is None
    channel = NOTHING if nothing or decision.channel is None else decision.channel
    template = "" if nothing else decision.template or decision.chosen
    expected = {
        "action_id": action_id_of(decision.decision_id, channel),
        "channel": channel,
        "template": template,
    }
    return _differing(action, expected)


def _label(label: Row, row: Row | None, status: str | None) -> str:
    """What is wrong with a label; nothing if it is right."""
    if row is None:
        return "the decision is not known"
    done = as_done(as_meant(record_of(row)), status)
    told = _differing(label, {"arm": done.arm, "propensity": done.propensity, "decided_at": row["at"]})
    if not label["decided_at"] < label["at"] <= label["matured_at"]:
        told += f"; its outcome at {label['at']} is not between {label['decided_at']} and {label['matured_at']}"
    return told


def _differing(row: Row, expected: Row) -> str:
    return "; ".join(
        f"{name} is {row[name]}, should be {value}" for name, value in expected.items() if row[name] != value
    )
