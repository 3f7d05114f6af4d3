"""Sections on decisions: what was chosen and what became of it, and why candidates fell.

Input: a connection to the views of an output folder. Output: HTML. Time domain: event time. Errors: those of DuckDB.
State: none.
"""

from __future__ import annotations

from html import escape
from typing import Any

from reports.page.charts import bars, numbers
from reports.page.nothing import nothing
from reports.rendering import day
from reports.tell_decisions import UNASKED
from transforms.decide.rules import NOTHING
from transforms.tables.sql import quote
from transforms.tables.views import fetch

_NO_DECISION = "No decision was made yet."
CHOSEN, NOT_MEANT = "chosen", "not for this moment"
_RULES = {
    "not_eligible": "its condition did not hold",
    "consent": "no consent",
    "suppressed": "an outcome forbids it for a while",
    "cooldown": "chosen not long enough ago",
    "cap": "the cap of its channel is used up",
    "holdout": "the person is in the holdout",
    "outranked": "another had priority",
}
"""Rules in words, as docs/policies.md has them."""


def decisions(connection: Any) -> str:
    """What was chosen and its fate. Names nobody."""
    names, rows = fetch(
        connection,
        "SELECT d.chosen, coalesce(a.status, 'no action') AS fate, count(*) AS times FROM decisions AS d "
        "LEFT JOIN actions AS a USING (decision_id) GROUP BY ALL ORDER BY times DESC, 1, 2 LIMIT 40",
    )
    if not rows:
        return nothing(_NO_DECISION)
    counted = [(f"{row[0]}: {row[1]}", float(row[2]), f"{row[2]:,}") for row in rows if row[0] != NOTHING][:12]
    none = sum(row[2] for row in rows if row[0] == NOTHING)
    return (
        f"<p>{none:,} times nothing was chosen.</p>"
        + (bars("What was chosen, and its fate", counted) if counted else "")
        + numbers("Decisions by choice and fate", names, rows)
    )


def decisions_and_the_newest(connection: Any) -> str:
    """``decisions``, and the newest of them with links to their stories."""
    _, newest = fetch(
        connection,
        'SELECT d."at", d.decision_id, d.person_id, d.stage, d.chosen, a.status, a.reason FROM decisions AS d '
        "LEFT JOIN actions AS a USING (decision_id) WHERE d.chosen <> 'nothing' "
        'ORDER BY d."at" DESC, d.decision_id LIMIT 10',
    )
    listed = "".join(
        f'<li>{day(row[0])}: <a href="/find?id={escape(row[1])}">{escape(row[4])}</a> for '
        f'<a href="/find?id={escape(row[2])}">{escape(row[2])}</a> in {escape(row[3])}, '
        f"{escape(': '.join(filter(None, row[5:])) or 'no action')}</li>"
        for row in newest
    )
    return decisions(connection) + (f"<h3>The newest</h3><ul>{listed}</ul>" if listed else "")


def why_candidates_fell(connection: Any) -> str:
    """Of each candidate how often it was chosen, and by which rule it fell otherwise."""
    unasked = " OR ".join(f"starts_with(c.reason, {quote(begin)})" for begin in UNASKED)
    shape = '[{"name":"VARCHAR","dropped_by":"VARCHAR","reason":"VARCHAR"}]'
    _, rows = fetch(
        connection,
        f"SELECT c.name, CASE WHEN c.dropped_by IS NULL THEN {quote(CHOSEN)} WHEN c.dropped_by = 'not_eligible' AND "
        f"({unasked}) THEN {quote(NOT_MEANT)} ELSE c.dropped_by END AS fate, count(*) AS times FROM "
        f"(SELECT unnest(from_json(candidates, {quote(shape)})) AS c FROM decisions) GROUP BY ALL "
        "ORDER BY times DESC, 1, 2",
    )
    if not rows:
        _, [(made,)] = fetch(connection, "SELECT count(*) FROM decisions")
        return nothing("The policy names no candidate." if made else _NO_DECISION)
    fell: dict[str, int] = {}
    times: dict[str, dict[str, int]] = {}
    for name, fate, count in rows:
        times.setdefault(name, {})[fate] = count
        if fate not in (CHOSEN, NOT_MEANT):
            fell[fate] = fell.get(fate, 0) + count
    ranked = sorted(fell, key=lambda fate: (-fell[fate], fate))
    counted = [(_RULES.get(fate, fate.replace("_", " ")), float(fell[fate]), f"{fell[fate]:,}") for fate in ranked]
    heads = ["candidate", "considered", CHOSEN, *(name for name, _, _ in counted)]
    considered = {name: sum(n for fate, n in fates.items() if fate != NOT_MEANT) for name, fates in times.items()}
    table = [
        (name, considered[name], *(times[name].get(fate, 0) for fate in (CHOSEN, *ranked)))
        for name in sorted(times, key=lambda name: (-considered[name], name))
    ]
    said = "<p>Of the moments a candidate is meant for; what is never meant for a moment does not count.</p>"
    if not counted:
        return nothing("No candidate fell but for moments it is not meant for.") + numbers("Candidates", heads, table)
    return said + bars("Why candidates fell", counted) + numbers("Candidates and why they fell", heads, table)
