"""The sections of the board: what each asks the tables and how it shows the answer.

Input: a connection to the views of an output folder. Output: HTML. Time domain: event time, but for ``received``, which
is when an event arrived. Errors: those of DuckDB. State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from typing import Any

from contracts.tables import Table
from reports.identity_words import rule_words
from reports.page.benchmark_section import against_benchmarks
from reports.page.charts import HUES, bars, flow, lines, numbers, table
from reports.page.decision_sections import decisions, decisions_and_the_newest, why_candidates_fell
from reports.page.journey_sections import sessions_by_channel, time_in_stage, time_to_map
from reports.page.nothing import nothing
from reports.page.received import checks, ledger, quality
from reports.rendering import length, number, plural
from transforms.journey.ontology import Stage
from transforms.tables.metrics import METRICS_FILE, Metric, load_metrics, metric_sql
from transforms.tables.views import fetch

_START = "the start"


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: its name in addresses, its heading, and what makes its HTML."""

    name: str
    title: str
    make: Callable[[Any], str]


def sections(
    tables: Sequence[Table], model: Callable[[Any], str] | None = None, stages: Sequence[Stage] = ()
) -> tuple[Section, ...]:
    """Every section of the board, in the order of the page.

    Args:
        tables: the contracts of the tables.
        model: makes the section on the model, if there is to be one: it needs more than the tables.
        stages: those of the ontology in force, to be held against their benchmarks.
    """
    return _all(tables, model, stages, decisions_and_the_newest)


def report_sections(
    tables: Sequence[Table], model: Callable[[Any], str], stages: Sequence[Stage] = ()
) -> tuple[Section, ...]:
    """Every section of the report: those of the board, but none that names a person or leads to another page."""
    return _all(tables, model, stages, decisions)


def _all(
    tables: Sequence[Table],
    model: Callable[[Any], str] | None,
    stages: Sequence[Stage],
    decided: Callable[[Any], str],
) -> tuple[Section, ...]:
    benchmarks = any(stage.benchmark is not None for stage in stages)
    return (
        Section("funnel", "Funnel with drop-off", _funnel),
        Section("flow", "Stage flow", _flow),
        Section("cohorts", "Cohorts: share with a session, by week since the first", _cohorts),
        *([Section("benchmarks", "Benchmarks", partial(against_benchmarks, tuple(stages)))] if benchmarks else []),
        Section("dwell", "Time in stage", time_in_stage),
        Section("mapped", "Time to map: from the first event to a stage after the first", time_to_map),
        Section("channels", "Sessions per channel", sessions_by_channel),
        Section("identity", "Identity evidence", _identity),
        Section("decisions", "Decisions and their fate", decided),
        Section("candidates", "Why candidates fell", why_candidates_fell),
        *([Section("model", "Model quality", model)] if model else []),
        Section("metrics", "Metrics", partial(_metrics, tuple(tables))),
        Section("quality", "Data quality: what was received, and what became of it", quality),
        Section("ledger", "The ledger", ledger),
        Section("checks", "Data tests of the tables", partial(checks, tables)),
    )


def _funnel(connection: Any) -> str:
    names, rows = fetch(
        connection,
        "SELECT stage, persons, stays, moved_on, fell_back, still_there, rate FROM stage_conversion ORDER BY place",
    )
    if not any(row[2] for row in rows):
        return nothing("Nobody is in any stage yet.")
    counted = [
        (row[0], float(row[1]), f"{_people(row[1])}; {row[4]:,} of {plural(row[2], 'stay')} fell back") for row in rows
    ]
    return bars("People who were ever in each stage", counted) + numbers("Stays by stage", names, rows)


