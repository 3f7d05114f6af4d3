"""What each table and view is to whom asks it: facts and dimensions, and what refers to what. Pure; no Beam.

``ROLES`` says of every name what kind of table it is; its grain is what its doc says a row is, its key is declared with
it. ``REFERENCES`` are the columns that hold the key of another table. Most are tested after each run
(``transforms.tables.data_tests``); ``loose`` ones say why the row that they name may be missing. Errors: none. State:
none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FACT, DIMENSION, BRIDGE, SUMMARY, LOG = "fact", "dimension", "bridge", "summary", "log"
MEANINGS: Mapping[str, str] = {
    FACT: "what happened or was measured: to be counted, added up and joined to dimensions",
    DIMENSION: "what facts are told by",
    BRIDGE: "which rows of two tables belong together",
    SUMMARY: "facts already counted, a row a value of its dimensions",
    LOG: "how the numbers came about: for looking things up, not for counting customers",
}
ROLES: Mapping[str, str] = {
    "events": FACT,
    "sessions": FACT,
    "device_sessions": FACT,
    "persons": DIMENSION,
    "identifiers": BRIDGE,
    "edges": LOG,
    "journeys": FACT,
    "transitions": FACT,
    "features": FACT,
    "scores": FACT,
    "decisions": FACT,
    "actions": FACT,
    "outcomes": FACT,
    "labels": FACT,
    "dead_letters": LOG,
    "expired_late": LOG,
    "run_ledger": LOG,
    "dim_stage": DIMENSION,
    "dim_date": DIMENSION,
    "dim_channel": DIMENSION,
    "dim_campaign": DIMENSION,
    "conversions": FACT,
    "touchpoints": BRIDGE,
    "attribution": FACT,
    "stage_history": DIMENSION,
    "funnel": SUMMARY,
    "stage_conversion": SUMMARY,
    "retention": SUMMARY,
    "time_to_map": FACT,
    "responses": FACT,
    "channel_consistency": FACT,
    "attributed_value": FACT,
}


@dataclass(frozen=True, slots=True)
class Reference:
    """``column`` of ``table`` holds the key of a row of ``other``, whose key is the column ``there``.

    ``loose``: why that row may be missing all the same; empty for a reference that always leads somewhere. ``where``:
    of which rows it is asked, all by default. Null leads nowhere and need not.
    """

    table: str
    column: str
    other: str
    there: str
    where: str = ""
    loose: str = ""


_KEPT = "what was decided later than what was erased of its person is kept"
_FOREIGN = "an event may answer an action that another system decided"


def _to(other: str, there: str, *columns: str, loose: str = "") -> tuple[Reference, ...]:
    parted = (column.split(".") for column in columns)
    return tuple(Reference(table, column, other, there, loose=loose) for table, column in parted)


REFERENCES: tuple[Reference, ...] = (
    *_to(
        "persons",
        "person_id",
        *(f"{table}.person_id" for table in ("events", "sessions", "device_sessions", "identifiers", "journeys")),
        *("persons.merged_into", "outcomes.person_id", "labels.person_id", "conversions.person_id"),
        *("touchpoints.person_id", "attribution.person_id"),
    ),
    *_to("persons", "person_id", "decisions.person_id", "actions.person_id", loose=_KEPT),
    *_to(
        "journeys",
        "person_id",
        *(f"{table}.person_id" for table in ("transitions", "features", "scores", "stage_history", "time_to_map")),
        *("responses.person_id", "channel_consistency.person_id"),
    ),
    *_to(
        "sessions",
        "session_id",
        *(f"{table}.session_id" for table in ("events", "device_sessions", "transitions", "stage_history")),
        *("conversions.session_id", "touchpoints.session_id", "attribution.session_id"),
    ),
    *_to("sessions", "session_id", "decisions.session_id", loose="late events may have joined it to another"),
    *_to("events", "event_id", "edges.first_event_id", "edges.last_event_id", "features.last_event_id"),
    *_to("events", "event_id", "outcomes.outcome_id"),
    *_to("actions", "action_id", "events.action_id", "outcomes.action_id", "conversions.action_id", loose=_FOREIGN),
    *_to("decisions", "decision_id", "actions.decision_id"),
    Reference("labels", "decision_id", "decisions", "decision_id", where="origin = 'policy'"),
    *_to("outcomes", "outcome_id", "conversions.conversion_id"),
    *_to(
        "conversions",
        "conversion_id",
        *(f"{table}.conversion_id" for table in ("touchpoints", "attribution", "attributed_value")),
    ),
    *_to("dim_stage", "stage", "journeys.stage", "transitions.from_stage", "transitions.to_stage"),
    *_to("dim_stage", "stage", "stage_history.stage", "stage_history.came_from", "stage_history.went_to"),
    *_to("dim_stage", "stage", "funnel.stage", "stage_conversion.stage", "responses.stage"),
    *_to("dim_stage", "stage", "decisions.stage", loose="an ontology of its time may have had other stages"),
    *_to("dim_date", "day", "funnel.day"),
    *_to("dim_channel", "channel", *(f"{table}.channel" for table in ("sessions", "touchpoints", "attribution"))),
    *_to("dim_channel", "channel", "attributed_value.channel"),
    *_to("dim_campaign", "campaign", *(f"{table}.campaign" for table in ("sessions", "touchpoints", "attribution"))),
    *_to("dim_campaign", "campaign", "attributed_value.campaign"),
)
