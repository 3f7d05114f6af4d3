"""The journey tables: names, keys, columns, types and what they mean. A contract with everyone who queries them.

``docs/tables.md`` is generated from here and a test keeps both equal. Each physical row also carries the columns of
``META``; views show, per key, the row of the greatest (sequence, revision), and hide it when it is deleted. Ids are
text, times UTC timestamps with microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

TEXT, TIME, INT, REAL, BOOL, JSON, BLOB = "text", "timestamp", "int", "real", "bool", "json", "blob"


@dataclass(frozen=True, slots=True)
class Column:
    """``kind`` is one of the constants above; JSON is text that holds JSON."""

    name: str
    kind: str
    doc: str


@dataclass(frozen=True, slots=True)
class Table:
    """One table.

    ``key`` names the columns that identify a row among its revisions; ``ties`` those whose least value (of a column
    named with a minus, whose greatest) shows where one revision states a key twice (one event_id sent for two devices,
    docs/adr/0007), so that no order of files matters.

    ``refolded`` tables are a pure function of the events: a run states them whole, and what it no longer states is
    deleted. The others keep what happened (decisions, dead letters): rows are added or revised, never taken back.

    ``facets``: columns that part the statements about one key into independent ones, each with its newest row; what is
    shown is the first by ``ties`` of those not deleted. Identity says of each id whose alias it is, if any, a journey
    whether it is a person: neither knows of the other. With each, its value in a deleted row that leaves it null.

    ``final_by`` says when a row is final: ``NEVER``, ``AT_ONCE``, or the name of the column whose time must lie further
    before the horizon than the lateness bound. ``closes``: only when, counted from that time, the silence that ends a
    session is over too. A bounded run states it with the row; of rows of a stream the views tell it from the horizon.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    doc: str
    refolded: bool = True
    ties: tuple[str, ...] = ()
    final_by: str = ""
    closes: bool = False
    facets: tuple[tuple[str, bool], ...] = ()

    @property
    def statement(self) -> tuple[str, ...]:
        """The columns that identify a row among those that replace each other: the key and the facets."""
        return (*self.key, *(name for name, _ in self.facets))

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


NEVER, AT_ONCE = "", "*"
"""Values of ``Table.final_by`` that name no column."""

META = (
    Column("revision", INT, "Grows with every correction of the row of this key."),
    Column("is_final", BOOL, "No late event can change the row any more; identity still may."),
    Column("is_deleted", BOOL, "The key vanished: a tombstone."),
    Column("sequence", INT, "Who of two that state the row has it: goes before the revision; null counts as 0."),
)
HIDDEN = ("is_deleted", "sequence")
"""What views do not show."""


def _c(name: str, kind: str, doc: str) -> Column:
    return Column(name, kind, doc)


