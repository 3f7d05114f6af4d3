"""One shard of journeys: fold ► features ► score ► stage ► decide, for every person of the shard together. No Beam.

Input: the strand records of a shard. Output: ``ShardResult``: table batches, decisions to carry out, what learning
needs, and the newest vector of each person. Time domain: event time up to the horizon. Ports: the model scores all
points of the shard in one call, the effect store remembers decisions; both are injected. Errors: those of the store;
a journey itself cannot fail. State: none between shards.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal

import numpy as np

from contracts import wire
from contracts.event import Event
from contracts.exchange import (
    Decision,
    History,
    LearnInput,
    OnlineFeatures,
    StrandBatch,
    TableFile,
)
from contracts.tables import (
    ACTIONS,
    DECISIONS,
    DEVICE_SESSIONS,
    EVENTS,
    JOURNEYS,
    OUTCOMES,
    PERSONS,
    SESSIONS,
    TRANSITIONS,
    Table,
)
from features.provenance import PROVENANCE
from transforms.decide.decide import decide_journey
from transforms.decide.rules import PolicySet
from transforms.journey.dated import NOTHING, Activated, DatedOntologies, machinery
from transforms.journey.fold import Trace
from transforms.journey.functions import FUNCTIONS
from transforms.journey.holdings import Holdings, apart
from transforms.journey.journey_rows import event_row, feature_provenance, journey_row
from transforms.journey.ontology import Ontology
from transforms.journey.path import StagePath
from transforms.journey.unsettled import unsettled
from transforms.labels import logged_decisions
from transforms.stores.effects import EffectStore
from transforms.tables import rows
from transforms.tables.batches import columns_of, table_file

Score = Callable[[Any, Any], tuple[Sequence[str | None], Any]]
"""(times, matrix) of points to the version that scored each and its probabilities, NaN where none was in force."""


_EVENTS_AT_ONCE = 6_000
"""Persons are folded together until they have so many events: enough for the model and the store to work in bulk."""

STEPS = ("fold", "score", "stage", "decide", "write")
"""What a shard goes through: events to points with their features, their scores, stages, decisions, rows."""


@dataclass(frozen=True)
class JourneySettings:
    """What a worker is told once. Durations in microseconds; ``mode`` as in ``transforms.actions``.

    ``ontology``: the project's; with ``dated``, the activations of OUT, those say which is in force at each point.
    ``activated``: how many records of activations that took.
    """

    ontology: Ontology
    policies: PolicySet
    lateness: int
    revision: int
    mode: Literal["live", "dry-run"]
    max_age: int
    features: Table
    scores: Table
    dated: DatedOntologies | None = None
    activated: Activated = NOTHING

    @property
    def ontologies(self) -> DatedOntologies:
        """Which ontology is in force when: by the activations, or else always the one given."""
        return self.dated or DatedOntologies.of(self.ontology)


@dataclass
class ShardResult:
    """What some persons of a shard give. ``spent``: nanoseconds of the worker's clock in each of ``STEPS``."""

    batches: list[TableFile] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    learn: list[LearnInput] = field(default_factory=list)
    online: OnlineFeatures | None = None
    spent: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Folded:
    trace: Trace
    path: StagePath
    holdings: Holdings


