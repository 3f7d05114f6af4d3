"""When time alone does something next, for whom. Pure.

Input: persons and instants, event time in microseconds. Output: who is due. Errors: none. State: one instant a person.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection


class Dues:
    """The next instant of each person; a heap whose stale entries are passed over."""

    def __init__(self) -> None:
        self._due: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []

    def first(self) -> int | None:
        """The earliest instant."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def first_without(self, persons: Collection[str]) -> int | None:
        """The earliest instant of others than some."""
        passed: list[tuple[int, str]] = []
        while (first := self.first()) is not None and self._heap[0][1] in persons:
            passed.append(heapq.heappop(self._heap))
        for entry in passed:
            heapq.heappush(self._heap, entry)
        return first

    def of(self, person: str) -> int | None:
        """That of one person."""
        return self._due.get(person)

    def up_to(self, watermark: int, most: int) -> list[str]:
        """Persons that are due by then, the earliest first."""
        found: list[tuple[int, str]] = []
        while len(found) < most and (first := self.first()) is not None and first <= watermark:
            found.append(heapq.heappop(self._heap))
        for entry in found:
            heapq.heappush(self._heap, entry)
        return list(dict.fromkeys(person for _, person in found))

    def put(self, person: str, due: int | None) -> None:
        """Note when a person is due; None: never."""
        if due is None:
            self._due.pop(person, None)
        elif self._due.get(person) != due:
            self._due[person] = due
            heapq.heappush(self._heap, (due, person))

    def earlier(self, person: str, due: int) -> None:
        """Note that a person is due at ``due`` at the latest."""
        before = self._due.get(person)
        self.put(person, due if before is None else min(due, before))
