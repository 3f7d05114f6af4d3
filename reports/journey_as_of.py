"""A person's journey as it was known at a time: folded again from the events that had been received by then.

Input: ``History`` of the events known by then, the ontologies in force, a model as a port, and the recorded decisions.
Output: ``JourneyThen``, equal to what a run over only those events states. Units: UTC microseconds, event time; what is
known is said by received time. Errors: ``InputError`` for who was nobody then. State: none.

Decisions are never made again: shown are the recorded ones whose moment the journey had as it was known then, with what
had become of them by then.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from contracts.errors import InputError
from contracts.event import Identifier
from contracts.exchange import Outcome, Session, Transition
from features.journey_features import FEATURE_NAMES
from reports.history import History
from reports.lookup import JourneyTables, Row
from reports.rendering import moment
from transforms.identity.resolve import EdgeRow, IdentifierRow
from transforms.journey.dated import DatedOntologies, machinery
from transforms.journey.functions import FUNCTIONS
from transforms.journey.journey_rows import journey_row
from transforms.journey.worker import Score
from transforms.tables import rows

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class DecisionThen:
    """A recorded decision and what had become of it: the row, its action's status, what came back."""

    decision: Row
    status: str
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True)
class JourneyThen:
    """A journey as it was known at ``horizon``.

    Attributes:
        journey: the row of ``journeys``. sessions, transitions: in order.
        features: at the latest point, ``features_at``.
        identifiers, edges: who the person was, and the evidence, accepted and not.
        decisions: in order.
    """

    person_id: str
    horizon: int
    journey: rows.Row
    stage: str
    since: int
    confidence: float
    decided_by: str
    ontology_version: str
    model_version: str | None
    events: int
    sessions: tuple[Session, ...]
    transitions: tuple[Transition, ...]
    features: dict[str, float]
    features_at: int
    identifiers: tuple[IdentifierRow, ...]
    edges: tuple[EdgeRow, ...]
    decisions: tuple[DecisionThen, ...]


def person_then(history: History, asked: str, strands: Iterable[str]) -> str:
    """Who somebody was then: the id itself, or else the one person who had any of the strands.

    Args:
        history: of what was known then.
        asked: a person's id.
        strands: those of the person by what is known now.

    Raises:
        InputError: nobody had them, or several persons did.
    """
    if asked in history.persons:
        return asked
    wanted = set(strands)
    found = [person for person, events in history.persons.items() if any(strand in wanted for _, strand in events)]
    if not found:
        raise InputError(f"nothing was known of {asked} then", hint="ask for a later time")
    if len(found) > 1:
        raise InputError(
            f"{asked} was not one person then, but {len(found)}: {', '.join(found)}", hint="ask for one of them"
        )
    return found[0]


def journey_then(
    history: History,
    person: str,
    horizon: int,
    ontologies: DatedOntologies,
    lateness: int,
    score: Score | None,
    tables: JourneyTables | None = None,
) -> JourneyThen:
    """A person's journey by the events of a history.

    Args:
        history: of what was known then.
        person: one of it.
        horizon: up to which time goes on; not before the latest event.
        ontologies: which is in force when.
        lateness: microseconds.
        score: the models in force; None for rules alone.
        tables: where the recorded decisions are; None for none.
    """
    fold, paths = machinery(ontologies, FUNCTIONS, lateness)
    given = history.of(person)
    trace = fold.trace(person, given, horizon)
    versions, found = (None, None) if score is None else _scored(trace.points, score)
    path = paths.stage_path(trace, found, versions)
    last, standing, ontology = trace.points[-1], path.standing, ontologies.at(horizon)
    identifiers = tuple(row for row in history.identity.identifiers() if row.person_id == person)
    own = {Identifier(row.namespace, row.value) for row in identifiers}
    instants = {point.at for point in trace.points} | {move.at for move in path.transitions}
    strands = sorted({strand for _, strand in given})
    return JourneyThen(
        person,
        horizon,
        journey_row(ontology, person, last, standing, path.intents, path.signals, horizon),
        ontology.stage_names[standing.stage],
        standing.since,
        standing.confidence,
        standing.decided_by,
        ontology.version,
        standing.model_version,
        len(trace.steps),
        trace.sessions,
        path.transitions,
        dict(zip(FEATURE_NAMES, last.vector, strict=True)),
        last.at,
        identifiers,
        tuple(edge for edge in history.identity.edges() if edge.left in own or edge.right in own),
        () if tables is None else _decisions(tables, strands, instants, horizon, trace.outcomes),
    )


def _scored(points: Any, score: Score) -> tuple[Any, Any]:
    times = np.array([point.at for point in points], dtype=np.int64)
    return score(times, np.array([point.vector for point in points], dtype=np.float64))


def _decisions(
    tables: JourneyTables, strands: list[str], instants: set[int], horizon: int, outcomes: tuple[Outcome, ...]
) -> tuple[DecisionThen, ...]:
    made = [
        row
        for row in tables.rows("decisions", "anchor_strand = ANY(?)", [strands], order='"at", decision_id')
        if (at := _micros(row["at"])) <= horizon and (row["trigger"] == "step" or at in instants)
    ]
    ids = [row["decision_id"] for row in made]
    actions = {row["decision_id"]: row for row in tables.rows("actions", "decision_id = ANY(?)", [ids])} if ids else {}
    told = []
    for row in made:
        action = actions.get(row["decision_id"])
        status = "nothing to do" if row["channel"] is None else "no action by then"
        answers: tuple[Outcome, ...] = ()
        if action is not None and _micros(action["at"]) <= horizon:
            status = action["status"]
            answers = tuple(outcome for outcome in outcomes if outcome.action_id == action["action_id"])
        told.append(DecisionThen(row, status, answers))
    return tuple(told)


def _micros(at: datetime) -> int:
    return (at - moment(0)) // _MICROSECOND
