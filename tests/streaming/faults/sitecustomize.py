"""Faults injected into the workers of a stream under test, and nothing else: Python runs this when it starts.

``WAYLINE_FAULTS`` is a folder: a fault that happens some times only leaves a file there. ``WAYLINE_STATE_VERSION`` is
the version in which workers write the log of a shard. Without either nothing is changed.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SLOW = 2.0
"""Seconds that a store takes for a while."""


def _times(folder: Path, name: str, most: int) -> bool:
    """Whether a fault happens once more; it is noted that it did."""
    done = len(list(folder.glob(f"{name}-*")))
    if done >= most:
        return False
    (folder / f"{name}-{done}").touch()
    return True


def _before(owner: Any, name: str, fault: Callable[..., None]) -> None:
    real = getattr(owner, name)

    def faulty(self: Any, *given: Any, **named: Any) -> Any:
        fault(self, *given, **named)
        return real(self, *given, **named)

    setattr(owner, name, faulty)


def _inject(folder: Path) -> None:
    from contracts import wire
    from contracts.exchange import ShardInput, StrandMessages
    from transforms.identity.live_shard import StrandCore
    from transforms.journey.live.core import JourneyCore
    from transforms.stores.sqlite import SqliteDatabase
    from transforms.tables.pane import PaneWriter

    def strand(_core: Any, batch: Any, _now: int) -> None:
        events = [event for packed in batch for event in wire.unpack_compressed(ShardInput, packed).events]
        if any(event.event_id == "poison-strand" for event in events):
            raise KeyError("a fold that failed")

    def journey(_core: Any, batch: Any, _now: int) -> None:
        messages = [message for packed in batch for message in wire.unpack(StrandMessages, packed).messages]
        if any(b"poison-journey" in event for message in messages for event in message.events):
            raise ZeroDivisionError("a fold that failed")

    def disk(_writer: Any, *_given: Any) -> None:
        if _times(folder, "disk", 2):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def store(_database: Any, *_given: Any) -> None:
        if _times(folder, "store", 3):
            time.sleep(SLOW)

    _before(StrandCore, "handle", strand)
    _before(JourneyCore, "handle", journey)
    _before(PaneWriter, "write", disk)
    _before(SqliteDatabase, "write", store)


def _write_state_as(version: int) -> None:
    from transforms.actor import segments

    segments.VERSION = version
    segments._PREFIX = bytes((version,))


_IS_WORKER = any("SdkHarness" in argument for argument in sys.orig_argv)
if (newer := os.environ.get("WAYLINE_STATE_VERSION")) and _IS_WORKER:
    _write_state_as(int(newer))
if (where := os.environ.get("WAYLINE_FAULTS")) and _IS_WORKER:
    _inject(Path(where))
