"""The sections of the board: what each asks the tables and how it shows the answer.

Input: a connection to the views of an output folder. Output: HTML. Time domain: event time, but for ``received``, which
is when an event arrived. Errors: those of DuckDB. State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from html import escape
from typing import Any

from contracts.tables import Table
from reports.page.charts import HUES, bars, flow, lines, numbers, table
from reports.rendering import day, length, number
from reports.table_check import failures
from transforms.tables.data_tests import FRESH_HOURS, data_tests
from transforms.tables.metrics import METRICS_FILE, Metric, load_metrics, metric_sql
from transforms.tables.views import fetch

_START = "the start"
_MOST_FAILED = 20


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: its name in addresses, its heading, and what makes its HTML."""

    name: str
    title: str
    make: Callable[[Any], str]


def sections(tables: Sequence[Table]) -> tuple[Section, ...]:
    """Every section of the board, in the order of the page."""
    return (
        Section("funnel", "Funnel with drop-off", _funnel),
        Section("identity", "Identity evidence", _identity),
        Section("flow", "Stage flow", _flow),
        Section("cohorts", "Cohorts: share with a session, by week since the first", _cohorts),
        Section("decisions", "Decisions and their fate", _decisions),
        Section("metrics", "Metrics", partial(_metrics, tuple(tables))),
        Section("quality", "Data quality: what was received, and what became of it", _quality),
        Section("checks", "Data tests of the tables", partial(_checks, tables)),
    )


def _funnel(connection: Any) -> str:
    names, rows = fetch(
        connection,
        "SELECT stage, persons, stays, moved_on, fell_back, still_there, rate FROM stage_conversion ORDER BY place",
    )
    counted = [(row[0], float(row[1]), f"{row[1]:,} people; {row[4]:,} of {row[2]:,} stays fell back") for row in rows]
    return bars("People who were ever in each stage", counted) + numbers("Stays by stage", names, rows)


def _flow(connection: Any) -> str:
    names, rows = fetch(
        connection,
        'SELECT came_from AS "from", stage AS "to", count(*) AS moves FROM stage_history GROUP BY ALL ORDER BY 3 DESC',
    )
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
    # a week that is not over shows fewer than will have come
    sizes: dict[Any, int] = {row[0]: row[2] for row in rows if row[5]}
    # where there are more than can be told apart, the largest say the most
    largest = sorted(sorted(sizes, key=lambda cohort: -sizes[cohort])[:HUES])
    drawn = [
        (
            f"{cohort}, {sizes[cohort]:,} people",
            [(float(row[1]), float(row[4])) for row in rows if row[0] == cohort and row[5]],
        )
        for cohort in largest
    ]
    left = f"<p>The {HUES} largest of {len(sizes):,} cohorts.</p>" if len(sizes) > HUES else ""
    return (
        left
        + lines("Share of a cohort with a session, whole weeks", drawn, "weeks since the first session")
        + numbers("Share of each cohort by week", names, rows)
    )


def _identity(connection: Any) -> str:
    _, [(current, merged)] = fetch(
        connection, "SELECT count(*) FILTER (is_current), count(*) FILTER (NOT is_current) FROM persons"
    )
    _, [(identifiers,)] = fetch(connection, "SELECT count(*) FROM identifiers")
    names, rows = fetch(
        connection, "SELECT rule, status, count(*) AS pairs FROM edges GROUP BY ALL ORDER BY pairs DESC, 1, 2"
    )
    said = f"<p>{current:,} people by {identifiers:,} identifiers; {merged:,} further ids were merged into them.</p>"
    counted = [(f"{row[1]} by {row[0]}", float(row[2]), f"{row[2]:,} pairs") for row in rows[:10]]
    return said + bars("Pairs of identifiers by rule", counted) + numbers("Pairs by rule and fate", names, rows)


