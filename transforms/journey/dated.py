"""Ontologies that are in force one after the other: each point of a journey is made and staged by that of its time.

Purpose: an ontology that is activated at a date never changes points before it, however often history is folded again.
Input: ``DatedOntologies``; then as of ``fold`` and ``path``. Output: as of those. Units: microseconds, event time.
Errors: none. State: that of the journeys.

**What a version may change** are stages, signals, hysteresis and the model's rule. What events mean, how sessions are
cut and what counts as conversion is one for all (``one_meaning``), so events, sessions, features and outcomes are too.

**Evidence.** Signals, conditions and renewals are kept for every version from the first event on, so a new version
knows the history as if it had always been there; the points show those of the version in force.

**At the instant of an activation** every journey under way has a point: whoever is elsewhere by the new version moves
then, by time, unless its hysteresis holds the move back. The stage one is in goes on under its name, since when one was
in it too. **A stage that the new version does not have** ends at that instant: the new version is asked as of a journey
that begins, so no wait holds, and the transition names the old stage and says so.

With one version in force, ``machinery`` gives the plain classes: nothing costs more.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from contracts.event import Event
from contracts.exchange import MIN_TIME, SignalEvidence, Transition
from transforms.journey.feature_port import FeatureFunctions
from transforms.journey.fold import DEFAULT_LATENESS, Fold, JourneyFold, Point, Trace
from transforms.journey.ontology import Ontology
from transforms.journey.path import StagePaths
from transforms.journey.stages import Move, Opinion, StagePoint, StageRules, Standing, Walk
from transforms.journey.walk import StageWalk


class Activated(NamedTuple):
    """How many records of activations are known. They are only ever added, so the numbers say which."""

    ontologies: int
    models: int


NOTHING = Activated(0, 0)


@dataclass(frozen=True)
class DatedOntologies:
    """Which ontology is in force when.

    Attributes:
        spans: (from, ontology), ascending, the first from ``MIN_TIME``; each until the next. Neighbours differ.
    """

    spans: tuple[tuple[int, Ontology], ...]

    def __post_init__(self) -> None:
        starts = [start for start, _ in self.spans]
        if not starts or starts[0] != MIN_TIME or sorted(set(starts)) != starts:
            raise ValueError(f"spans begin at {starts}, not at {MIN_TIME} and ascending")

    @staticmethod
    def of(ontology: Ontology) -> DatedOntologies:
        """One that is always in force."""
        return DatedOntologies(((MIN_TIME, ontology),))

    @property
    def last(self) -> Ontology:
        """What is in force in the end."""
        return self.spans[-1][1]

    def place_at(self, at: int) -> int:
        """The place of the span that an instant is in."""
        return bisect_right(self.spans, at, key=_start) - 1

    def begin_at(self, at: int) -> int:
        """The begin of the span that an instant is in."""
        return self.spans[self.place_at(at)][0]

    def next_begin(self, at: int) -> int | None:
        """When the next one begins after an instant; None when none does."""
        following = self.spans[self.place_at(at) + 1 :]
        return following[0][0] if following else None

    def at(self, at: int) -> Ontology:
        """The ontology in force at an instant."""
        return self.spans[self.place_at(at)][1]

    def version_at(self, at: int) -> str:
        """Its version."""
        return self.at(at).version


def one_meaning(one: Ontology, other: Ontology) -> list[str]:
    """The sections of the file in which two versions of an ontology may not differ, and do."""
    sections = {
        "events": one.table == other.table,
        "sessions": one.sessions == other.sessions,
        "conversion": (one.conversions, one.value_properties) == (other.conversions, other.value_properties),
        "people": one.holders == other.holders,
    }
    return [name for name, same in sections.items() if not same]


def machinery(
    ontologies: DatedOntologies, features: FeatureFunctions, lateness: int = DEFAULT_LATENESS
) -> tuple[JourneyFold, StagePaths]:
    """What folds journeys and what makes their stages; arguments as of ``JourneyFold``."""
    if len(ontologies.spans) == 1:
        return JourneyFold(ontologies.last, features, lateness), StagePaths(ontologies.last, features)
    return DatedJourneyFold(ontologies, features, lateness), DatedPaths(ontologies, features)


# --- the fold ---------------------------------------------------------------------------------------------------


class DatedJourneyFold(JourneyFold):
    """``JourneyFold`` under several ontologies. What does not depend on the version is done by the last."""

    def __init__(
        self, ontologies: DatedOntologies, features: FeatureFunctions, lateness: int = DEFAULT_LATENESS
    ) -> None:
        super().__init__(ontologies.last, features, lateness)
        self.ontologies = ontologies
        self.earlier = tuple(JourneyFold(ontology, features, lateness) for _, ontology in ontologies.spans[:-1])

    def start(self, person_id: str) -> Fold:
        """A journey without events, to go on from."""
        return DatedFold(self, person_id)


class DatedFold(Fold):
    """``Fold`` with the evidence of every version; its own is that of the last."""

    def __init__(self, host: DatedJourneyFold, person_id: str) -> None:
        super().__init__(host, person_id)
        self._spans = host.ontologies
        self._evidence: list[Fold] = [Fold(earlier, person_id) for earlier in host.earlier]
        for fold in self._evidence:
            # what the versions agree on is observed once
            fold.features, fold.facts = self.features, self.facts
        self._evidence.append(self)

    def take(self, event: Event, strand_id: str) -> bool:
        """Take one event; True when it began a session."""
        began = super().take(event, strand_id)
        at = event.event_time
        # those before the one in force are asked no more
        for fold in self._evidence[self._spans.place_at(at) : -1]:
            fold.held = fold._verdicts(at)
            fold._feed(event.event_id, at, fold.ontology.meaning(event.name, event.context.path))
        return began

    def point(self, at: int, event: int, on_event: bool, opener: int | None) -> Point:
        point = super().point(at, event, on_event, opener)
        shown = self._evidence[self._spans.place_at(at)]
        return point._replace(signals=shown.frozen, held=shown.held, renewed=shown.renewed)

    def grid(self, at: int, event_time: int, event: int, until: int) -> None:
        """The points that time makes after ``at`` and before ``until``, those of activations among them."""
        while (instant := self._next_after(at, event_time)) is not None and instant < until:
            shown = self._evidence[self._spans.place_at(instant)]
            shown.held = shown._verdicts(instant)
            self.points.append(self.point(instant, event, False, None))
            at = instant

    def _next_after(self, at: int, event_time: int) -> int | None:
        spans = self._spans.spans
        place = self._spans.place_at(at)
        instant = Fold._next_after(self._evidence[place], at, event_time)
        if place + 1 == len(spans):
            return instant
        begins = spans[place + 1][0]
        return begins if instant is None else min(instant, begins)


# --- the stages -------------------------------------------------------------------------------------------------


class DatedWalk(StageWalk):
    """``StageWalk`` under several ontologies. The first point of each span is at its begin, or begins the journey."""

    __slots__ = ("_place", "_place_before", "_rules", "_spans")

    def __init__(self, ontologies: DatedOntologies, rules: Sequence[StageRules]) -> None:
        super().__init__(rules[0])
        self._spans = ontologies
        self._rules = rules
        self._place = self._place_before = 0

    def undo(self) -> None:
        """Undo the last point and whatever was made of it."""
        super().undo()
        self._place = self._place_before
        self.rules = self._rules[self._place]

    def _meet(self, point: StagePoint, index: int, opinion: Opinion | None) -> None:
        self._place_before = self._place
        place = self._spans.place_at(point.at)
        gone = None
        if place != self._place:
            before = None if self.present < 0 else self.rules.stages[self.present].name
            self._place, self.rules = place, self._rules[place]
            names = self.rules.ontology.stage_names
            self.present = names.index(before) if before in names else -1
            gone = before if self.present < 0 else None
        super()._meet(point, index, opinion)
        if gone is not None:
            self.moves[-1] = self.moves[-1]._replace(gone=gone)


class DatedPaths(StagePaths):
    """``StagePaths`` under several ontologies. A model is heard where the version has the stages that it knows."""

    def __init__(self, ontologies: DatedOntologies, features: FeatureFunctions) -> None:
        super().__init__(ontologies.last, features)
        self._spans = ontologies
        self._paths = tuple(StagePaths(ontology, features) for _, ontology in ontologies.spans)

    def _at(self, at: int) -> StagePaths:
        return self._paths[self._spans.place_at(at)]

    def start_walk(self) -> StageWalk:
        """A walk that has not begun."""
        return DatedWalk(self._spans, [paths.rules for paths in self._paths])

    def ontology_at(self, at: int) -> Ontology:
        """The ontology in force at an instant."""
        return self._spans.at(at)

    def names_at(self, at: int) -> tuple[str, ...]:
        """Its stages in their order."""
        return self._spans.at(at).stage_names

    def opinions(
        self, points: Sequence[Point], probabilities: Any, model_versions: Sequence[str | None] | None
    ) -> list[Opinion | None]:
        """What the model says at points; arguments as of ``stage_path``."""
        known = self.ontology.stage_names
        found: list[Opinion | None] = []
        rows = probabilities.tolist() if hasattr(probabilities, "tolist") else probabilities
        for number, point in enumerate(points):
            paths = self._at(point.at)
            heard = rows is not None and model_versions is not None and paths.ontology.stage_names == known
            said = (
                paths.opinions((point,), rows[number : number + 1], model_versions[number : number + 1])
                if heard and model_versions is not None
                else [None]
            )
            found += said
        return found

    def intents(self, last: Point, at: int) -> dict[str, float]:
        """The intent score of each stage at ``at``; ``last`` is the point before."""
        return self._at(at).intents(last, at)

    def signals(self, trace: Trace, last: Point, at: int) -> tuple[SignalEvidence, ...]:
        """Every signal seen, as of ``at``."""
        return self._at(at).signals(trace, last, at)

    def transition(self, trace: Trace, move: Move) -> Transition:
        """A move with its evidence."""
        found = self._at(move.at).transition(trace, move)
        if found.from_stage is not None and move.at == self._spans.begin_at(move.at):
            said = f"{found.reason}; ontology {found.ontology_version} is in force from here on"
            return replace(found, reason=said)
        return found

    def standing_at(self, trace: Trace, walk: Walk, at: int) -> Standing:
        """Where the journey stands at an instant of its points."""
        move = walk.moves[bisect_right(walk.moves, at, key=_move_time) - 1]
        # a stage that the version in force does not have was left when it came
        after = self.names_at(at).index(self.names_at(move.at)[move.after])
        return self._at(at).standing_after(trace, walk, at, move, after)


def _start(span: tuple[int, Ontology]) -> int:
    return span[0]


def _move_time(move: Move) -> int:
    return move.at
