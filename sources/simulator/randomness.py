"""Randomness that is a pure function of names: the same seed and the same thing give the same draw, in any process."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

PEOPLE, PATHS, LOGGED, LIFE, ARRIVAL, SHARING = range(6)
"""Purposes of generators; each has its own stream, so that drawing more of one moves no other."""


def generator(seed: int, *place: int) -> np.random.Generator:
    """A generator for one place of one world, e.g. (PATHS, chunk)."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *place])))


def unit(seed: int, *names: str) -> float:
    """A number in [0, 1) that belongs to these names."""
    digest = hashlib.blake2b("\x00".join((str(seed), *names)).encode("utf-8"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


def mix(values: NDArray[Any], seed: int) -> NDArray[np.uint64]:
    """splitmix64 of each value: distinct values give distinct, random-looking ones."""
    with np.errstate(over="ignore"):
        z = values.astype(np.uint64) + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) % 2**64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
        return mixed
