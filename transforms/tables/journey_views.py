"""What BI tools ask of the journey tables, as views over them: conversions, touches, credit, history, funnel, cohorts.

No Beam. Input: the names of the tables that exist and the ontology's stages in their order. Output: ``View``
declarations, each with its SQL, which the database of OUT holds beside the tables. Facts are ``conversions``,
``touchpoints`` and ``attribution`` beside the tables; dimensions are ``dim_date``, ``dim_stage``, ``dim_channel`` and
``dim_campaign`` beside ``persons``. Days and weeks are those of UTC, weeks begin on Monday, durations are seconds.
Errors: none; the SQL is the declaration's own. State: none. The choices of attribution: docs/adr/0018.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.tables import Table
from transforms.tables.sql import quote

WINDOW_DAYS = 30
"""A session is a touch of a conversion when it began at most so many days before it."""
HALF_LIFE_DAYS = 7
"""Of time decay: a touch that is so much older has half the weight."""
MODELS = ("first", "last", "linear", "time_decay", "position", "shapley")
NO_TOUCH = "(none)"
"""The channel of the one touch of a conversion that no session precedes, so that its credit is not lost."""


@dataclass(frozen=True, slots=True)
class View:
    """``key`` identifies a row; ``needs`` are the tables and views it reads; ``sql`` is DuckDB's."""

    name: str
    key: tuple[str, ...]
    doc: str
    needs: tuple[str, ...]
    sql: str


def journey_views(tables: Sequence[Table]) -> tuple[View, ...]:
    """The views whose tables are among ``tables``, in an order in which each finds what it needs."""
    known = {table.name for table in tables}
    found: list[View] = []
    for view in (_stages(_stage_names(tables)), *_VIEWS):
        if known.issuperset(view.needs):
            known.add(view.name)
            found.append(view)
    return tuple(found)


def _stage_names(tables: Sequence[Table]) -> tuple[str, ...]:
    scores = next((table for table in tables if table.name == "scores"), None)
    names = scores.column_names if scores else ()
    return tuple(name.removeprefix("p_") for name in names if name.startswith("p_"))


def _stages(names: Sequence[str]) -> View:
    rows = " UNION ALL ".join(
        f"SELECT {quote(name)} AS stage, {place} AS place, {'true' if place == len(names) else 'false'} AS is_last"
        for place, name in enumerate(names, 1)
    )
    known = ", ".join(map(quote, names))
    others = f"SELECT DISTINCT to_stage, NULL, false FROM transitions WHERE to_stage NOT IN ({known})"
    return View(
        "dim_stage",
        ("stage",),
        "One row a stage of the project's ontology, in its order from 1, or of another version alone, without a place.",
        ("scores", "transitions"),
        f"{rows} UNION ALL {others}",
    )


def _day(time: str) -> str:
    return f"CAST({time} AT TIME ZONE 'UTC' AS DATE)"


def _seconds(earlier: str, later: str) -> str:
    return f"(epoch_us({later}) - epoch_us({earlier})) / 1e6"