class JourneyWorker:
    """Folds shards under fixed settings. Not shared between threads.

    Args:
        settings: what is in force.
        score: the model as a port; None when no model was ever activated.
        store: the effect store.
        clock: nanoseconds of CPU, growing; read a few times a shard, for the profile of a run.
    """

    def __init__(
        self, settings: JourneySettings, score: Score | None, store: EffectStore, clock: Callable[[], int]
    ) -> None:
        self._settings = settings
        self._ontologies = settings.ontologies
        self._fold, self._paths = machinery(self._ontologies, FUNCTIONS, settings.lateness)
        self._score = score
        self._store = store
        self._clock = clock

    def fold_shard(self, shard: str, batches: Iterable[StrandBatch], horizon: int) -> Iterator[ShardResult]:
        """Everything of the persons in one shard, some persons at a time, so that memory does not grow with the shard.

        ``shard`` names the parts, so it must be the same on a retry.
        """
        events: dict[str, list[tuple[bytes, str]]] = defaultdict(list)
        holdings: dict[str, Holdings] = defaultdict(Holdings)
        for batch in batches:
            for record in batch.records:
                events[record.person_id].extend((packed, record.strand_id) for packed in record.events)
                holdings[record.person_id].add(record)
        for number, persons in enumerate(_in_groups(events)):
            group = {person: events.pop(person) for person in persons}
            yield self._fold_persons(f"{shard}-{number}", group, holdings, horizon)

    def _fold_persons(
        self,
        part: str,
        events: Mapping[str, list[tuple[bytes, str]]],
        holdings: Mapping[str, Holdings],
        horizon: int,
    ) -> ShardResult:
        result = ShardResult()
        marks = [self._clock()]
        traces = [
            self._fold.trace(person, [(wire.unpack(Event, event), strand) for event, strand in packed], horizon)
            for person, packed in events.items()
        ]
        times = np.array([point.at for trace in traces for point in trace.points], dtype=np.int64)
        matrix = _matrix([point.vector for trace in traces for point in trace.points])
        marks.append(self._clock())
        versions, probabilities = self._scored(times, matrix)
        marks.append(self._clock())
        folded = self._staged(traces, holdings, versions, probabilities)
        marks.append(self._clock())
        histories = self._decide(folded, horizon, result)
        marks.append(self._clock())
        writer = _Writer(self._settings, part, horizon)
        self._write_points(writer, traces, times, matrix, versions, probabilities)
        writer.journeys(folded)
        writer.effects(histories, result.decisions)
        result.batches = writer.batches
        result.online = OnlineFeatures(
            tuple((t.person_id, self._settings.revision, t.points[-1].at, t.points[-1].vector) for t in traces)
        )
        marks.append(self._clock())
        result.spent = {step: end - begin for step, begin, end in zip(STEPS, marks, marks[1:], strict=False)}
        return result

    def _scored(self, times: Any, matrix: Any) -> tuple[Sequence[str | None], Any]:
        if self._score is None:
            return (), None
        return self._score(times, matrix)

    def _staged(
        self, traces: list[Trace], holdings: Mapping[str, Holdings], versions: Sequence[str | None], found: Any
    ) -> list[_Folded]:
        folded = []
        start = 0
        for trace in traces:
            end = start + len(trace.points)
            scored = found is not None and any(version is not None for version in versions[start:end])
            path = self._paths.stage_path(
                trace, found[start:end] if scored else None, versions[start:end] if scored else None
            )
            folded.append(_Folded(trace, path, holdings[trace.person_id]))
            start = end
        return folded

    # --- deciding -----------------------------------------------------------------------------------------------

    def _decide(self, folded: list[_Folded], horizon: int, result: ShardResult) -> dict[str, History]:
        settings = self._settings
        histories: dict[str, History] = {}
        for group in apart({f.trace.person_id: f.holdings for f in folded}):
            histories.update(self._store.histories(group))
        for f in folded:
            if f.holdings.partial and (history := histories.get(f.trace.person_id)) is not None:
                histories[f.trace.person_id] = f.holdings.own(history)
        made: list[Decision] = []
        for f in folded:
            person = f.trace.person_id
            history = histories.get(person, History())
            again = unsettled(history, horizon, settings.mode, settings.max_age)
            decided = decide_journey(
                settings.policies,
                person,
                f.trace.steps[0].strand_id,
                self._paths.triggers(f.trace, f.path),
                self._paths.trigger_function(f.trace, f.path),
                [(t.at, t.to_stage) for t in f.path.transitions],
                history,
                horizon,
                self._ontologies.version_at,
                f.trace.outcomes,
                frozenset(decision.decision_id for decision in again),
            )
            made.extend(decided.decisions)
            result.decisions.extend(again)
            self._learn(f, history, {d.decision_id for d in again}, horizon, result)
        standings = (f.holdings.standing(f.trace.person_id, horizon, f.trace.points[-1].consent) for f in folded)
        outcomes = (outcome for f in folded for outcome in f.trace.outcomes)
        result.decisions.extend(self._store.claim_decisions(made, standings=standings, outcomes=outcomes))
        return histories

    @staticmethod
    def _learn(f: _Folded, history: History, again: set[str], horizon: int, result: ShardResult) -> None:
        """What the labels need and no later stage knows: the past. What is done now comes from the act stage."""
        actions = {action.decision_id: action for action in history.actions}
        settled = [d for d in history.decisions if d.decision_id not in again]
        decisions = (*f.trace.logged, *logged_decisions(settled, actions, assume_sent=False))
        if decisions or f.trace.outcomes:
            result.learn.append(LearnInput(f.trace.person_id, horizon, decisions, f.trace.outcomes))

    # --- tables -------------------------------------------------------------------------------------------------

    def _write_points(
        self,
        writer: _Writer,
        traces: list[Trace],
        times: Any,
        matrix: Any,
        versions: Sequence[str | None],
        probabilities: Any,
    ) -> None:
        persons = [trace.person_id for trace in traces for _ in trace.points]
        created = [point.created for trace in traces for point in trace.points]
        provenance = columns_of(
            (feature_provenance(trace.steps, point) for trace in traces for point in trace.points), len(PROVENANCE)
        )
        values = (matrix[:, i] for i in range(matrix.shape[1]))
        writer.add_columns(self._settings.features, [persons, times, created, *values, *provenance], times)
        scored = [i for i, version in enumerate(versions) if version is not None]
        if scored:
            at = times[scored]
            found = probabilities[scored]
            writer.add_columns(
                self._settings.scores,
                [
                    [persons[i] for i in scored],
                    at,
                    [versions[i] for i in scored],
                    *(found[:, i] for i in range(found.shape[1])),
                ],
                at,
            )


