"""Sections on the data itself: what was received and what became of it, whether all of it is accounted for.

Input: a connection to the views of an output folder. Output: HTML. Time domain: event time, but for ``received``, which
is when an event arrived. Errors: those of DuckDB. State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contracts.tables import Table
from reports.page.charts import bars, table
from reports.page.nothing import nothing
from reports.rendering import day, length
from reports.table_check import failures
from transforms.tables.data_tests import FRESH_HOURS, data_tests
from transforms.tables.views import fetch

_MOST_FAILED = 20
_FATES = ("sent", "suppressed", "failed", "pending", "in_doubt")


def quality(connection: Any) -> str:
    """How fresh the tables are, what share of what came was no new event, and why units became dead letters."""
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
    _, letters = fetch(
        connection, "SELECT stage, reason, count(*) FROM dead_letters GROUP BY ALL ORDER BY 3 DESC, 1, 2 LIMIT 20"
    )
    counted = [(f"{row[1]} ({row[0]})", float(row[2]), f"{row[2]:,}") for row in letters]
    drawn = bars("Dead letters by reason", counted) if counted else "<p>There are no dead letters.</p>"
    return f"{said}<h3>Dead letters by reason</h3>{drawn}"


def ledger(connection: Any) -> str:
    """That every unit received and every decision is accounted for."""
    names, rows = fetch(
        connection,
        "SELECT run_id AS run, sum(received)::BIGINT AS received, sum(accepted)::BIGINT AS accepted, "
        'sum(duplicate)::BIGINT AS duplicate, sum(dead_lettered)::BIGINT AS "dead letters", '
        'sum(expired_late)::BIGINT AS "expired late", sum(erased)::BIGINT AS erased, '
        "CASE WHEN sum(received) = sum(accepted + duplicate + dead_lettered + expired_late + erased) "
        "THEN 'balances' ELSE 'does not balance' END AS ledger "
        "FROM run_ledger GROUP BY run_id ORDER BY run_id DESC LIMIT 10",
    )
    if not rows:
        return nothing("There was no run yet.")
    counts = ", ".join(f"count(*) FILTER (a.status = '{fate}') AS {fate}" for fate in _FATES)
    _, [(made, *fates)] = fetch(
        connection,
        f"SELECT count(*) AS decisions, {counts} FROM decisions AS d LEFT JOIN actions AS a USING (decision_id)",
    )
    verdict = "balances" if made == sum(fates) else "does not balance"
    decided = table(
        "Decisions and what became of them",
        ("decisions", *(fate.replace("_", " ") for fate in _FATES), "ledger"),
        [(made, *fates, verdict)],
    )
    return table("What the newest runs received", names, rows) + (
        decided if made else nothing("No decision was made yet.")
    )


def checks(tables: Sequence[Table], connection: Any) -> str:
    """How many data tests hold, and which do not."""
    tests = data_tests(tables)
    failed = [(test.name, test.rows, test.sql) for test in failures(connection, tables)]
    said = f"<p><strong>{len(tests) - len(failed):,} of {len(tests):,} data tests hold.</strong></p>"
    return said + (table("Those that do not", ("test", "rows", "query"), failed[:_MOST_FAILED]) if failed else "")
