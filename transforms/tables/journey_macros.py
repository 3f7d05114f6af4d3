"""Table macros of ``wayline.duckdb``: stages, features and decisions as of a time, and how much of it was known.

No Beam. Input: the names of the tables and views that exist. Output: ``Macro`` declarations with their SQL in DuckDB's
words. Time domain: ``ts`` is **event time** over the newest revision of each row, and a person is who the newest
identity says; ``received_by`` is knowledge time, told by the received time of events. What the rows of a person say is
what was known then when none of the events that had happened was still to come (``known_as_of``, ``is_exact``);
otherwise ``wayline journey --as-of`` folds again what was known. A stay or decision at the very instant counts; a stay
that ends at it does not. Errors: none. State: none.
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


_RECEIVED_BY = "CAST(received_by AS TIMESTAMPTZ)"
_LATER = f"(g.first_time > {_AS_OF} OR g.received_time > {_RECEIVED_BY})"
_KNOWN_SQL = f"""
SELECT e.person_id, min(CASE WHEN e.received_time <= {_RECEIVED_BY} THEN e.event_time END) AS first_event,
  max(CASE WHEN e.received_time <= {_RECEIVED_BY} THEN e.event_time END) AS last_event,
  count(CASE WHEN e.received_time <= {_RECEIVED_BY} THEN 1 END) AS events,
  count(CASE WHEN e.received_time > {_RECEIVED_BY} THEN 1 END) AS late, coalesce(max(l.links), 0) AS later_links,
  count(CASE WHEN e.received_time > {_RECEIVED_BY} THEN 1 END) = 0
    AND (coalesce(max(l.links), 0) = 0 OR coalesce(max(s.identifiers), 0) < 2) AS is_exact
FROM events AS e
  LEFT JOIN (
    SELECT i.person_id, count(*) AS links FROM edges AS g
    JOIN identifiers AS i ON i.namespace = g.left_namespace AND i.value = g.left_value
    WHERE {_LATER} GROUP BY i.person_id
  ) AS l ON l.person_id = e.person_id
  LEFT JOIN (
    SELECT person_id, count(*) AS identifiers FROM identifiers WHERE first_seen <= {_AS_OF} GROUP BY person_id
  ) AS s ON s.person_id = e.person_id
WHERE e.event_time <= {_AS_OF} GROUP BY e.person_id
HAVING count(CASE WHEN e.received_time <= {_RECEIVED_BY} THEN 1 END) > 0"""
_BOTH_TIMES = (("ts", TIME), ("received_by", TIME))
_KNOWN = Macro(
    "known_as_of",
    _BOTH_TIMES,
    "One row a person of whom an event by ts had been received: how many, and what came to be known only later.",
    ("events", "edges", "identifiers"),
    _KNOWN_SQL,
)
_FEATURES = Macro(
    "features_as_of",
    _BOTH_TIMES,
    "One row a person: the latest features by ts of which every event had been received, and whether none came later.",
    ("events", "edges", "identifiers", "features"),
    f"""
SELECT f.*, k.is_exact
FROM features AS f JOIN ({_KNOWN_SQL}) AS k ON k.person_id = f.person_id
WHERE f."at" <= {_AS_OF} AND f.created <= {_RECEIVED_BY}
QUALIFY row_number() OVER (PARTITION BY f.person_id ORDER BY f."at" DESC) = 1""",
)
_DECISIONS = Macro(
    "decisions_as_of",
    _BOTH_TIMES,
    "One row a decision made by ts: what had become of it, and whether its moment still stands.",
    ("decisions", "persons", "actions", "outcomes", "events", "features", "transitions"),
    f"""
SELECT d.decision_id, coalesce(a.merged_into, d.person_id) AS person_id, d.person_id AS decided_as, d."at", d.trigger,
  d.chosen, d.channel, d.reason,
  CASE WHEN t.action_id IS NOT NULL THEN t.status WHEN d.channel IS NULL THEN 'nothing to do'
    ELSE 'no action by then' END AS status,
  coalesce(r.outcomes, 0) AS outcomes, d.trigger = 'step' OR m.person_id IS NOT NULL AS stands
FROM decisions AS d LEFT JOIN persons AS a ON a.person_id = d.person_id
  LEFT JOIN actions AS t ON t.decision_id = d.decision_id AND t."at" <= {_AS_OF}
  LEFT JOIN (
    SELECT o.action_id, count(*) AS outcomes FROM outcomes AS o JOIN events AS e ON e.event_id = o.outcome_id
    WHERE o."at" <= {_AS_OF} AND e.received_time <= {_RECEIVED_BY} GROUP BY o.action_id
  ) AS r ON r.action_id = t.action_id
  LEFT JOIN (SELECT person_id, "at" FROM features UNION SELECT person_id, "at" FROM transitions) AS m
    ON m.person_id = coalesce(a.merged_into, d.person_id) AND m."at" = d."at"
WHERE d."at" <= {_AS_OF}""",
)
_IDENTITY = Macro(
    "identity_as_of",
    (("person", TEXT), *_BOTH_TIMES),
    "One row a pair of identifiers, one of them the person's, whose first evidence was known: what is held of it now.",
    ("edges", "identifiers", "persons"),
    f"""
SELECT DISTINCT g.left_namespace, g.left_value, g.right_namespace, g.right_value, g.kind, g.first_time, g.received_time,
  g.status AS status_now, g.rule AS rule_now
FROM edges AS g JOIN identifiers AS i ON i.person_id = {_PERSON}
  AND (i.namespace = g.left_namespace AND i.value = g.left_value
    OR i.namespace = g.right_namespace AND i.value = g.right_value)
WHERE g.first_time <= {_AS_OF} AND g.received_time <= {_RECEIVED_BY}""",
)
_MACROS = (_STAGE, _JOURNEY, _KNOWN, _FEATURES, _DECISIONS, _IDENTITY)


def journey_macros(known: Collection[str]) -> tuple[Macro, ...]:
    """The macros whose tables and views are all among ``known``."""
    return tuple(macro for macro in _MACROS if set(known).issuperset(macro.needs))