def _matrix(vectors: list[tuple[float, ...]]) -> Any:
    """Vectors as the rows of a matrix; NumPy takes half as long for one long row as for many short ones."""
    if not vectors:
        return np.empty((0,), dtype=np.float64)
    count = len(vectors) * len(vectors[0])
    return np.fromiter(chain.from_iterable(vectors), np.float64, count).reshape(len(vectors), -1)


def _in_groups(events: Mapping[str, Sequence[object]]) -> list[list[str]]:
    """Persons in order, in groups of about ``_EVENTS_AT_ONCE`` events; those without events in none."""
    groups: list[list[str]] = []
    size = _EVENTS_AT_ONCE
    for person in sorted(events):
        if not events[person]:
            continue
        if size >= _EVENTS_AT_ONCE:
            groups.append([])
            size = 0
        groups[-1].append(person)
        size += len(events[person])
    return groups


class _Writer:
    """Turns one group's results into table batches."""

    def __init__(self, settings: JourneySettings, shard: str, horizon: int) -> None:
        self.batches: list[TableFile] = []
        self._settings = settings
        self._shard = shard
        self._horizon = horizon
        self._final_before = horizon - settings.lateness
        self._ontology = settings.ontologies.at(horizon)

    def add_columns(self, table: Table, columns: Sequence[Any], times: Any) -> None:
        """Columns of a table whose rows are final once no late event can come before their time."""
        self._put(table, columns, (np.asarray(times) < self._final_before).tolist())

    def _put(self, table: Table, columns: Sequence[Any], final: list[bool] | bool) -> None:
        batch = table_file(table, self._shard, columns, revision=self._settings.revision, is_final=final)
        if batch is not None:
            self.batches.append(batch)

    def _rows(self, table: Table, found: list[rows.Row], final: list[bool] | bool) -> None:
        self._put(table, columns_of(found, len(table.columns)), final)

    def journeys(self, folded: list[_Folded]) -> None:
        """The tables that a fold fills."""
        before = self._final_before
        events = [event_row(f.trace.person_id, step) for f in folded for step in f.trace.steps]
        self._rows(EVENTS, events, [row[2] < before for row in events])
        sessions = [session for f in folded for session in f.trace.sessions]
        self._rows(SESSIONS, [rows.session_row(s) for s in sessions], [s.is_final for s in sessions])
        own = [session for f in folded for session in f.trace.strand_sessions]
        self._rows(DEVICE_SESSIONS, [rows.device_session_row(s) for s in own], [s.is_final for s in own])
        moves = [transition for f in folded for transition in f.path.transitions]
        self._rows(TRANSITIONS, [rows.transition_row(t) for t in moves], [t.at < before for t in moves])
        outcomes = {o.outcome_id: o for f in folded for o in f.trace.outcomes}
        self._rows(
            OUTCOMES, [rows.outcome_row(o) for o in outcomes.values()], [o.at < before for o in outcomes.values()]
        )
        persons = [
            (f.trace.person_id, f.trace.first_time, f.trace.steps[-1].event.event_time, True, None) for f in folded
        ]
        self._rows(PERSONS, persons, False)
        self._rows(JOURNEYS, [self._journey_row(f) for f in folded], False)

    def effects(self, histories: Mapping[str, History], going: Sequence[Decision]) -> None:
        """Decisions, new and stored, and the stored actions that the act stage does not state again.

        Stored ones are stated too, since the run that stored them may have died before its tables were committed.
        """
        decisions = {d.decision_id: d for history in histories.values() for d in history.decisions}
        decisions.update((d.decision_id, d) for d in going)
        self._rows(DECISIONS, [rows.decision_row(d) for d in decisions.values()], True)
        again = {d.decision_id for d in going}
        actions = [a for history in histories.values() for a in history.actions if a.decision_id not in again]
        self._rows(ACTIONS, [rows.action_row(a) for a in actions], False)

    def _journey_row(self, f: _Folded) -> rows.Row:
        standing, trace = f.path.standing, f.trace
        return journey_row(
            self._ontology,
            trace.person_id,
            trace.points[-1],
            standing,
            f.path.intents,
            f.path.signals,
            self._horizon,
        )
