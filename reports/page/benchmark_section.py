"""The section that holds stages against their benchmarks: of how many what was expected came, and what that says.

Input: the stages of the ontology in force, and a connection to the views of an output folder. Output: HTML. Time
domain: event time. Errors: those of DuckDB. State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reports.page.charts import table, wilson
from reports.page.nothing import nothing
from transforms.journey.ontology import Stage
from transforms.tables.sql import quote
from transforms.tables.views import fetch

AGAIN_HOURS = 1
"""What makes somebody enter a certain stage comes in several lines, such as those of one order: later it is again."""

_SAID = (
    "<p>Of the people who were ever in a stage, those of whom came what was expected. <em>Moved on</em>: to a later "
    "stage, at some time; whoever stays, or only went back, has not, and a stage that nothing leads out of, such as a "
    "lost lead, is no moving on. <em>Again</em>: of a certain stage with none to move on to, such as customer, what "
    "defines it came once more, an hour or longer after they first entered, such as buying again. <em>Left</em>: of a "
    "stage that nothing but its re-entry leads out of, they came back. A share is called below or above where its 95% "
    "interval leaves the benchmark out.</p>"
)


def against_benchmarks(stages: Sequence[Stage], connection: Any) -> str:
    """Each stage with a benchmark: people, what is expected, of how many it came, the benchmark, what that means.

    Left out is a stage of which nothing can be expected: the last one, where rules alone do not decide it.
    """
    rows = []
    for stage in stages:
        expected = _expected(stage, stages)
        if stage.benchmark is None or expected is None:
            continue
        word, sql = expected
        _, [(people, came)] = fetch(connection, sql)
        if people:
            share = came / people
            told = verdict(share, people, stage.benchmark)
            rows.append((stage.name, people, word, came, f"{share:.1%}", f"{stage.benchmark:.1%}", told))
    if not rows:
        return nothing("Nobody is in a stage with a benchmark yet.")
    heads = ("stage", "people", "expected", "came", "share", "benchmark", "that is")
    return _SAID + table("People of whom came what was expected", heads, rows)


def _expected(stage: Stage, stages: Sequence[Stage]) -> tuple[str, str] | None:
    """What is expected of who was in a stage, and the query for how many were there, and of how many it came."""
    further = [later.name for later in stages[stage.number + 1 :] if not later.terminal]
    if stage.terminal:
        return "left", _people(stage, "went_to IS NOT NULL")
    if further:
        return "moved on", _people(stage, f"went_to IN ({', '.join(map(quote, further))})")
    if not stage.certain or not stage.defining:
        return None
    shown = " OR ".join(f"contains(behaviours, {quote(chr(34) + one + chr(34))})" for one in sorted(stage.defining))
    return "again", (
        "WITH entered AS (SELECT person_id, min(valid_from) AS first FROM stage_history "
        f"WHERE stage = {quote(stage.name)} GROUP BY person_id), "
        f"shown AS (SELECT person_id, max(event_time) AS latest FROM events WHERE {shown} GROUP BY person_id) "
        f"SELECT count(*), count(*) FILTER (latest >= first + INTERVAL {AGAIN_HOURS} HOUR) "
        "FROM entered LEFT JOIN shown USING (person_id)"
    )


def _people(stage: Stage, came: str) -> str:
    return (
        f"SELECT count(DISTINCT person_id), count(DISTINCT person_id) FILTER ({came}) FROM stage_history "
        f"WHERE stage = {quote(stage.name)}"
    )


def verdict(share: float, people: int, benchmark: float) -> str:
    """What a share of so many people says of a benchmark."""
    low, high = wilson(share, people)
    if high < benchmark:
        return "below its benchmark"
    return "above its benchmark" if low > benchmark else "about its benchmark"
