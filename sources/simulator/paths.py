"""The truth: in which stage each person is when. A semi-Markov process, changed by what actions do to people.

Paths are prefix-stable: played further, a world keeps the past it had.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contracts.event import DAY, MINUTE
from sources.simulator import catalogue, randomness
from sources.simulator.avro import Ints
from sources.simulator.catalogue import CONSIDERATION, CUSTOMER, DECISION, DISCOVERY
from sources.simulator.config import WorldConfig
from sources.simulator.people import People

FORESIGHT = 8 * DAY
"""How far beyond the time asked for a path reaches: the week within which actions work, and a day."""

_MEAN_DWELL = np.array([9.0, 8.0, 6.0, 75.0]) * DAY
_BURST = 0.06
_KEY = 1 << 49
"""Microseconds that the search key gives each person: seventeen years."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Stays, sorted by (person, start). ``cause`` is the index of the action that brought one about, or -1."""

    origin: int
    person: Ints
    start: Ints
    end: Ints
    stage: Ints
    cause: Ints

    def row_at(self, person: Ints, at: Ints) -> Ints:
        """Row of the stay of each person at a time; the first stay for a time before it."""
        keys = self.person * _KEY + (self.start - self.origin)
        wanted = person.astype(np.int64) * _KEY + np.clip(at - self.origin, 0, _KEY - 1)
        rows = np.searchsorted(keys, wanted, side="right") - 1
        first = np.searchsorted(self.person, person, side="left")
        found: Ints = np.maximum(rows, first)
        return found

    def stage_at(self, person: Ints, at: Ints) -> Ints:
        stage: Ints = self.stage[self.row_at(person, at)]
        return stage

    def is_first(self) -> NDArray[np.bool_]:
        """Whether each stay is its person's first."""
        first = np.ones(len(self.person), dtype=np.bool_)
        first[1:] = self.person[1:] != self.person[:-1]
        return first


@dataclass(slots=True)
class Stay:
    """One stay of one person, while actions are played."""

    start: int
    stage: int
    cause: int = -1


def natural_paths(config: WorldConfig, chunk: int, people: People, until: int) -> Paths:
    """The paths that people would go with no action taken, at least up to ``until`` plus FORESIGHT."""
    rng = randomness.generator(config.seed, randomness.PATHS, chunk)
    n = len(people)
    horizon = until + FORESIGHT
    at, stage = people.born.copy(), people.stage.copy()
    starts, stages = [], []
    buys = catalogue.BUYS[people.persona]
    while True:
        starts.append(at)
        stages.append(stage)
        dwell = rng.gamma(2.0, 0.5, n) * _MEAN_DWELL[stage]
        burst = (rng.random(n) < _BURST) & (stage != CUSTOMER)
        dwell = np.where(burst, rng.uniform(2, 12, n) * MINUTE, dwell)
        move = rng.random(n)
        if (at > horizon).all():
            break
        at = at + dwell.astype(np.int64)
        stage = _next(stage, move, buys)
    person = np.tile(np.arange(n), len(starts))
    start, flat = np.concatenate(starts), np.concatenate(stages)
    order = np.lexsort((start, person))
    kept = order[(start[order] <= horizon) | (start[order] == people.born[person[order]])]
    return _closed(config.start, person[kept], start[kept], flat[kept], np.full(len(kept), -1, dtype=np.int64))


def _next(stage: Ints, u: NDArray[np.float64], buys: NDArray[np.float64]) -> Ints:
    """The stage after each stage. ``buys`` is the probability of a purchase out of the decision stage."""
    moved = np.select(
        [stage == DISCOVERY, stage == CONSIDERATION, stage == DECISION],
        [
            np.select([u < 0.85, u < 0.98], [CONSIDERATION, DECISION], CUSTOMER),
            np.select([u < 0.27, u < 0.94], [DISCOVERY, DECISION], CUSTOMER),
            np.select([u < buys, u < buys + 0.75 * (1 - buys)], [CUSTOMER, CONSIDERATION], DISCOVERY),
        ],
        np.select([u < 0.15, u < 0.65], [DISCOVERY, CONSIDERATION], DECISION),
    )
    return moved.astype(np.int64)


def _closed(origin: int, person: Ints, start: Ints, stage: Ints, cause: Ints) -> Paths:
    """Give each stay its end: the start of the next one of the same person, or the end of time."""
    end = np.full(len(start), 2**61, dtype=np.int64)
    same = person[1:] == person[:-1]
    end[:-1][same] = start[1:][same]
    return Paths(origin, person, start, end, stage, cause)


def stays_of(paths: Paths, person: int) -> list[Stay]:
    """The stays of one person, to be changed."""
    low, high = np.searchsorted(paths.person, [person, person + 1])
    return [
        Stay(start, stage, cause)
        for start, stage, cause in zip(
            paths.start[low:high].tolist(),
            paths.stage[low:high].tolist(),
            paths.cause[low:high].tolist(),
            strict=True,
        )
    ]


def with_stays(paths: Paths, changed: dict[int, list[Stay]]) -> Paths:
    """Paths in which some people have other stays."""
    if not changed:
        return paths
    kept = ~np.isin(paths.person, np.fromiter(changed, np.int64, len(changed)))
    new = [(person, stay.start, stay.stage, stay.cause) for person, stays in changed.items() for stay in stays]
    rows = np.array(new, dtype=np.int64).reshape(-1, 4)
    person, start, stage, cause = (
        np.concatenate([old[kept], rows[:, column]])
        for column, old in enumerate((paths.person, paths.start, paths.stage, paths.cause))
    )
    order = np.lexsort((start, person))
    return _closed(paths.origin, person[order], start[order], stage[order], cause[order])
