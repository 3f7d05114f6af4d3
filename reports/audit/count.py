"""Events counted by source, one after the other, in bounded memory. Pure.

Input: events as sources sent them. Output: ``Audit``. Exact are rows, times, delays, coverage, fields, behaviours and
names (up to the bounds below). Different identifiers and copies are exact up to a limit, and estimated from a sample
beyond it (``reports.audit.sample``). State: bounded by the constants below, whatever the number of events. Errors:
none. No identifier is kept, only hashes, and none leaves this module; texts that sources choose (names) are scrubbed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations, pairwise

from contracts.event import CONTEXT_FIELDS, DAY, EMPTY_CONTEXT, HOUR, SOURCE_TEXTS, Event
from reports.audit.result import (
    DELAYS,
    Audit,
    Coverage,
    EventName,
    Gap,
    Overlap,
    SignalCoverage,
    SourceAudit,
)
from reports.audit.sample import Sample, hashed, in_both
from reports.rendering import clean
from transforms.identity.rules import IdentityRules
from transforms.identity.strands import content_hash
from transforms.journey.check.emitted import Emitting
from transforms.journey.check.findings import check
from transforms.journey.ontology import Ontology
from transforms.minimise import scrubbed

IDENTIFIERS_KEPT = 8_192
"""Different identifiers of a namespace in a source that are counted exactly; beyond, to about 1.5 %."""
EVENTS_KEPT = 131_072
"""Different event ids that are looked at for copies; beyond, copies are estimated from as large a sample."""
MOST_SOURCES, MOST_NAMESPACES, MOST_NAMES = 24, 16, 300
OTHERS = "(others)"
"""What is counted together beyond a bound."""
GAP = DAY
GAP_EVENTS = 20
"""A silence is a gap when it is as long as ``GAP`` and, at the source's own rate, so many events are missing in it."""
_MOST_GAPS = 5
_MOST_HOURS = 20_000
_LONGEST_NAME = 100
_SOURCES_CAN_MEND = {"unfed-signal", "unreachable-stage", "unseen-outcome"}

_OPTIONAL = (*SOURCE_TEXTS, "consent", "properties", "mapping_version")
_CONTEXT = {one: f"context.{one}" for one in CONTEXT_FIELDS}


@lru_cache(maxsize=4_096)
def _text(name: str) -> str:
    """A name that a source chose: printable, without what looks like personal data, cut where it is absurdly long."""
    return clean(scrubbed(name[:_LONGEST_NAME])) if name else "(unnamed)"


