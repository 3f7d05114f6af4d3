"""What a shard keeps in memory, and what is to leave it. Pure: it says so, and does nothing.

Input: who was touched and when, by the wall clock in microseconds. Output: persons. Errors: none. State: sizes by
person, in the order in which they were last touched.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from contracts.event import HOUR, MINUTE
from transforms.actor.core import STATE_BYTES
from transforms.journey.live.journeys import LiveJourneys
from transforms.journey.live.messages import PersonRecord

_NOT_YET = -1
"""When a record is back since, before the clock was read."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a shard holds at most. ``idle``, ``settled``, ``look_every`` in microseconds of processing time.

    ``tail_bytes``: what a person's record keeps of its events when it is archived, which is when it has twice as many.
    """

    shard_bytes: int = STATE_BYTES // 6
    machine_bytes: int = STATE_BYTES * 2 // 3
    idle: int = HOUR
    settled: int = 30 * MINUTE
    look_every: int = MINUTE
    tail_bytes: int = 256 * 1024

    @classmethod
    def of_one_of(cls, shards: int, memory: int = STATE_BYTES) -> Bounds:
        """The share of one shard; 0 shards: there is one a person, whose bound is never reached.

        Args:
            memory: bytes of both stages (``transforms.actor.core.STATE_BYTES``).
        """
        count = max(shards, 1)
        return cls(shard_bytes=memory // 6 // count, machine_bytes=memory * 2 // 3 // count)


class Keeping:
    """Weighs the records and machines of ``journeys`` and keeps their bounds.

    Args:
        journeys: of the shard.
        bounds: to keep.
        is_long: whether some of a record is to be archived.

    Attributes:
        long: whose records are.
    """

    def __init__(
        self, journeys: LiveJourneys, bounds: Bounds, is_long: Callable[[PersonRecord | None], bool] = lambda _: False
    ) -> None:
        self._is_long = is_long
        self.long: set[str] = set()
        self._journeys = journeys
        self._bounds = bounds
        # what leaves is at the front, where a plain dict walks over all that left before
        self._touched: OrderedDict[str, int] = OrderedDict()
        self._back_since: OrderedDict[str, int] = OrderedDict()
        """The longest back first, so that a look at the bounds does not go through all that were read back."""
        self._not_yet: list[str] = []
        self._sizes: dict[str, int] = {}
        self._machines: OrderedDict[str, int] = OrderedDict()
        self._bytes = 0
        self._machine_bytes = 0

    @property
    def is_over(self) -> bool:
        """Whether there is more than the bounds allow."""
        return self._bytes > self._bounds.shard_bytes or self._machine_bytes > self._bounds.machine_bytes

    def touched(self, person: str, now: int) -> None:
        """Note that a person was at work."""
        self._touched.pop(person, None)
        self._touched[person] = now
        self.weigh(person)

    def restored(self, person: str) -> None:
        """Note a record from the log: nobody knows since when it is there."""
        self._back_since[person] = _NOT_YET
        self._not_yet.append(person)
        self.touched(person, 0)

    def stays(self, person: str, now: int) -> None:
        """Note that a record is not to be written into the record store too soon: it came from there, or forgot."""
        self._back_since[person] = now
        self._back_since.move_to_end(person)

    def weigh(self, person: str) -> None:
        """Take notice of what is there of a person now."""
        record = self._journeys.records.get(person)
        live = self._journeys.live.get(person)
        (self.long.add if self._is_long(record) else self.long.discard)(person)
        self._bytes -= self._sizes.pop(person, 0)
        self._machine_bytes -= self._machines.pop(person, 0)
        if record is None:
            self._touched.pop(person, None)
            self._back_since.pop(person, None)
        else:
            self._sizes[person] = record.size
            self._bytes += self._sizes[person]
        if live is not None:
            self._machines[person] = live.machine.size
            self._machine_bytes += self._machines[person]

    def leaving(self, now: int, most: int) -> dict[str, bool]:
        """Persons to put away, longest untouched first, and whether each is idle; else they are too much."""
        settled, idle_before = now - self._bounds.settled, now - self._bounds.idle
        for person in self._not_yet:
            if self._back_since.get(person) == _NOT_YET:
                self._back_since[person] = now
        self._not_yet.clear()
        while self._back_since and self._back_since[next(iter(self._back_since))] <= settled:
            self._back_since.popitem(last=False)
        found: dict[str, bool] = {}
        excess = self._bytes - self._bounds.shard_bytes
        for person, touched in self._touched.items():
            if len(found) == most or (excess <= 0 and touched > idle_before):
                break
            record = self._journeys.records.get(person)
            if record is None or not record.has_events or record.early or person in self._back_since:
                continue
            idle = touched <= idle_before and self._journeys.dues.of(person) is None
            if idle or excess > 0:
                found[person] = idle
                excess -= self._sizes[person]
        return found

    def resting(self) -> list[str]:
        """Persons whose machines are to be given up, longest untouched first.

        The last touched stays, also where it is too large by itself: its next event would only make it again.
        """
        found: list[str] = []
        excess = self._machine_bytes - self._bounds.machine_bytes
        for person, size in self._machines.items():
            if excess <= 0 or len(found) + 1 == len(self._machines):
                break
            found.append(person)
            excess -= size
        return found
