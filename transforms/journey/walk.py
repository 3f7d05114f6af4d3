"""The way of a journey through the stages: what the rules and the model say, made into moves, and how time alone moves.

Input: the points of a journey (``stages.StagePoint``) and the model's opinions of them. Output: moves, and what was
said at each point; the rule is that of ``stages``. Units: microseconds, event time. Errors: none. State: the walk,
which goes on with what comes later.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from contracts.exchange import MAX_TIME
from transforms.journey.ontology import ENDED
from transforms.journey.signals import falls_below, holds_until, intent
from transforms.journey.stages import (
    MODEL_SPEAKS,
    RULES_SPEAK,
    Move,
    Opinion,
    Said,
    StagePoint,
    StageRules,
    Walk,
)


class StageWalk:
    """A walk under way: up to an instant and then on; in one call of ``go_on`` or in several, it is the same.

    Attributes:
        moves: so far, see ``forget_moves``.
        stages, speakers: see ``Walk``; whoever has done with points may remove theirs, the first ones.
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
        """The way from the first point to the horizon, in one go; arguments as of ``go_on``."""
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

    def forget_moves(self, before: int) -> None:
        """Give up the moves before an instant, but for the last of them, into the stage that was left last."""
        gone = bisect_left(self.moves, before, key=_move_time) - 1
        if gone > 0 and self._before:
            *kept, moves = self._before
            self._before = (*kept, moves - gone)
        if gone > 0:
            del self.moves[:gone]

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


def _move_time(move: Move) -> int:
    return move.at
