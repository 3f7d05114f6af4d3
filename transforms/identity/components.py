"""Components: which identifiers must be resolved together, found on numbers alone, so that work can be parted.

Pure. Every pair of linked identifiers is two 64-bit hashes here, whatever becomes of the link; a crowded identifier
(more than ``IdentityRules.crowd`` others) holds nothing together, so it parts components. Two identifiers with one hash
only share a part: resolution itself never sees a hash. Memory: about 100 bytes an identifier and 40 a pair.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from contracts.event import Identifier

Hashes = npt.NDArray[np.uint64]
_WANTED = 50_000
"""Links that one part should have."""


def hash_of(identifier: Identifier) -> int:
    """64 bits of an identifier."""
    text = identifier.namespace + "\0" + identifier.value
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


class Pairs(NamedTuple):
    """Two rows of hashes, one column a pair, and which of them count for a crowd: those of an unlink do not."""

    ends: Hashes
    counted: npt.NDArray[np.bool_]


def pairs_of(data: Iterable[bytes]) -> Pairs:
    """The pairs of what ``pack_pairs`` made."""
    ends, counted = [np.empty((2, 0), dtype=np.uint64)], [np.empty(0, dtype=np.bool_)]
    for some in data:
        first = int.from_bytes(some[:8], "little")
        ends.append(np.frombuffer(some, dtype="<u8", offset=8).reshape(2, -1))
        counted.append(np.arange(ends[-1].shape[1]) < first)
    return Pairs(np.concatenate(ends, axis=1), np.concatenate(counted))


def pack_pairs(
    left: Sequence[int], right: Sequence[int], unlinked: tuple[Sequence[int], Sequence[int]] = ((), ())
) -> bytes:
    """Pairs of hashes as bytes. ``unlinked``: those whose only word is an unlink, which count for no crowd."""
    ends = np.array([[*left, *unlinked[0]], [*right, *unlinked[1]]], dtype="<u8")
    return len(left).to_bytes(8, "little") + ends.tobytes()


@dataclass(frozen=True, slots=True)
class Placement:
    """In which part an identifier is resolved.

    Attributes:
        parts: how many there are.
        hashes: identifiers that are not in the part of their own hash, ascending.
        places: their parts.
        crowded: hashes of crowded identifiers, ascending.
    """

    parts: int
    hashes: Hashes
    places: npt.NDArray[np.int32]
    crowded: Hashes

    def part_of(self, hashed: int) -> int:
        """The part of an identifier, by its hash; the home of a crowded one."""
        at = int(np.searchsorted(self.hashes, np.uint64(hashed)))
        if at < len(self.hashes) and int(self.hashes[at]) == hashed:
            return int(self.places[at])
        return hashed % self.parts

    def is_crowded(self, hashed: int) -> bool:
        at = int(np.searchsorted(self.crowded, np.uint64(hashed)))
        return at < len(self.crowded) and int(self.crowded[at]) == hashed

    def crowd_alone(self) -> Placement:
        """The number of parts and who is crowded, without any place."""
        return Placement(self.parts, self.hashes[:0], self.places[:0], self.crowded)

    def pack(self) -> bytes:
        """As bytes, for ``unpack``."""
        head = np.array([self.parts, len(self.hashes), len(self.crowded)], dtype="<u8")
        return b"".join(
            (head.tobytes(), self.hashes.tobytes(), self.crowded.tobytes(), self.places.astype("<i4").tobytes())
        )


def unpack(data: bytes) -> Placement:
    """The inverse of ``Placement.pack``."""
    parts, count, crowded = (int(n) for n in np.frombuffer(data, dtype="<u8", count=3))
    hashes = np.frombuffer(data, dtype="<u8", count=count, offset=24)
    crowd = np.frombuffer(data, dtype="<u8", count=crowded, offset=24 + 8 * count)
    places = np.frombuffer(data, dtype="<i4", count=count, offset=24 + 8 * (count + crowded))
    return Placement(parts, hashes, places, crowd)


def place(pairs: Pairs, crowd: int, most: int, shards: int) -> list[Placement]:
    """Part the identifiers, so that whatever is linked is in one part.

    Args:
        pairs: as ``pairs_of`` gives them, each link's left end first.
        crowd: others with whom an identifier may be linked before it is crowded.
        most: parts at most.
        shards: what is known of an identifier is needed where the links are whose left end's hash has its remainder.

    Returns:
        For each shard the placement of its left ends, and of what the crowded ones among them are linked with.
    """
    hashes, left, right, is_crowded, distinct = _graph_of(pairs, crowd)
    crowded = hashes[is_crowded]
    parts = max(1, min(most, distinct // _WANTED + 1))
    none = np.empty(0, dtype=np.int32)
    if parts == 1:
        return [Placement(1, hashes[:0], none, crowded)] * shards
    held = ~(is_crowded[left] | is_crowded[right])
    label = labels(left[held], right[held], len(hashes))
    places = (hashes[label] % np.uint64(parts)).astype(np.int32)
    moved = places != (hashes % np.uint64(parts)).astype(np.int32)
    shard = (hashes % np.uint64(shards)).astype(np.int64)
    beyond = is_crowded[left] & moved[right]
    made = []
    for number in range(shards):
        wanted = moved & (shard == number)
        wanted[right[beyond & (shard[left] == number)]] = True
        made.append(Placement(parts, hashes[wanted], places[wanted], crowded))
    return made


class _Graph(NamedTuple):
    """Hashes, ascending, the pairs by their places, which are crowded, and how many different pairs count for it."""

    hashes: Hashes
    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    is_crowded: npt.NDArray[np.bool_]
    distinct: int


def _graph_of(pairs: Pairs, crowd: int) -> _Graph:
    hashes, numbers = np.unique(pairs.ends, return_inverse=True)
    left, right = numbers.reshape(pairs.ends.shape)
    one, other = left[pairs.counted], right[pairs.counted]
    _, once = np.unique(np.minimum(one, other) * max(len(hashes), 1) + np.maximum(one, other), return_index=True)
    degree = np.bincount(np.concatenate((one[once], other[once])), minlength=len(hashes))
    return _Graph(hashes, left, right, degree > crowd, len(once))


@dataclass(frozen=True, slots=True)
class Reach:
    """Of whom something may be erased, and up to which times: of all in the component of a request, each of its times.

    Attributes:
        times: by the hash of an identifier, ascending.
    """

    times: dict[int, tuple[int, ...]]

    def times_of(self, hashed: int) -> tuple[int, ...]:
        """The times of an identifier, by its hash."""
        return self.times.get(hashed, ())

    def pack(self) -> bytes:
        """As bytes, for ``unpack_reach``."""
        return msgspec.msgpack.encode(self.times)


def unpack_reach(data: bytes) -> Reach:
    """The inverse of ``Reach.pack``."""
    return Reach(msgspec.msgpack.decode(data, type=dict[int, tuple[int, ...]]))


def reach(pairs: Pairs, crowd: int, requests: Iterable[tuple[int, int]]) -> Reach:
    """How far requests for erasure may reach, at most.

    Args:
        pairs: as ``pairs_of`` gives them.
        crowd: as in ``place``.
        requests: (hash of who asks, or was erased before, time).
    """
    asked: dict[int, set[int]] = {}
    for hashed, until in requests:
        asked.setdefault(hashed, set()).add(until)
    found = {hashed: tuple(sorted(times)) for hashed, times in asked.items()}
    if not asked:
        return Reach(found)
    hashes, left, right, is_crowded, _ = _graph_of(pairs, crowd)
    held = ~(is_crowded[left] | is_crowded[right])
    label = labels(left[held], right[held], len(hashes))
    of_label: dict[int, set[int]] = {}
    for hashed, times in asked.items():
        at = int(np.searchsorted(hashes, np.uint64(hashed)))
        if at < len(hashes) and int(hashes[at]) == hashed:
            of_label.setdefault(int(label[at]), set()).update(times)
    ordered = {number: tuple(sorted(times)) for number, times in of_label.items()}
    for at in np.flatnonzero(np.isin(label, list(ordered))).tolist():
        found[int(hashes[at])] = ordered[int(label[at])]
    return Reach(found)


def labels(left: npt.NDArray[Any], right: npt.NDArray[Any], count: int) -> npt.NDArray[np.int64]:
    """A label from 0 to ``count`` - 1 for each of ``count`` nodes, equal exactly for those that edges connect."""
    label = np.arange(count)
    while True:
        a, b = label[left], label[right]
        if np.array_equal(a, b):
            return label
        least = np.minimum(a, b)
        np.minimum.at(label, a, least)
        np.minimum.at(label, b, least)
        while not np.array_equal(label, shorter := label[label]):
            label = shorter
