"""Draining: how a source that never ends is asked to. One file, seen by every worker that shares OUT's folder.

While the file is there, a source hands out nothing more, waits until what it handed out is kept, and then ends, so that
the watermark reaches the end of time and the stream finishes what it holds. Whoever starts a stream removes the file.
"""

from __future__ import annotations

import os

_LOOK_EVERY = 0.25


class DrainFlag:
    """Whether a stream is being drained; looks at the disk a few times a second at most. Once true it stays so.

    Args:
        path: the file; None: never.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._next = 0.0
        self._raised = False

    def is_raised(self, now: float) -> bool:
        """``now``: seconds of a monotonic clock."""
        if self._path is None or self._raised or now < self._next:
            return self._raised
        self._next = now + _LOOK_EVERY
        self._raised = os.path.exists(self._path)
        return self._raised
