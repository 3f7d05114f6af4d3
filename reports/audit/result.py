"""What an audit of sources found. Frozen values without a single identifier: namespaces, names of fields, and numbers.

Times are UTC microseconds of event time, lengths microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from contracts.event import DAY, HOUR, MINUTE
from reports.audit.sample import Number
from transforms.journey.check.rules import Finding

DELAYS = (MINUTE, HOUR, DAY)
"""How long after it happened an event was received, at most; classes end with the configured lateness."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """Identifiers of one namespace in one source.

    Attributes:
        namespace: as the identity rules call it.
        events: how many name a usable one.
        different: how many different ones.
        blocked: how many that the rules do not take: blocked, empty, or too long.
        counts: whether the identity rules have this namespace at all.
    """

    namespace: str
    events: int
    different: Number
    blocked: int
    counts: bool


@dataclass(frozen=True, slots=True)
class Gap:
    """A silence between two events: what came before it, what after."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class EventName:
    """An event name, how often it came, and whether the ontology names it."""

    name: str
    events: int
    known: bool


@dataclass(frozen=True)
class SourceAudit:
    """One source.

    Attributes:
        events: records that it gave, copies included.
        first, last: least and greatest event time of what a run would take: neither expired nor ahead. Of all events
            where a run would take none.
        copies: further records of an event id that say the same.
        conflicts: further records of an event id that say something else.
        delays: for each of the audit's ``edges``, how many were received within it and not within the one before.
        expired: received later than lateness after they happened.
        ahead: claimed to happen later than they were received, by more than the configured skew.
        slowest: longest time from happening to being received.
        coverage: by namespace.
        unusable: events without any usable identifier: they would be dead letters.
        linking: events that name two usable identifiers or more, and so say that they are one person's.
        names: by number of events; ``more_names`` came under names beyond the bound.
        filled: field of the event to how many fill it.
        properties: property to how many events fill it; ``more_properties`` came under names beyond the bound.
        gaps: silences between those events, longest first.
        behaviours: behaviour of the ontology to how many events show it.
    """

    source: str
    events: int
    first: int
    last: int
    copies: Number
    conflicts: Number
    delays: tuple[int, ...]
    expired: int
    ahead: int
    slowest: int
    coverage: tuple[Coverage, ...]
    unusable: int
    linking: int
    names: tuple[EventName, ...]
    more_names: int
    filled: Mapping[str, int]
    properties: Mapping[str, int]
    more_properties: int
    gaps: tuple[Gap, ...]
    behaviours: Mapping[str, int]

    @property
    def never_filled(self) -> tuple[str, ...]:
        """Fields that no event of the source fills."""
        return tuple(name for name, count in self.filled.items() if not count)


@dataclass(frozen=True, slots=True)
class Overlap:
    """Identifiers of a namespace that two sources share."""

    namespace: str
    a: str
    b: str
    in_a: Number
    in_b: Number
    in_both: Number


@dataclass(frozen=True, slots=True)
class SignalCoverage:
    """A signal of the ontology, and how many events of each source feed it; none for a signal nobody provides."""

    stage: str
    signal: str
    behaviours: tuple[str, ...]
    sources: Mapping[str, int]


@dataclass(frozen=True)
class Audit:
    """All sources.

    Attributes:
        where: what was looked at.
        damaged: parts of files that cannot be read.
        edges: upper ends of the classes of delay, ascending; the last is the configured lateness.
        ontology: its version.
        sources: by name; those beyond the bound are counted together as one.
        overlaps: for each pair of sources that both have a namespace.
        signals: in the order of the ontology.
        findings: of the check of the ontology against all sources, those that sources can mend.
    """

    where: str
    damaged: int
    edges: tuple[int, ...]
    ontology: str
    sources: tuple[SourceAudit, ...]
    overlaps: tuple[Overlap, ...]
    signals: tuple[SignalCoverage, ...]
    findings: tuple[Finding, ...]

    @property
    def events(self) -> int:
        """Records of all sources."""
        return sum(one.events for one in self.sources)

    @property
    def missing(self) -> tuple[SignalCoverage, ...]:
        """Signals that no source provides."""
        return tuple(one for one in self.signals if not one.sources)
