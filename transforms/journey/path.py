"""From a trace and the model's probabilities to what the tables and the policies read.

Input: ``fold.Trace``, a row of probabilities a point (or none), the model version of each. Output: ``StagePath`` with
transitions and their evidence, and ``Trigger``s, the moments at which policies are asked. Units: microseconds, event
time. Errors: none. State: none. ``StagePaths`` has a method for each part of the work, so that a journey that goes on
is done in parts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.exchange import SignalEvidence, Transition, Trigger
from transforms.journey import words
from transforms.journey.facts import EVENT_FACT_NAMES, RECENT, FactValue, facts_at
from transforms.journey.feature_port import FeatureFunctions, Features
from transforms.journey.fold import Point, Step, Trace
from transforms.journey.ontology import Ontology, Signal
from transforms.journey.signals import value
from transforms.journey.stages import (
    MODEL,
    RULES,
    RULES_SPEAK_CERTAIN,
    Move,
    Opinion,
    Said,
    StageRules,
    Standing,
    Walk,
)
from transforms.journey.walk import StageWalk

_COUNTRY, _TIME_ZONE = EVENT_FACT_NAMES.index("country"), EVENT_FACT_NAMES.index("time_zone")
_BY = (RULES, MODEL, RULES)


@dataclass(frozen=True, slots=True)
class StagePath:
    """A journey with its stages.

    Attributes:
        transitions: in order; the first has no ``from_stage``.
        stages: name of the stage after each point of the trace.
        standing: where the journey stands at the horizon.
        intents: intent score of each stage at the horizon.
        signals: every signal seen, as of the horizon.
        walk: the moves behind the transitions.
    """

    transitions: tuple[Transition, ...]
    stages: tuple[str, ...]
    standing: Standing
    intents: dict[str, float]
    signals: tuple[SignalEvidence, ...]
    walk: Walk


class StagePaths:
    """Makes stage paths and triggers under one ontology.

    Args:
        ontology: the stages.
        features: the feature functions, the same as in the fold; for triggers between points.
    """

    def __init__(self, ontology: Ontology, features: FeatureFunctions) -> None:
        self.ontology = ontology
        self.rules = StageRules(ontology)
        self._features = features
        self._names = ontology.stage_names

    # --- stages -------------------------------------------------------------------------------------------------

    def stage_path(
        self,
        trace: Trace,
        probabilities: Sequence[Sequence[float]] | None = None,
        model_versions: Sequence[str | None] | None = None,
    ) -> StagePath:
        """The stages of a journey.

        Args:
            trace: of at least one event.
            probabilities: for each point a probability a stage, in the order of the ontology; a row beginning with NaN
                where no model was in force. A numpy array is welcome.
            model_versions: for each point the model that scored it, None where none was in force.
        """
        opinions = self.opinions(trace.points, probabilities, model_versions)
        walk = self.start_walk().whole(trace.points, opinions, trace.horizon)
        last = trace.points[-1]
        return StagePath(
            transitions=tuple(self.transition(trace, move) for move in walk.moves),
            stages=tuple(
                self.names_at(point.at)[number] for point, number in zip(trace.points, walk.stages, strict=True)
            ),
            standing=self.standing_at(trace, walk, trace.horizon),
            intents=self.intents(last, trace.horizon),
            signals=self.signals(trace, last, trace.horizon),
            walk=walk,
        )

    def start_walk(self) -> StageWalk:
        """A walk that has not begun."""
        return StageWalk(self.rules)

    def ontology_at(self, at: int) -> Ontology:
        """The ontology in force at an instant; of one without activations, always the same."""
        return self.ontology

    def names_at(self, at: int) -> tuple[str, ...]:
        """Its stages in their order."""
        return self._names

    def opinions(
        self, points: Sequence[Point], probabilities: Any, model_versions: Sequence[str | None] | None
    ) -> list[Opinion | None]:
        """What the model says at points; arguments as of ``stage_path``."""
        if probabilities is None or model_versions is None:
            return [None] * len(points)
        rows = probabilities.tolist() if hasattr(probabilities, "tolist") else probabilities
        if not len(rows) == len(model_versions) == len(points):
            raise ValueError(f"{len(rows)} rows and {len(model_versions)} versions for {len(points)} points")
        return [
            self.rules.opinion(point.at, version, row)
            for point, row, version in zip(points, rows, model_versions, strict=True)
        ]

    def intents(self, last: Point, at: int) -> dict[str, float]:
        """The intent score of each stage at ``at``; ``last`` is the point before."""
        return {stage.name: self.rules.intent_of(stage.number, last, at) for stage in self.ontology.stages}

    def signals(self, trace: Trace, last: Point, at: int) -> tuple[SignalEvidence, ...]:
        """Every signal seen, as of ``at``."""
        return self._evidence(trace, last, at, self.ontology.signals)

    def standing_at(self, trace: Trace, walk: Walk, at: int) -> Standing:
        """Where the journey stands at an instant of its points, not before its first event nor after its horizon."""
        move = walk.moves[bisect_right(walk.moves, at, key=_move_time) - 1]
        return self.standing_after(trace, walk, at, move, move.after)

    def standing_after(self, trace: Trace, walk: Walk, at: int, move: Move, after: int) -> Standing:
        """``standing_at``, the latest move being ``move``, into the stage with number ``after``."""
        index = latest(trace.points, at)
        point, opinion = trace.points[index], walk.opinions[index]
        spoken = Said(0 if opinion is None else opinion.top, walk.speakers[index])
        said = self.rules.say(after, point, at, opinion, spoken)
        confidence = self.rules.confidence(after, said.speaker, point, at, opinion)
        by = _BY[said.speaker]
        version = opinion.version if by == MODEL and opinion is not None else None
        if said.stage != after and said.speaker == RULES_SPEAK_CERTAIN:
            # A certain rule speaks for another stage; only a wait keeps the person here.
            confidence = 0.0
        return Standing(after, move.at, confidence, by, version)

    def transition(self, trace: Trace, move: Move) -> Transition:
        """A move with its evidence."""
        point = trace.points[move.point]
        step = None if move.timed else trace.steps[point.event]
        stages = self.ontology.stages
        concerned = stages[move.after].signals
        if move.before is not None:
            concerned = (*concerned, *stages[move.before].signals)
        signals = self._evidence(trace, point, move.at, concerned)
        return Transition(
            person_id=trace.person_id,
            from_stage=move.gone if move.before is None else self._names[move.before],
            to_stage=self._names[move.after],
            at=move.at,
            session_id=None if step is None else step.session_id,
            event_id=None if step is None else step.event.event_id,
            decided_by=_BY[move.speaker],
            confidence=move.confidence,
            reason=words.reason(self.rules, move, point),
            signals=signals,
            ontology_version=self.ontology.version,
            model_version=None if move.opinion is None else move.opinion.version,
        )

    def _evidence(self, trace: Trace, point: Point, at: int, signals: Sequence[Signal]) -> tuple[SignalEvidence, ...]:
        found: list[SignalEvidence] = []
        for signal in signals:
            fed = point.signals[signal.number]
            if fed.times:
                worth = value(fed, signal.half_life, signal.cap, at)
                found.append(SignalEvidence(signal.stage, signal.name, worth, fed.times, fed.event_id, fed.since))
        return tuple(found)

    # --- triggers -----------------------------------------------------------------------------------------------

    def triggers(self, trace: Trace, path: StagePath) -> list[Trigger]:
        """The moments at which policies are asked, in order.

        They are every transition, also one made by time alone, and every begin of a session without a transition. One
        instant gives one trigger at most.
        """
        return self.triggers_of(trace, path.walk, path.walk.moves, 0, self.vectors(trace.steps))

    def triggers_of(
        self, trace: Trace, walk: Walk, moves: Iterable[Move], first: int, vectors: Vectors
    ) -> list[Trigger]:
        """The moments that some moves and the points from ``first`` on make, in order; the moves are all from there.

        Args:
            walk: its moves are all so far, its opinions those of the trace's points.
            vectors: of the trace's steps.
        """
        instants: list[tuple[int, int, Move | None]] = [(move.at, move.point, move) for move in moves]
        moved = {at for at, _, _ in instants}
        instants += [
            (point.at, index, None)
            for index, point in enumerate(trace.points)
            if index >= first and point.opener is not None and point.at not in moved
        ]
        instants.sort(key=_instant_time)
        return [self._trigger(trace, walk, at, index, move, vectors) for at, index, move in instants]

    def trigger_at(self, trace: Trace, path: StagePath, at: int) -> Trigger:
        """The moment a plan's wait runs out: kind ``step``; not before the first event, nor after the horizon."""
        return self.step_function(trace, path.walk, self.vectors(trace.steps))(at)

    def trigger_function(self, trace: Trace, path: StagePath) -> Callable[[int], Trigger]:
        """``trigger_at`` for one journey, cheap when asked in ascending order of time."""
        return self.step_function(trace, path.walk, self.vectors(trace.steps))

    def step_function(self, trace: Trace, walk: Walk, vectors: Vectors) -> Callable[[int], Trigger]:
        """``trigger_function``; arguments as of ``triggers_of``."""

        def at_instant(at: int) -> Trigger:
            return _as_step(self._trigger(trace, walk, at, latest(trace.points, at), None, vectors))

        return at_instant

    def vectors(self, steps: Sequence[Step], before: Features | None = None) -> Vectors:
        """Feature vectors of a journey at any instant; ``before``: of a journey that goes on, the features before."""
        return Vectors(steps, self._features, before)

    def start_features(self) -> Features:
        """Features of a journey without events."""
        return self._features.start()

    def _trigger(self, trace: Trace, walk: Walk, at: int, index: int, move: Move | None, vectors: Vectors) -> Trigger:
        point = trace.points[index]
        if move is None:
            standing = self.standing_at(trace, walk, at)
        else:
            standing = Standing(move.after, move.at, move.confidence, _BY[move.speaker], None)
        by_event = point.on_event and point.at == at and not (move is not None and move.timed)
        # The event that began the session is the one to name where two happened at one instant.
        place = point.opener if by_event and move is None and point.opener is not None else point.event
        step = trace.steps[place]
        names = self.names_at(at)
        before = None if move is None else move.gone if move.before is None else names[move.before]
        opinion = walk.opinions[index]
        country, zone = point.facts[_COUNTRY], point.facts[_TIME_ZONE]
        return Trigger(
            kind="session" if move is None else "transition",
            at=at,
            # Two persons who have a strand in turn may both be moved at one instant, by the grid or an activation.
            point=step.event.event_id if by_event else f"{step.event.event_id}@{at}",
            anchor_strand=step.strand_id,
            stage=names[standing.stage],
            from_stage=before,
            confidence=standing.confidence,
            decided_by=standing.decided_by,
            session_id=step.session_id if by_event else None,
            features=vectors.at(at, point),
            facts=self._facts(trace, walk, point, at, standing.since),
            consent=point.consent,
            country=country if isinstance(country, str) and country else None,
            time_zone=zone if isinstance(zone, str) and zone else None,
            model_version=None if opinion is None else opinion.version,
            anchor_at=step.event.event_time,
        )

    def _facts(self, trace: Trace, walk: Walk, point: Point, at: int, since: int) -> dict[str, FactValue]:
        moves, returns = recent_moves(walk.moves, at)
        return facts_at(
            point.facts,
            at,
            first_time=trace.first_time,
            last_activity=point.last_activity,
            last_conversion=point.last_conversion,
            since=since,
            moves=moves,
            returns=returns,
        )


