"""A journey as it was known at a time, in words and as values for JSON.

Input: ``JourneyThen``. Output: rich renderables for 100 columns, or plain values with ISO times. Errors, state: none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from contracts.exchange import SignalEvidence
from reports.journey_as_of import JourneyThen
from reports.rendering import clean, day, grid, heading, identifier, indented, moment, number, plural, second, text


def journey_values(then: JourneyThen) -> dict[str, Any]:
    """Everything, for JSON."""
    return {
        "person_id": then.person_id,
        "as_of": _iso(then.horizon),
        "stage": then.stage,
        "since": _iso(then.since),
        "confidence": round(then.confidence, 6),
        "decided_by": then.decided_by,
        "ontology_version": then.ontology_version,
        "model_version": then.model_version,
        "events": then.events,
        "identifiers": [
            {"namespace": row.namespace, "value": row.value, "first_seen": _iso(row.first_seen)}
            for row in then.identifiers
        ],
        "evidence": [
            {
                "left": ":".join(edge.left),
                "right": ":".join(edge.right),
                "kind": edge.kind,
                "status": edge.status,
                "rule": edge.rule,
                "first_event_id": edge.first_event_id,
                "first_time": _iso(edge.first_time),
            }
            for edge in then.edges
        ],
        "sessions": [
            {
                "session_id": session.session_id,
                "started_at": _iso(session.started_at),
                "ended_at": _iso(session.ended_at),
                "events": session.events,
                "channel": session.channel,
                "conversions": session.conversions,
            }
            for session in then.sessions
        ],
        "transitions": [
            {
                "at": _iso(move.at),
                "from_stage": move.from_stage,
                "to_stage": move.to_stage,
                "decided_by": move.decided_by,
                "confidence": round(move.confidence, 6),
                "reason": move.reason,
                "event_id": move.event_id,
                "session_id": move.session_id,
                "ontology_version": move.ontology_version,
                "model_version": move.model_version,
                "signals": [_signal(signal) for signal in move.signals],
            }
            for move in then.transitions
        ],
        "features": then.features,
        "features_at": _iso(then.features_at),
        "decisions": [
            {
                "decision_id": one.decision["decision_id"],
                "at": one.decision["at"].isoformat(),
                "chosen": one.decision["chosen"],
                "reason": one.decision["reason"],
                "status": one.status,
                "outcomes": [{"kind": outcome.kind, "at": _iso(outcome.at)} for outcome in one.outcomes],
            }
            for one in then.decisions
        ],
    }


def tell_journey(then: JourneyThen) -> Iterator[RenderableType]:
    """The whole journey, for a reader."""
    yield text(f"Person {then.person_id} as known at {second(moment(then.horizon))} UTC", "bold")
    yield text(
        f"{then.stage} since {day(moment(then.since))}, decided by {then.decided_by}, "
        f"confidence {then.confidence:.2f}; {plural(then.events, 'event')}, ontology {then.ontology_version}, "
        f"model {then.model_version or 'none, rules alone'}"
    )
    yield from heading("Who this was")
    for edge in then.edges:
        pair = f"{identifier(*edge.left)} - {identifier(*edge.right)}"
        yield indented(text(f"{pair}: {edge.status}, by rule {edge.rule}; event {edge.first_event_id}"))
    if not then.edges:
        yield indented(text("one identifier alone" if len(then.identifiers) == 1 else "no evidence links others"))
    yield from heading("Sessions")
    yield indented(
        grid(
            ("begin", "end", ">events", "channel"),
            [
                (day(moment(s.started_at)), day(moment(s.ended_at)), number(s.events), text(s.channel))
                for s in then.sessions
            ],
        )
    )
    yield from heading("Stages")
    for move in then.transitions:
        yield indented(
            text(f"{second(moment(move.at))}  {move.from_stage or 'begin'} to {move.to_stage}: {move.reason}")
        )
        for signal in move.signals:
            yield indented(text(f"{signal.signal} {signal.value:.2f}, event {signal.last_event_id}", "dim"), 4)
    yield from heading("Decisions")
    for one in then.decisions:
        answers = "".join(f", {outcome.kind}" for outcome in one.outcomes)
        row = one.decision
        yield indented(
            text(f"{second(row['at'])}  {clean(row['chosen'])} ({clean(row['reason'])}): {one.status}{answers}")
        )
    if not then.decisions:
        yield indented(Text("none by then"))
    yield from heading(f"Features at {second(moment(then.features_at))}")
    yield indented(grid(("feature", ">value"), [(name, number(value)) for name, value in then.features.items()]))


def _signal(signal: SignalEvidence) -> dict[str, Any]:
    return {"signal": signal.signal, "value": round(signal.value, 6), "event_id": signal.last_event_id}


def _iso(time: int) -> str:
    return moment(time).isoformat()
