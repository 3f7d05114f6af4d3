"""The board: what the tables of an output folder say, as one page.

Input: an output folder, also while a stream writes it. Output: HTML. Errors: OutputError where the tables cannot be
read just now. State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import duckdb

from contracts.errors import OutputError
from contracts.tables import Table
from reports.page.charts import bars, table
from transforms.tables.output import check_readable
from transforms.tables.views import fetch, open_views

_TABLES = (
    (
        "flow",
        "Stage flow",
        'SELECT came_from AS "from", stage AS "to", count(*) AS moves FROM stage_history GROUP BY ALL '
        "ORDER BY moves DESC, 1, 2 LIMIT 20",
    ),
    (
        "cohorts",
        "Cohorts: share with a session, by week since the first",
        "SELECT cohort, week, persons, active, share FROM retention ORDER BY cohort, week LIMIT 60",
    ),
    (
        "identity",
        "Identity evidence",
        "SELECT rule, status, count(*) AS edges FROM edges GROUP BY ALL ORDER BY edges DESC, 1, 2",
    ),
    (
        "decisions",
        "Decisions and their fate",
        "SELECT d.chosen, coalesce(a.status, 'no action') AS fate, count(*) AS times FROM decisions AS d "
        "LEFT JOIN actions AS a USING (decision_id) GROUP BY ALL ORDER BY times DESC, 1, 2 LIMIT 30",
    ),
    (
        "quality",
        "Data quality: the fate of what was received",
        "SELECT run_id, sum(received)::BIGINT AS received, sum(accepted)::BIGINT AS accepted, "
        "sum(duplicate)::BIGINT AS duplicate, sum(dead_lettered)::BIGINT AS dead_lettered, "
        "sum(expired_late)::BIGINT AS expired_late, sum(erased)::BIGINT AS erased "
        "FROM run_ledger GROUP BY run_id ORDER BY run_id DESC LIMIT 10",
    ),
)


def fragment(out: Path, tables: Sequence[Table]) -> str:
    """The sections of the board. Raises OutputError when OUT is none or cannot be read just now."""
    check_readable(out)
    try:
        connection = open_views(out, tables)
    except (duckdb.Error, OSError) as error:
        raise OutputError(f"{out} cannot be looked at: {error}") from error
    try:
        return "".join([_funnel(connection), *(_section(connection, *one) for one in _TABLES)])
    except (duckdb.Error, OSError) as error:
        raise OutputError(f"the tables of {out} cannot be read just now: {str(error).splitlines()[0]}") from error
    finally:
        connection.close()


def _funnel(connection: Any) -> str:
    sql = "SELECT stage, persons, stays, moved_on, fell_back, still_there, rate FROM stage_conversion ORDER BY place"
    names, rows = fetch(connection, sql)
    counted = [(row[0], float(row[1]), f"{row[1]:,} people; {row[4]:,} of {row[2]:,} stays fell back") for row in rows]
    title = "Funnel with drop-off"
    return f'<section id="funnel"><h2>{title}</h2>{bars(title, counted)}{table(title, names, rows)}</section>'


def _section(connection: Any, name: str, title: str, sql: str) -> str:
    names, rows = fetch(connection, sql)
    drawn = ""
    if name in ("flow", "identity", "decisions"):
        arrows = ((f"{row[0] or 'new'} → {row[1]}", row[2]) for row in rows[:10])
        drawn = bars(title, [(words, float(count), f"{count:,}") for words, count in arrows])
    return f'<section id="{name}"><h2>{escape(title)}</h2>{drawn}{table(title, names, rows)}</section>'


def page(title: str, content: str, *, live: bool, asked: str = "") -> str:
    """A whole page around content that is HTML already. ``live``: the page renews its content."""
    script = '<script src="/board.js" defer></script>' if live else ""
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>
<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">
<link rel="stylesheet" href="/board.css">{script}</head><body><a class="skip" href="#content">Skip to content</a>
<header><h1><a href="/">Wayline</a></h1><form action="/person" role="search">
<label for="id">Person or identifier</label>
<input id="id" name="id" value="{escape(asked)}" required><button>Find</button></form></header>
<main id="content" tabindex="-1">{content}</main></body></html>"""


STYLE = """:root{color-scheme:light dark;--ink:#1a1a1a;--paper:#fff;--line:#767676;--bar:#0072b2;--link:#005a8e}
@media(prefers-color-scheme:dark){:root{--ink:#f0f0f0;--paper:#161616;--line:#8c8c8c;--bar:#56b4e9;--link:#7cc7f2}}
body{margin:0 auto;max-width:76rem;padding:1rem;font:16px/1.45 system-ui,sans-serif;color:var(--ink);
background:var(--paper)}a{color:var(--link)}header{display:flex;flex-wrap:wrap;gap:1rem;justify-content:space-between;
align-items:center}.skip{position:absolute;left:-99rem}.skip:focus{left:1rem}
:focus-visible{outline:3px solid var(--link)}
svg{width:100%;min-width:560px;max-width:780px}
svg text{fill:var(--ink);font-size:14px}.bar{fill:var(--bar)}
.wide{overflow-x:auto}
table{border-collapse:collapse}caption{text-align:left}th,td{border-bottom:1px solid var(--line);padding:.25rem .7rem;
text-align:left}pre{overflow-x:auto}"""

SCRIPT = """'use strict';
setInterval(async () => {
  const answer = await fetch('/fragment');
  if (!answer.ok) return;
  const text = await answer.text(), main = document.getElementById('content');
  if (main.dataset.last === text || main.contains(document.activeElement)) return;
  main.innerHTML = text;
  main.dataset.last = text;
}, 3000);
"""