class Bounded(Counter[str]):
    """A counter of at most ``most`` names; what comes under further ones is counted in ``more``."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.more = 0

    def count(self, name: str) -> None:
        """Count one more."""
        if name in self or len(self) < self.most:
            self[name] += 1
        else:
            self.more += 1


class Times:
    """When events happened, by stretches of time: number, first and last of each. Finds silences between them."""

    def __init__(self, most: int = _MOST_HOURS) -> None:
        self._most = most
        self._width = HOUR
        self._events = 0
        self._stretches: dict[int, tuple[int, int]] = {}

    def add(self, at: int) -> None:
        """Note that an event happened."""
        self._events += 1
        self._note(at // self._width, at, at)
        while len(self._stretches) > self._most:
            # silences shorter than a stretch are lost; a gap is as long as many
            self._width *= 2
            old, self._stretches = self._stretches, {}
            for first, last in old.values():
                self._note(first // self._width, first, last)

    def _note(self, place: int, first: int, last: int) -> None:
        known = self._stretches.get(place)
        self._stretches[place] = (first, last) if known is None else (min(first, known[0]), max(last, known[1]))

    def __bool__(self) -> bool:
        return bool(self._stretches)

    @property
    def span(self) -> Gap:
        """From the first event to the last. There is one."""
        return Gap(
            min(first for first, _ in self._stretches.values()), max(last for _, last in self._stretches.values())
        )

    def gaps(self) -> tuple[Gap, ...]:
        """The longest gaps."""
        stretches = [self._stretches[place] for place in sorted(self._stretches)]
        silences = [Gap(before[1], after[0]) for before, after in pairwise(stretches)]
        lively = max(stretches[-1][1] - stretches[0][0], 1) if stretches else 1
        found = [
            one
            for one in silences
            if one.end - one.begin >= GAP and self._events * (one.end - one.begin) >= GAP_EVENTS * lively
        ]
        return tuple(sorted(found, key=lambda one: (one.begin - one.end, one.begin))[:_MOST_GAPS])


@dataclass
class _Source:
    """What is counted of one source."""

    name: str
    emits: Emitting
    events: int = 0
    delays: Counter[int] = field(default_factory=Counter)
    expired: int = 0
    ahead: int = 0
    slowest: int = 0
    unusable: int = 0
    linking: int = 0
    names: Bounded = field(default_factory=lambda: Bounded(MOST_NAMES))
    known: set[str] = field(default_factory=set)
    filled: Counter[str] = field(default_factory=Counter)
    properties: Bounded = field(default_factory=lambda: Bounded(MOST_NAMES))
    times: Times = field(default_factory=Times)
    astray: Times = field(default_factory=Times)
    named: Bounded = field(default_factory=lambda: Bounded(MOST_NAMESPACES))
    blocked: Bounded = field(default_factory=lambda: Bounded(MOST_NAMESPACES))
    foreign: Bounded = field(default_factory=lambda: Bounded(MOST_NAMESPACES))
    identifiers: dict[str, Sample[None]] = field(default_factory=lambda: defaultdict(lambda: Sample(IDENTIFIERS_KEPT)))


@dataclass(slots=True)
class _Id:
    """An event id: a hash of what its first record says; later records by source, and whether they say the same."""

    said: bytes
    later: Counter[tuple[str, bool]] | None = None


class SourceCounter:
    """Counts events as they come.

    Args:
        rules: how identifiers are normalised, and which count.
        ontology: what events mean.
        lateness, skew: the configured ones, in microseconds.
    """

    def __init__(self, rules: IdentityRules, ontology: Ontology, lateness: int, skew: int) -> None:
        self._rules = rules
        self._ontology = ontology
        self._lateness = lateness
        self._skew = skew
        self._edges = (*(edge for edge in DELAYS if edge < lateness), lateness)
        self._sources: dict[str, _Source] = {}
        self._ids: Sample[_Id] = Sample(EVENTS_KEPT)
        self._all = Emitting(ontology)
        self.damaged = 0

    def add(self, event: Event) -> None:
        """Count one event."""
        source = self._source(_text(event.source))
        source.events += 1
        self._time(source, event.event_time, event.received_time - event.event_time)
        self._meaning(source, event)
        self._identifiers(source, event)
        self._fields(source, event)
        self._copies(source, event)

    def _source(self, name: str) -> _Source:
        found = self._sources.get(name)
        if found is None:
            if len(self._sources) >= MOST_SOURCES:
                name = OTHERS
            found = self._sources.setdefault(name, _Source(name, Emitting(self._ontology)))
        return found

    def _time(self, source: _Source, at: int, delay: int) -> None:
        source.slowest = max(source.slowest, delay)
        source.ahead += delay < -self._skew
        if delay > self._lateness:
            source.expired += 1
        else:
            source.delays[next(edge for edge in self._edges if delay <= edge)] += 1
        # one clock that is wrong by years would stretch the span of a source, and hide or feign its gaps
        (source.times if -self._skew <= delay <= self._lateness else source.astray).add(at)

    def _meaning(self, source: _Source, event: Event) -> None:
        name = _text(event.name)
        source.names.count(name)
        if not event.name:
            return
        if self._ontology.is_known(event.name, event.context.path):
            source.known.add(name)
        source.emits.add(event.name, event.context.path)
        self._all.add(event.name, event.context.path)

    def _identifiers(self, source: _Source, event: Event) -> None:
        usable = set()
        for identifier in event.identifiers:
            normal = self._rules.normalise(identifier)
            if normal is not None:
                usable.add(normal)
                continue
            rules = self._rules.namespaces.get(identifier.namespace)
            namespace = _text(identifier.namespace) if rules is None else rules.target
            (source.foreign if rules is None else source.blocked).count(namespace)
        for namespace in {one.namespace for one in usable}:
            source.named.count(namespace)
        for one in usable:
            if one.namespace in source.named:
                source.identifiers[one.namespace].put(hashed(*one), None)
        source.unusable += self._rules.strand_key(usable) is None
        source.linking += sum(self._rules.links_at_all(one.namespace) for one in usable) > 1

    def _fields(self, source: _Source, event: Event) -> None:
        filled = source.filled
        for name in _OPTIONAL:
            if getattr(event, name):
                filled[name] += 1
        if event.context is not EMPTY_CONTEXT:
            for name, told in _CONTEXT.items():
                if getattr(event.context, name):
                    filled[told] += 1
        for name, value in event.properties.items():
            if value is not None and value != "":
                source.properties.count(_text(name))

    def _copies(self, source: _Source, event: Event) -> None:
        """Note the id of an event: a later record of it is a copy or in conflict with the first."""
        key = hashed(event.event_id)
        if not self._ids.admits(key):
            return
        known = self._ids.kept.get(key)
        said = content_hash(event)[:8]
        if known is None:
            self._ids.put(key, _Id(said))
        else:
            known.later = known.later or Counter()
            known.later[source.name, said == known.said] += 1

    # --- the result -----------------------------------------------------------------------------------------------

    def result(self, where: str) -> Audit:
        """What was counted so far."""
        copies, conflicts = Counter[str](), Counter[str]()
        for one in self._ids.kept.values():
            for (source, same), times in (one.later or {}).items():
                (copies if same else conflicts)[source] += times
        sources = tuple(
            self._told(name, counted, copies[name], conflicts[name]) for name, counted in sorted(self._sources.items())
        )
        everything = self._all.result(where)
        findings = tuple(found for found in check(self._ontology, everything) if found.rule in _SOURCES_CAN_MEND)
        return Audit(
            where=where,
            damaged=self.damaged,
            edges=self._edges,
            ontology=self._ontology.version,
            sources=sources,
            overlaps=tuple(self._overlaps()),
            signals=tuple(self._signals(sources)),
            findings=findings,
        )

    def _told(self, name: str, counted: _Source, copies: int, conflicts: int) -> SourceAudit:
        namespaces = sorted({*counted.named, *counted.blocked, *counted.foreign})
        times = counted.times or counted.astray
        return SourceAudit(
            source=name,
            events=counted.events,
            first=times.span.begin,
            last=times.span.end,
            copies=self._ids.scaled(copies),
            conflicts=self._ids.scaled(conflicts),
            delays=tuple(counted.delays[edge] for edge in self._edges),
            expired=counted.expired,
            ahead=counted.ahead,
            slowest=counted.slowest,
            coverage=tuple(
                Coverage(
                    namespace=namespace,
                    events=counted.named[namespace],
                    different=counted.identifiers[namespace].size,
                    blocked=counted.blocked[namespace] or counted.foreign[namespace],
                    counts=namespace not in counted.foreign,
                )
                for namespace in namespaces
            ),
            unusable=counted.unusable,
            linking=counted.linking,
            names=tuple(EventName(one, times, one in counted.known) for one, times in counted.names.most_common()),
            more_names=counted.names.more,
            filled={one: counted.filled[one] for one in (*_OPTIONAL, *_CONTEXT.values())},
            properties=dict(counted.properties.most_common()),
            more_properties=counted.properties.more,
            gaps=times.gaps(),
            behaviours=counted.emits.result(name).behaviours,
        )

    def _overlaps(self) -> list[Overlap]:
        found = []
        for (a, one), (b, other) in combinations(sorted(self._sources.items()), 2):
            for namespace in sorted({*one.identifiers} & {*other.identifiers}):
                here, there = one.identifiers[namespace], other.identifiers[namespace]
                if here.kept and there.kept:
                    found.append(Overlap(namespace, a, b, here.size, there.size, in_both(here, there)))
        return found

    def _signals(self, sources: tuple[SourceAudit, ...]) -> list[SignalCoverage]:
        found = []
        for stage in self._ontology.stages:
            for signal in stage.signals:
                # an event may show several behaviours of one signal: no source is credited more than it sent
                fed = {
                    one.source: min(one.events, sum(one.behaviours.get(shown, 0) for shown in signal.behaviours))
                    for one in sources
                }
                provided = {name: events for name, events in fed.items() if events}
                found.append(SignalCoverage(stage.name, signal.name, tuple(sorted(signal.behaviours)), provided))
        return found
