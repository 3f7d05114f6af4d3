"""Rows of ``events`` and ``journeys``, as both hosts of the journey stage state them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from contracts.exchange import SignalEvidence
from transforms.journey.facts import place_of
from transforms.journey.fold import Point, Step
from transforms.journey.ontology import Ontology
from transforms.journey.stages import Standing
from transforms.tables import rows
from transforms.validate import FLAGS_PROPERTY

_EVENTS, _SESSIONS, _CONVERSIONS = place_of("events"), place_of("sessions"), place_of("conversions")


def event_row(person_id: str, step: Step) -> rows.Row:
    """``events``."""
    event, strand_id, meaning, session_id, _, _ = step
    flags = event.properties.get(FLAGS_PROPERTY)
    return (
        event.event_id,
        event.name,
        event.event_time,
        event.received_time,
        event.source,
        event.channel,
        person_id,
        strand_id,
        session_id,
        event.correlation_id,
        event.action_id,
        rows.json_names(meaning.behaviours),
        event.context.path,
        event.device_class,
        rows.json_names(tuple(flags.split(","))) if isinstance(flags, str) and flags else "[]",
    )


def journey_row(
    ontology: Ontology,
    person_id: str,
    last: Point,
    standing: Standing,
    intents: Mapping[str, float],
    signals: Iterable[SignalEvidence],
    horizon: int,
) -> rows.Row:
    """``journeys``; ``last`` is the last point, the others are as of the horizon."""
    facts = last.facts
    return (
        person_id,
        ontology.stage_names[standing.stage],
        standing.since,
        round(standing.confidence, 6),
        standing.decided_by,
        facts[_EVENTS],
        facts[_SESSIONS],
        facts[_CONVERSIONS],
        rows.json_text({name: round(value, 6) for name, value in intents.items()}),
        rows.json_text(rows.signal_values(signals)),
        rows.json_text(last.consent),
        ontology.version,
        standing.model_version,
        horizon,
    )
