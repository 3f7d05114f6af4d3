"""Who uses whose device: a stated share of the personal devices in use is used by a second person as well."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sources.simulator import randomness
from sources.simulator.avro import Ints
from sources.simulator.config import WorldConfig
from sources.simulator.people import People

_BORROWS = 0.35
"""Of the visits of who may use another one's device, this share is made on it; at least one is."""


def borrowed(
    config: WorldConfig, chunk: int, people: People, person: Ints, has_account: NDArray[np.bool_], device: Ints
) -> Ints:
    """The devices of visits, once some of them are made on the device of somebody else.

    People live in pairs, the first and the second, the third and the fourth of a chunk. In some pairs the second one
    also uses a device of the first one, any of those the first one visits with, and has an account by then: so nobody
    is tied to more than one other by it. A world without such sharing draws nothing.

    Args:
        person: of each visit.
        has_account: whether each visit's person has an account then.
        device: of each visit, as chosen so far.
    """
    if not config.device_sharing:
        return device
    rng = randomness.generator(config.seed, randomness.SHARING, chunk)
    pairs = rng.permutation(len(people) // 2)
    lent = _one_of_each(people, rng.random(len(people.devices.number)), person, device)
    borrows = has_account & (rng.random(len(person)) < _BORROWS)
    # at least one visit is made on the device, whatever chance says
    candidates = np.flatnonzero(has_account)
    borrowers, first = np.unique(person[candidates], return_index=True)
    borrows[candidates[first]] = True
    several = np.bincount(person, minlength=len(people)) >= 2
    several &= np.isin(np.arange(len(people)), borrowers)
    wanted = round(config.device_sharing * len(np.unique(device)))
    able = pairs[(lent[pairs * 2] >= 0) & several[pairs * 2 + 1]][:wanted]
    used = np.full(len(people), -1, dtype=np.int64)
    used[able * 2 + 1] = lent[able * 2]
    return np.where((used[person] >= 0) & borrows, used[person], device)


def _one_of_each(people: People, rank: NDArray[np.float64], person: Ints, device: Ints) -> Ints:
    """One of the own devices that each person visits with, that of the least rank; -1 for who visits with none."""
    own = (device >= people.first_device[person]) & (device < (people.first_device + people.device_count)[person])
    visited = np.unique(device[own])
    visited = visited[np.argsort(-rank[visited])]
    chosen = np.full(len(people), -1, dtype=np.int64)
    chosen[np.searchsorted(people.first_device, visited, side="right") - 1] = visited
    return chosen
