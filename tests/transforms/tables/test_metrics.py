"""The metrics' file: what it must say, what is refused with its line, and values on tables worked by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ConfigurationError, UsageError
from reports.metric_docs import PAGE, page
from reports.table_docs import documented_tables
from transforms.tables.journey_views import MODELS
from transforms.tables.metrics import METRICS_FILE, empty_tables, find_metric, load_metrics, metric_sql

TABLES = documented_tables()
SHIPPED = load_metrics(METRICS_FILE, TABLES)
GOOD = """metrics:
  bounces:
    doc: Sessions that bounced.
    expression: avg(CASE WHEN bounced THEN 1 ELSE 0 END)
    source: sessions
    grain: session
    dimensions: [channel]
    format: share
"""


def _write(folder: Path, text: str) -> Path:
    path = folder / "metrics.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def base() -> Iterator[Any]:
    connection = empty_tables(TABLES)
    yield connection
    connection.close()


def _value(base: Any, name: str, *by: str) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = base.execute(metric_sql(find_metric(SHIPPED, name), by)).fetchall()
    return found


def test_the_page_is_as_the_file_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it anew: python -m reports.metric_docs"


def test_a_metric_of_ones_own_is_read(tmp_path: Path) -> None:
    (metric,) = load_metrics(_write(tmp_path, GOOD), TABLES)
    assert (metric.name, metric.source, metric.dimensions) == ("bounces", "sessions", ("channel",))


@pytest.mark.parametrize(
    ("right", "wrong", "line", "hint"),
    [
        ("source: sessions", "source: sesions", 5, "did you mean 'sessions'"),
        ("WHEN bounced", "WHEN bouncd", 4, "did you mean 'bounced'"),
        ("[channel]", "[chanel]", 7, "did you mean 'channel'"),
        ("format: share", "format: shares", 8, "did you mean 'share'"),
        ("format: share", "form: share", 8, "did you mean 'format'"),
        ("format: share", "format: share\n    where: bounce", 9, "did you mean 'bounced'"),
        ("format: share", "format: share\n    required: [device]", 9, "list it in both"),
        ("avg(CASE WHEN bounced THEN 1 ELSE 0 END)", "events", 4, ""),
        ("avg(CASE WHEN bounced THEN 1 ELSE 0 END)", "avg(", 4, ""),
    ],
)
def test_what_does_not_exist_is_refused_with_its_line_and_the_nearest_name(
    tmp_path: Path, right: str, wrong: str, line: int, hint: str
) -> None:
    assert right in GOOD
    with pytest.raises(ConfigurationError) as caught:
        load_metrics(_write(tmp_path, GOOD.replace(right, wrong)), TABLES)
    assert f"metrics.yaml:{line}" in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("1 FROM sessions; COPY (SELECT 1) TO 'VICTIM'; SELECT 1", ""),
        ("1; DROP TABLE sessions; SELECT count(*)", "one expression is expected"),
        ("count(*) FROM sessions -- ", ""),
        ("(SELECT content FROM read_text('VICTIM'))", "disabled"),
        ("(SELECT count(*) FROM 'VICTIM.parquet')", ""),
        ("count(*); SET enable_external_access = true; SELECT count(*)", "one expression is expected"),
        ("getenv('HOME')", "getenv"),
    ],
)
def test_an_expression_is_one_and_reaches_nothing_but_the_tables(tmp_path: Path, written: str, said: str) -> None:
    victim = tmp_path / "victim"
    for part in ("expression", "where"):
        sql = written.replace("VICTIM", str(victim))
        text = GOOD.replace("avg(CASE WHEN bounced THEN 1 ELSE 0 END)", sql if part == "expression" else "count(*)")
        text += f'    where: "true AND {sql}"\n' if part == "where" else ""
        with pytest.raises(ConfigurationError, match=said):
            load_metrics(_write(tmp_path, text.replace("expression: " + sql, f'expression: "{sql}"')), TABLES)
        assert not victim.exists()


def test_a_metric_or_dimension_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        find_metric(SHIPPED, "retenton")
    assert "retention" in (caught.value.hint or "")
    with pytest.raises(UsageError) as caught:
        metric_sql(find_metric(SHIPPED, "persons"), ["stages"])
    assert "stage" in (caught.value.hint or "")


def test_a_required_dimension_is_grouped_by_without_being_asked_for() -> None:
    sql = metric_sql(find_metric(SHIPPED, "conversion_value"), ["channel"])
    assert sql.startswith('SELECT "model", "channel", ')


def test_metrics_of_nothing_are_zero_or_null_and_no_error(base: Any) -> None:
    for metric in SHIPPED:
        expected = [] if metric.required else [(0,)] if metric.format == "count" else [(None,)]
        assert _value(base, metric.name) == expected, metric.name


def test_shares_of_the_ledger_are_of_all_units_and_not_a_mean_of_shares(base: Any) -> None:
    base.execute(
        "INSERT INTO run_ledger (run_id, source, received, duplicate, dead_lettered, expired_late) "
        "VALUES ('r', 'a', 90, 9, 3, 0), ('r', 'b', 10, 1, 1, 5)"
    )
    assert _value(base, "dead_letter_share") == [(0.04,)]
    assert _value(base, "duplicate_share") == [(0.1,)]
    assert _value(base, "late_share") == [(0.05,)]
    assert _value(base, "late_share", "source") == [("a", 0.0), ("b", 0.5)]


def test_folds_that_failed_are_counted_and_other_dead_letters_are_not(base: Any) -> None:
    base.execute("""INSERT INTO dead_letters (dead_letter_id, stage, source, reason) VALUES
        ('a', 'strand', 's', 'failed_fold'), ('b', 'journey', 's', 'failed_fold'), ('c', 'decode', 's', 'bad_avro')""")
    assert _value(base, "failed_folds") == [(2,)]
    assert _value(base, "failed_folds", "stage") == [("journey", 1), ("strand", 1)]


def test_mid_funnel_leaves_out_the_first_and_the_last_stage(base: Any) -> None:
    base.execute("""INSERT INTO transitions (person_id, from_stage, to_stage, "at") VALUES
        ('p', NULL, 'discovery', '2026-01-01T00:00:00Z'), ('p', 'discovery', 'consideration', '2026-01-01T00:01:00Z'),
        ('p', 'consideration', 'discovery', '2026-01-01T00:03:00Z'),
        ('p', 'discovery', 'consideration', '2026-01-01T00:04:00Z'),
        ('p', 'consideration', 'decision', '2026-01-01T00:05:00Z'),
        ('p', 'decision', 'customer', '2026-01-01T00:06:00Z'),
        ('p', 'customer', 'discovery', '2026-01-01T00:07:00Z')""")
    # three mid stays ended: consideration back, consideration on, decision on
    assert _value(base, "mid_funnel_drop_off") == [(pytest.approx(1 / 3),)]
    # two of discovery's three stays moved on, the last one is open
    assert dict(_value(base, "stage_conversion_rate", "stage"))["discovery"] == pytest.approx(2 / 3)
    assert dict(_value(base, "dwell", "stage")) == {
        "consideration": 90.0,
        "customer": 60.0,
        "decision": 60.0,
        "discovery": 60.0,
    }


def test_what_happens_to_two_persons_gives_the_metrics_worked_by_hand(base: Any) -> None:
    """P converts for 90 after two touches and is answered after four minutes; q comes back in the third week.

    Mondays: 5, 12 and 19 January 2026; the last event is on Sunday the 25th, so that three weeks are whole.
    """
    base.execute("""INSERT INTO events (event_id, person_id, event_time) VALUES
        ('e1', 'p', '2026-01-05T00:00:00Z'), ('x', 'p', '2026-01-06T00:00:00Z'), ('e2', 'q', '2026-01-05T00:00:00Z'),
        ('e3', 'q', '2026-01-25T00:00:00Z')""")
    base.execute("""INSERT INTO sessions (session_id, person_id, channel, started_at, ended_at) VALUES
        ('s1', 'p', 'web', '2026-01-05T00:00:00Z', '2026-01-05T00:00:00Z'),
        ('s2', 'p', 'email', '2026-01-06T00:00:00Z', '2026-01-06T00:00:00Z'),
        ('s3', 'q', 'web', '2026-01-05T00:00:00Z', '2026-01-05T00:00:00Z'),
        ('s4', 'q', 'email', '2026-01-25T00:00:00Z', '2026-01-25T00:00:00Z')""")
    base.execute("""INSERT INTO outcomes (outcome_id, person_id, kind, "at", value) VALUES
        ('x', 'p', 'converted', '2026-01-06T00:00:00Z', 90), ('y', 'q', 'opened', '2026-01-06T00:00:00Z', NULL)""")
    base.execute("""INSERT INTO transitions (person_id, from_stage, to_stage, "at") VALUES
        ('p', NULL, 'discovery', '2026-01-05T00:00:00Z'), ('p', 'discovery', 'decision', '2026-01-05T01:00:00Z'),
        ('q', NULL, 'discovery', '2026-01-05T00:00:00Z'), ('q', 'discovery', 'decision', '2026-01-25T01:00:00Z')""")
    base.execute("INSERT INTO journeys (person_id, stage) VALUES ('p', 'decision'), ('q', 'decision')")
    base.execute("""INSERT INTO actions (action_id, person_id, status, "at") VALUES
        ('a', 'p', 'sent', '2026-01-05T01:04:00Z'), ('b', 'q', 'sent', '2026-01-25T01:06:00Z')""")
    assert _value(base, "persons", "stage") == [("decision", 2)]
    assert _value(base, "conversions") == [(1,)]
    value = dict(_value(base, "conversion_value"))
    assert value == pytest.approx(dict.fromkeys(MODELS, 90.0))
    assert ("last", "email", 90.0) in _value(base, "conversion_value", "channel")
    # an hour, and twenty days and an hour
    assert _value(base, "time_to_map") == [(pytest.approx((3_600 + 1_731_600) / 2),)]
    assert _value(base, "time_to_response") == [(300.0,)]
    assert _value(base, "answered_in_five_minutes") == [(0.5,)]
    # p's stage moved between its channels' last sessions, q's did not
    assert _value(base, "channel_consistency") == [(0.5,)]
    assert _value(base, "retention") == [(0, 1.0), (1, 0.0), (2, 0.5)]


def test_retention_leaves_out_a_week_that_is_not_over(base: Any) -> None:
    base.execute("""INSERT INTO events (event_id, event_time) VALUES
        ('a', '2026-01-05T00:00:00Z'), ('b', '2026-01-14T00:00:00Z')""")
    base.execute("""INSERT INTO sessions (session_id, person_id, started_at) VALUES
        ('s', 'p', '2026-01-05T00:00:00Z'), ('t', 'q', '2026-01-14T00:00:00Z')""")
    assert base.execute("SELECT cohort::VARCHAR, week, is_complete FROM retention ORDER BY 1, 2").fetchall() == [
        ("2026-01-05", 0, True),
        ("2026-01-05", 1, False),
        ("2026-01-12", 0, False),
    ]
    assert _value(base, "retention") == [(0, 1.0)]


def test_every_metric_has_a_value_that_is_worked_by_hand() -> None:
    """Another metric needs another number here: that it can be computed says nothing of what it is."""
    text = Path(__file__).read_text(encoding="utf-8")
    assert {metric.name for metric in SHIPPED} == set(re.findall(r'_value\(base, "(\w+)"', text))
