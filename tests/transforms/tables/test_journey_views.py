"""The views for BI on tables worked by hand: attribution, stage history, funnel, dwell and retention."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from reports.table_docs import documented_tables
from transforms.tables.data_tests import data_tests
from transforms.tables.journey_views import MODELS, journey_views


@pytest.fixture
def base() -> Iterator[Any]:
    """Empty tables under the names that the views read, and the views over them."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'America/New_York'")
    kinds = {"text": "VARCHAR", "json": "VARCHAR", "timestamp": "TIMESTAMPTZ", "int": "BIGINT", "real": "DOUBLE"}
    for table in documented_tables():
        columns = ", ".join(f'"{c.name}" {kinds.get(c.kind, c.kind)}' for c in table.columns)
        connection.execute(f"CREATE TABLE {table.name} ({columns})")
    for view in journey_views(documented_tables()):
        connection.execute(f"CREATE VIEW {view.name} AS {view.sql}")
    yield connection
    connection.close()


def _session(base: Any, name: str, day: str, channel: str, person: str = "p") -> None:
    base.execute(
        "INSERT INTO sessions (session_id, person_id, started_at, channel) VALUES (?, ?, ?::TIMESTAMPTZ, ?)",
        [name, person, f"{day}T00:00:00Z", channel],
    )


def _conversion(base: Any, name: str, day: str, person: str = "p") -> None:
    base.execute(
        """INSERT INTO outcomes (outcome_id, kind, "at", person_id) VALUES (?, 'converted', ?::TIMESTAMPTZ, ?)""",
        [name, f"{day}T00:00:00Z", person],
    )


def _moves(base: Any, *moves: tuple[str | None, str, str]) -> None:
    for left, entered, time in moves:
        base.execute(
            """INSERT INTO transitions (person_id, from_stage, to_stage, "at") VALUES ('p', ?, ?, ?::TIMESTAMPTZ)""",
            [left, entered, time],
        )
        base.execute("INSERT INTO events (event_id, event_time) VALUES (?, ?::TIMESTAMPTZ)", [time, time])


def _credits(base: Any, model: str) -> list[float]:
    found = base.execute("SELECT credit FROM attribution WHERE model = ? ORDER BY conversion_id, place", [model])
    return [float(row[0]) for row in found.fetchall()]


def test_credit_of_four_touches_in_three_channels_is_as_worked_by_hand(base: Any) -> None:
    for name, day, channel in (("a", "01", "web"), ("b", "08", "email"), ("c", "08", "web"), ("d", "15", "ads")):
        _session(base, name, f"2026-01-{day}", channel)
    _conversion(base, "x", "2026-01-15")
    assert _credits(base, "first") == [1, 0, 0, 0]
    assert _credits(base, "last") == [0, 0, 0, 1]
    assert _credits(base, "linear") == [0.25] * 4
    # weights 1/4, 1/2, 1/2, 1: together 9/4
    assert _credits(base, "time_decay") == pytest.approx([1 / 9, 2 / 9, 2 / 9, 4 / 9])
    assert _credits(base, "position") == pytest.approx([0.4, 0.1, 0.1, 0.4])
    # a third to each channel; both touches of web halve theirs
    assert _credits(base, "shapley") == pytest.approx([1 / 6, 1 / 3, 1 / 6, 1 / 3])


def test_position_gives_all_to_one_touch_and_half_to_each_of_two(base: Any) -> None:
    _session(base, "a", "2026-01-01", "web")
    _conversion(base, "x", "2026-01-02")
    _session(base, "b", "2026-01-01", "web", "q")
    _session(base, "c", "2026-01-02", "web", "q")
    _conversion(base, "y", "2026-01-02", "q")
    assert _credits(base, "position") == [1, 0.5, 0.5]


def test_a_touch_is_in_the_window_on_its_edge_and_out_of_it_a_day_before(base: Any) -> None:
    for day in ("01", "02", "31"):
        _session(base, day, f"2026-01-{day}", "web")
    _session(base, "after", "2026-02-02", "web")
    _conversion(base, "x", "2026-02-01")
    found = base.execute("SELECT session_id FROM touchpoints ORDER BY place").fetchall()
    assert found == [("02",), ("31",)]


def test_a_conversion_without_a_touch_keeps_its_credit_in_every_model(base: Any) -> None:
    _conversion(base, "x", "2026-01-02")
    found = base.execute("SELECT model, channel, credit FROM attribution ORDER BY ALL").fetchall()
    assert [(m, c, float(credit)) for m, c, credit in found] == [(m, "(none)", 1.0) for m in sorted(MODELS)]


