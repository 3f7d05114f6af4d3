"""Stages: where a person stands, by rules and model together, and when that changes.

**Who speaks.** At every evaluation point and at every instant when time by itself changes something:

1. the highest stage marked ``certain`` whose rule holds, if any: rules, confidence 1;
2. else the model, when one is in force, its opinion is at most one grid step old, and its two most probable stages
   differ by at least ``model.margin``; where the answer before was the model's and the same stage, by at least
   ``model.margin * (1 - hysteresis.margin)``. What it gives to a certain stage whose rule does not hold counts for the
   stage before it: who is about to become a customer is in decision;
3. else the rules: the highest stage in order whose entry holds, where the present stage counts as long as it is kept.
   The first stage is what remains.

**Rules.** A stage is entered when its intent score reaches ``entry.intent`` and ``entry.when`` holds; it is kept while
the score stays at or above ``entry.intent * (1 - hysteresis.margin)`` and ``exit.when`` does not hold (where there is
no ``exit.when``: while ``entry.when`` holds). A stage whose ``exit.when`` holds, whose ``exit.after`` has run out, or
which a behaviour of ``exit.by`` ended later than one of ``exit.since`` came, is neither entered nor kept.

**Terminal.** Who is in a terminal stage stays there, whatever the score, other rules or the model say, until its
``reentry`` (the same three, under another name) ends it. Then all stages but it are open.

**Hysteresis** runs after scoring: a move on waits until the stage has lasted ``hysteresis.forward``, a move back
``hysteresis.back``; what is blocked is asked again at the instant the wait ends. A move into a certain stage never
waits.

**Time.** Between points nothing is fed, so scores only fall. The instants at which the answer can change are computed:
the score of the present stage falls below its level, ``exit.after`` runs out, a wait ends, an opinion of the model
grows too old. There the model's last opinion and the latest facts are used. Nothing depends on when somebody looked.

Input: the points of a journey (``StagePoint``), the model's probabilities for them. Output: moves, and what was said at
each point. Units: microseconds, event time. Errors: none. State: none beyond the walk, which goes on with what comes
later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from contracts.exchange import MAX_TIME
from transforms.journey.ontology import ENDED, Ontology, Stage
from transforms.journey.signals import Fed, Score, falls_below, holds_until, intent, score_of

RULES, MODEL = "rules", "model"
RULES_SPEAK_CERTAIN, MODEL_SPEAKS, RULES_SPEAK = 0, 1, 2
"""Who said it (``Said.speaker``): a certain rule, the model, the other rules."""


class StagePoint(Protocol):
    """What the rules look at: the journey after an event, until the next one."""

    @property
    def at(self) -> int:
        """Instant of the point."""

    @property
    def on_event(self) -> bool:
        """Whether an event made it, rather than the grid."""

    @property
    def signals(self) -> tuple[Fed, ...]:
        """Signals after the latest event."""

    @property
    def held(self) -> tuple[bool, ...]:
        """Which conditions of the ontology hold."""

    @property
    def renewed(self) -> tuple[int | None, ...]:
        """For each stage, when something of its ``exit.since`` last came; ``ENDED`` when ``exit.by`` came after it."""


class Opinion(NamedTuple):
    """What the model says at a point, certain stages folded into those before them; ``lead``: of top over second."""

    at: int
    version: str
    probabilities: tuple[float, ...]
    top: int
    second: int
    lead: float


class Said(NamedTuple):
    """The answer at an instant: the stage one would be in without waiting, and who says so."""

    stage: int
    speaker: int


class Move(NamedTuple):
    """A change of stage; ``before`` is None for the first, ``timed`` says that no event made it.

    ``point`` is the latest point at or before ``at``. ``waited``: it was due earlier, and blocked. ``gone`` names the
    stage before where the ontology in force has it no more; ``before`` is None then.
    """

    before: int | None
    after: int
    at: int
    point: int
    timed: bool
    waited: bool
    speaker: int
    opinion: Opinion | None
    confidence: float
    gone: str | None = None


class Standing(NamedTuple):
    """Where the journey stands at an instant."""

    stage: int
    since: int
    confidence: float
    decided_by: str
    model_version: str | None


@dataclass(frozen=True, slots=True)
class Walk:
    """The way through the stages: moves in order; at each point the stage after it, who spoke, and the opinion."""

    moves: Sequence[Move]
    stages: Sequence[int]
    speakers: Sequence[int]
    opinions: Sequence[Opinion | None]
    last: Said


class StageRules:
    """The rules of one ontology, prepared for speed. Pure: the same points give the same walk."""

    def __init__(self, ontology: Ontology) -> None:
        self.ontology = ontology
        self.stages: tuple[Stage, ...] = ontology.stages
        self.scores: tuple[Score, ...] = tuple(score_of(stage) for stage in ontology.stages)
        self._certain = tuple(s.number for s in reversed(self.stages) if s.certain)
        self._open = tuple(s.number for s in reversed(self.stages) if not s.certain and s.number)
        self._homes = tuple(self._home(s.number) for s in self.stages)
        self._margin = ontology.model.margin
        self._lasting = ontology.model.margin * (1.0 - ontology.hysteresis.margin)
        self._grid = ontology.model.grid
        self._forward = ontology.hysteresis.forward
        self._back = ontology.hysteresis.back

    def _home(self, number: int) -> int:
        """The stage that the model's probability for ``number`` counts for."""
        while self.stages[number].certain:
            number -= 1
        return number

    # --- single answers -----------------------------------------------------------------------------------------

    def opinion(self, at: int, version: str | None, probabilities: Sequence[float] | None) -> Opinion | None:
        """The model's row for a point as an opinion; None when no model was in force."""
        if version is None or probabilities is None or probabilities[0] != probabilities[0]:
            return None
        folded = [0.0] * len(self.stages)
        for number, probability in enumerate(probabilities):
            folded[self._homes[number]] += probability
        top = second = 0
        first, next_best = -1.0, -1.0
        # Ties go to the earlier stage: a claim needs the stronger case.
        for number, probability in enumerate(folded):
            if probability > first:
                second, next_best = top, first
                top, first = number, probability
            elif probability > next_best:
                second, next_best = number, probability
        return Opinion(at, version, tuple(folded), top, second, first - next_best)

    def ended(self, number: int, point: StagePoint, at: int) -> bool:
        """Whether a stage's exit, or re-entry, has ended it: it is neither entered nor kept."""
        stage = self.stages[number]
        if stage.exit_when is not None and point.held[stage.exit_when]:
            return True
        renewed = point.renewed[number]
        if renewed is None:
            return False
        return renewed == ENDED or (stage.after is not None and at >= renewed + stage.after)

    def holds(self, number: int, point: StagePoint, at: int, keeping: bool) -> bool:
        """Whether a stage's rule holds at ``at``: its entry, or with ``keeping`` what keeps a person in it."""
        stage = self.stages[number]
        if self.ended(number, point, at):
            return False
        if keeping and stage.terminal:
            return True
        asked = not (keeping and stage.exit_when is not None)
        if asked and stage.entry_when is not None and not point.held[stage.entry_when]:
            return False
        level = stage.keep if keeping else stage.enter
        return level is None or intent(self.scores[number], point.signals, at) >= level

    def say(self, present: int, point: StagePoint, at: int, opinion: Opinion | None, before: Said) -> Said:
        """The answer at ``at``.

        Args:
            present: the stage, -1 before the journey began.
            point: the latest at or before ``at``.
            at: the instant.
            opinion: the model's, of that point.
            before: the last answer.
        """
        if present >= 0 and self.stages[present].terminal and not self.ended(present, point, at):
            return Said(present, RULES_SPEAK_CERTAIN)
        for number in self._certain:
            if self.holds(number, point, at, number == present):
                return Said(number, RULES_SPEAK_CERTAIN)
        if opinion is not None and at < opinion.at + self._grid:
            spoken = Said(opinion.top, MODEL_SPEAKS)
            # Who was listened to is listened to somewhat longer, or a lead that wavers would move the person each time.
            if opinion.lead >= (self._lasting if before == spoken else self._margin):
                return spoken
        for number in self._open:
            if self.holds(number, point, at, number == present):
                return Said(number, RULES_SPEAK)
        return Said(0, RULES_SPEAK)

    def intent_of(self, number: int, point: StagePoint, at: int) -> float:
        """The intent score of a stage at ``at``."""
        return intent(self.scores[number], point.signals, at)

    def confidence(self, stage: int, speaker: int, point: StagePoint, at: int, opinion: Opinion | None) -> float:
        """How sure the speaking side is of ``stage``: 0 to 1.

        The model: its probability. A certain rule: 1. Rules: 1 less half of how near the nearest rival is: a later
        stage whose condition holds by its score over its entry level, the own stage by its entry level over its score.
        """
        if speaker == RULES_SPEAK_CERTAIN:
            return 1.0
        if speaker == MODEL_SPEAKS and opinion is not None:
            return min(1.0, opinion.probabilities[stage])
        nearest = 0.0
        own = self.stages[stage].enter
        if own is not None:
            score = intent(self.scores[stage], point.signals, at)
            nearest = min(1.0, own / score) if score > 0 else 1.0
        for rival in self.stages[stage + 1 :]:
            blocked = rival.entry_when is not None and not point.held[rival.entry_when]
            if rival.enter is not None and not blocked:
                nearest = max(nearest, min(1.0, intent(self.scores[rival.number], point.signals, at) / rival.enter))
        return 1.0 - nearest / 2.0

    # --- the walk -----------------------------------------------------------------------------------------------

    def walk(self, points: Sequence[StagePoint], opinions: Sequence[Opinion | None], horizon: int) -> Walk:
        """Fold the points into moves.

        Args:
            points: ascending in time; the first is the first event.
            opinions: the model's, one a point.
            horizon: fold up to and including this instant.
        """
        return StageWalk(self).whole(points, opinions, horizon)


