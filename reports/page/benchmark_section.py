"""The section that holds stages against their benchmarks: what share of people moves on, and what was expected.

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

_SAID = (
    "<p>Of the people who were ever in a stage, those who moved on from it at some time. Whoever stays, or only went "
    "back, has not; a stage that nothing leads out of, such as a lost lead, is no moving on. A share is called below "
    "or above where its 95% interval leaves the benchmark out.</p>"
)


def against_benchmarks(stages: Sequence[Stage], connection: Any) -> str:
    """Each stage with a benchmark: people, those who moved on, the share, what was expected, and what that means.

    Left out are the last stage and those that are certain, whose benchmark speaks of what no stage tells, such as
    buying again.
    """
    rows = []
    for stage in stages:
        further = [later.name for later in stages[stage.number + 1 :] if not later.terminal]
        if stage.benchmark is None or stage.certain or not further:
            continue
        _, [(people, moved)] = fetch(
            connection,
            f"SELECT count(DISTINCT person_id), count(DISTINCT person_id) FILTER (went_to IN "
            f"({', '.join(map(quote, further))})) FROM stage_history WHERE stage = {quote(stage.name)}",
        )
        if people:
            share = moved / people
            told = verdict(share, people, stage.benchmark)
            rows.append((stage.name, people, moved, f"{share:.1%}", f"{stage.benchmark:.1%}", told))
    if not rows:
        return nothing("Nobody is in a stage with a benchmark yet.")
    return _SAID + table("People who moved on", ("stage", "people", "moved on", "share", "benchmark", "that is"), rows)


def verdict(share: float, people: int, benchmark: float) -> str:
    """What a share of so many people says of a benchmark."""
    low, high = wilson(share, people)
    if high < benchmark:
        return "below its benchmark"
    return "above its benchmark" if low > benchmark else "about its benchmark"
