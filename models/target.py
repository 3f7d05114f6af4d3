"""What the stage model learns to foresee, from events alone.

The target of a moment T of a person is the furthest stage of which a defining outcome happens in (T, T+H]. It is known
only once H has passed before the horizon, and only when something telling happened in that time: an outcome that
defines a stage, be it the first. Who was silent said nothing, and least of all that they are back at the first stage:
such a moment trains nothing. Nothing derived from a stage the pipeline assigned enters it, so the model cannot learn to
repeat the rules, and simulator truth is never read.

All times are UTC microseconds in event time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

UNKNOWN = -1
"""The target of a moment after which nothing telling happened; also the rank of an event that tells nothing."""


def behaviour_ranks(stages: Sequence[str], defining: Mapping[str, Collection[str]]) -> dict[str, int]:
    """Behaviour -> index of the furthest stage it defines.

    Args:
        stages: stage names in order.
        defining: stage -> behaviours that define it. Where the first stage has none, every other behaviour tells of it.

    Raises:
        ValueError: ``defining`` names a stage that is none.
    """
    unknown = sorted(set(defining) - set(stages))
    if unknown:
        raise ValueError(f"defining outcomes are given for {unknown[0]!r}, which is no stage of {list(stages)}")
    ranks: dict[str, int] = {}
    for index, stage in enumerate(stages):
        for behaviour in defining.get(stage, ()):
            ranks[behaviour] = max(ranks.get(behaviour, 0), index)
    return ranks


def rank_of(behaviours: Collection[str], ranks: Mapping[str, int]) -> int:
    """Index of the furthest stage that an event with these behaviours defines; ``UNKNOWN`` when it tells nothing."""
    unnamed = UNKNOWN if 0 in ranks.values() else 0
    return max((ranks.get(behaviour, unnamed) for behaviour in behaviours), default=UNKNOWN)


def furthest_stage(
    point_persons: npt.NDArray[Any],
    point_times: Ints,
    event_persons: npt.NDArray[Any],
    event_times: Ints,
    event_ranks: Ints,
    window: int,
    stages: int,
) -> Ints:
    """The target of each point, as an index into the stages, or ``UNKNOWN``.

    Args:
        point_persons, point_times: the moments asked about, in any order.
        event_persons, event_times, event_ranks: events in any order; one of rank ``UNKNOWN`` defines nothing.
        window: H in microseconds; an outcome exactly H after the point counts, one at the point itself does not.
        stages: number of stages.

    For each stage from the first on: the next defining event of the person after the point, found by one binary
    search over (person, time); if it is within H, the target is at least that stage.
    """
    target = np.full(len(point_times), UNKNOWN, dtype=np.int64)
    relevant = event_ranks >= 0
    if not len(point_times) or not relevant.any():
        return target
    persons, times, ranks = event_persons[relevant], event_times[relevant], event_ranks[relevant]
    _, codes = np.unique(np.concatenate([point_persons, persons]), return_inverse=True)
    # Times become ranks among all times, so that person and time fit one integer without overflow.
    moments, order = np.unique(np.concatenate([point_times, times]), return_inverse=True)
    keys = codes.astype(np.int64) * (len(moments) + 1) + order.astype(np.int64)
    point_keys, event_keys = keys[: len(point_times)], keys[len(point_times) :]
    point_codes, event_codes = codes[: len(point_times)], codes[len(point_times) :]
    for stage in range(stages):
        chosen = ranks == stage
        if not chosen.any():
            continue
        sorting = np.argsort(event_keys[chosen], kind="stable")
        sorted_keys = event_keys[chosen][sorting]
        sorted_times, sorted_codes = times[chosen][sorting], event_codes[chosen][sorting]
        position = np.searchsorted(sorted_keys, point_keys, side="right")
        exists = position < len(sorted_keys)
        at = np.minimum(position, len(sorted_keys) - 1)
        hit = exists & (sorted_codes[at] == point_codes) & (sorted_times[at] - point_times <= window)
        target[hit] = stage
    return target
