"""What stages hand to each other, in the order of the way of an event.

Every class here is a frozen dataclass with a coder in ``contracts.coders`` and a schema in ``schemas/``. Times are
UTC microseconds in event time unless a field says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from contracts.construction import fast_init
from contracts.event import Event, Identifier

# --- source ------------------------------------------------------------------------------------------------------


@fast_init
@dataclass(frozen=True, slots=True)
class Received:
    """One unit handed out by a source: a decoded event, or bytes that are none.

    Exactly one of ``event`` and ``reason`` is set. ``payload`` is empty for a decoded file record; the validate stage
    encodes the event again should it have to reject it.
    """

    source: str
    schema_id: str
    event: Event | None = None
    payload: bytes = b""
    reason: str | None = None
    detail: str = ""


@fast_init
@dataclass(frozen=True, slots=True)
class Message:
    """A message of a topic as it came: what a dead letter keeps of one that is no event. Schema: ``message``.

    ``publish_time`` is the server's, the same at each delivery. The id of the message is left out: it says nothing
    that an event could use.
    """

    data: bytes
    attributes: dict[str, str]
    publish_time: int


# --- rejected ----------------------------------------------------------------------------------------------------


@fast_init
@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Something that could not go on, whole and replayable. Schema: ``dead_letter``.

    ``payload`` is encrypted from the moment this object exists; ``payload_schema`` says what it decrypts to:
    ``event`` (Avro binary of the newest event schema), ``raw`` (bytes as read), ``row`` (an importer's row as JSON).
    ``dead_letter_id`` is a keyed hash of stage, reason and payload, so that a second rejection of the same thing is
    the same dead letter. ``expired`` marks an event that came later than ``lateness``: its table is ``expired_late``.
    """

    dead_letter_id: str
    stage: str
    reason: str
    detail: str
    source: str
    schema_id: str
    at: int
    payload_schema: str
    payload: bytes
    expired: bool = False


@fast_init
@dataclass(frozen=True, slots=True)
class RejectedElement:
    """What the core of a streaming stage could not take: an element, or nothing when time was what it failed on.

    Schema: ``rejected_element``. ``during`` is ``handle``, ``advance``, ``poll`` or ``drain``; ``data`` the element as
    it came to the stage, empty for the other three. ``reason`` is the type of the exception.
    """

    stage: str
    shard: bytes
    during: str
    data: bytes
    reason: str
    detail: str


@fast_init
@dataclass(frozen=True, slots=True)
class LedgerCount:
    """``n`` events of a source met ``kind`` of fate. Kinds are the columns of the ``run_ledger`` table."""

    source: str
    kind: str
    n: int


# --- link and strand ---------------------------------------------------------------------------------------------


SEEN, ALIAS, MERGE, UNLINK = "seen", "alias", "merge", "unlink"
ERASED = "erased"
LINK_KINDS = (SEEN, ALIAS, MERGE, UNLINK, ERASED)
"""What an event says of two identifiers: it shows both; one is another name of the other; they are one person whatever
the evidence; they are not, until a merge says so. ``erased`` is no event's word but a tombstone: an earlier run erased
the events of ``left`` up to ``erase_before``; with a ``right``, a device, some of them had been done on it."""


@fast_init
@dataclass(frozen=True, slots=True)
class Link:
    """Two identifiers seen on one event, or one seen alone (``right`` is None), with its evidence.

    ``left`` is the login if the event names one, otherwise the primary identifier. The first evidence is the least
    (event_time, event_id), the last the greatest; two links of the same ends and kind merge by taking both.
    ``erase_before`` is set on the link of an erasure request: events of the person up to that time must go. ``kind`` is
    one of ``LINK_KINDS``.
    """

    left: Identifier
    right: Identifier | None
    first_time: int
    first_event_id: str
    last_time: int
    last_event_id: str
    received_time: int
    erase_before: int | None = None
    kind: str = SEEN


@fast_init
@dataclass(frozen=True, slots=True)
class Assignment:
    """To which person a strand belongs: a step function of event time.

    ``steps`` holds (from_time, person_id), ascending, the first from ``MIN_TIME``. ``sequence`` orders assignments of
    one strand. Events at or before ``erased_before`` are to be erased. ``carry``, of a login-less strand: its events
    belong to the login most recently seen on the device, which only the strand stage knows; ``steps`` then names who
    has what no login claims. ``barred``, of a login's strand: an unlink keeps the login from the device, so that
    nothing without a login is carried to it.
    """

    primary: Identifier
    login: Identifier | None
    sequence: int
    steps: tuple[tuple[int, str], ...]
    erased_before: int | None = None
    carry: bool = False
    barred: bool = False