class Vectors:
    """Feature vectors of one journey at any instant: a point's own, or refolded up to the instant.

    Refolding goes on from where it stood when asked in ascending order, and starts again when asked for the past.

    Args:
        steps: the events; of a journey that goes on, those that nobody asks for the time before.
        functions: the feature functions.
        before: the features of what went before these; None: nothing did.
    """

    __slots__ = ("_before", "_done", "_functions", "_state", "_steps", "_upto")

    def __init__(self, steps: Sequence[Step], functions: FeatureFunctions, before: Features | None = None) -> None:
        self._steps = steps
        self._functions = functions
        self._before = before
        self._state: Features | None = None
        self._done = 0
        self._upto = -(2**62)

    def at(self, at: int, point: Point) -> dict[str, float]:
        """The named vector at ``at``; ``point`` is the latest at or before it."""
        vector = point.vector if point.at == at else self._refold(at, point.event)
        return dict(zip(self._functions.names, vector, strict=True))

    def _refold(self, at: int, last: int) -> tuple[float, ...]:
        state = self._state
        if state is None or at < self._upto:
            state = self._state = self._functions.start() if self._before is None else self._before.fork()
            self._done = 0
        self._upto = at
        observe(state, self._steps[self._done : last + 1])
        self._done = max(self._done, last + 1)
        return self._functions.vector(state, at)


