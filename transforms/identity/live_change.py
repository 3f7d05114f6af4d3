"""A change of one record of the streaming strand stage: what it becomes, and what is said of it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from contracts.exchange import (
    MAX_TIME,
    DeadLetter,
    ErasedMark,
    Link,
    Purge,
    StrandEvent,
    StrandMessage,
)
from transforms.identity.live_records import (
    BEFORE_ALL,
    Growth,
    Order,
    Record,
    Strand,
)
from transforms.identity.live_telling import Logins

Counts = Counter[tuple[str, str]]
"""(source, kind) to a number of events, here a change of it."""


@dataclass(slots=True)
class Change:
    """What a record becomes, and what is said of it.

    ``record`` is the new one; None where ``entry`` is to be added to ``grown``. ``log``, ``erased``, ``purges`` and
    ``marks`` as in ``ShardResult``. ``garbage`` are archives that nothing refers to any more. Without an ``entry`` the
    log needs the record as such. ``withdrawn`` are dead letters of before that no longer hold. ``sightings`` are the
    links of events of strands of which something was erased.
    """

    key: str
    entry: Growth | None = None
    record: Record | None = None
    grown: Record | None = None
    ids: Mapping[str, int] = field(default_factory=dict)
    strands: Mapping[Logins, Strand] = field(default_factory=dict)
    first: int = MAX_TIME
    last: Order = BEFORE_ALL
    messages: list[StrandMessage] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    withdrawn: list[DeadLetter] = field(default_factory=list)
    counts: Counts = field(default_factory=Counter)
    log: list[StrandEvent] = field(default_factory=list)
    erased: list[StrandEvent] = field(default_factory=list)
    purges: list[Purge] = field(default_factory=list)
    garbage: list[int] = field(default_factory=list)
    marks: list[ErasedMark] = field(default_factory=list)
    sightings: list[Link] = field(default_factory=list)

    def apply(self) -> Record:
        """Swap it in; the record as it is now."""
        if self.grown is None:
            assert self.record is not None
            return self.record
        record, entry = self.grown, self.entry
        assert entry is not None
        record.chunks.append(entry.chunk)
        record.size += len(entry.chunk)
        record.events += len(self.ids)
        record.ids.update(self.ids)
        record.strands.update(self.strands)
        record.first = min(record.first, self.first)
        record.last = max(record.last, self.last)
        return record
