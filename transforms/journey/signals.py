"""Signals: what events show about a stage, fading with time, and the intent score they add up to.

A signal that got weight w at times t1..tn is worth, at t, ``min(cap, sum of w * 2^(-(t - ti) / half_life))``; the
intent score of a stage is the sum over its signals. An event that speaks against a stage leaves a share of what its
signals were fed before it. The uncapped sum is kept with the time it refers to and is touched only by events, so it
depends on the events in their order alone, never on when somebody looked.

Input: signal numbers weakened, reset and fed by events, in order. Output: values and scores at any later instant, and
the exact instant at which a score falls below a level. Units: weights without unit, microseconds. Time domain: event
time. Errors: none. State: one ``Fed`` a signal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from transforms.journey.ontology import Ontology, Stage


class Fed(NamedTuple):
    """A signal's state: the uncapped sum as of ``since``, when the last event fed it, how often it was, and by which
    event last."""

    total: float
    since: int
    times: int
    event_id: str


UNFED = Fed(0.0, 0, 0, "")

Score = tuple[tuple[int, int, float], ...]
"""What a stage's intent is made of: (signal number, half-life, cap)."""


def score_of(stage: Stage) -> Score:
    """The parts of a stage's intent score."""
    return tuple((signal.number, signal.half_life, signal.cap) for signal in stage.signals)


class SignalFold:
    """The signals of one journey."""

    __slots__ = ("_half_lives", "_weights", "fed")

    def __init__(self, ontology: Ontology) -> None:
        self._weights = [signal.weight for signal in ontology.signals]
        self._half_lives = [signal.half_life for signal in ontology.signals]
        self.fed: list[Fed] = [UNFED] * len(self._weights)

    def feed(self, number: int, at: int, event_id: str) -> None:
        """One more event at ``at``."""
        total, since, times, _ = self.fed[number]
        if times:
            total = total * 2.0 ** ((since - at) / self._half_lives[number]) if at != since else total
        self.fed[number] = Fed(total + self._weights[number], at, times + 1, event_id)

    def weaken(self, number: int, kept: float) -> None:
        """Leave this share of what was fed: a factor, which decay commutes with, so the time it refers to stays."""
        total, since, times, event_id = self.fed[number]
        if times:
            self.fed[number] = Fed(total * kept, since, times, event_id)

    def reset(self, number: int) -> None:
        """Back to nothing."""
        self.fed[number] = UNFED


def value(fed: Fed, half_life: int, cap: float, at: int) -> float:
    """What a signal is worth at ``at``, not before it was last fed."""
    worth: float = fed.total * 2.0 ** ((fed.since - at) / half_life)
    return worth if worth < cap else cap


def intent(score: Score, signals: Sequence[Fed], at: int) -> float:
    """The intent score at ``at``."""
    total = 0.0
    for number, half_life, cap in score:
        fed = signals[number]
        if fed[2]:
            worth = fed[0] * 2.0 ** ((fed[1] - at) / half_life)
            total += worth if worth < cap else cap
    return total


def falls_below(score: Score, signals: Sequence[Fed], level: float, after: int) -> int:
    """The first microsecond after ``after`` at which the score is below ``level``.

    Args:
        score, signals: a score that is at least ``level`` at ``after`` and gets no more events.
        level: above 0.

    One signal is solved in closed form, several by bisection; both end at the same microsecond, for the score as
    ``intent`` computes it has the last word.
    """
    live = [(half_life, signals[number]) for number, half_life, _ in score if signals[number].times]
    low, high = after, after + 1
    if len(live) == 1:
        half_life, fed = live[0]
        guess = fed.since + math.floor(half_life * math.log2(fed.total / level))
        low, high = max(after, guess - 2), max(after + 1, guess + 2)
        if intent(score, signals, low) < level:
            low = after
    step = max(1, min((half_life for half_life, _ in live), default=1) // 4)
    while intent(score, signals, high) >= level:
        low, high, step = high, high + step, step * 2
    while high - low > 1:
        middle = (low + high) // 2
        if intent(score, signals, middle) >= level:
            low = middle
        else:
            high = middle
    return high


def holds_until(score: Score, signals: Sequence[Fed], level: float, at: int) -> int:
    """An instant after ``at`` up to which the score is surely not below ``level``: cheaper than ``falls_below``.

    Args:
        score, signals: as there.
        level: above 0, and not above the score at ``at``.

    No sum falls faster than its fastest part, and a capped part falls no faster than an uncapped one.
    """
    fastest = min((half_life for number, half_life, _ in score if signals[number].times), default=0)
    worth = intent(score, signals, at)
    return at + 1 if worth <= level else at + 1 + math.floor(fastest * math.log2(worth / level) * _NEARLY)


_NEARLY = 1.0 - 1e-9
"""Leaves room for rounding."""