def _flow(connection: Any) -> str:
    names, rows = fetch(
        connection,
        'SELECT came_from AS "from", stage AS "to", count(*) AS moves FROM stage_history GROUP BY ALL ORDER BY 3 DESC',
    )
    if not rows:
        return nothing("No stage was entered yet.")
    _, stages = fetch(connection, "SELECT stage FROM dim_stage ORDER BY place")
    moves = [(row[0] or _START, row[1], row[2]) for row in rows]
    known = [_START, *(stage for (stage,) in stages)]
    known += sorted({name for a, b, _ in moves for name in (a, b)}.difference(known))
    return flow("Moves between stages", known, moves) + numbers("Moves", names, moves)


def _cohorts(connection: Any) -> str:
    names, rows = fetch(
        connection,
        "SELECT cohort, week, persons, active, share, is_complete FROM retention ORDER BY cohort, week LIMIT 400",
    )
    if not rows:
        return nothing("There was no session yet.")
    # a week that is not over shows fewer than will have come
    sizes: dict[Any, int] = {row[0]: row[2] for row in rows if row[5]}
    # where there are more than can be told apart, the largest say the most
    largest = sorted(sorted(sizes, key=lambda cohort: -sizes[cohort])[:HUES])
    drawn = [
        (
            f"{cohort}, {_people(sizes[cohort])}",
            [(float(row[1]), float(row[4])) for row in rows if row[0] == cohort and row[5]],
        )
        for cohort in largest
    ]
    left = f"<p>The {HUES} largest of {len(sizes):,} cohorts.</p>" if len(sizes) > HUES else ""
    if not drawn:
        return nothing("No week is over yet.") + numbers("Share of each cohort by week", names, rows)
    return (
        left
        + lines("Share of a cohort with a session, whole weeks", drawn, "weeks since the first session")
        + numbers("Share of each cohort by week", names, rows)
    )


def _identity(connection: Any) -> str:
    _, [(current, merged)] = fetch(connection, "SELECT count(*) FILTER (is_current), count(merged_into) FROM persons")
    _, [(identifiers,)] = fetch(connection, "SELECT count(*) FROM identifiers")
    names, rows = fetch(
        connection, "SELECT rule, status, count(*) AS pairs FROM edges GROUP BY ALL ORDER BY pairs DESC, 1, 2"
    )
    if not current:
        return nothing("Nobody is known yet.")
    said = (
        f"<p>{_people(current)} by {plural(identifiers, 'identifier')}; {plural(merged, 'further id')} "
        f"{'was' if merged == 1 else 'were'} merged into them.</p>"
    )
    if not rows:
        return said + nothing("No two identifiers were seen together yet.")
    counted = [(f"{row[1]} by {row[0]}", float(row[2]), plural(row[2], "pair")) for row in rows[:10]]
    told, meant = (*names, "which means"), [(*row, rule_words(str(row[0]))) for row in rows]
    return said + bars("Pairs of identifiers by rule", counted) + numbers("Pairs by rule and fate", told, meant)


@cache
def _shipped(tables: tuple[Table, ...]) -> tuple[Metric, ...]:
    return load_metrics(METRICS_FILE, tables)


def _metrics(tables: tuple[Table, ...], connection: Any) -> str:
    """Every metric as it is defined, by what it must be told by. Retention has a section of its own."""
    told = []
    for metric in _shipped(tables):
        if metric.source == "retention":
            continue
        _, rows = fetch(connection, metric_sql(metric))
        for place, (*values, found) in enumerate(rows):
            name = metric.name.replace("_", " ") + "".join(f", {value}" for value in values)
            told.append((name, _measure(metric.format, found), "" if place else metric.doc))
    return table("All of the tables, as of the latest event", ("metric", "value", "what it says"), told)


def _measure(kind: str, found: Any) -> str:
    if found is None:
        return "nothing to tell"
    if kind == "share":
        return f"{found:.1%}"
    if kind == "seconds":
        return length(timedelta(seconds=found))
    return f"{found:,.0f}" if kind == "value" and abs(found) >= 1000 else number(found)


def _people(n: int) -> str:
    return f"{n:,} {'person' if n == 1 else 'people'}"
