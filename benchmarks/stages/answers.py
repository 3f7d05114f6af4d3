"""What the pipeline answers about the stage at every event of a world, beside the simulator's truth.

Input: a history (everybody's events, as a run has them), the ontology, a trained model, and the truth. Output:
``Answers``, one row an event. Journeys are folded, scored and walked by the pipeline's own code, once; rules alone,
model alone and both together are three walks over the same points. Times: UTC microseconds of event time. The truth is
read here and nowhere before: the model that is given was trained on another world, from events alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from contracts.errors import InputError
from contracts.event import HOUR, Event
from models.bundle import LoadedModel
from reports.history import History
from transforms.journey.fold import JourneyFold, Trace
from transforms.journey.functions import FUNCTIONS
from transforms.journey.ontology import Ontology
from transforms.journey.path import StagePath, StagePaths

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Placed = list[tuple[Event, str]]

WAYS = ("together", "rules", "model", "last event")
"""Ways to answer: rules and model by the stated rule, each alone, and what the latest telling event defines."""
SPEAKERS = ("certain rule", "model", "rule")
_BATCH = 200

Row = tuple[int, int, int, int, int, int, float, int]
"""True person, true stage, the answers in the order of WAYS, confidence, speaker."""


@dataclass(frozen=True)
class Truth:
    """Event id to the person's number and the stage in force at the event's time."""

    events: Mapping[str, tuple[int, int]]
    persons: int


@dataclass(frozen=True)
class Answers:
    """One row an event that the truth knows.

    Attributes:
        person: number of the true person: events of one are not independent of each other.
        truth: true stage at the event's time.
        said: way to the stage it answers right after the event.
        confidence: of the answer of rules and model together.
        speaker: who decided it, as an index into SPEAKERS.
    """

    person: Ints
    truth: Ints
    said: Mapping[str, Ints]
    confidence: Floats
    speaker: Ints

    def __len__(self) -> int:
        return len(self.truth)


def read_stage_truth(world: Path, stages: Sequence[str]) -> Truth:
    """The truth about the events of a world.

    Raises:
        InputError: the folder holds none, or it is about other stages than the ontology's.
    """
    path = world / "truth" / "events.parquet"
    try:
        table = pq.read_table(path, columns=["event_id", "true_person_id", "true_stage"])
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(
            f"{path} cannot be read: {error}", hint="give a folder that `wayline simulate` wrote"
        ) from error
    numbers = {name: number for number, name in enumerate(stages)}
    persons = table.column("true_person_id").combine_chunks().dictionary_encode()
    stage_names = table.column("true_stage").combine_chunks().dictionary_encode()
    unknown = sorted(set(stage_names.dictionary.to_pylist()) - set(stages))
    if unknown:
        raise InputError(
            f"{path} knows the stage {unknown[0]!r}, which the ontology does not have: {', '.join(stages)}"
        )
    coded = [numbers[name] for name in stage_names.dictionary.to_pylist()]
    events = {
        event_id: (person, coded[stage])
        for event_id, person, stage in zip(
            table.column("event_id").to_pylist(),
            persons.indices.to_pylist(),
            stage_names.indices.to_pylist(),
            strict=True,
        )
    }
    return Truth(events, len(persons.dictionary))


class Folding:
    """Folds, scores and walks journeys as the pipeline does. ``model``: in force at every time; None for rules."""

    def __init__(self, ontology: Ontology, model: LoadedModel | None) -> None:
        self.ontology = ontology
        self.model = model
        self.fold = JourneyFold(ontology, FUNCTIONS)
        self.paths = StagePaths(ontology, FUNCTIONS)
        self._ranks = {
            behaviour: number
            for number, name in enumerate(ontology.stage_names)
            for behaviour in ontology.defining.get(name, ())
        }

    def trace(self, person: str, events: Placed, horizon: int) -> Trace:
        return self.fold.trace(person, events, horizon)

    def score(self, traces: Sequence[Trace]) -> list[Floats]:
        """Probabilities for the points of each trace, NaN without a model; one call for all of them."""
        sizes = [len(trace.points) for trace in traces]
        stages = len(self.ontology.stages)
        if self.model is None:
            return [np.full((size, stages), np.nan) for size in sizes]
        matrix = np.array([point.vector for trace in traces for point in trace.points], dtype=np.float64)
        return np.split(self.model.predict(matrix), np.cumsum(sizes)[:-1])

    def paths_of(self, trace: Trace, scores: Floats) -> tuple[StagePath, StagePath]:
        """Rules and model together, and rules alone."""
        if self.model is None:
            alone = self.paths.stage_path(trace)
            return alone, alone
        versions = [self.model.version] * len(trace.points)
        return self.paths.stage_path(trace, scores.tolist(), versions), self.paths.stage_path(trace)

    def defined(self, behaviours: Collection[str]) -> int | None:
        """The furthest stage that an event with these behaviours defines; None when it tells nothing."""
        ranks = [self._ranks[behaviour] for behaviour in behaviours if behaviour in self._ranks]
        return max(ranks, default=None)


def answers_of(
    folding: Folding, history: History, truth: Truth, told: Callable[[int], None] = lambda _: None
) -> Answers:
    """The answer right after every event, which depends on what happened up to it: one fold of a person gives all."""
    rows: list[Row] = []
    persons = list(history.persons)
    for start in range(0, len(persons), _BATCH):
        told(start)
        names = persons[start : start + _BATCH]
        traces = [folding.trace(name, history.of(name), history.horizon) for name in names]
        for trace, scores in zip(traces, folding.score(traces), strict=True):
            rows.extend(_rows(folding, trace, scores, truth))
    return _answers(rows)


def answers_when_late(
    folding: Folding,
    history: History,
    truth: Truth,
    share: float,
    sample: float,
    told: Callable[[int], None] = lambda _: None,
) -> Answers:
    """The answers that would have been given at the time, while a share of the events was still under way.

    Args:
        share: of events that come up to two days late, chosen by hash, as is by how much.
        sample: share of the other events at which the journey is folded anew from what had come by then.
    """
    rows: list[Row] = []
    for number, person in enumerate(history.persons):
        if number % _BATCH == 0:
            told(number)
        events = history.of(person)
        # the pipeline sees an event no earlier than it happened; one that is not late is there at once
        came = [
            event.event_time + (delay_of(event.event_id) if chosen(event.event_id, "late", share) else 0)
            for event, _ in events
        ]
        for event, _ in events:
            event_id, at = event.event_id, event.event_time
            asked = event_id in truth.events and not chosen(event_id, "late", share)
            if not asked or not chosen(event_id, "sample", sample):
                continue
            known = [placed for placed, there in zip(events, came, strict=True) if there <= at]
            trace = folding.trace(person, known, at)
            rows.extend(_rows(folding, trace, folding.score([trace])[0], truth, {event_id}))
    return _answers(rows)


def without(history: History, share: float) -> History:
    """A history in which a share of the events, chosen by hash, never came. Who is who is known from all of them."""
    kept = {
        person: [
            (packed, strand)
            for (packed, strand), (event, _) in zip(history.persons[person], history.of(person), strict=True)
            if not chosen(event.event_id, "lost", share)
        ]
        for person in history.persons
    }
    kept = {person: events for person, events in kept.items() if events}
    count = sum(map(len, kept.values()))
    return replace(history, persons=kept, events=count, left_out=history.left_out + history.events - count)


def chosen(event_id: str, purpose: str, share: float) -> bool:
    """Whether an event is among a share of all, for a purpose; the same in every run."""
    return _hash(event_id, purpose) < share


def delay_of(event_id: str) -> int:
    """How late a late event comes: microseconds, from an hour to 47, so inside the lateness bound."""
    return HOUR + int(_hash(event_id, "delay") * 46 * HOUR)


def _hash(event_id: str, purpose: str) -> float:
    digest = hashlib.blake2b(event_id.encode(), digest_size=8, person=purpose.encode()).digest()
    return int.from_bytes(digest, "big") / 2**64


def _rows(
    folding: Folding, trace: Trace, scores: Floats, truth: Truth, only: Collection[str] | None = None
) -> Iterator[Row]:
    together, rules = folding.paths_of(trace, scores)
    numbers = {name: number for number, name in enumerate(folding.ontology.stage_names)}
    guess = 0
    place = 0
    for index, point in enumerate(trace.points):
        if not point.on_event:
            continue
        events = trace.steps[place : point.event + 1]
        place = point.event + 1
        for step in events:
            defined = folding.defined(step.meaning.behaviours)
            guess = guess if defined is None else defined
        ids = [step.event.event_id for step in events]
        known = [truth.events[one] for one in ids if one in truth.events and (only is None or one in only)]
        if not known:
            continue
        standing = folding.paths.standing_at(trace, together.walk, point.at)
        speaker = together.walk.speakers[index]
        row = scores[index]
        model = -1 if np.isnan(row[0]) else int(row.argmax())
        said = numbers[together.stages[index]], numbers[rules.stages[index]], model, guess
        for person, stage in known:
            yield person, stage, *said, standing.confidence, speaker


def _answers(rows: Sequence[Row]) -> Answers:
    table = np.array(rows, dtype=np.float64).reshape(-1, 8)
    whole = table.astype(np.int64)
    said = {way: whole[:, 2 + number] for number, way in enumerate(WAYS)}
    return Answers(whole[:, 0], whole[:, 1], said, table[:, 6], whole[:, 7])
