"""Who uses whose device: a stated share of the personal devices in use is used by a second person as well."""

from __future__ import annotations

import numpy as np

from sources.simulator import randomness
from sources.simulator.avro import Ints
from sources.simulator.config import WorldConfig
from sources.simulator.people import People

_BORROWS = 0.35
"""Of the visits of who may use another one's device, this share is made on it; at least one is."""


def borrowed(config: WorldConfig, chunk: int, people: People, person: Ints, device: Ints) -> Ints:
    """The devices of visits, once some of them are made on the device of somebody else.

    People live in pairs, the first and the second, the third and the fourth of a chunk. In some pairs the second one
    also uses the device that the first one visits with most, so that nobody is tied to more than one other by it. Which
    pairs is the same for every stretch of time, as far as the numbers are. A world without such sharing draws nothing.

    Args:
        person: of each visit.
        device: of each visit, as chosen so far.
    """
    if not config.device_sharing:
        return device
    rng = randomness.generator(config.seed, randomness.SHARING, chunk)
    pairs = rng.permutation(len(people) // 2)
    wishes = rng.random(len(person))
    favourite = _favourites(people, person, device)
    visits = np.bincount(person, minlength=len(people))
    wanted = round(config.device_sharing * len(np.unique(device)))
    able = pairs[(favourite[pairs * 2] >= 0) & (visits[pairs * 2 + 1] >= 2)][:wanted]
    lent = np.full(len(people), -1, dtype=np.int64)
    lent[able * 2 + 1] = favourite[able * 2]
    # the wish of the first visit of each person is granted whatever it was
    _, first = np.unique(person, return_index=True)
    wishes[first] = 0.0
    return np.where((lent[person] >= 0) & (wishes < _BORROWS), lent[person], device)


def _favourites(people: People, person: Ints, device: Ints) -> Ints:
    """The device that each person visits with most, the lowest of several; -1 for who visits with none of their own."""
    own = (device >= people.first_device[person]) & (device < (people.first_device + people.device_count)[person])
    used, times = np.unique(device[own], return_counts=True)
    owner = np.searchsorted(people.first_device, used, side="right") - 1
    best = np.full(len(people), -1, dtype=np.int64)
    order = np.lexsort((-used, times))
    best[owner[order]] = used[order]
    return best
