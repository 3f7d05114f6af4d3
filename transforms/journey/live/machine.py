"""One journey under way: fold, stages and decisions, going on with what comes next. Pure.

What is past it knows as sums alone: of the events, points, sessions and moves it keeps those that what comes next can
still refer to. So a machine is small, however long the journey.

Input: events in order and a horizon; then the model's answers for the new points; then what deciding needs. Output:
``Part``: what is new since. In one part or in many the journey is the same, which is the promise of the classes it is
made of. Time domain: event time, microseconds. Errors: none. State: the machines. They cannot be taken back, so whoever
fails on the way drops the ``Machine`` and makes another from the events. Bound: the features remember the events of 30
days (two words each), outcomes and decisions stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from contracts.event import Event
from contracts.exchange import LoggedDecision, Outcome, Transition, Trigger
from transforms.decide.decide import DecideWalk, nowhere
from transforms.journey.facts import RECENT
from transforms.journey.fold import JourneyFold, Point, Step, Trace
from transforms.journey.ontology import Ontology
from transforms.journey.open_session import OpenSession
from transforms.journey.path import StagePaths, observe
from transforms.journey.stages import Opinion, Standing, Walk

BYTES_AT_LEAST, BYTES_AN_EVENT, BYTES_OF_MORE, SOME_EVENTS = 26_000, 600, 250, 100
"""About what a machine takes, by the number of events: the first of them bring what later ones only add to. Measured on
simulated journeys of 18 events on average, and on one of 300,000."""


@dataclass(slots=True)
class Part:
    """What one continuation made of a journey; of a journey folded anew, all of it.

    ``probabilities`` and ``versions`` belong to ``points``. ``at`` gives the journey as of an instant of the part.
    """

    steps: Sequence[Step]
    points: Sequence[Point]
    outcomes: Sequence[Outcome]
    logged: Sequence[LoggedDecision]
    sessions: Sequence[OpenSession]
    strand_sessions: Sequence[OpenSession]
    probabilities: Sequence[Sequence[float]] = ()
    versions: Sequence[str | None] = ()
    transitions: list[Transition] = field(default_factory=list)
    triggers: list[Trigger] = field(default_factory=list)
    changes: list[tuple[int, str]] = field(default_factory=list)
    at: Callable[[int], Trigger] = nowhere


_NO_PART = Part((), (), (), (), (), ())


class Machine:
    """The machines of one journey. Call ``fold_on``, ``stage_on`` and, if it is to decide, ``decide`` in turns.

    Attributes:
        horizon: event time up to which it is done.
        decide: None until the history is known.
        part: what the last continuation made.
    """

    __slots__ = (
        "_asked_at",
        "_before",
        "_kept",
        "_moved",
        "_opinions",
        "_paths",
        "decide",
        "fold",
        "horizon",
        "part",
        "person_id",
        "stages",
    )

    def __init__(self, fold: JourneyFold, paths: StagePaths, person_id: str) -> None:
        self.person_id = person_id
        self.horizon = -(2**62)
        self.fold = fold.start(person_id)
        self.stages = paths.start_walk()
        self.decide: DecideWalk | None = None
        self.part = _NO_PART
        self._paths = paths
        self._opinions: list[Opinion | None] = []
        self._before = paths.start_features()
        self._kept = 0
        self._moved = 0
        self._asked_at: int | None = None

    @property
    def size(self) -> int:
        """About its bytes."""
        events = self.fold.made_of
        more = max(0, events - SOME_EVENTS)
        return BYTES_AT_LEAST + BYTES_AN_EVENT * (events - more) + BYTES_OF_MORE * more

    @property
    def last_time(self) -> int:
        """Time of the latest event."""
        return self.fold.steps[-1].event.event_time

    @property
    def lineage(self) -> str:
        """The strand of the journey's first event."""
        return self.fold.lineage

    @property
    def ontology(self) -> Ontology:
        """The one in force at the horizon."""
        return self._paths.ontology_at(self.horizon)

    def comes_next(self, event: Event, strand_id: str) -> bool:
        """Whether the journey can go on with this event; otherwise it is to be folded again from its events.

        It can with what is later than everything that was looked at, and with what follows at the instant of the last
        event, as long as nobody was asked about that instant.
        """
        if not self.fold.steps:
            return True
        looked_at = self.stages.at
        stepped = -(2**62) if self.decide is None else self.decide.stepped
        at = event.event_time
        if at > looked_at:
            return at > stepped
        point, last = self.fold.points[-1], self.fold.steps[-1]
        return (
            at == looked_at == point.at
            and point.on_event
            and at > stepped
            and at != self._asked_at
            and (event.event_id, strand_id) > (last.event.event_id, last.strand_id)
        )

    def fold_on(self, ordered: Sequence[tuple[Event, str]], horizon: int) -> Sequence[Point]:
        """Take events that come next, in order, up to a horizon not before them; return the new points to score."""
        fold = self.fold
        if self.part is not _NO_PART:
            self._forget()
        if fold.points and ordered and ordered[0][0].event_time == fold.points[0].at:
            self.stages.undo()
            self._opinions.clear()
            self._kept = 0
        else:
            self._kept = len(fold.points)
        steps, outcomes, logged = len(fold.steps), len(fold.outcomes), len(fold.logged)
        self._moved = len(self.stages.moves)
        self.horizon = max(horizon, self.horizon)
        fold.sessions.forget_touched()
        fold.go_on(ordered, self.horizon)
        self.part = Part(
            fold.steps[steps:],
            fold.points[self._kept :],
            fold.outcomes[outcomes:],
            fold.logged[logged:],
            tuple(fold.sessions.touched.values()),
            tuple(fold.sessions.touched_by_strand.values()),
        )
        return self.part.points

    def _forget(self) -> None:
        """Give up what is past."""
        fold, stages = self.fold, self.stages
        # what is kept of the last point stands at one place in all of them
        del fold.points[:-1], self._opinions[:-1], stages.stages[:-1], stages.speakers[:-1]
        if fold.points:
            observe(self._before, fold.forget_steps())
            stages.forget_moves(fold.points[0].at - RECENT)
            fold.sessions.forget_closed()

    def rest(self) -> None:
        """Give up the last part, which everybody was told of."""
        self._forget()
        self.part = _NO_PART
        if self.decide is not None:
            self.decide.forget()

    def stage_on(self, probabilities: Sequence[Sequence[float]] | None, versions: Sequence[str | None] | None) -> Part:
        """The stages of what was folded last; arguments as of ``StagePaths.stage_path``, for the new points."""
        part, paths, stages = self.part, self._paths, self.stages
        said = paths.opinions(part.points, probabilities, versions)
        self._opinions += said
        if probabilities is not None and versions is not None:
            part.probabilities, part.versions = probabilities, versions
        stages.go_on(part.points, said, self.horizon, self._kept)
        moves = stages.moves[self._moved :]
        trace, walk = self._trace(), self._walk()
        # triggers and steps of plans are each asked for in ascending order, but not together
        vectors, of_steps = (paths.vectors(self.fold.steps, self._before) for _ in range(2))
        part.transitions = [paths.transition(trace, move) for move in moves]
        part.triggers = paths.triggers_of(trace, walk, moves, self._kept, vectors)
        part.changes = [(move.at, move.to_stage) for move in part.transitions]
        part.at = paths.step_function(trace, walk, of_steps)
        if part.triggers:
            self._asked_at = part.triggers[-1].at
        return part

    def standing(self) -> tuple[Standing, dict[str, float], Any]:
        """Where the journey stands at the horizon, the intent of each stage, and the signals there."""
        trace, last = self._trace(), self.fold.points[-1]
        return (
            self._paths.standing_at(trace, self._walk(), self.horizon),
            self._paths.intents(last, self.horizon),
            self._paths.signals(trace, last, self.horizon),
        )

    def next_instant(self) -> int | None:
        """An instant not after the next one at which time alone does something; None when it never will."""
        due = (
            self.fold.next_instant(),
            self.stages.next_instant(self.horizon),
            None if self.decide is None else self.decide.book.next_instant,
        )
        return min((instant for instant in due if instant is not None), default=None)

    def _trace(self) -> Trace:
        return Trace(self.person_id, self.horizon, self.fold.steps, self.fold.points, (), (), (), (), self.fold.began)

    def _walk(self) -> Walk:
        stages = self.stages
        return Walk(stages.moves, stages.stages, stages.speakers, self._opinions, stages.said)
