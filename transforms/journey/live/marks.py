"""A hash for each of many numbers, in 16 bytes where a dict takes a hundred. Pure.

Input: numbers and hashes of 64 bits, signed. Output: those. Errors: as of a mapping. State: two arrays, ascending by
number: what comes last goes to the end at once, else what lies behind is moved.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, MutableMapping
from typing import Any


class Marks(MutableMapping[int, int]):
    """A mapping of numbers to numbers."""

    __slots__ = ("_keys", "_marks")

    def __init__(self) -> None:
        self._keys = array("q")
        self._marks = array("q")

    def __copy__(self) -> Marks:
        other = Marks()
        other._keys, other._marks = self._keys[:], self._marks[:]
        return other

    def __getitem__(self, key: int) -> int:
        place = self._place(key)
        if place is None:
            raise KeyError(key)
        return self._marks[place]

    def get(self, key: int, default: Any = None) -> Any:
        """The mark of a number. Most are asked for before there is one, so no error is raised on the way."""
        place = self._place(key)
        return default if place is None else self._marks[place]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, int) and self._place(key) is not None

    def __setitem__(self, key: int, mark: int) -> None:
        keys = self._keys
        if not keys or key > keys[-1]:
            keys.append(key)
            self._marks.append(mark)
            return
        place = bisect_left(keys, key)
        if keys[place] == key:
            self._marks[place] = mark
        else:
            keys.insert(place, key)
            self._marks.insert(place, mark)

    def __delitem__(self, key: int) -> None:
        place = self._place(key)
        if place is None:
            raise KeyError(key)
        del self._keys[place], self._marks[place]

    def __iter__(self) -> Iterator[int]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def _place(self, key: int) -> int | None:
        keys = self._keys
        if not keys or key > keys[-1]:
            return None
        place = bisect_left(keys, key)
        return place if keys[place] == key else None