MIN_TIME = -(2**62)
MAX_TIME = 2**62


@fast_init
@dataclass(frozen=True, slots=True)
class StrandEvent:
    """An event on its way to its strand: the fields the strand stage needs, and the event itself still encoded.

    ``event`` is ``contracts.wire.pack(Event)``. ``stored`` marks an event read back from the log of an earlier run,
    which the ledger of this run does not count again. ``logout``: it ends the login on its device.
    """

    event_id: str
    event_time: int
    received_time: int
    source: str
    primary: Identifier
    login: Identifier | None
    event: bytes
    stored: bool = False
    logout: bool = False


@fast_init
@dataclass(frozen=True, slots=True)
class ErasedMark:
    """What is kept of an erased event on a device that is carried: in whose hands it was, and when.

    It is part of a tombstone. ``login`` is None for an event that named none: it tells of a visit or, with ``logout``,
    of an end. ``until``: the login's events at or before it are erased; None without a login.
    """

    primary: Identifier
    login: Identifier | None
    event_time: int
    logout: bool
    until: int | None


@fast_init
@dataclass(frozen=True, slots=True)
class ShardInput:
    """What reaches one shard of the strand stage at once: events, assignments, marks of erased events.

    ``sightings``, in a stream: links that the identity store knows, seen again. Only when they were seen last is new.
    """

    events: tuple[StrandEvent, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    marks: tuple[ErasedMark, ...] = ()
    sightings: tuple[Link, ...] = ()


@fast_init
@dataclass(frozen=True, slots=True)
class StrandRecord:
    """A strand's part in one person's journey, deduplicated and in order. Schema: ``strand_record``.

    Messages about a strand are ordered by (sequence, version). ``events`` holds ``contracts.wire.pack(Event)``.
    ``spans`` holds the stretches of event time (from, before) in which the strand is the person's, ascending; empty
    when all of it is, which is the rule.
    """

    strand_id: str
    primary: Identifier
    login: Identifier | None
    person_id: str
    sequence: int
    version: int
    events: tuple[bytes, ...]
    spans: tuple[tuple[int, int], ...] = ()


@fast_init
@dataclass(frozen=True, slots=True)
class LinkBatch:
    """Links on their way to resolution, merged per pair as far as one worker saw them."""

    links: tuple[Link, ...]


@fast_init
@dataclass(frozen=True, slots=True)
class IdentityRows:
    """What resolution says, in batches.

    ``identifiers``: (namespace, value, person_id, first_seen, last_seen). ``persons``: (person_id, first_seen,
    last_seen, is_current, merged_into). ``edges``: (left namespace, left value, right namespace, right value, kind,
    accepted, status, rule, conflict, first_time, first_event_id, last_time, last_event_id, received_time, rules
    version). ``erasures``: (namespace, value, erased_before): keep them, and give them to the next resolution.
    """

    identifiers: tuple[tuple[str, str, str, int, int], ...] = ()
    persons: tuple[tuple[str, int, int, bool, str | None], ...] = ()
    edges: tuple[tuple[str, str, str, str, str, bool, str, str, str | None, int, str, int, str, int, str], ...] = ()
    erasures: tuple[tuple[str, str, int], ...] = ()


@fast_init
@dataclass(frozen=True, slots=True)
class Purge:
    """Events of a strand at or before ``until`` are erased: every store forgets them.

    ``persons`` are all who were ever told of the strand's events in a stream: whose records may hold some. ``events``
    are those that a stream knew and erased on the device of the strand, each as its strand, event time and event_id.
    """

    strand_id: str
    primary: Identifier
    login: Identifier | None
    until: int
    persons: tuple[str, ...] = ()
    events: tuple[tuple[str, int, str], ...] = ()


@fast_init
@dataclass(frozen=True, slots=True)
class StrandBatch:
    """The strand records that reach one shard of the journey stage at once."""

    records: tuple[StrandRecord, ...]


WHOLE, APPEND, GONE = "whole", "append", "gone"


class ArchivedEvents(NamedTuple):
    """Events of a strand that lie by themselves in the record store, in order; ``name`` is a hash of what they are."""

    name: str
    events: int
    first_time: int
    last_time: int


@fast_init
@dataclass(frozen=True, slots=True)
class StrandMessage:
    """What the streaming strand stage tells the journey stage of one strand and one person. Schema: ``strand_message``.

    ``kind``: ``whole`` replaces what the person had of the strand by ``events``; ``append`` adds ``events``, each later
    in (event_time, event_id) than all before; ``gone`` says that the strand is no longer the person's (no events).

    ``version`` grows with every message of a strand shard, whoever it goes to, also over restarts: microseconds of the
    wall clock, or one more than the version before. ``after`` is the version of the message before this one about the
    same strand to the same person, 0 when there was none: an ``append`` is applied on exactly that state, held while
    it is not there yet, and dropped when a later one is. What takes events from a person has a lower version than what
    gives them to another, so of two persons that state the same event the one with the higher version has it.

    ``sequence`` is that of the assignment. Events at or before ``erased_until`` that a ``whole`` or ``gone`` lacks were
    erased; others that it lacks are another person's. ``spans`` as in ``StrandRecord``. ``archives`` are of
    a record that is written down as the messages that make it: events before ``events`` that are not in it.
    """

    strand_id: str
    primary: Identifier
    login: Identifier | None
    person_id: str
    kind: str
    sequence: int
    version: int
    after: int
    events: tuple[bytes, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()
    erased_until: int | None = None
    archives: tuple[ArchivedEvents, ...] = ()


@fast_init
@dataclass(frozen=True, slots=True)
class StrandMessages:
    """The messages that reach one shard of the streaming journey stage at once."""

    messages: tuple[StrandMessage, ...]


@fast_init
@dataclass(frozen=True, slots=True)
class FoldedBy:
    """By which activations the journeys of a shard were folded: how many records of each registry were read.

    ``next_ontologies`` and ``next_models`` are those that the shard is being folded again by, ``after`` the last person
    of the record store who was; None when it is not.
    """

    ontologies: int
    models: int
    next_ontologies: int | None = None
    next_models: int | None = None
    after: str | None = None


# --- journey -----------------------------------------------------------------------------------------------------


@fast_init
@dataclass(frozen=True, slots=True)
class Session:
    """A run of a journey, or of one strand of it, without a gap, or one tracker session.

    ``ended_at`` is the time of its last event; times and ``engaged`` are microseconds, ``engaged`` None where no event
    told it. ``channels`` are channels with the number of their activities. Of a session of one strand
    ``inside`` is the person's session in which it began, and ``number`` its place among the strand's, from 1.
    """

    session_id: str
    person_id: str
    started_at: int
    ended_at: int
    events: int
    entry_page: str | None
    exit_page: str | None
    channel: str
    device: str | None
    campaign: str | None
    tracker_session_id: str | None
    conversions: int
    is_final: bool
    strand_id: str
    channels: dict[str, int]
    views: int
    bounced: bool
    engaged: int | None
    strands: int
    tracker_sessions: int
    number: int
    inside: str | None


@fast_init
@dataclass(frozen=True, slots=True)
class SignalEvidence:
    """One signal as it stood at a moment: its decayed value, how often it was seen, and the last event that fed it."""

    stage: str
    signal: str
    value: float
    count: int
    last_event_id: str
    last_time: int


@fast_init
@dataclass(frozen=True, slots=True)
class Transition:
    """A change of stage with its evidence."""

    person_id: str
    from_stage: str | None
    to_stage: str
    at: int
    session_id: str | None
    event_id: str | None
    decided_by: str
    confidence: float
    reason: str
    signals: tuple[SignalEvidence, ...]
    ontology_version: str
    model_version: str | None


@fast_init
@dataclass(frozen=True, slots=True)
class Trigger:
    """A moment at which the policy is asked: what happened, and all that the policy may look at.

    ``kind`` is ``transition`` (the stage changed, or the journey began), ``session`` (a session began without a change
    of stage), ``step`` (a plan's wait ran out). ``anchor_strand`` is the strand whose event triggered it, for a
    moment made by time alone the strand of the latest event before; ``anchor_at`` is when that event happened. The
    event is the person's alone, so two persons never have the same ``anchor_strand`` and ``point``.
    """

    kind: str
    at: int
    point: str
    anchor_strand: str
    stage: str
    from_stage: str | None
    confidence: float
    decided_by: str
    session_id: str | None
    features: dict[str, float]
    facts: dict[str, bool | int | float | str]
    consent: dict[str, bool]
    country: str | None
    time_zone: str | None
    model_version: str | None
    anchor_at: int | None = None


# --- decide, act, learn ------------------------------------------------------------------------------------------


@fast_init
@dataclass(frozen=True, slots=True)
class Candidate:
    """One thing the policy could have done, and the rule that dropped it; ``dropped_by`` is None for the chosen one.

    ``dropped_by`` names a closed list: not_eligible, consent, suppressed, cap, cooldown, outranked, holdout, budget.
    """

    name: str
    action: str
    channel: str
    priority: float
    dropped_by: str | None
    reason: str


@fast_init
@dataclass(frozen=True, slots=True)
class Decision:
    """What the policy chose at a moment, among which candidates, and why. Schema: ``decision``.

    ``chosen`` is a candidate's name or ``nothing``. ``decision_id`` is the hash of anchor
    strand, evaluation point and policy slot. ``anchor_at``: when the event happened that the anchor strand is of; None
    where that was not recorded yet.
    """

    decision_id: str
    person_id: str
    anchor_strand: str
    at: int
    slot: str
    trigger: str
    stage: str
    chosen: str
    channel: str | None
    template: str | None
    plan: str | None
    plan_step: int | None
    candidates: tuple[Candidate, ...]
    reason: str
    policy_version: str
    model_version: str | None
    ontology_version: str
    propensity: float
    features: dict[str, float]
    facts: dict[str, bool | int | float | str]
    consent: dict[str, bool]
    session_id: str | None = None
    purpose: str | None = None
    anchor_at: int | None = None

    @property
    def held_at(self) -> int:
        """The time that says whose it is: it belongs to who has the anchor strand then."""
        return self.at if self.anchor_at is None else self.anchor_at


@fast_init
@dataclass(frozen=True, slots=True)
class Action:
    """A decision carried out, or why it was not. Schema: ``action``.

    ``status``: sent, suppressed, failed, pending, in_doubt; ``dry_run`` counts as suppressed in the ledger.
    ``action_id`` = hash(decision_id, channel).
    """

    action_id: str
    decision_id: str
    person_id: str
    anchor_strand: str
    channel: str
    template: str
    status: str
    reason: str
    at: int
    attempts: int = 0


@fast_init
@dataclass(frozen=True, slots=True)
class History:
    """What is already known to have been decided and done for a person, gathered from the person's anchor strands.

    The decide stage makes no decision at or before ``last_decided`` (event time of the newest stored decision; None:
    nothing was ever decided). ``decisions`` are ascending by (at, decision_id), ``actions`` by (at, action_id); both
    include those that were suppressed or chose nothing.
    """

    last_decided: int | None = None
    decisions: tuple[Decision, ...] = ()
    actions: tuple[Action, ...] = ()


@fast_init
@dataclass(frozen=True, slots=True)
class Outcome:
    """What came back. Schema: ``outcome``.

    ``kind``: delivered, opened, clicked, converted, accepted, rejected, complained, unsubscribed. ``action_id`` is the
    action it answers; a conversion that names none has ``action_id`` None and concerns every decision of the person
    in the maturity window before it.
    """

    outcome_id: str
    action_id: str | None
    person_id: str
    anchor_strand: str
    kind: str
    at: int
    received_at: int
    value: float | None = None


@fast_init
@dataclass(frozen=True, slots=True)
class LearnInput:
    """What one person contributes to the labels: decisions (ours and logged ones) and outcomes."""

    person_id: str
    horizon: int
    decisions: tuple[LoggedDecision, ...]
    outcomes: tuple[Outcome, ...]


@fast_init
@dataclass(frozen=True, slots=True)
class LoggedDecision:
    """The part of a decision that learning needs; ``origin``: ``policy`` (ours), ``logged`` (an experiment's log)."""

    decision_id: str
    action_id: str | None
    arm: str
    at: int
    propensity: float
    origin: str


@fast_init
@dataclass(frozen=True, slots=True)
class Label:
    """A matured outcome of a decision: what ``wayline train`` may read. ``outcome`` is ``converted`` or ``none``."""

    decision_id: str
    person_id: str
    arm: str
    propensity: float
    origin: str
    outcome: str
    decided_at: int
    at: int
    matured_at: int


# --- features and tables -----------------------------------------------------------------------------------------


@fast_init
@dataclass(frozen=True, slots=True)
class OnlineFeatures:
    """The newest feature vector of each of some persons: what goes to the online store; newest ``revision`` wins.

    Rows are (person_id, revision, event_time, values in the order of the feature declaration). ``retired`` persons are
    to be removed.
    """

    rows: tuple[tuple[str, int, int, tuple[float, ...]], ...]
    retired: tuple[str, ...] = field(default=())


@fast_init
@dataclass(frozen=True, slots=True)
class TableFile:
    """Rows of one table as a Parquet file. ``part`` names the file to write, the same on a retry."""

    table: str
    part: str
    rows: int
    parquet: bytes


@fast_init
@dataclass(frozen=True, slots=True)
class StatedRows:
    """Rows of one table as a streaming stage states them, at one revision.

    ``rows`` is MessagePack of a list of rows, each ``[sequence, is_deleted, *values]`` with the values in the order of
    the table's columns (times as microseconds). Of the rows of one key the greatest (sequence, revision) counts:
    ``sequence`` is the version of the strand that an event, a session or an outcome hangs on (``StrandMessage``), and 0
    for rows that only one actor ever states. A deleted row states its key; its other values may be null.
    """

    table: str
    revision: int
    rows: bytes