_DATES = View(
    "dim_date",
    ("day",),
    "One row a day from the first event to the last.",
    ("events",),
    f"""
SELECT day, week, month, date_diff('day', week, day) + 1 AS weekday
FROM (
  SELECT CAST(day AS DATE) AS day, CAST(date_trunc('week', day) AS DATE) AS week,
    CAST(date_trunc('month', day) AS DATE) AS month
  FROM (SELECT min({_day("event_time")}) AS first_day, max({_day("event_time")}) AS last_day FROM events) AS span
    CROSS JOIN unnest(generate_series(first_day, last_day, INTERVAL 1 DAY)) AS series(day)
)""",
)
_CHANNELS = View(
    "dim_channel",
    ("channel",),
    "One row a channel in which a session began, with (none) for conversions without a touch.",
    ("sessions",),
    f"SELECT DISTINCT coalesce(channel, {quote(NO_TOUCH)}) AS channel FROM sessions UNION SELECT {quote(NO_TOUCH)}",
)
_CAMPAIGNS = View(
    "dim_campaign",
    ("campaign",),
    "One row a campaign that a session states, with its first and last session.",
    ("sessions",),
    "SELECT campaign, min(started_at) AS first_seen, max(started_at) AS last_seen FROM sessions "
    "WHERE campaign IS NOT NULL GROUP BY campaign",
)
_CONVERSIONS = View(
    "conversions",
    ("conversion_id",),
    "One row a conversion: an outcome of kind converted.",
    ("outcomes", "events"),
    'SELECT o.outcome_id AS conversion_id, o.person_id, o."at" AS converted_at, o.value, e.session_id, o.action_id '
    "FROM outcomes AS o LEFT JOIN events AS e ON e.event_id = o.outcome_id WHERE o.kind = 'converted'",
)
_TOUCHPOINTS = View(
    "touchpoints",
    ("conversion_id", "place"),
    f"One row a touch of a conversion: a session of its person that began in the {WINDOW_DAYS} days up to it.",
    ("conversions", "sessions"),
    f"""
SELECT c.conversion_id, c.person_id, c.converted_at, s.session_id, coalesce(s.started_at, c.converted_at) AS touched_at,
  coalesce(s.channel, {quote(NO_TOUCH)}) AS channel, s.campaign,
  row_number() OVER (PARTITION BY c.conversion_id ORDER BY s.started_at, s.session_id) AS place,
  count(*) OVER (PARTITION BY c.conversion_id) AS touches
FROM conversions AS c LEFT JOIN sessions AS s ON s.person_id = c.person_id AND s.started_at <= c.converted_at
  AND s.started_at >= c.converted_at - INTERVAL {WINDOW_DAYS * 24} HOUR""",
)
_ATTRIBUTION = View(
    "attribution",
    ("model", "conversion_id", "place"),
    "One row a model and touch: the credit of the touch. The credits of a conversion add up to one in each model.",
    ("touchpoints",),
    f"""
WITH touch AS (
  SELECT *, pow(2.0, -{_seconds("touched_at", "converted_at")} / {HALF_LIFE_DAYS * 86_400}) AS weight,
    count(*) OVER (PARTITION BY conversion_id, channel) AS alike,
    row_number() OVER (PARTITION BY conversion_id, channel ORDER BY place) AS nth
  FROM touchpoints
), whole AS (
  SELECT *, sum(weight) OVER (PARTITION BY conversion_id) AS weights,
    sum(CASE WHEN nth = 1 THEN 1 ELSE 0 END) OVER (PARTITION BY conversion_id) AS channels
  FROM touch
), model AS ({" UNION ALL ".join(f"SELECT {quote(name)} AS model" for name in MODELS)})
SELECT m.model, w.conversion_id, w.place, w.person_id, w.converted_at, w.session_id, w.channel, w.campaign,
  CASE m.model
    WHEN 'first' THEN CASE WHEN w.place = 1 THEN 1.0 ELSE 0.0 END
    WHEN 'last' THEN CASE WHEN w.place = w.touches THEN 1.0 ELSE 0.0 END
    WHEN 'linear' THEN 1.0 / w.touches
    WHEN 'time_decay' THEN w.weight / w.weights
    WHEN 'position' THEN CASE WHEN w.touches <= 2 THEN 1.0 / w.touches
      WHEN w.place = 1 OR w.place = w.touches THEN 0.4 ELSE 0.2 / (w.touches - 2) END
    ELSE 1.0 / w.channels / w.alike
  END AS credit
FROM whole AS w CROSS JOIN model AS m""",
)
_HISTORY = View(
    "stage_history",
    ("person_id", "valid_from", "stage"),
    "One row a stay in a stage: from its transition to the person's next one, which is null for the current stage.",
    ("transitions",),
    """
SELECT person_id, to_stage AS stage, from_stage AS came_from, "at" AS valid_from,
  lead("at") OVER stays AS valid_to, lead(to_stage) OVER stays AS went_to, lead("at") OVER stays IS NULL AS is_current,
  session_id, decided_by
FROM transitions
WINDOW stays AS (PARTITION BY person_id ORDER BY "at", CASE WHEN from_stage IS NULL THEN 0 ELSE 1 END, to_stage)""",
)
_FUNNEL = View(
    "funnel",
    ("day", "stage"),
    "One row a day and stage, zeros included: who entered, moved on or fell back, and who was there as the day ended.",
    ("dim_date", "dim_stage", "stage_history"),
    f"""
WITH entered AS (
  SELECT {_day("valid_from")} AS day, stage, count(*) AS entered FROM stage_history GROUP BY 1, 2
), gone AS (
  SELECT {_day("h.valid_to")} AS day, h.stage, count(*) AS gone,
    sum(CASE WHEN b.place > a.place THEN 1 ELSE 0 END) AS moved_on,
    sum(CASE WHEN b.place < a.place THEN 1 ELSE 0 END) AS fell_back
  FROM stage_history AS h JOIN dim_stage AS a ON a.stage = h.stage JOIN dim_stage AS b ON b.stage = h.went_to
  WHERE h.valid_to IS NOT NULL GROUP BY 1, 2
)
SELECT d.day, s.stage, s.place, CAST(coalesce(e.entered, 0) AS BIGINT) AS entered,
  CAST(coalesce(g.moved_on, 0) AS BIGINT) AS moved_on, CAST(coalesce(g.fell_back, 0) AS BIGINT) AS fell_back,
  CAST(sum(coalesce(e.entered, 0) - coalesce(g.gone, 0)) OVER (PARTITION BY s.stage ORDER BY d.day) AS BIGINT)
    AS persons_at_end,
  CASE WHEN g.moved_on + g.fell_back > 0 THEN g.fell_back * 1.0 / (g.moved_on + g.fell_back) END AS drop_off
FROM dim_date AS d CROSS JOIN dim_stage AS s LEFT JOIN entered AS e ON e.day = d.day AND e.stage = s.stage
  LEFT JOIN gone AS g ON g.day = d.day AND g.stage = s.stage""",
)
_STAGE_CONVERSION = View(
    "stage_conversion",
    ("stage",),
    "One row a stage: stays, how many ended in a later or an earlier stage, and the dwell of those that ended.",
    ("dim_stage", "stage_history"),
    f"""
SELECT a.stage, a.place, count(h.person_id) AS stays, count(DISTINCT h.person_id) AS persons,
  count(CASE WHEN b.place > a.place THEN 1 END) AS moved_on, count(CASE WHEN b.place < a.place THEN 1 END) AS fell_back,
  count(CASE WHEN h.is_current THEN 1 END) AS still_there,
  CASE WHEN count(h.person_id) > 0 THEN count(CASE WHEN b.place > a.place THEN 1 END) * 1.0 / count(h.person_id) END
    AS rate, avg({_seconds("h.valid_from", "h.valid_to")}) AS mean_dwell
FROM dim_stage AS a LEFT JOIN stage_history AS h ON h.stage = a.stage LEFT JOIN dim_stage AS b ON b.stage = h.went_to
GROUP BY a.stage, a.place""",
)
_RETENTION = View(
    "retention",
    ("cohort", "week"),
    "One row a cohort (week of the first session) and week since, zeros included: who had a session in it. A week that "
    "is not over, or that began before the first event, is not complete: its share says less than there is.",
    ("sessions", "dim_date"),
    f"""
WITH active AS (
  SELECT DISTINCT person_id, CAST(date_trunc('week', {_day("started_at")}) AS DATE) AS seen FROM sessions
), first AS (SELECT person_id, min(seen) AS cohort FROM active GROUP BY person_id),
cohorts AS (SELECT cohort, count(*) AS persons FROM first GROUP BY cohort),
came AS (SELECT f.cohort, a.seen, count(*) AS active FROM active AS a JOIN first AS f ON f.person_id = a.person_id
  GROUP BY f.cohort, a.seen)
SELECT c.cohort, CAST(date_diff('day', c.cohort, w.week) / 7 AS BIGINT) AS week, c.persons,
  coalesce(a.active, 0) AS active, coalesce(a.active, 0) * 1.0 / c.persons AS share, w.days = 7 AS is_complete
FROM cohorts AS c JOIN (SELECT week, count(*) AS days FROM dim_date GROUP BY week) AS w ON w.week >= c.cohort
  LEFT JOIN came AS a ON a.cohort = c.cohort AND a.seen = w.week""",
)
_TIME_TO_MAP = View(
    "time_to_map",
    ("person_id",),
    "One row a person of journeys: how long from the first event until it entered any stage after the first.",
    ("journeys", "events", "stage_history", "dim_stage"),
    f"""
WITH seen AS (SELECT person_id, min(event_time) AS first_event FROM events GROUP BY person_id),
mapped AS (
  SELECT h.person_id, min(h.valid_from) AS mapped_at
  FROM stage_history AS h JOIN dim_stage AS s ON s.stage = h.stage WHERE s.place > 1 GROUP BY h.person_id
)
SELECT j.person_id, s.first_event, m.mapped_at, {_seconds("s.first_event", "m.mapped_at")} AS seconds
FROM journeys AS j JOIN seen AS s ON s.person_id = j.person_id LEFT JOIN mapped AS m ON m.person_id = j.person_id""",
)
_RESPONSES = View(
    "responses",
    ("person_id", "entered_at"),
    "One row a stay in the stage before the last: the first action sent to the person within it, if any.",
    ("stage_history", "dim_stage", "actions"),
    f"""
SELECT h.person_id, h.stage, h.valid_from AS entered_at, min(a."at") AS answered_at,
  {_seconds("h.valid_from", 'min(a."at")')} AS seconds
FROM stage_history AS h JOIN dim_stage AS s ON s.stage = h.stage JOIN dim_stage AS n ON n.place = s.place + 1
  LEFT JOIN actions AS a ON a.person_id = h.person_id AND a.status = 'sent' AND a."at" >= h.valid_from
    AND (h.valid_to IS NULL OR a."at" < h.valid_to)
WHERE n.is_last GROUP BY h.person_id, h.stage, h.valid_from""",
)
_CONSISTENCY = View(
    "channel_consistency",
    ("person_id",),
    "One row a person with sessions in two channels or more: whether every channel's last session agrees on the stage.",
    ("sessions", "stage_history"),
    """
WITH last AS (
  SELECT person_id, channel, max(ended_at) AS ended_at FROM sessions WHERE channel IS NOT NULL
  GROUP BY person_id, channel
)
SELECT l.person_id, count(*) AS channels, count(DISTINCT h.stage) AS stages,
  CASE WHEN count(DISTINCT h.stage) = 1 THEN 1 ELSE 0 END AS is_consistent
FROM last AS l JOIN stage_history AS h ON h.person_id = l.person_id AND h.valid_from <= l.ended_at
  AND (h.valid_to IS NULL OR h.valid_to > l.ended_at)
GROUP BY l.person_id HAVING count(DISTINCT l.channel) > 1""",
)
_CREDIT = View(
    "attributed_value",
    ("model", "conversion_id", "place"),
    "One row a model and touch: the credit of the touch and its part of the value of the conversion.",
    ("attribution", "conversions"),
    """
SELECT a.model, a.conversion_id, a.place, a.channel, a.campaign, a.credit, c.value * a.credit AS value
FROM attribution AS a JOIN conversions AS c ON c.conversion_id = a.conversion_id""",
)
_VIEWS = (
    *(_DATES, _CHANNELS, _CAMPAIGNS, _CONVERSIONS, _TOUCHPOINTS, _ATTRIBUTION),
    *(_HISTORY, _FUNNEL, _STAGE_CONVERSION, _RETENTION, _TIME_TO_MAP, _RESPONSES, _CONSISTENCY, _CREDIT),
)