def test_a_stay_ends_where_the_next_begins_and_the_last_is_current(base: Any) -> None:
    first, second = "2026-01-01T12:00:00Z", "2026-01-03T12:00:00Z"
    _moves(base, (None, "discovery", first), ("discovery", "decision", second))
    found = base.execute(
        "SELECT stage, went_to, epoch(valid_to) - epoch(valid_from), is_current FROM stage_history ORDER BY valid_from"
    ).fetchall()
    assert found == [("discovery", "decision", 172_800.0, False), ("decision", None, None, True)]


def test_the_funnel_has_every_day_and_stage_and_counts_days_of_utc(base: Any) -> None:
    # 01:00 in UTC is still the day before in New York, where this connection is
    _moves(base, (None, "discovery", "2026-01-01T01:00:00Z"), ("discovery", "decision", "2026-01-03T01:00:00Z"))
    _moves(base, ("decision", "discovery", "2026-01-04T01:00:00Z"))
    found = base.execute(
        "SELECT day::VARCHAR, entered, moved_on, fell_back, persons_at_end, drop_off FROM funnel "
        "WHERE stage IN ('discovery', 'decision') ORDER BY place, day"
    ).fetchall()
    assert found == [
        ("2026-01-01", 1, 0, 0, 1, None),
        ("2026-01-02", 0, 0, 0, 1, None),
        ("2026-01-03", 0, 1, 0, 0, 0.0),
        ("2026-01-04", 1, 0, 0, 1, None),
        ("2026-01-01", 0, 0, 0, 0, None),
        ("2026-01-02", 0, 0, 0, 0, None),
        ("2026-01-03", 1, 0, 0, 1, None),
        ("2026-01-04", 0, 0, 1, 0, 1.0),
    ]
    assert base.execute("SELECT count(*) FROM funnel").fetchone() == (4 * 4,)


def test_a_stage_that_only_another_version_of_the_ontology_had_is_counted_and_has_no_place(base: Any) -> None:
    _moves(base, (None, "discovery", "2026-01-01T00:00:00Z"), ("discovery", "weighing", "2026-01-02T00:00:00Z"))
    _moves(base, ("weighing", "decision", "2026-01-03T00:00:00Z"))
    found = base.execute(
        "SELECT stage, place, is_last FROM dim_stage ORDER BY place DESC NULLS FIRST LIMIT 2"
    ).fetchall()
    assert found == [("weighing", None, False), ("customer", 4, True)]
    stays = base.execute(
        "SELECT stage, stays, moved_on + fell_back FROM stage_conversion WHERE stays > 0 ORDER BY stage"
    ).fetchall()
    assert stays == [("decision", 1, 0), ("discovery", 1, 0), ("weighing", 1, 0)], "nowhere is before or behind it"
    broken = [test.name for test in data_tests(documented_tables()) if "in_dim_stage" in test.name
              and base.execute(test.sql).fetchall()]  # fmt: skip
    assert broken == []


def test_stage_conversion_and_dwell_leave_open_stays_out_of_the_mean(base: Any) -> None:
    _moves(base, (None, "discovery", "2026-01-01T00:00:00Z"), ("discovery", "decision", "2026-01-01T00:01:00Z"))
    found = base.execute(
        "SELECT stage, stays, moved_on, still_there, rate, mean_dwell FROM stage_conversion ORDER BY place"
    ).fetchall()
    assert found == [
        ("discovery", 1, 1, 0, 1.0, 60.0),
        ("consideration", 0, 0, 0, None, None),
        ("decision", 1, 0, 1, 0.0, None),
        ("customer", 0, 0, 0, None, None),
    ]


def test_retention_shows_a_week_in_which_nobody_came(base: Any) -> None:
    # Mondays: 5, 12 and 19 January 2026
    for name, day in (("a", "05"), ("b", "19")):
        _session(base, name, f"2026-01-{day}", "web")
        at = f"2026-01-{day}T00:00:00Z"
        base.execute("INSERT INTO events (event_id, event_time) VALUES (?, ?::TIMESTAMPTZ)", [name, at])
    _session(base, "c", "2026-01-06", "web", "q")
    found = base.execute("SELECT cohort::VARCHAR, week, persons, active, share FROM retention ORDER BY week").fetchall()
    assert found == [("2026-01-05", 0, 2, 2, 1.0), ("2026-01-05", 1, 2, 0, 0.0), ("2026-01-05", 2, 2, 1, 0.5)]


def test_time_to_map_runs_from_the_first_event_to_the_first_stage_after_the_first(base: Any) -> None:
    _moves(base, (None, "discovery", "2026-01-01T00:00:10Z"), ("discovery", "decision", "2026-01-01T00:01:40Z"))
    _moves(base, ("decision", "discovery", "2026-01-02T00:00:00Z"), ("discovery", "decision", "2026-01-03T00:00:00Z"))
    base.execute("UPDATE events SET person_id = 'p'")
    base.execute("INSERT INTO events (event_id, person_id, event_time) VALUES ('q', 'q', '2026-01-01T00:00:00Z')")
    base.execute("INSERT INTO journeys (person_id) VALUES ('p'), ('q')")
    found = base.execute("SELECT person_id, seconds FROM time_to_map ORDER BY 1").fetchall()
    assert found == [("p", 90.0), ("q", None)]


