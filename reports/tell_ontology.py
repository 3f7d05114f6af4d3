"""What is said of an ontology and of two of them: in words, and as plain values.

Input: ``Finding``s, ``OntologyDifference``. Output: rich renderables, dictionaries for JSON. Errors, state: none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from reports.ontology_replay import OntologyDifference
from reports.rendering import clean, grid, heading, indented, moment, plural, second, text
from transforms.journey.check.emitted import Emitted
from transforms.journey.check.rules import ERROR, NOTE, WARNING, Finding
from transforms.journey.ontology import Ontology

_STYLES = {ERROR: "bold red", WARNING: "yellow", NOTE: "cyan"}


def counted(findings: Sequence[Finding]) -> dict[str, int]:
    """Severity to the number of findings."""
    return {severity: sum(one.severity == severity for one in findings) for severity in (ERROR, WARNING, NOTE)}


def tell_findings(ontology: Ontology, findings: Sequence[Finding], sources: Emitted | None) -> Iterator[RenderableType]:
    """Every finding with its place and its mending, then a count."""
    for one in findings:
        place = f"{clean(one.path)}:{one.line}: "
        yield Text.assemble(place, (f"{one.severity} {one.rule}", _STYLES[one.severity]), f": {clean(one.message)}")
        yield text(f"  fix: {one.mending}", "dim")
    seen = "no sources were looked at" if sources is None else f"{plural(sources.events, 'event')} of {sources.where}"
    counts = ", ".join(plural(n, severity) for severity, n in counted(findings).items())
    yield text(f"{ontology.version}: {plural(len(ontology.stages), 'stage')}, {counts}; {seen}")


def finding_values(ontology: Ontology, findings: Sequence[Finding], sources: Emitted | None) -> dict[str, Any]:
    """The same for machines."""
    return {
        "ontology": ontology.version,
        "path": ontology.path,
        "sources": None if sources is None else {"where": sources.where, "events": sources.events},
        "counts": counted(findings),
        "findings": [
            {
                "rule": one.rule,
                "severity": one.severity,
                "line": one.line,
                "message": one.message,
                "mending": one.mending,
            }
            for one in findings
        ],
    }


def tell_ontology_difference(found: OntologyDifference) -> Iterator[RenderableType]:
    """Who moves where, how often, and examples with reasons."""
    yield Text.assemble(("A ", "bold"), clean(found.a.version), ("   B ", "bold"), clean(found.b.version))
    horizon = second(moment(found.horizon))
    yield text(
        f"{plural(found.persons, 'person')}, {plural(found.events, 'event')} up to {horizon} UTC, "
        f"{found.left_out:,} left out; by rules alone; nothing was written",
        "dim",
    )
    yield from heading(f"{found.moved:,} of {plural(found.persons, 'person')} stand elsewhere under B")
    rows = [
        (
            Text(clean(cell.a), style="" if cell.a == cell.b else "bold"),
            Text(clean(cell.b), style="" if cell.a == cell.b else "bold"),
            f"{cell.persons:,}",
            f"{cell.persons / found.persons:.1%}",
        )
        for cell in found.cells
    ]
    yield indented(grid(("under A", "under B", ">persons", ">share"), rows, last_wraps=False))
    yield from heading("Transitions into each stage")
    names = list(dict.fromkeys((*found.a.transitions, *found.b.transitions)))
    moves = [_moves(name, found.a.transitions.get(name), found.b.transitions.get(name)) for name in names]
    moves.append(_moves("all", found.a.moves, found.b.moves))
    yield indented(grid(("stage", ">A", ">B", ">B less A"), moves, last_wraps=False))
    yield indented(
        text(
            f"{found.same_way:,} go exactly the same way; {found.more:,} move more often under B, "
            f"{found.fewer:,} less often",
            "dim",
        )
    )
    if any(cell.examples for cell in found.cells):
        yield from heading("For example")
    for cell in found.cells:
        for example in cell.examples:
            yield indented(
                Text.assemble(
                    (clean(example.person), "bold"), f"  {plural(example.events, 'event')}  {cell.a} ► {cell.b}"
                )
            )
            yield indented(text(f"A: {example.why_a}", "dim"), 4)
            yield indented(text(f"B: {example.why_b}", "dim"), 4)


def _moves(name: str, a: int | None, b: int | None) -> tuple[str, str, str, str]:
    def shown(number: int | None) -> str:
        return "-" if number is None else f"{number:,}"

    return clean(name), shown(a), shown(b), f"{(b or 0) - (a or 0):+,}"


def difference_values(found: OntologyDifference) -> dict[str, Any]:
    """The same for machines."""
    return {
        **{
            name: {"ontology": side.version, "persons": dict(side.persons), "transitions": dict(side.transitions)}
            for name, side in (("a", found.a), ("b", found.b))
        },
        "persons": found.persons,
        "events": found.events,
        "left_out": found.left_out,
        "horizon": found.horizon,
        "moved": found.moved,
        "same_way": found.same_way,
        "more": found.more,
        "fewer": found.fewer,
        "cells": [
            {
                "a": cell.a,
                "b": cell.b,
                "persons": cell.persons,
                "share": cell.persons / found.persons,
                "examples": [
                    {"person": one.person, "events": one.events, "why_a": one.why_a, "why_b": one.why_b}
                    for one in cell.examples
                ],
            }
            for cell in found.cells
        ],
    }
