"""Draining: how a stream comes to its end. One file, seen by every worker that shares OUT's folder.

While the file is there, a source hands out nothing more, waits until what it handed out is kept, and then ends, so that
the watermark reaches the end of time and the stream finishes what it holds. A source that ends by itself puts the file
there first: stages see by it that time does not go on, but jumps. Whoever starts a stream removes the file.
"""

from __future__ import annotations

import os
from pathlib import Path

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

    def put_up(self) -> None:
        """Say that the end has come. Raises OSError when the folder is gone or full."""
        if self._path is not None:
            Path(self._path).touch()
        self._raised = True

    def is_raised(self, now: float) -> bool:
        """``now``: seconds of a monotonic clock."""
        if self._path is None or self._raised or now < self._next:
            return self._raised
        self._next = now + _LOOK_EVERY
        self._raised = os.path.exists(self._path)
        return self._raised
