"""Rows of ``events`` and ``journeys``, and what made a row of ``features``, as both hosts state them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from contracts.exchange import SignalEvidence
from features.journey_features import FEATURE_VERSION
from features.provenance import code_version
from transforms.journey.facts import place_of
from transforms.journey.fold import Point, Step
from transforms.journey.ontology import Ontology
from transforms.journey.stages import Standing
from transforms.tables import rows
from transforms.validate import FLAGS_PROPERTY

_EVENTS, _SESSIONS, _CONVERSIONS = place_of("events"), place_of("sessions"), place_of("conversions")

_MADE_BY = (FEATURE_VERSION, code_version())


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


def feature_provenance(steps: Sequence[Step], point: Point) -> rows.Row:
    """The columns of ``features`` that say what made the row, in the order of ``features.provenance.PROVENANCE``.

    Args:
        steps: the events of the journey.
        point: its evaluation point.
    """
    return (point.made_of, steps[point.event].event.event_id, point.checksum, *_MADE_BY)
