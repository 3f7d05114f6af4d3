"""Sections on the course of journeys: how long stages last, how soon they are entered, and where sessions happen.

Input: a connection to the views of an output folder. Output: HTML. Time domain: event time. Errors: those of DuckDB.
State: none.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from reports.page.charts import bars, numbers, spans
from reports.page.nothing import nothing
from reports.rendering import length, plural
from transforms.tables.views import fetch

_SOON = ((60, "within a minute"), (3600, "within an hour"), (86_400, "within a day"), (7 * 86_400, "within a week"))
_LATER, _NOT_YET = "after more than a week", "not yet"


def time_in_stage(connection: Any) -> str:
    """How long stays lasted that ended, and how many go on."""
    names, rows = fetch(
        connection,
        "SELECT d.stage, count(h.stage) FILTER (NOT h.is_current) AS ended, "
        'count(h.stage) FILTER (h.is_current) AS "go on", quantile_cont(h.seconds, 0.1) AS "a tenth, s", '
        'quantile_cont(h.seconds, 0.5) AS "half, s", quantile_cont(h.seconds, 0.9) AS "nine tenths, s" '
        "FROM dim_stage AS d LEFT JOIN (SELECT stage, is_current, (epoch_us(valid_to) - epoch_us(valid_from)) / 1e6 "
        "AS seconds FROM stage_history) AS h ON h.stage = d.stage GROUP BY d.stage, d.place ORDER BY d.place",
    )
    if not any(row[1] or row[2] for row in rows):
        return nothing("No stage was entered yet.")
    ended = [row for row in rows if row[1]]
    going = sum(row[2] for row in rows)
    said = (
        f"<p>{plural(sum(row[1] for row in rows), 'stay')} ended, {going:,} still go on and are not among them. Bars "
        "reach from the shortest tenth to the longest tenth, the mark is the median.</p>"
    )
    drawn = [
        (row[0], row[3], row[4], row[5], f"{_length(row[4])}, {_length(row[3])} to {_length(row[5])}") for row in ended
    ]
    return said + (spans("Time in stage", drawn) if drawn else "") + numbers("Stays by stage", names, rows)


def sessions_by_channel(connection: Any) -> str:
    """Where sessions began, how many converted and how many were left at once."""
    names, rows = fetch(
        connection,
        "SELECT coalesce(channel, '(none)') AS channel, count(*) AS sessions, count(DISTINCT person_id) AS people, "
        "count(*) FILTER (conversions > 0) AS converted, count(*) FILTER (bounced) AS bounced, "
        'median(duration) AS "median s" FROM sessions GROUP BY ALL ORDER BY sessions DESC, channel',
    )
    if not rows:
        return nothing("There was no session yet.")
    everything = sum(row[1] for row in rows)
    counted = [
        (
            row[0],
            float(row[1]),
            f"{plural(row[1], 'session')}, {row[3] / row[1]:.1%} converted, {row[4] / row[1]:.0%} bounced",
        )
        for row in rows
    ]
    channels = plural(len(rows), "channel")
    return (
        f"<p>{plural(everything, 'session')} in {channels}, by where they began.</p>"
        + bars("Sessions per channel", counted)
        + numbers("Sessions per channel", names, rows)
    )


def time_to_map(connection: Any) -> str:
    """How soon after the first event a person entered a stage after the first."""
    cases = " ".join(f"WHEN seconds <= {limit} THEN {place}" for place, (limit, _) in enumerate(_SOON))
    _, rows = fetch(
        connection,
        f"SELECT CASE WHEN seconds IS NULL THEN {len(_SOON) + 1} {cases} ELSE {len(_SOON)} END AS place, "
        "count(*) AS people FROM time_to_map GROUP BY 1",
    )
    _, [(middle,)] = fetch(connection, "SELECT median(seconds) FROM time_to_map")
    people = dict(rows)
    everybody = sum(people.values())
    if not everybody:
        return nothing("There is no journey yet.")
    labels = [*(name for _, name in _SOON), _LATER, _NOT_YET]
    found = [(name, people.get(place, 0)) for place, name in enumerate(labels)]
    said = (
        f"<p>Half of those who entered a stage after the first did so within <strong>{_length(middle)}</strong> of "
        "their first event.</p>"
        if middle is not None
        else "<p>Nobody entered a stage after the first yet.</p>"
    )
    counted = [(name, float(count), f"{count:,} ({count / everybody:.0%})") for name, count in found]
    return said + bars("Time to map", counted) + numbers("People by the time to map", ("entered", "people"), found)


def _length(seconds: float) -> str:
    return length(timedelta(seconds=seconds))
