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

Input: points of a journey (``StagePoint``), the model's probabilities for them. Output: answers; ``walk.StageWalk``
makes the moves. Units: microseconds, event time. Errors: none. State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from transforms.journey.ontology import ENDED, Ontology, Stage
from transforms.journey.signals import Fed, Score, intent, score_of

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