def observe(features: Features, steps: Iterable[Step]) -> None:
    """Have features take in events in order."""
    for step in steps:
        meaning = step.meaning
        features.observe(step.event, meaning.behaviours, step.began, meaning.activity, value=step.value)


def _as_step(trigger: Trigger) -> Trigger:
    return Trigger(
        "step",
        trigger.at,
        trigger.point,
        trigger.anchor_strand,
        trigger.stage,
        None,
        trigger.confidence,
        trigger.decided_by,
        trigger.session_id,
        trigger.features,
        trigger.facts,
        trigger.consent,
        trigger.country,
        trigger.time_zone,
        trigger.model_version,
        trigger.anchor_at,
    )


def recent_moves(moves: Sequence[Move], at: int) -> tuple[int, int]:
    """How many moves from one stage to another there were in the ``RECENT`` before ``at`` and at it, and how many back.

    To enter the first stage is none. A move from a stage that the ontology in force has no more is none back.
    """
    end = bisect_right(moves, at, key=_move_time)
    count = returns = 0
    for place in range(end - 1, -1, -1):
        move = moves[place]
        if move.at <= at - RECENT:
            break
        if move.before is not None:
            count += 1
            returns += move.after < move.before
        elif move.gone is not None:
            count += 1
    return count, returns


def latest(points: Sequence[Point], at: int) -> int:
    """The latest point at or before ``at``. Raises ValueError before the first."""
    index = bisect_right(points, at, key=_point_time) - 1
    if index < 0:
        raise ValueError(f"the journey begins at {points[0].at}, after {at}")
    return index


def _point_time(point: Point) -> int:
    return point.at


def _move_time(move: Move) -> int:
    return move.at


def _instant_time(instant: tuple[int, int, Move | None]) -> int:
    return instant[0]