def _decisions(connection: Any) -> str:
    names, rows = fetch(
        connection,
        "SELECT d.chosen, coalesce(a.status, 'no action') AS fate, count(*) AS times FROM decisions AS d "
        "LEFT JOIN actions AS a USING (decision_id) GROUP BY ALL ORDER BY times DESC, 1, 2 LIMIT 40",
    )
    counted = [(f"{row[0]}: {row[1]}", float(row[2]), f"{row[2]:,}") for row in rows if row[0] != "nothing"][:12]
    nothing = sum(row[2] for row in rows if row[0] == "nothing")
    _, newest = fetch(
        connection,
        'SELECT d."at", d.decision_id, d.person_id, d.stage, d.chosen, a.status FROM decisions AS d LEFT JOIN actions '
        "AS a USING (decision_id) WHERE d.chosen <> 'nothing' ORDER BY d.\"at\" DESC, d.decision_id LIMIT 10",
    )
    listed = "".join(
        f'<li>{day(row[0])}: <a href="/find?id={escape(row[1])}">{escape(row[4])}</a> for '
        f'<a href="/find?id={escape(row[2])}">{escape(row[2])}</a> in {escape(row[3])}, '
        f"{escape(row[5] or 'no action')}</li>"
        for row in newest
    )
    return (
        f"<p>{nothing:,} times nothing was chosen.</p>"
        + bars("What was chosen, and its fate", counted)
        + (f"<h3>The newest</h3><ul>{listed}</ul>" if listed else "")
        + numbers("Decisions by choice and fate", names, rows)
    )


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
    return length(timedelta(seconds=found)) if kind == "seconds" else number(found)


def _quality(connection: Any) -> str:
    _, [(newest, received, horizon)] = fetch(
        connection,
        "SELECT (SELECT max(event_time) FROM events), (SELECT max(received_time) FROM events), "
        "(SELECT max(horizon) FROM journeys)",
    )
    said = "<p>No event was accepted yet.</p>"
    if newest is not None and horizon is not None:
        behind = horizon - newest
        stale = behind.total_seconds() > FRESH_HOURS * 3600
        said = (
            f"<p>Newest event {day(newest)} UTC, the last to arrive {day(received)}; journeys are told as of "
            f"{day(horizon)}, {length(behind)} after the newest event: "
            f"<strong>{'stale' if stale else 'fresh'}</strong>.</p>"
        )
    names, rows = fetch(
        connection,
        "SELECT run_id AS run, sum(received)::BIGINT AS received, sum(accepted)::BIGINT AS accepted, "
        'sum(duplicate)::BIGINT AS duplicate, sum(dead_lettered)::BIGINT AS "dead letters", '
        'sum(expired_late)::BIGINT AS "expired late", sum(erased)::BIGINT AS erased, '
        "CASE WHEN sum(received) = sum(accepted + duplicate + dead_lettered + expired_late + erased) "
        "THEN 'balances' ELSE 'does not balance' END AS ledger "
        "FROM run_ledger GROUP BY run_id ORDER BY run_id DESC LIMIT 10",
    )
    _, letters = fetch(
        connection, "SELECT stage, reason, count(*) FROM dead_letters GROUP BY ALL ORDER BY 3 DESC, 1, 2 LIMIT 20"
    )
    counted = [(f"{row[1]} ({row[0]})", float(row[2]), f"{row[2]:,}") for row in letters]
    drawn = bars("Dead letters by reason", counted) if counted else "<p>There are no dead letters.</p>"
    return f"{said}{table('The ledger of the newest runs', names, rows)}<h3>Dead letters by reason</h3>{drawn}"


def _checks(tables: Sequence[Table], connection: Any) -> str:
    tests = data_tests(tables)
    failed = [(test.name, test.rows, test.sql) for test in failures(connection, tables)]
    said = f"<p><strong>{len(tests) - len(failed):,} of {len(tests):,} data tests hold.</strong></p>"
    return said + (table("Those that do not", ("test", "rows", "query"), failed[:_MOST_FAILED]) if failed else "")
