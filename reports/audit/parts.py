"""An audit as tables in words, the same for the terminal, for HTML and for readers of either. Pure.

Input: ``Audit``. Output: ``Part``s. Errors, state: none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from contracts.event import DAY
from reports.audit.result import Audit, SourceAudit
from reports.audit.sample import Number
from reports.rendering import day, length, moment, plural

Cell = str | int
_LISTED = 8


@dataclass(frozen=True)
class Part:
    """A table with what is to be said of it. Headers that begin with ``>`` are of numbers."""

    name: str
    title: str
    words: str
    headers: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def parts(audit: Audit, most_names: int) -> tuple[Part, ...]:
    """All tables; of event names and properties at most ``most_names`` a source."""
    return (
        _sources(audit),
        _delays(audit),
        _identifiers(audit),
        _overlaps(audit),
        _names(audit, most_names),
        _gaps(audit),
        _fields(audit),
        _properties(audit, most_names),
        _signals(audit),
        _missing(audit),
    )


def shown(number: Number) -> str:
    """A count; an estimate says so."""
    return f"{number.value:,}" if number.exact else f"≈ {number.value:,}"


def share(part: float, whole: float) -> str:
    """A share in percent, with a digit more where it would be 0 or 100 and is not."""
    if not whole:
        return "-"
    percent = min(100 * part / whole, 100.0)
    if 0 < percent < 1 or 99 < percent < 100:
        return "< 0.1 %" if percent < 0.1 else f"{min(percent, 99.9):.1f} %"
    return f"{percent:.0f} %"


def _span(micros: int) -> str:
    if micros >= 1_000 * DAY:
        return f"{micros // DAY:,} d"
    return length(timedelta(microseconds=micros))


def _sources(audit: Audit) -> Part:
    rows = [
        (
            one.source,
            one.events,
            day(moment(one.first)),
            day(moment(one.last)),
            shown(one.copies),
            shown(one.conflicts),
            one.unusable,
            share(one.linking, one.events),
        )
        for one in audit.sources
    ]
    damaged = f"; {plural(audit.damaged, 'part')} of files cannot be read" if audit.damaged else ""
    return Part(
        "sources",
        "Sources",
        "Copies repeat an event id and say the same; conflicts say something else. Without a usable identifier an "
        f"event is a dead letter; with two or more it links them{damaged}.",
        ("source", ">events", "from", "to", ">copies", ">conflicts", ">unusable", ">linking"),
        tuple(rows),
    )


def _delays(audit: Audit) -> Part:
    rows: list[tuple[Cell, ...]] = [
        (
            one.source,
            *(share(count, one.events) for count in one.delays),
            one.expired,
            one.ahead,
            _span(max(one.slowest, 0)),
        )
        for one in audit.sources
    ]
    within = (f">in {_span(edge)}" for edge in audit.edges)
    return Part(
        "lateness",
        "Lateness: from happening to being received",
        "Each event in the first class that holds it. Later than the last it expires; ahead is what claims to have "
        "happened after it was received.",
        ("source", *within, ">expired", ">ahead", ">slowest"),
        tuple(rows),
    )


def _identifiers(audit: Audit) -> Part:
    rows = [
        (
            one.source,
            names.namespace + ("" if names.counts else " (unknown to the identity rules)"),
            names.events,
            share(names.events, one.events),
            shown(names.different),
            names.blocked,
        )
        for one in audit.sources
        for names in one.coverage
    ]
    return Part(
        "identifiers",
        "Identifiers that each source gives",
        "Blocked are values that the identity rules do not take. Different values beyond 8,192 are estimated (≈).",
        ("source", "namespace", ">events", ">of all", ">different", ">blocked"),
        tuple(rows),
    )


def _overlaps(audit: Audit) -> Part:
    rows = [
        (
            one.namespace,
            one.a,
            one.b,
            shown(one.in_both),
            share(one.in_both.value, one.in_a.value),
            share(one.in_both.value, one.in_b.value),
        )
        for one in sorted(audit.overlaps, key=lambda one: (-one.in_both.value, one.namespace, one.a, one.b))
        if one.in_both.value
    ]
    return Part(
        "overlap",
        "Identifiers that sources share",
        "What two sources share is what their events can be put together by. Pairs that share none are left out.",
        ("namespace", "source", "and source", ">in both", ">of the first", ">of the second"),
        tuple(rows),
    )


def _names(audit: Audit, most: int) -> Part:
    rows: list[tuple[Cell, ...]] = []
    for one in audit.sources:
        # a reader looks for what to mend: of many names the unknown ones must not be among those left out
        names = sorted(one.names, key=lambda name: name.known)
        rows += [
            (one.source, name.name, name.events, share(name.events, one.events), "" if name.known else "unknown")
            for name in names[:most]
        ]
        rest = names[most:]
        left = sum(name.events for name in rest) + one.more_names
        if left:
            unknown = sum(not name.known for name in rest)
            told = f"{unknown:,} of them unknown" if unknown else ""
            rows.append((one.source, "(further names)", left, share(left, one.events), told))
    return Part(
        "names",
        "Event names",
        f"Unknown: {audit.ontology} does not name it, so it shows nothing. Those come first.",
        ("source", "event", ">events", ">of all", "to the ontology"),
        tuple(rows),
    )


def _gaps(audit: Audit) -> Part:
    rows = [
        (one.source, day(moment(gap.begin)), day(moment(gap.end)), _span(gap.end - gap.begin))
        for one in audit.sources
        for gap in one.gaps
    ]
    return Part(
        "gaps",
        "Gaps in time",
        "Silences of a day or more in which, at the source's own rate, twenty events or more would have come; the five "
        "longest of each.",
        ("source", "after", "until", ">silent for"),
        tuple(rows),
    )


def _fields(audit: Audit) -> Part:
    rows = [(one.source, ", ".join(one.never_filled) or "none") for one in audit.sources]
    return Part("fields", "Fields never filled", "", ("source", "fields"), tuple(rows))


def _properties(audit: Audit, most: int) -> Part:
    rows: list[tuple[Cell, ...]] = []
    for one in audit.sources:
        named = list(one.properties.items())
        rows += [(one.source, name, count, share(count, one.events)) for name, count in named[:most]]
        left = len(named[most:])
        if left or one.more_properties:
            rows.append((one.source, f"({left:,} further properties)", "", ""))
    return Part("properties", "Properties", "", ("source", "property", ">events", ">of all"), tuple(rows))


def _signals(audit: Audit) -> Part:
    rows = [
        (one.stage, one.signal, _fed(one.sources, audit.sources) or "no source", ", ".join(one.behaviours))
        for one in audit.signals
    ]
    return Part(
        "signals",
        "Signals, and the sources that feed them",
        f"Events of each source that show a behaviour of the signal, by {audit.ontology}.",
        ("stage", "signal", "sources", "behaviours"),
        tuple(rows),
    )


def _fed(sources: Mapping[str, int], of: Sequence[SourceAudit]) -> str:
    return ", ".join(f"{one.source} {sources[one.source]:,}" for one in of if one.source in sources)


def _missing(audit: Audit) -> Part:
    rows = [(one.severity, f"{one.rule}, line {one.line}", one.message, one.mending) for one in audit.findings]
    return Part(
        "missing",
        "What is missing for the ontology",
        f"{len(audit.missing)} of {plural(len(audit.signals), 'signal')} can be fed by no source.",
        ("severity", "rule", "what", "to mend it"),
        tuple(rows),
    )


def summary(audit: Audit) -> Iterator[str]:
    """A few sentences."""
    yield f"{plural(audit.events, 'event')} of {plural(len(audit.sources), 'source')} in {audit.where}"
    if audit.missing:
        listed = ", ".join(f"{one.stage}.{one.signal}" for one in audit.missing[:_LISTED])
        more = f" and {len(audit.missing) - _LISTED} more" if len(audit.missing) > _LISTED else ""
        yield f"no source provides {listed}{more}"
    alone = [one.source for one in audit.sources if len(audit.sources) > 1 and not _shares(audit, one.source)]
    if alone:
        yield f"shares no identifier with any other source: {', '.join(alone)}"


def _shares(audit: Audit, source: str) -> bool:
    return any(source in (one.a, one.b) and one.in_both.value for one in audit.overlaps)