EVENTS = Table(
    "events",
    ("event_id",),
    (
        _c("event_id", TEXT, "Id of the event, as its source gave it."),
        _c("name", TEXT, "What happened."),
        _c("event_time", TIME, "When it happened."),
        _c("received_time", TIME, "When it was received."),
        _c("source", TEXT, "System it came from."),
        _c("channel", TEXT, "Where the customer was."),
        _c("person_id", TEXT, "Person it belongs to, as identity stands now."),
        _c("strand_id", TEXT, "Strand it belongs to."),
        _c("session_id", TEXT, "Session it belongs to; null for events that are no behaviour, such as receipts."),
        _c("correlation_id", TEXT, "Business transaction it belongs to, if stated."),
        _c("action_id", TEXT, "Action it answers, if any."),
        _c("behaviours", JSON, "Behaviours of the ontology that it shows."),
        _c("path", TEXT, "Path of the page or name of the screen."),
        _c("device_class", TEXT, "Class of the device."),
        _c("flags", JSON, "What validation noticed without rejecting it, e.g. unknown_name."),
    ),
    "One row an accepted event.",
    ties=("strand_id",),
    final_by="event_time",
)
_SESSION = (
    _c("started_at", TIME, "Time of its first event."),
    _c("ended_at", TIME, "Time of its last event; the gap that closed it is not part of it."),
    _c("events", INT, "Events in it."),
    _c("entry_page", TEXT, "Path of the first event that has one."),
    _c("exit_page", TEXT, "Path of the last event that has one."),
    _c("channel", TEXT, "Channel of its first event."),
    _c("device", TEXT, "Device class of the first event that states one."),
    _c("campaign", TEXT, "Campaign name of the first event that states one."),
    _c("tracker_session_id", TEXT, "The tracker's own session id, of the first event that states one."),
    _c("conversions", INT, "Conversions in it."),
    _c("duration", REAL, "Seconds from its first to its last event."),
    _c("channels", JSON, "Channel to the number of its events there."),
    _c("views", INT, "Views of a page or screen."),
    _c("bounced", BOOL, "Not engaged, as docs/sessions.md has it: too short, too few views, and no conversion."),
    _c("engaged_time", REAL, "Seconds of engaged time, from heartbeats or as stated by events; null: nothing told."),
)
SESSIONS = Table(
    "sessions",
    ("session_id",),
    (
        _c("session_id", TEXT, "Hash of the strand of its first event and that event's id."),
        _c("person_id", TEXT, "Person."),
        *_SESSION,
        _c("strands", INT, "Strands that took part; more than one is a session across devices, or across a login."),
        _c("tracker_sessions", INT, "Tracker sessions inside: how many ids its events state."),
    ),
    "One row a session of a person, across devices.",
    final_by="ended_at",
    closes=True,
)
DEVICE_SESSIONS = Table(
    "device_sessions",
    ("device_session_id",),
    (
        _c("device_session_id", TEXT, "Hash of its strand and of the id of its first event."),
        _c("person_id", TEXT, "Person."),
        _c("strand_id", TEXT, "Strand whose session it is."),
        _c("number", INT, "Place among the sessions of its strand that the person has, from 1."),
        _c("session_id", TEXT, "Session of the person in which it began."),
        *_SESSION,
        _c("tracker_sessions", INT, "Tracker sessions inside: how many ids its events state."),
    ),
    "One row a session of one strand of a person, whatever its other devices did.",
    final_by="ended_at",
    closes=True,
)
PERSONS = Table(
    "persons",
    ("person_id",),
    (
        _c("person_id", TEXT, "Canonical id of an identifier; the anchor's is the person's."),
        _c("first_seen", TIME, "First event of the person (of the identifier, for an id that is no person)."),
        _c("last_seen", TIME, "Last event of the person (of the identifier, for an id that is no person)."),
        _c("is_current", BOOL, "False for an id that is no person, or none any more: see merged_into."),
        _c("merged_into", TEXT, "The person an alias stands for; null for a person, and for an id of no events."),
    ),
    "One row a person, one an alias, one an id that stands for nobody; an id ever shown is here.",
    # a device that is carried forward is an alias, unless events between two logins make it a person too
    ties=("-is_current",),
    facets=(("is_current", True),),
)
IDENTIFIERS = Table(
    "identifiers",
    ("namespace", "value"),
    (
        _c("namespace", TEXT, "Kind of identifier."),
        _c("value", TEXT, "Pseudonym of the identifier."),
        _c("person_id", TEXT, "Person who holds it; for a shared device the owner of its login-less events."),
        _c("first_seen", TIME, "First event with it."),
        _c("last_seen", TIME, "Last event with it."),
    ),
    "One row an identifier.",
)
EDGES = Table(
    "edges",
    ("left_namespace", "left_value", "right_namespace", "right_value", "kind"),
    (
        _c("left_namespace", TEXT, "Kind of the login, or of the primary identifier."),
        _c("left_value", TEXT, "Its pseudonym."),
        _c("right_namespace", TEXT, "Kind of the other identifier."),
        _c("right_value", TEXT, "Its pseudonym."),
        _c("kind", TEXT, "What its events say: seen (together), alias, merge or unlink."),
        _c("accepted", BOOL, "Whether the edge holds its ends together."),
        _c("status", TEXT, "accepted, refused, removed (by an unlink) or barred (would join an unlinked pair)."),
        _c("rule", TEXT, "Rule that accepted or refused it."),
        _c("conflict", TEXT, "Identifier that stood against it, as namespace:pseudonym, if one did."),
        _c("first_time", TIME, "First event that shows both."),
        _c("first_event_id", TEXT, "That event."),
        _c("last_time", TIME, "Last event that shows both."),
        _c("last_event_id", TEXT, "That event."),
        _c("received_time", TIME, "When the first evidence was received."),
        _c("rules_version", TEXT, "Identity rules in force."),
    ),
    "One row a pair of identifiers and what its events say of it: the ledger of identity.",
)
JOURNEYS = Table(
    "journeys",
    ("person_id",),
    (
        _c("person_id", TEXT, "Person."),
        _c("stage", TEXT, "Stage at the horizon of the run."),
        _c("since", TIME, "When the stage was entered."),
        _c("confidence", REAL, "0 to 1: how sure the deciding side was at the last evaluation."),
        _c("decided_by", TEXT, "rules or model."),
        _c("events", INT, "Events of the journey."),
        _c("sessions", INT, "Sessions of the journey."),
        _c("conversions", INT, "Conversions of the journey."),
        _c("intents", JSON, "Intent score of each stage at the horizon."),
        _c("signals", JSON, "Signals with their decayed values at the horizon."),
        _c("consent", JSON, "Purpose to granted: the newest statement; most restrictive where statements tie."),
        _c("ontology_version", TEXT, "Ontology in force."),
        _c("model_version", TEXT, "Model in force, if any."),
        _c("horizon", TIME, "Event time up to which the journey was folded."),
    ),
    "One row a person: where the journey stands.",
)
TRANSITIONS = Table(
    "transitions",
    ("person_id", "at", "to_stage"),
    (
        _c("person_id", TEXT, "Person."),
        _c("from_stage", TEXT, "Stage left; null at the start of the journey."),
        _c("to_stage", TEXT, "Stage entered."),
        _c("at", TIME, "Event time of the move; for a move made by time alone its computed instant."),
        _c("session_id", TEXT, "Session it happened in; null for a move made by time alone."),
        _c("decided_by", TEXT, "rules or model."),
        _c("evidence", JSON, "Signals with decayed weights, the event, reason, confidence and versions."),
    ),
    "One row a change of stage.",
    final_by="at",
)
DECISIONS = Table(
    "decisions",
    ("decision_id",),
    (
        _c("decision_id", TEXT, "Hash of anchor strand, evaluation point and policy slot."),
        _c("person_id", TEXT, "Person at the time of the decision."),
        _c("at", TIME, "Evaluation point."),
        _c("trigger", TEXT, "transition, session or step."),
        _c("chosen", TEXT, "Name of the chosen candidate, or nothing."),
        _c("candidates", JSON, "Every candidate and the rule that dropped it."),
        _c("reason", TEXT, "Why this was chosen, in words."),
        _c("policy_version", TEXT, "Policy in force."),
        _c("model_version", TEXT, "Model that scored the point, if any."),
        _c("propensity", REAL, "Probability with which the policy would choose this here."),
        _c("slot", TEXT, "Policy slot: one decision a moment and slot."),
        _c("stage", TEXT, "Stage at the time."),
        _c("channel", TEXT, "Channel of the chosen candidate."),
        _c("plan", TEXT, "Plan it belongs to, if any."),
        _c("plan_step", INT, "Step of that plan, from 0."),
        _c("anchor_strand", TEXT, "Strand whose event triggered it."),
        _c("session_id", TEXT, "Session it happened in, if any."),
        _c("ontology_version", TEXT, "Ontology in force."),
        _c("features", JSON, "The features it saw."),
        _c("facts", JSON, "The journey facts it saw."),
        _c("consent", JSON, "The consent it saw."),
    ),
    "One row a decision, also for doing nothing.",
    refolded=False,
    final_by=AT_ONCE,
)
ACTIONS = Table(
    "actions",
    ("action_id",),
    (
        _c("action_id", TEXT, "Hash of decision and channel."),
        _c("decision_id", TEXT, "Decision it carries out."),
        _c("channel", TEXT, "Channel."),
        _c("status", TEXT, "sent, suppressed, failed, pending, in_doubt."),
        _c("at", TIME, "Decision time for dry runs and suppressions, time of sending otherwise."),
        _c("person_id", TEXT, "Person at the time of sending."),
        _c("template", TEXT, "What was sent."),
        _c("reason", TEXT, "Why it was not sent, or what the channel answered."),
        _c("attempts", INT, "Sends tried."),
    ),
    "One row an action.",
    refolded=False,
)
OUTCOMES = Table(
    "outcomes",
    ("outcome_id",),
    (
        _c("outcome_id", TEXT, "Id of the event that reported it."),
        _c("action_id", TEXT, "Action it answers; null for a conversion that names none."),
        _c("kind", TEXT, "delivered, opened, clicked, converted, accepted, rejected, complained, unsubscribed."),
        _c("at", TIME, "Event time of the outcome."),
        _c("person_id", TEXT, "Person."),
        _c("value", REAL, "Value of a conversion, in the currency of the source, if stated."),
    ),
    "One row an outcome.",
    ties=("person_id", "at"),
    final_by="at",
)
LABELS = Table(
    "labels",
    ("decision_id",),
    (
        _c("decision_id", TEXT, "Decision, or the id of a logged one."),
        _c("outcome", TEXT, "converted, or none: an explicit negative."),
        _c("at", TIME, "Time of the outcome; of maturity for a negative."),
        _c("matured_at", TIME, "End of the maturity window."),
        _c("person_id", TEXT, "Person."),
        _c("arm", TEXT, "What was chosen."),
        _c("propensity", REAL, "Probability with which it was chosen."),
        _c("origin", TEXT, "policy or logged."),
        _c("decided_at", TIME, "Time of the decision."),
    ),
    "One row a matured decision.",
)
DEAD_LETTERS = Table(
    "dead_letters",
    ("dead_letter_id",),
    (
        _c("dead_letter_id", TEXT, "Keyed hash of stage, reason and payload."),
        _c("stage", TEXT, "Stage that rejected it."),
        _c("reason", TEXT, "Code from the closed list in docs/dead_letters.md."),
        _c("source", TEXT, "System or file it came from."),
        _c("schema_id", TEXT, "Fingerprint of the schema it claimed."),
        _c("at", TIME, "Received time; null for what states none, such as a damaged part of a file."),
        _c("detail", TEXT, "What exactly was wrong, without personal data."),
        _c("payload_schema", TEXT, "What the payload decrypts to: event, protected_event, raw or row."),
        _c("payload", BLOB, "The whole payload, encrypted."),
    ),
    "One row a rejected unit, whole and replayable.",
    refolded=False,
    final_by=AT_ONCE,
)
EXPIRED_LATE = Table(
    "expired_late",
    DEAD_LETTERS.key,
    DEAD_LETTERS.columns,
    "One row an event that came later than the lateness bound, whole.",
    refolded=False,
    final_by=AT_ONCE,
)
RUN_LEDGER = Table(
    "run_ledger",
    ("run_id", "source"),
    (
        _c("run_id", TEXT, "Run."),
        _c("source", TEXT, "Source as the events name it; of what could not be read, the file."),
        _c("received", INT, "Units the source handed out, counted there."),
        _c("accepted", INT, "New events in the tables."),
        _c("duplicate", INT, "Events already known."),
        _c("dead_lettered", INT, "Units in dead_letters."),
        _c("expired_late", INT, "Events in expired_late."),
        _c("erased", INT, "Events erased on request, every copy of them."),
        _c("after_horizon", INT, "Events after --as-of, left for a later run; not part of received."),
    ),
    "One row a run and source: received = accepted + duplicate + dead_lettered + expired_late + erased.",
    refolded=False,
    final_by=AT_ONCE,
)


