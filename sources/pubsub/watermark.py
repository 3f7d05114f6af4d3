"""The watermark of a reader of messages that come in no order: event time, clamped to when it was received.

Pure: clocks are arguments. Times are UTC microseconds; ``now`` is in seconds of a monotonic clock.
What is promised: an event that meets ``received_time - event_time <= lateness`` is never behind the watermark by more
than ``lateness``, as far as a reader can know. For that the watermark is the greatest min(event time, received time) of
what was emitted, held back by the least received time of what is held and not emitted. One clock that runs ahead moves
nothing, for event time is clamped; one that runs behind holds nothing. A message that the server redelivers or delivers
late is beyond what a reader can know: a host that forgets by watermark grants some minutes.

Idle rule: when the source has answered for ``idle_after`` seconds that it has nothing, the watermark goes on at the
pace of time from where it was. It does not jump to the wall clock, so a pause in a replay of old events makes none of
them late, and no clock of this machine can push it; a source that does not answer moves nothing.
"""

from __future__ import annotations

from collections import deque

from contracts.event import SECOND


class Watermark:
    """The watermark of one reader.

    Args:
        idle_after: seconds without a message after which time passes by itself; None: never.
        now: when this reader began.
        frontier: where a reader before it stood; None: nothing was emitted yet.
    """

    def __init__(self, idle_after: float | None, now: float, frontier: int | None = None) -> None:
        self.frontier = frontier
        self._idle_after = idle_after
        self._last_came = self._last_empty = now
        self._held: deque[tuple[int, int]] = deque()
        self._put = self._taken = 0

    def hold(self, received_time: int, now: float) -> None:
        """A message came and waits; messages are emitted in the order in which they were held."""
        while self._held and self._held[-1][0] >= received_time:
            self._held.pop()
        self._held.append((received_time, self._put))
        self._put += 1
        self._last_came = now

    def emit(self, time: int | None) -> None:
        """The message held longest is emitted; ``time`` is min(event time, received time), None for no event."""
        self._taken += 1
        while self._held and self._held[0][1] < self._taken:
            self._held.popleft()
        if time is not None and (self.frontier is None or time > self.frontier):
            self.frontier = time

    def empty(self, now: float) -> None:
        """The source says that it has nothing now."""
        self._last_empty = max(self._last_empty, now)

    def forget_held(self) -> None:
        """What was held is given back."""
        self._held.clear()
        self._taken = self._put

    def at(self) -> int | None:
        """The watermark; None while nothing was emitted. It may step back: whoever publishes it takes the greatest."""
        if self.frontier is None:
            return None
        if self._held:
            return min(self.frontier, self._held[0][0])
        if self._idle_after is None:
            return self.frontier
        return self.frontier + max(0, round((self._last_empty - self._last_came - self._idle_after) * SECOND))
