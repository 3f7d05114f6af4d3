"""One step of a streaming strand shard while it is built, what it is bounded by, and the tags of what it says. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from contracts.event import HOUR, MINUTE, SECOND, Identifier
from contracts.exchange import Assignment, Link
from transforms.actor.core import STATE_BYTES
from transforms.identity.live_change import Change
from transforms.identity.live_drain import Round
from transforms.identity.live_records import Record, ShardState
from transforms.identity.live_telling import Logins, Versions

MESSAGES, DEAD_LETTERS, WITHDRAWN, LOG, ERASED, PURGES, COUNTS, METRICS = (
    "messages", "dead_letters", "withdrawn", "log", "erased", "purges", "counts", "metrics",
)  # fmt: skip
REFOLDED = "strand_refolded"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a shard holds at most. Times in microseconds: ``lateness``, ``idle`` and ``look_every`` of event time,
    ``poll_every`` of processing time."""

    lateness: int = 48 * HOUR
    idle: int = 48 * HOUR + 30 * MINUTE
    tail_bytes: int = 512 * 1024
    shard_bytes: int = STATE_BYTES // 6
    look_every: int = 10 * MINUTE
    poll_every: int = SECOND

    @classmethod
    def of_one_of(cls, shards: int, memory: int = STATE_BYTES) -> Bounds:
        """The share of one shard; ``memory``: bytes of both stages (``transforms.actor.core.STATE_BYTES``)."""
        return cls(shard_bytes=memory // 6 // max(shards, 1))


@dataclass(slots=True)
class Work:
    """One step while it is built.

    ``has_told``: the sightings were told to the identity store. ``told``: it was told something that may move strands.
    """

    state: ShardState
    versions: Versions
    now: int
    outputs: list[tuple[str, Any]] = field(default_factory=list)
    changes: dict[str, Change] = field(default_factory=dict)
    evicted: dict[str, Record] = field(default_factory=dict)
    shortened: dict[str, Record] = field(default_factory=dict)
    rotated: list[str] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    metrics: Counter[str] = field(default_factory=Counter)
    is_behind: bool = False
    marked: int = 0
    sightings: list[Link] = field(default_factory=list)
    has_told: bool = False
    told: bool = False
    round: Round | None = None
    again: bool = False


def put_assignment(told: dict[Identifier, dict[Logins, Assignment]], assignment: Assignment) -> None:
    """Keep the newest assignment of a strand."""
    mine = told.setdefault(assignment.primary, {})
    held = mine.get(assignment.login)
    if held is None or assignment.sequence > held.sequence:
        mine[assignment.login] = assignment
