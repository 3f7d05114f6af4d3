"""What must hold of the rows of OUT: keys, references and accepted values, each a query for what breaks it.

No Beam. Input: the tables' contracts and what refers to what (``roles``). Output: ``DataTest`` declarations; a test
holds when its query finds nothing. Errors: none. State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.tables import Table
from transforms.dead_letter import REASONS
from transforms.tables.journey_views import MODELS, journey_views
from transforms.tables.roles import REFERENCES
from transforms.tables.sql import name_sql, quote


@dataclass(frozen=True, slots=True)
class DataTest:
    """``name`` is TABLE.RULE; ``sql`` finds the rows that break it."""

    name: str
    sql: str


_RECEIPTS = ("delivered", "opened", "clicked", "converted", "accepted", "rejected", "complained", "unsubscribed")
_ACCEPTED = (
    ("actions", "status", ("sent", "suppressed", "failed", "pending", "in_doubt")),
    ("attribution", "model", MODELS),
    ("dead_letters", "reason", tuple(REASONS)),
    ("decisions", "trigger", ("transition", "session", "step")),
    ("edges", "kind", ("seen", "alias", "merge", "unlink")),
    ("edges", "status", ("accepted", "refused", "removed", "barred")),
    ("expired_late", "reason", tuple(REASONS)),
    ("journeys", "decided_by", ("rules", "model")),
    ("labels", "outcome", ("converted", "none")),
    ("labels", "origin", ("policy", "logged")),
    ("outcomes", "kind", _RECEIPTS),
    ("transitions", "decided_by", ("rules", "model")),
)
_SHARES = (
    ("journeys", "confidence"),
    ("decisions", "propensity"),
    ("labels", "propensity"),
    ("attribution", "credit"),
    ("funnel", "drop_off"),
    ("stage_conversion", "rate"),
    ("retention", "share"),
)
"""From 0 to 1, where there is a number."""
FRESH_HOURS = 24
"""The newest event lies at most so long before the horizon, or what should bring events has stopped."""
_RULES = (
    (
        "events.are_fresh",
        ("events", "journeys"),
        "SELECT * FROM (SELECT (SELECT max(event_time) FROM events) AS newest, max(horizon) AS horizon FROM journeys) "
        f"WHERE newest < horizon - INTERVAL {FRESH_HOURS} HOUR",
    ),
    (
        "run_ledger.balances",
        ("run_ledger",),
        "SELECT * FROM run_ledger WHERE received <> accepted + duplicate + dead_lettered + expired_late + erased",
    ),
    ("sessions.end_is_not_before_start", ("sessions",), "SELECT * FROM sessions WHERE ended_at < started_at"),
    (
        "stage_history.current_is_stage_of_journey",
        ("stage_history", "journeys"),
        "SELECT h.person_id, h.stage, j.stage AS journey FROM stage_history AS h JOIN journeys AS j USING (person_id) "
        "WHERE h.is_current AND h.stage <> j.stage",
    ),
    (
        "attribution.credits_add_up_to_one",
        ("attribution",),
        "SELECT model, conversion_id, sum(credit) AS credit FROM attribution GROUP BY 1, 2 "
        "HAVING abs(sum(credit) - 1) > 1e-9",
    ),
)


def data_tests(tables: Sequence[Table]) -> tuple[DataTest, ...]:
    """The tests of the tables and of the views over them, by table."""
    views = journey_views(tables)
    keys = {table.name: table.key for table in tables} | {view.name: view.key for view in views}
    found: list[DataTest] = []
    for table, key in keys.items():
        columns = ", ".join(map(name_sql, key))
        missing = " OR ".join(f"{name_sql(name)} IS NULL" for name in key)
        found.append(DataTest(f"{table}.key_is_not_null", f"SELECT * FROM {table} WHERE {missing}"))
        twice = f"SELECT {columns}, count(*) AS rows FROM {table} GROUP BY {columns} HAVING count(*) > 1"
        found.append(DataTest(f"{table}.key_is_unique", twice))
    for table, column, values in _ACCEPTED:
        if table in keys:
            listed = ", ".join(map(quote, values))
            sql = f"SELECT * FROM {table} WHERE {column} NOT IN ({listed})"
            found.append(DataTest(f"{table}.{column}_is_accepted", sql))
    for table, column in _SHARES:
        if table in keys:
            sql = f"SELECT * FROM {table} WHERE NOT {column} BETWEEN 0 AND 1"
            found.append(DataTest(f"{table}.{column}_is_a_share", sql))
    for link in REFERENCES:
        if not link.loose and link.table in keys and link.other in keys:
            rows = f"{link.table} AS t ANTI JOIN {link.other} AS o ON o.{link.there} = t.{link.column}"
            where = f"t.{link.column} IS NOT NULL" + (f" AND t.{link.where}" if link.where else "")
            name = f"{link.table}.{link.column}_is_in_{link.other}"
            found.append(DataTest(name, f"SELECT t.* FROM {rows} WHERE {where}"))
    found += [DataTest(name, sql) for name, needs, sql in _RULES if keys.keys() >= set(needs)]
    return tuple(found)
