"""The report of an output folder, made and written: every section once, from one connection.

Input: an output folder, the contracts of its tables, what makes the section on its model. Output: the HTML of one page.
Time domain: event time; no clock is read, so the same tables give the same page. Errors: ``OutputError`` for what is no
output folder or cannot be read or written. State: none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from contracts.errors import OutputError
from contracts.tables import Table
from reports.page.report import report_html
from reports.page.sections import report_sections
from reports.rendering import day, plural
from transforms.journey.ontology import Stage
from transforms.tables.output import OutputFolder, check_readable
from transforms.tables.views import answering, fetch, open_views


def report_page(out: Path, tables: Sequence[Table], model: Callable[[Any], str], stages: Sequence[Stage] = ()) -> str:
    """The page of OUT, with ``stages`` held against their benchmarks. One of an empty folder says that it is.

    Raises:
        OutputError: ``out`` is no output folder, or its parts or views cannot be read.
    """
    name = out.resolve().name or str(out)
    if _is_empty(out):
        return report_html(name, [("holds", "nothing: no run has written to this folder yet")], [])
    check_readable(out)
    connection = open_views(out, tables)
    try:
        with answering(out):
            made = [(section, section.make(connection)) for section in report_sections(tables, model, stages)]
            return report_html(name, _brief(connection), made)
    finally:
        connection.close()


def write_report(page: str, target: Path) -> None:
    """Put a page in its place at once, so that a reader has the old one or the new. Raises OutputError."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(page, encoding="utf-8")
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(
            f"{target} cannot be written: {error.strerror}", hint="name another file with --to"
        ) from error


def _is_empty(out: Path) -> bool:
    return out.is_dir() and all(path.name == OutputFolder(out).report.name for path in out.iterdir())


def _brief(connection: Any) -> list[tuple[str, str]]:
    _, [(events, first, last)] = fetch(connection, "SELECT count(*), min(event_time), max(event_time) FROM events")
    _, [(horizon,)] = fetch(connection, "SELECT max(horizon) FROM journeys")
    _, [(people, sessions, conversions)] = fetch(
        connection,
        "SELECT (SELECT count(*) FROM journeys), (SELECT count(*) FROM sessions), (SELECT count(*) FROM conversions)",
    )
    _, stages = fetch(
        connection,
        "SELECT d.stage, count(j.person_id) FROM dim_stage AS d LEFT JOIN journeys AS j ON j.stage = d.stage "
        "GROUP BY d.stage, d.place ORDER BY d.place",
    )
    _, [(decisions, models)] = fetch(connection, "SELECT count(*), count(DISTINCT model_version) FROM decisions")
    if not events:
        return [("holds", "no event yet: nothing was accepted, or nothing was there to be read")]
    by = f"with {plural(models, 'model')}" if models else "by rules alone"
    return [
        ("told as of", f"{day(horizon)} UTC" if horizon else "no journey yet"),
        ("events", f"{events:,}, from {day(first)} to {day(last)}"),
        ("journeys", f"{events / max(people, 1):.1f} events each, {people:,} in all"),
        ("now in", ", ".join(f"{stage} {count:,}" for stage, count in stages)),
        ("sessions", f"{sessions:,}, and {plural(conversions, 'conversion')}"),
        ("decisions", f"{decisions:,}, {by}" if decisions else "none yet"),
    ]