def test_a_response_is_the_first_sent_action_within_the_stay_before_the_last_stage(base: Any) -> None:
    _moves(base, (None, "decision", "2026-01-01T00:00:00Z"), ("decision", "discovery", "2026-01-02T00:00:00Z"))
    _moves(base, ("discovery", "decision", "2026-01-03T00:00:00Z"))
    for status, at in (
        ("suppressed", "2026-01-01T00:01:00Z"),
        ("sent", "2026-01-01T00:04:00Z"),
        ("sent", "2026-01-01T00:09:00Z"),
        # the stay is over: its end belongs to the next one
        ("sent", "2026-01-02T00:00:00Z"),
    ):
        base.execute(
            """INSERT INTO actions (action_id, person_id, status, "at") VALUES (?, 'p', ?, ?::TIMESTAMPTZ)""",
            [status + at, status, at],
        )
    found = base.execute("SELECT stage, seconds FROM responses ORDER BY entered_at").fetchall()
    assert found == [("decision", 240.0), ("decision", None)]


def test_channels_are_consistent_when_the_stage_was_the_same_at_the_end_of_the_last_session_of_each(base: Any) -> None:
    _moves(base, (None, "discovery", "2026-01-01T00:00:00Z"), ("discovery", "decision", "2026-01-03T00:00:00Z"))
    base.execute("""INSERT INTO transitions (person_id, to_stage, "at") VALUES
        ('q', 'decision', '2026-01-01T00:00:00Z'), ('r', 'decision', '2026-01-01T00:00:00Z')""")
    for name, day, channel, person in (
        ("a", "01", "web", "p"),
        ("b", "04", "email", "p"),
        ("c", "01", "web", "q"),
        ("d", "02", "email", "q"),
        # one channel cannot disagree with itself
        ("e", "02", "web", "r"),
    ):
        _session(base, name, f"2026-01-{day}", channel, person)
    base.execute("UPDATE sessions SET ended_at = started_at")
    found = base.execute("SELECT person_id, channels, stages, is_consistent FROM channel_consistency ORDER BY 1")
    assert found.fetchall() == [("p", 2, 2, 0), ("q", 2, 1, 1)]


def test_the_value_of_a_conversion_is_parted_by_credit_and_a_model_gives_all_of_it(base: Any) -> None:
    _session(base, "a", "2026-01-01", "web")
    _session(base, "b", "2026-01-02", "email")
    _conversion(base, "x", "2026-01-03")
    base.execute("UPDATE outcomes SET value = 90")
    base.execute("INSERT INTO events (event_id) VALUES ('x')")
    found = base.execute(
        "SELECT model, sum(CASE WHEN channel = 'web' THEN value END), sum(value) FROM attributed_value GROUP BY 1"
    ).fetchall()
    assert {model: total for model, _, total in found} == pytest.approx(dict.fromkeys(MODELS, 90.0))
    web = {model: value for model, value, _ in found}
    assert (web["first"], web["last"], web["linear"]) == pytest.approx((90.0, 0.0, 45.0))


def _failing(base: Any) -> set[str]:
    return {test.name for test in data_tests(documented_tables()) if base.execute(test.sql).fetchall()}


def test_a_data_test_fails_by_name_for_each_kind_of_fault_and_not_on_empty_tables(base: Any) -> None:
    assert _failing(base) == set()
    base.execute("INSERT INTO actions (action_id, status) VALUES ('a', 'lost'), ('b', 'sent'), ('b', 'sent')")
    base.execute("INSERT INTO labels (outcome) VALUES ('none')")
    _session(base, "s", "2026-01-01", "web", "nobody")
    base.execute(
        "INSERT INTO run_ledger (run_id, source, received, accepted, duplicate, dead_lettered, expired_late, erased) "
        "VALUES ('r', 's', 2, 1, 0, 0, 0, 0)"
    )
    assert _failing(base) == {
        "actions.status_is_accepted",
        "actions.key_is_unique",
        "labels.key_is_not_null",
        "sessions.person_id_is_in_persons",
        "run_ledger.balances",
    }


def test_events_are_fresh_up_to_a_day_before_the_horizon_and_stale_after(base: Any) -> None:
    base.execute("INSERT INTO events (event_id, event_time) VALUES ('e', '2026-01-01T00:00:00Z')")
    base.execute("INSERT INTO persons (person_id) VALUES ('p')")
    base.execute("INSERT INTO journeys (person_id, horizon) VALUES ('p', '2026-01-02T00:00:00Z')")
    assert _failing(base) == set()
    base.execute("UPDATE journeys SET horizon = '2026-01-02T00:00:01Z'")
    assert _failing(base) == {"events.are_fresh"}
