"""Draining: how a stream comes to its end. Two files, seen by every worker that shares OUT's folder.

``NNNN.drain`` asks for it: while it is there a source hands out nothing more, waits until what it handed out is kept,
and then ends, so that the watermark reaches the end of time and the stream finishes what it holds. ``NNNN.drain.ended``
is put there by a source that has come to its end by itself. Stages see by either that time does not go on, but jumps. A
source that is set back to a checkpoint goes on from there all the same. Whoever starts a stream removes both.
"""

from __future__ import annotations

import os
from pathlib import Path

_LOOK_EVERY = 0.25
_ENDED = ".ended"


class DrainFlag:
    """Whether a stream is being drained; looks at the disk a few times a second at most. Once true it stays so.

    Args:
        path: the file; None: never.
        or_ended: true also when a source has ended by itself.
    """

    def __init__(self, path: str | None, *, or_ended: bool = False) -> None:
        self._path = path
        self._looked_for = () if path is None else (path, path + _ENDED) if or_ended else (path,)
        self._next = 0.0
        self._raised = False

    def is_raised(self, now: float) -> bool:
        """``now``: seconds of a monotonic clock."""
        if self._raised or now < self._next:
            return self._raised
        self._next = now + _LOOK_EVERY
        return self.look()

    def look(self) -> bool:
        """The same, and looks at the disk at once: for who must not miss the moment, and asks seldom."""
        self._raised = self._raised or any(map(os.path.exists, self._looked_for))
        return self._raised

    def say_ended(self) -> None:
        """The source has come to its end by itself. Raises OSError when the folder is gone or full."""
        if self._path is not None:
            Path(self._path + _ENDED).touch()


def take_down(path: Path) -> None:
    """Before a stream starts: nobody asks for its end, and nothing has ended."""
    for name in (path, Path(str(path) + _ENDED)):
        name.unlink(missing_ok=True)