class StageWalk:
    """A walk under way: up to an instant and then on; in one call of ``go_on`` or in several, it is the same.

    Attributes:
        moves: so far. stages, speakers: see ``Walk``; whoever has done with points may remove theirs, the first ones.
        said: the last answer. present: the stage. since: when it was entered.
        at: the instant at which the rules were last asked; what comes next must come later.
    """

    __slots__ = (
        "_before",
        "_index",
        "_point",
        "at",
        "moves",
        "opinion",
        "present",
        "rules",
        "said",
        "since",
        "speakers",
        "stages",
    )

    def __init__(self, rules: StageRules) -> None:
        self.rules = rules
        self.present = -1
        self.since = 0
        self.said = Said(0, RULES_SPEAK)
        self.opinion: Opinion | None = None
        self.moves: list[Move] = []
        self.stages: list[int] = []
        self.speakers: list[int] = []
        self.at = -(2**62)
        self._point: StagePoint | None = None
        self._index = 0
        self._before: tuple[Any, ...] = ()

    def whole(self, points: Sequence[StagePoint], opinions: Sequence[Opinion | None], horizon: int) -> Walk:
        """The way from the first point to the horizon, in one go; arguments as of ``StageRules.walk``."""
        self.go_on(points, opinions, horizon)
        return Walk(tuple(self.moves), tuple(self.stages), tuple(self.speakers), tuple(opinions), self.said)

    def go_on(
        self, points: Sequence[StagePoint], opinions: Sequence[Opinion | None], horizon: int, first: int = 0
    ) -> None:
        """Take more points, and let time pass up to and including ``horizon``.

        Args:
            points: ascending in time, the first after ``at``.
            opinions: the model's, one a point.
            horizon: not before the last of them, nor before an earlier horizon.
            first: what moves made after the first of ``points`` shall name it by. Moves made before it name the point
                before by ``first - 1``.
        """
        last = len(points) - 1
        self._index = first - 1
        for number, point in enumerate(points):
            if self._point is not None:
                self._let_time_pass(point.at)
            if number == last:
                self._before = (
                    self.present, self.since, self.said, self.opinion, self.at, self._point, len(self.moves),
                )  # fmt: skip
            self._meet(point, first + number, opinions[number])
        if self._point is not None:
            self._let_time_pass(horizon + 1)

    def undo(self) -> None:
        """Undo the last point and whatever was made of it. The point before must be given again its name."""
        self.present, self.since, self.said, self.opinion, self.at, self._point, moves = self._before
        del self.moves[moves:]
        del self.stages[-1:], self.speakers[-1:]

    def next_instant(self, horizon: int) -> int | None:
        """An instant not after the next one at which time alone may change the answer; None when there is none.

        ``horizon``: that of the last ``go_on``. No score falls faster than its fastest signal, which gives the bound
        without solving for the instant.
        """
        if self._point is None:
            return None
        return self._due(self._point, max(self.at, horizon), MAX_TIME, exact=False)

    def _meet(self, point: StagePoint, index: int, opinion: Opinion | None) -> None:
        """Take a point with its opinion."""
        self.opinion = opinion
        self._point = point
        self._index = index
        self._ask(point, index, point.at, timed=False)
        self.stages.append(self.present)
        self.speakers.append(self.said.speaker)

    def _let_time_pass(self, until: int) -> None:
        """Make the moves that time makes after the last instant and before ``until``."""
        point = self._point
        assert point is not None, "time passes after the first point"
        while (due := self._due(point, self.at, until)) is not None:
            self._ask(point, self._index, due, timed=True)

    def _blocked_until(self, target: int) -> int:
        rules = self.rules
        if rules.stages[target].certain:
            return self.since
        return self.since + (rules._forward if target > self.present else rules._back)

    def _ask(self, point: StagePoint, index: int, at: int, *, timed: bool) -> None:
        rules = self.rules
        self.at = at
        said = self.said = rules.say(self.present, point, at, self.opinion, self.said)
        target = said.stage
        if target == self.present:
            return
        first = self.present < 0
        blocked_until = at if first else self._blocked_until(target)
        if at < blocked_until:
            return
        confidence = rules.confidence(target, said.speaker, point, at, self.opinion)
        opinion = self.opinion if said.speaker == MODEL_SPEAKS else None
        waited = timed and at == blocked_until
        before = None if first else self.present
        # A point of the grid is no event: what happens there is made by time.
        by_time = timed or not point.on_event
        self.moves.append(Move(before, target, at, index, by_time, waited, said.speaker, opinion, confidence))
        self.present = target
        self.since = at
        # What is said of the new stage is what keeps it, so the answer stands.

    def _due(self, point: StagePoint, at: int, until: int, *, exact: bool = True) -> int | None:
        """The earliest instant after ``at`` and before ``until`` at which the answer can become another.

        Where it is not to be ``exact``, the answer may be an earlier instant.
        """
        rules = self.rules
        said = self.said
        due = until
        if said.stage != self.present:
            wait_ends = self._blocked_until(said.stage)
            if at < wait_ends < due:
                due = wait_ends
        if said.speaker == MODEL_SPEAKS:
            if self.opinion is not None and at < self.opinion.at + rules._grid < due:
                due = self.opinion.at + rules._grid
        elif said.stage:
            number = said.stage
            stage = rules.stages[number]
            if stage.after is not None:
                renewed = point.renewed[number]
                if renewed is not None and renewed != ENDED and at < renewed + stage.after < due:
                    due = renewed + stage.after
            level = stage.enter if number != self.present else None if stage.terminal else stage.keep
            if level is not None:
                score = rules.scores[number]
                if not exact:
                    due = min(due, holds_until(score, point.signals, level, at))
                elif intent(score, point.signals, due) < level:
                    due = min(due, falls_below(score, point.signals, level, at))
        return due if due < until else None
