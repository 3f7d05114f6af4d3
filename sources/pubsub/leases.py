"""Leases: which messages this process holds, and when to tell the server that it still does.

Pure: the clock is an argument, in seconds of any monotonic clock. A message not yet acknowledged comes back to some
reader once its deadline passes; until then it is ours. It is kept at most ``max_held`` seconds: a message whose
checkpoint never completes must come back some time.
"""

from __future__ import annotations

from collections.abc import Iterable


class Leases:
    """Ack ids with the times at which they were pulled and at which they run out.

    Args:
        deadline: seconds the subscription grants at a pull.
        extension: seconds asked for at each extension.
        max_held: seconds after which a message is let go.
    """

    def __init__(self, deadline: float, extension: float, max_held: float) -> None:
        self._deadline = deadline
        self._extension = extension
        self._max_held = max_held
        self._held: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def add(self, ids: Iterable[str], now: float) -> None:
        """These were pulled by a request sent at ``now``."""
        until = now + self._deadline
        for ack_id in ids:
            self._held[ack_id] = (now, until)

    def drop(self, ids: Iterable[str]) -> None:
        """These are acknowledged or given back."""
        for ack_id in ids:
            self._held.pop(ack_id, None)

    def due(self, now: float) -> list[str]:
        """Those to extend now, since half of their time is over; they then count as extended. Lets go of the oldest."""
        out = []
        margin = min(self._deadline, self._extension) / 2
        for ack_id, (since, until) in list(self._held.items()):
            if now - since >= self._max_held:
                del self._held[ack_id]
            elif until - now <= margin:
                self._held[ack_id] = (since, now + self._extension)
                out.append(ack_id)
        return out

    def holds(self, ack_id: str) -> bool:
        """Whether a message is still ours."""
        return ack_id in self._held