def feature_tables(features: tuple[tuple[str, str, str], ...], stages: tuple[str, ...]) -> tuple[Table, Table]:
    """The two tables whose columns come from other declarations.

    Args:
        features: (name, kind, doc) of each feature, from ``features.journey_features``.
        stages: stage names, from the ontology.
    """
    return (
        Table(
            "features",
            ("person_id", "at"),
            (
                _c("person_id", TEXT, "Person."),
                _c("at", TIME, "Evaluation point."),
                _c("created", TIME, "Latest received time among the events used: when the row could first be known."),
                *(Column(name, kind, doc) for name, kind, doc in features),
            ),
            "One row an evaluation point: the feature vector.",
            final_by="at",
        ),
        Table(
            "scores",
            ("person_id", "at"),
            (
                _c("person_id", TEXT, "Person."),
                _c("at", TIME, "Evaluation point."),
                _c("model_version", TEXT, "Model that scored it."),
                *(Column(f"p_{stage}", REAL, f"Calibrated probability of stage {stage}.") for stage in stages),
            ),
            "One row a scored evaluation point.",
            final_by="at",
        ),
    )


FIXED_TABLES = (
    EVENTS,
    SESSIONS,
    DEVICE_SESSIONS,
    PERSONS,
    IDENTIFIERS,
    EDGES,
    JOURNEYS,
    TRANSITIONS,
    DECISIONS,
    ACTIONS,
    OUTCOMES,
    LABELS,
    DEAD_LETTERS,
    EXPIRED_LATE,
    RUN_LEDGER,
)
