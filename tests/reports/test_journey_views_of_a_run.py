"""The views for BI over a real run, each beside a recomputation in plain Python from the tables."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from contracts.tables import Table
from reports.table_check import failed_tests
from transforms.tables.journey_views import HALF_LIFE_DAYS, MODELS, WINDOW_DAYS, journey_views
from transforms.tables.views import open_views


@pytest.fixture
def views(tiny_out: Path, tables: dict[str, Table]) -> Iterator[Any]:
    connection = open_views(tiny_out, list(tables.values()))
    yield connection
    connection.close()


def _rows(views: Any, sql: str) -> list[dict[str, Any]]:
    cursor = views.execute(sql)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _credits(ages: list[float], channels: list[str]) -> dict[str, list[float]]:
    count = len(ages)
    weights = [2.0 ** (-age / (HALF_LIFE_DAYS * 86_400)) for age in ages]
    middle = [0.2 / (count - 2)] * (count - 2) if count > 2 else []
    position = [0.4, *middle, 0.4] if middle else [1 / count] * count
    alike = Counter(channels)
    return {
        "first": [1.0, *[0.0] * (count - 1)],
        "last": [*[0.0] * (count - 1), 1.0],
        "linear": [1 / count] * count,
        "time_decay": [weight / sum(weights) for weight in weights],
        "position": position,
        "shapley": [1 / len(alike) / alike[channel] for channel in channels],
    }


def test_every_view_has_its_key_once_and_no_part_of_it_missing(views: Any, tables: dict[str, Table]) -> None:
    declared = journey_views(list(tables.values()))
    assert len(declared) == 15
    for view in declared:
        keys = [tuple(row[name] for name in view.key) for row in _rows(views, f"SELECT * FROM {view.name}")]
        assert keys or view.name in ("dim_campaign", "channel_consistency", "responses"), view.name
        assert len(set(keys)) == len(keys), view.name
        assert all(None not in key for key in keys), view.name


def test_credit_is_as_computed_from_the_sessions_and_adds_up_to_the_conversions(views: Any) -> None:
    sessions = defaultdict(list)
    for row in _rows(views, "SELECT * FROM sessions"):
        sessions[row["person_id"]].append(row)
    expected = {}
    conversions = _rows(views, "SELECT * FROM outcomes WHERE kind = 'converted'")
    assert conversions
    for one in conversions:
        touches = [
            row
            for row in sessions[one["person_id"]]
            if timedelta() <= one["at"] - row["started_at"] <= timedelta(days=WINDOW_DAYS)
        ]
        touches.sort(key=lambda row: (row["started_at"], row["session_id"]))
        ages = [(one["at"] - row["started_at"]).total_seconds() for row in touches] or [0.0]
        channels = [row["channel"] for row in touches] or ["(none)"]
        for model, credit in _credits(ages, channels).items():
            for place, share in enumerate(credit, 1):
                expected[model, one["outcome_id"], place] = share
    found = {
        (row["model"], row["conversion_id"], row["place"]): float(row["credit"])
        for row in _rows(views, "SELECT * FROM attribution")
    }
    assert found == pytest.approx(expected)
    totals = _rows(views, "SELECT model, sum(credit) AS total FROM attribution GROUP BY 1")
    assert {row["model"]: float(row["total"]) for row in totals} == pytest.approx(
        dict.fromkeys(MODELS, len(conversions))
    )


def test_all_data_tests_hold_of_a_run(tiny_out: Path, tables: dict[str, Table]) -> None:
    assert failed_tests(tiny_out, list(tables.values())) == []


def test_the_current_stay_is_the_stage_of_the_journey(views: Any) -> None:
    current = {row["person_id"]: row["stage"] for row in _rows(views, "SELECT * FROM stage_history WHERE is_current")}
    journeys = {row["person_id"]: row["stage"] for row in _rows(views, "SELECT * FROM journeys")}
    assert current == {person: stage for person, stage in journeys.items() if stage is not None}


def test_the_funnel_is_as_walked_through_the_transitions(views: Any) -> None:
    place = {row["stage"]: row["place"] for row in _rows(views, "SELECT * FROM dim_stage")}
    stays = defaultdict(list)
    for row in _rows(views, 'SELECT * FROM transitions ORDER BY "at"'):
        stays[row["person_id"]].append(row)
    entered: Counter[Any] = Counter()
    moved_on: Counter[Any] = Counter()
    fell_back: Counter[Any] = Counter()
    for moves in stays.values():
        entered.update((move["at"].astimezone(UTC).date(), move["to_stage"]) for move in moves)
        for move, after in pairwise(moves):
            way = moved_on if place[after["to_stage"]] > place[move["to_stage"]] else fell_back
            way[after["at"].astimezone(UTC).date(), move["to_stage"]] += 1
    funnel = _rows(views, "SELECT * FROM funnel")
    days = [row["event_time"].astimezone(UTC).date() for row in _rows(views, "SELECT event_time FROM events")]
    assert len(funnel) == len(place) * ((max(days) - min(days)).days + 1)
    for row in funnel:
        key = (row["day"], row["stage"])
        assert (row["entered"], row["moved_on"], row["fell_back"]) == (entered[key], moved_on[key], fell_back[key])
    last = {row["stage"]: row["persons_at_end"] for row in funnel if row["day"] == max(days)}
    assert last == {stage: sum(moves[-1]["to_stage"] == stage for moves in stays.values()) for stage in place}
    dwell = {row["stage"]: row for row in _rows(views, "SELECT * FROM stage_conversion")}
    for stage in place:
        assert dwell[stage]["moved_on"] == sum(n for (_, name), n in moved_on.items() if name == stage)


def test_retention_is_as_counted_from_the_sessions(views: Any) -> None:
    weeks = defaultdict(set)
    for row in _rows(views, "SELECT person_id, started_at FROM sessions"):
        day = row["started_at"].astimezone(UTC).date()
        weeks[row["person_id"]].add(day - timedelta(days=day.weekday()))
    for row in _rows(views, "SELECT * FROM retention"):
        cohort = [seen for seen in weeks.values() if min(seen) == row["cohort"]]
        asked = row["cohort"] + timedelta(weeks=row["week"])
        assert (row["persons"], row["active"]) == (len(cohort), sum(asked in seen for seen in cohort))


def test_the_stage_as_of_the_horizon_is_that_of_the_journeys_and_before_the_first_event_there_is_none(
    views: Any,
) -> None:
    journeys = {row["person_id"]: row["stage"] for row in _rows(views, "SELECT person_id, stage FROM journeys")}
    horizon = "(SELECT max(horizon) FROM journeys)"
    first = "(SELECT min(event_time) - INTERVAL 1 SECOND FROM events)"

    assert journeys
    assert {row["person_id"]: row["stage"] for row in _rows(views, f"SELECT * FROM stage_as_of({horizon})")} == journeys
    assert _rows(views, f"SELECT * FROM stage_as_of({first})") == []
