"""Table macros of ``wayline.duckdb``: the stage of everybody, or the stays and decisions of one person, as of a time.

No Beam. Input: the names of the tables and views that exist. Output: ``Macro`` declarations with their SQL in DuckDB's
words. Time domain: **event time** over the newest revision of each row. So a late event that has arrived since counts,
and a person is who the newest identity says; what was known then is told by a run with ``--as-of``. A stay or decision
at the very instant counts; a stay that ends at it does not. Errors: none. State: none.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from contracts.tables import TEXT, TIME


@dataclass(frozen=True, slots=True)
class Macro:
    """``parameters`` are those of the call, in order, each with its kind; ``needs`` the tables and views it reads."""

    name: str
    parameters: tuple[tuple[str, str], ...]
    doc: str
    needs: tuple[str, ...]
    sql: str

    @property
    def statement(self) -> str:
        """What creates it."""
        names = ", ".join(name for name, _ in self.parameters)
        return f"CREATE MACRO {self.name}({names}) AS TABLE {self.sql}"


_AS_OF = "CAST(ts AS TIMESTAMPTZ)"
_STAGE = Macro(
    "stage_as_of",
    (("ts", TIME),),
    "One row a person who had a journey by then: the stage, as it is now known to have been.",
    ("stage_history",),
    f"""
SELECT h.person_id, h.stage, h.came_from, h.valid_from, h.session_id, h.decided_by
FROM stage_history AS h
WHERE h.valid_from <= {_AS_OF} AND (h.valid_to IS NULL OR h.valid_to > {_AS_OF})""",
)
_PERSON = "coalesce((SELECT max(a.merged_into) FROM persons AS a WHERE a.person_id = person), person)"
_JOURNEY = Macro(
    "journey_as_of",
    (("person", TEXT), ("ts", TIME)),
    "One row a stage entered and one a decision made by then, of a person or of who has an alias.",
    ("stage_history", "decisions", "persons"),
    f"""
SELECT h.valid_from AS "at", 'stage' AS what, h.stage AS value, h.decided_by AS reason
FROM stage_history AS h WHERE h.person_id = {_PERSON} AND h.valid_from <= {_AS_OF}
UNION ALL
SELECT d."at", 'decision' AS what, d.chosen AS value, d.reason
FROM decisions AS d WHERE d."at" <= {_AS_OF} AND (d.person_id = {_PERSON}
  OR d.person_id IN (SELECT b.person_id FROM persons AS b WHERE b.merged_into = {_PERSON}))
ORDER BY 1, 2 DESC, 3, 4""",
)
"""A person or an alias; decisions made under an alias, before a merge, are those of the person that holds it now."""


def journey_macros(known: Collection[str]) -> tuple[Macro, ...]:
    """The macros whose tables and views are all among ``known``."""
    return tuple(macro for macro in (_STAGE, _JOURNEY) if set(known).issuperset(macro.needs))
