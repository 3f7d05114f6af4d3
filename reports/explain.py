"""The story behind a person, an event or a decision, composed from the journey tables.

Input: ``JourneyTables``, an id, and the definitions in force. Output: ``PersonStory``, ``EventStory``,
``DecisionStory``: rows in order, with what belongs together found. Nothing is folded or decided anew, but for the
replay of a decision from its own record. Time domain: event time, aware UTC datetimes. State: none.
Errors: ``InputError`` for an id that OUT does not know, with the nearest thing to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from contracts.event import Identifier
from reports.lookup import JourneyTables, Row
from reports.replaying import Replayed, replayed
from reports.unknown import unknown_decision, unknown_event
from transforms.decide.asking import step_slot
from transforms.decide.decide import decision_id
from transforms.decide.rules import PolicySet
from transforms.identity.ids import strand_id
from transforms.journey.ontology import Ontology, Signal


@dataclass(frozen=True)
class Deed:
    """A decision with what followed: its action, what came back for the action, and its label."""

    decision: Row
    action: Row | None
    outcomes: tuple[Row, ...]
    label: Row | None


@dataclass(frozen=True)
class PersonStory:
    """Everything OUT holds about a person. ``asked`` says in words which id was asked for, if not the person's own.

    ``deeds`` are the policy's decisions; ``logged`` labels are of experiments run elsewhere. ``outcomes`` holds all,
    also those that answer no action of ours.
    """

    person_id: str
    asked: str
    person: Row
    journey: Row | None
    aliases: tuple[Row, ...]
    identifiers: tuple[Row, ...]
    edges: tuple[Row, ...]
    sessions: tuple[Row, ...]
    events: tuple[Row, ...]
    transitions: tuple[Row, ...]
    scores: tuple[Row, ...]
    deeds: tuple[Deed, ...]
    outcomes: tuple[Row, ...]
    logged: tuple[Row, ...]
    shared: tuple[SharedStrand, ...] = ()


@dataclass(frozen=True)
class SharedStrand:
    """A strand that several persons had in turn: of its ``events`` the person has ``own``, in [first, last].

    ``device`` names it (namespace, pseudonym), where any edge of the person does.
    """

    strand_id: str
    device: Identifier | None
    own: int
    events: int
    first: datetime
    last: datetime


@dataclass(frozen=True)
class EventStory:
    """What became of an event.

    Attributes:
        event: its row; None when it was not accepted.
        letters: dead letters and late expiries of this event id, without their payloads.
        unread: dead letters that could not be searched for it, for want of the key.
        place, of: which event of its session it is, from 1, and of how many.
        listening: signals that its behaviours may feed by the ontology the journey was folded with; empty for another.
        named: evidence that names it as the last event that fed a signal, with ``at`` and ``where``.
        moves: changes of stage that it made.
        edges: identity evidence that it was the first or the last to give.
        deeds: decisions made at it, and plan steps of plans it started.
        outcome, answered: what it reports and the decision it answers, for a receipt or a conversion.
    """

    event_id: str
    event: Row | None
    letters: tuple[Row, ...]
    unread: int
    session: Row | None
    place: int
    of: int
    journey: Row | None
    listening: tuple[Signal, ...]
    named: tuple[Row, ...]
    moves: tuple[Row, ...]
    edges: tuple[Row, ...]
    deeds: tuple[Deed, ...]
    outcome: Row | None
    answered: Deed | None
    logged: Row | None


@dataclass(frozen=True)
class DecisionStory:
    """A decision and what led to it and came of it.

    Attributes:
        person_id: who the person is by now; None when nothing of the person is left.
        asked_by: the event that asked for it (for a plan's step: that started the plan); None when time alone did.
        latest: the latest event of its strand before it.
        transition: the change of stage at its moment, if there was one.
    """

    deed: Deed
    person_id: str | None
    asked_by: Row | None
    latest: Row | None
    transition: Row | None
    session: Row | None
    replayed: Replayed


# --- person ---------------------------------------------------------------------------------------------------------


def explain_person(tables: JourneyTables, person_id: str, asked: str = "") -> PersonStory:
    """The story of a current person; ``reports.who`` finds the person behind any id."""
    person = tables.first("persons", "person_id = ?", [person_id]) or {}
    aliases = tables.aliases(person_id)
    family = [person_id, *(row["person_id"] for row in aliases)]
    events = tables.rows("events", "person_id = ?", [person_id], order="event_time, event_id")
    identifiers = tables.rows("identifiers", "person_id = ?", [person_id], order="first_seen, namespace, value")
    decisions = tables.decisions_of(person_id, family, {row["strand_id"] for row in events})
    outcomes = tables.rows("outcomes", "person_id = ?", [person_id], order='"at", outcome_id')
    edges = _edges_of(tables, identifiers)
    return PersonStory(
        person_id=person_id,
        asked=asked,
        person=person,
        journey=tables.first("journeys", "person_id = ?", [person_id]),
        aliases=tuple(aliases),
        identifiers=tuple(identifiers),
        edges=tuple(edges),
        sessions=tuple(tables.rows("sessions", "person_id = ?", [person_id], order="started_at, session_id")),
        events=tuple(events),
        transitions=tuple(
            tables.rows("transitions", "person_id = ?", [person_id], order='"at", from_stage IS NOT NULL')
        ),
        scores=tuple(tables.rows("scores", "person_id = ?", [person_id], order='"at"')),
        deeds=_deeds(tables, decisions, outcomes),
        outcomes=tuple(outcomes),
        logged=tuple(
            tables.rows("labels", "origin = 'logged' AND person_id = ?", [person_id], order="decided_at, decision_id")
        ),
        shared=tuple(_shared(tables, events, edges)),
    )


def _shared(tables: JourneyTables, events: Sequence[Row], edges: Sequence[Row]) -> Iterator[SharedStrand]:
    """Strands of which others have events too, in the order in which the person first had them."""
    own: dict[str, list[Row]] = {}
    for row in events:
        own.setdefault(row["strand_id"], []).append(row)
    named = {
        strand_id(device, None): device
        for row in edges
        for device in (
            Identifier(row["left_namespace"], row["left_value"]),
            Identifier(row["right_namespace"], row["right_value"]),
        )
    }
    counts = tables.counts("events", "strand_id", sorted(own))
    for strand, rows in own.items():
        if counts.get(strand, 0) > len(rows):
            yield SharedStrand(
                strand,
                named.get(strand),
                len(rows),
                counts[strand],
                rows[0]["event_time"],
                rows[-1]["event_time"],
            )


def _edges_of(tables: JourneyTables, identifiers: Sequence[Row]) -> list[Row]:
    """Every pair of which one end is the person's: also refused ones, which say why others are not."""
    own = {(row["namespace"], row["value"]) for row in identifiers}
    values = sorted({value for _, value in own})
    rows = tables.rows(
        "edges",
        "left_value = ANY(?) OR right_value = ANY(?)",
        [values, values],
        order="first_time, left_namespace, left_value, right_namespace, right_value",
    )
    return [
        row
        for row in rows
        if (row["left_namespace"], row["left_value"]) in own or (row["right_namespace"], row["right_value"]) in own
    ]


def _deeds(tables: JourneyTables, decisions: Sequence[Row], outcomes: Sequence[Row] | None = None) -> tuple[Deed, ...]:
    ids = [row["decision_id"] for row in decisions]
    if not ids:
        return ()
    actions = {row["decision_id"]: row for row in tables.rows("actions", "decision_id = ANY(?)", [ids])}
    labels = {row["decision_id"]: row for row in tables.rows("labels", "decision_id = ANY(?)", [ids])}
    if outcomes is None:
        answered = [row["action_id"] for row in actions.values()]
        outcomes = tables.rows("outcomes", "action_id = ANY(?)", [answered], order='"at", outcome_id')
    return tuple(
        Deed(
            decision=row,
            action=(action := actions.get(row["decision_id"])),
            outcomes=tuple(o for o in outcomes if action is not None and o["action_id"] == action["action_id"]),
            label=labels.get(row["decision_id"]),
        )
        for row in decisions
    )


# --- event ----------------------------------------------------------------------------------------------------------


def explain_event(
    tables: JourneyTables,
    event_id: str,
    ontology: Ontology,
    policies: PolicySet,
    letters: Sequence[Row] = (),
    unread: int = 0,
) -> EventStory:
    """The story of an event.

    Args:
        event_id: as its source gave it.
        ontology, policies: the definitions in force.
        letters: dead letters of this event, as ``reports.letters`` finds them.
        unread: how many dead letters could not be searched.

    Raises:
        InputError: OUT knows no such event.
    """
    event = tables.first("events", "event_id = ?", [event_id])
    if event is None and not letters:
        raise unknown_event(tables, event_id, unread)
    if event is None:
        return EventStory(
            event_id, None, tuple(letters), unread, None, 0, 0, None, (), (), (), (), (), None, None, None
        )
    person_id = event["person_id"]
    journey = tables.first("journeys", "person_id = ?", [person_id])
    transitions = tables.rows("transitions", "person_id = ?", [person_id], order='"at"')
    session = mates = None
    if event["session_id"] is not None:
        session = tables.first("sessions", "session_id = ?", [event["session_id"]])
        mates = tables.rows("events", "session_id = ?", [event["session_id"]], order="event_time, event_id")
    ids = [row["event_id"] for row in mates or ()]
    outcome = tables.first("outcomes", "outcome_id = ?", [event_id])
    return EventStory(
        event_id=event_id,
        event=event,
        letters=tuple(letters),
        unread=unread,
        session=session,
        place=ids.index(event_id) + 1 if event_id in ids else 0,
        of=len(ids),
        journey=journey,
        listening=_listening(ontology, journey, event["behaviours"] or ()),
        named=tuple(_naming(event_id, transitions, journey)),
        moves=tuple(row for row in transitions if row["evidence"].get("event_id") == event_id),
        edges=tuple(tables.rows("edges", "first_event_id = ? OR last_event_id = ?", [event_id, event_id])),
        deeds=_deeds(tables, _decisions_at(tables, event, policies)),
        outcome=outcome,
        answered=_answered(tables, event["action_id"]),
        logged=tables.first("labels", "origin = 'logged' AND decision_id = ?", [event["action_id"] or event_id]),
    )


def _listening(ontology: Ontology, journey: Row | None, behaviours: Sequence[str]) -> tuple[Signal, ...]:
    if journey is None or journey["ontology_version"] != ontology.version:
        return ()
    return tuple(signal for signal in ontology.signals if signal.behaviours.intersection(behaviours))


def _naming(event_id: str, transitions: Sequence[Row], journey: Row | None) -> list[Row]:
    found = [
        {**signal, "at": row["at"], "where": f"the move to {row['to_stage']}"}
        for row in transitions
        for signal in row["evidence"]["signals"]
        if signal["last_event_id"] == event_id
    ]
    if journey is not None:
        found += [
            {**signal, "at": journey["horizon"], "where": "where the journey stands"}
            for signal in journey["signals"]
            if signal["last_event_id"] == event_id
        ]
    return found


def _decisions_at(tables: JourneyTables, event: Row, policies: PolicySet) -> list[Row]:
    """Decisions whose id says that this event asked for them: an id is the hash of strand, event and slot."""
    ids = sorted(_ids_at(event, policies))
    return tables.rows("decisions", "decision_id = ANY(?)", [ids], order='"at", decision_id')


def _ids_at(event: Row, policies: PolicySet) -> set[str]:
    slots = [*policies.slots, *(step_slot(plan.name, n) for plan in policies.plans for n in range(len(plan.steps)))]
    return {decision_id(event["strand_id"], event["event_id"], slot) for slot in slots}


def _answered(tables: JourneyTables, action_id: str | None) -> Deed | None:
    action = tables.first("actions", "action_id = ?", [action_id]) if action_id is not None else None
    decision = tables.first("decisions", "decision_id = ?", [action["decision_id"]]) if action is not None else None
    return _deeds(tables, [decision])[0] if decision is not None else None


# --- decision -------------------------------------------------------------------------------------------------------


def explain_decision(tables: JourneyTables, asked: str, policies: PolicySet) -> DecisionStory:
    """The story of a decision, named by its own id or by that of its action.

    Raises:
        InputError: OUT knows no such decision.
    """
    row = tables.first("decisions", "decision_id = ?", [asked])
    if row is None:
        action = tables.first("actions", "action_id = ?", [asked])
        row = tables.first("decisions", "decision_id = ?", [action["decision_id"]]) if action is not None else None
    if row is None:
        raise unknown_decision(tables, asked)
    before = tables.rows(
        "events", "strand_id = ? AND event_time <= ?", [row["anchor_strand"], row["at"]], order="event_time, event_id"
    )
    latest = before[-1] if before else None
    person_id = latest["person_id"] if latest is not None else tables.current_person(row["person_id"])
    return DecisionStory(
        deed=_deeds(tables, [row])[0],
        person_id=person_id,
        asked_by=next((event for event in reversed(before) if row["decision_id"] in _ids_at(event, policies)), None),
        latest=latest,
        transition=tables.first("transitions", 'person_id = ? AND "at" = ?', [person_id, row["at"]]),
        session=tables.first("sessions", "session_id = ?", [row["session_id"]]) if row["session_id"] else None,
        replayed=replayed(row, policies),
    )
