"""The records that a worker holds in memory between bundles. No Beam.

One ``HeldShards`` a process, ``HELD``: stateful DoFns come and go with the engine's threads, and records would be
rebuilt each time. A turn *takes* a shard out and *keeps* it when it is through, so that two threads never hold the same
records: an attempt that the engine gave up, but that still runs, has taken them with it, and the next one rebuilds.
What is kept is valid only while its token equals the shard's ``head`` in the engine's state.

Bounds: at most ``SHARDS`` are kept, the least recently used go first; a worker that serves more of them rebuilds more
often, and says so in a counter.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

from transforms.actor.core import ActorCore
from transforms.actor.segments import SegmentLog

SHARDS = 4_096


class Place(NamedTuple):
    """Which actor: the run that the graph was built for, the stage, the shard."""

    job: str
    stage: str
    shard: bytes


@dataclass
class Held:
    """One shard in memory.

    ``event_at`` and ``poll_at`` are when the engine's timers are known to be set, microseconds of their domain; None
    when they are not, or nobody knows. ``event_due`` and ``poll_due`` are what the core asked for last. ``failed_at``
    is an event time up to which an ``advance`` is owed, since it failed. ``ended`` says that the shard was drained.
    """

    core: ActorCore
    log: SegmentLog
    token: bytes = b""
    event_at: int | None = None
    poll_at: int | None = None
    event_due: int | None = None
    poll_due: int | None = None
    failed_at: int | None = None
    ended: bool = False


class HeldShards:
    """Shards by place. Safe between threads."""

    def __init__(self, limit: int = SHARDS) -> None:
        self._held: OrderedDict[Place, Held] = OrderedDict()
        self._limit = limit
        self._lock = threading.Lock()

    def take(self, place: Place) -> Held | None:
        """Take a shard out, to use it alone; None when it is not here."""
        with self._lock:
            return self._held.pop(place, None)

    def keep(self, place: Place, held: Held) -> None:
        """Put it back, or in for the first time."""
        with self._lock:
            self._held[place] = held
            self._held.move_to_end(place)
            if len(self._held) > self._limit:
                self._held.popitem(last=False)

    def __len__(self) -> int:
        with self._lock:
            return len(self._held)


HELD = HeldShards()
