"""How often answers about stages are right: shares with intervals, by stage, by confidence, by who spoke. Pure numpy.

Events of one person are not independent of each other: who is misjudged once is so at the next events as well. So every
interval is from resampling persons, not events (percentiles of a seeded bootstrap), and is much wider than one that
counts events as independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.stages.answers import SPEAKERS, WAYS, Answers

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

BINS = 10
_DRAWS = 1_000
_SEED = 1


@dataclass(frozen=True, slots=True)
class Share:
    """A share of ``of`` events, with the bounds of its 95 % interval."""

    value: float
    low: float
    high: float
    of: int


@dataclass(frozen=True, slots=True)
class Bin:
    """Events whose confidence lies in one tenth: its mean, and how often the answer is right."""

    confidence: float
    right: Share


@dataclass(frozen=True)
class StageFigures:
    """What one set of answers comes to.

    Attributes:
        events, persons: how many.
        ways: way to answer to the share of events it is right at.
        recall, precision: way to a share for each stage: of the events truly there, and of those said to be.
        confusion: of rules and model together: true stage by row, answer by column, events.
        bins: tenths of confidence that occur, ascending. error: mean distance of confidence and being right.
        speakers: who decided to how often it is right.
    """

    events: int
    persons: int
    ways: dict[str, Share]
    recall: dict[str, tuple[Share, ...]]
    precision: dict[str, tuple[Share, ...]]
    confusion: Ints
    bins: tuple[Bin, ...]
    error: float
    speakers: dict[str, Share]


def figures_of(answers: Answers, stages: Sequence[str]) -> StageFigures:
    """All figures. Raises ValueError when there is no answer."""
    if not len(answers):
        raise ValueError("there is no answer to count")
    draws = _Draws(answers.person)
    together = answers.said[WAYS[0]]
    right = together == answers.truth
    confusion = np.zeros((len(stages), len(stages)), dtype=np.int64)
    np.add.at(confusion, (answers.truth, together), 1)
    tenths = np.minimum((answers.confidence * BINS).astype(np.int64), BINS - 1)
    bins = tuple(
        Bin(float(answers.confidence[inside].mean()), draws.share(right, inside))
        for number in range(BINS)
        if (inside := tenths == number).any()
    )
    # the model alone answers nothing where none was given
    ways = {way: said for way in WAYS if (said := answers.said[way]).min() >= 0}
    every = range(len(stages))
    return StageFigures(
        events=len(answers),
        persons=len(np.unique(answers.person)),
        ways={way: draws.share(said == answers.truth) for way, said in ways.items()},
        recall={way: tuple(draws.share(said == n, answers.truth == n) for n in every) for way, said in ways.items()},
        precision={way: tuple(draws.share(answers.truth == n, said == n) for n in every) for way, said in ways.items()},
        confusion=confusion,
        bins=bins,
        error=sum(abs(one.confidence - one.right.value) * one.right.of for one in bins) / len(answers),
        speakers={
            name: draws.share(right, answers.speaker == number)
            for number, name in enumerate(SPEAKERS)
            if (answers.speaker == number).any()
        },
    )


class _Draws:
    """Persons drawn with replacement, as often as there are persons, again and again."""

    def __init__(self, person: Ints) -> None:
        _, self._code = np.unique(person, return_inverse=True)
        self._persons = int(self._code.max()) + 1
        random = np.random.default_rng(_SEED)
        even = np.full(self._persons, 1.0 / self._persons)
        self._weights: Floats = random.multinomial(self._persons, even, size=_DRAWS).astype(np.float64)

    def share(self, right: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_] | None = None) -> Share:
        """The share of ``right`` among those rows; of nothing it is not a number."""
        counted = np.ones(len(right), dtype=np.bool_) if among is None else among
        of = int(counted.sum())
        if not of:
            return Share(float("nan"), float("nan"), float("nan"), 0)
        hits = np.bincount(self._code, weights=(right & counted), minlength=self._persons)
        rows = np.bincount(self._code, weights=counted, minlength=self._persons)
        drawn_rows = self._weights @ rows
        drawn = (self._weights @ hits)[drawn_rows > 0] / drawn_rows[drawn_rows > 0]
        low, high = np.percentile(drawn, [2.5, 97.5])
        return Share(float(hits.sum() / of), float(low), float(high), of)
