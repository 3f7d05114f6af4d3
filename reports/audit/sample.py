"""Different things counted in bounded memory: exactly up to a limit, beyond it by a sample of their hashes. Pure.

Everything is kept until there are more than ``limit`` different things. Then only those are kept whose hash ends in a
zero bit, then in two, and so on: each kept thing stands for 1, 2, 4 … things, and whether one is kept depends on its
hash alone, so that two samples can be compared thing by thing. A number of n kept things is estimated with a relative
standard error of about 1/sqrt(n), and between limit/2 and limit are kept.

Input: hashes of 64 bits. Output: ``Number``. State: at most ``limit`` entries. Errors: none.
"""

from __future__ import annotations

import hashlib
from typing import Generic, NamedTuple, TypeVar

V = TypeVar("V")


class Number(NamedTuple):
    """A count, and whether it is exact."""

    value: int
    exact: bool = True


def hashed(*parts: str) -> int:
    """A hash of 64 bits of some texts."""
    text = "\x00".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


class Sample(Generic[V]):
    """Different hashes, each with a value."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.level = 0
        self.kept: dict[int, V] = {}

    def admits(self, key: int) -> bool:
        """Whether this hash belongs to the sample as it is now."""
        return not key & ((1 << self.level) - 1)

    def put(self, key: int, value: V) -> None:
        """Keep a hash that is admitted, or replace its value; what is not admitted is left out."""
        if not self.admits(key):
            return
        self.kept[key] = value
        while len(self.kept) > self.limit:
            self.level += 1
            self.kept = {one: value for one, value in self.kept.items() if self.admits(one)}

    def scaled(self, kept: int) -> Number:
        """How many things so many kept ones stand for."""
        return Number(kept << self.level, not self.level)

    @property
    def size(self) -> Number:
        """How many different hashes were put in."""
        return self.scaled(len(self.kept))


def in_both(a: Sample[V], b: Sample[V]) -> Number:
    """How many different hashes two samples share."""
    coarse, fine = (a, b) if a.level >= b.level else (b, a)
    return coarse.scaled(sum(key in fine.kept for key in coarse.kept))
