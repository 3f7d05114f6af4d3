"""The table macros as of a time, on stays and decisions worked by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import duckdb
import pytest

from reports.table_docs import documented_tables
from transforms.tables.journey_macros import journey_macros
from transforms.tables.journey_views import journey_views


@pytest.fixture
def base() -> Iterator[Any]:
    """Person p (alias old): discovery on day 1, decision on day 5; decided under each id."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    kinds = {"text": "VARCHAR", "json": "VARCHAR", "timestamp": "TIMESTAMPTZ", "int": "BIGINT", "real": "DOUBLE"}
    tables = documented_tables()
    for table in tables:
        columns = ", ".join(f'"{c.name}" {kinds.get(c.kind, c.kind)}' for c in table.columns)
        connection.execute(f"CREATE TABLE {table.name} ({columns})")
    views = journey_views(tables)
    for view in views:
        connection.execute(f"CREATE VIEW {view.name} AS {view.sql}")
    for macro in journey_macros([*(table.name for table in tables), *(view.name for view in views)]):
        connection.execute(macro.statement)
    for person, merged in (("p", None), ("old", "p"), ("q", None)):
        connection.execute("INSERT INTO persons (person_id, merged_into) VALUES (?, ?)", [person, merged])
    for person, left, entered, day in (
        ("p", None, "discovery", 1),
        ("p", "discovery", "decision", 5),
        ("q", None, "discovery", 3),
    ):
        connection.execute(
            """INSERT INTO transitions (person_id, from_stage, to_stage, "at") VALUES (?, ?, ?, ?)""",
            [person, left, entered, _day(day)],
        )
    for person, chosen, day in (("old", "guide", 2), ("p", "call", 5), ("q", "nothing", 3)):
        connection.execute(
            """INSERT INTO decisions (person_id, chosen, "at") VALUES (?, ?, ?)""", [person, chosen, _day(day)]
        )
    yield connection
    connection.close()


def _day(day: int) -> datetime:
    return datetime(2026, 1, day, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ts", "stages"),
    [
        ("2025-12-31T23:59:59Z", {}),
        ("2026-01-01T00:00:00Z", {"p": "discovery"}),
        ("2026-01-04T23:59:59Z", {"p": "discovery", "q": "discovery"}),
        ("2026-01-05T00:00:00Z", {"p": "decision", "q": "discovery"}),
    ],
)
def test_a_person_has_one_stage_as_of_a_time_and_the_instant_of_a_move_counts(
    base: Any, ts: str, stages: dict[str, str]
) -> None:
    found = base.execute("SELECT person_id, stage FROM stage_as_of(?)", [ts]).fetchall()

    assert sorted(found) == sorted(stages.items())


@pytest.mark.parametrize("person", ["p", "old"])
def test_a_journey_as_of_a_time_has_what_was_until_then_also_of_and_by_an_alias(base: Any, person: str) -> None:
    query = "SELECT what, value FROM journey_as_of(?, ?)"

    before = base.execute(query, [person, "2026-01-04T00:00:00Z"]).fetchall()
    after = base.execute(query, [person, "2026-01-05T00:00:00Z"]).fetchall()

    assert before == [("stage", "discovery"), ("decision", "guide")]
    assert after == [*before, ("stage", "decision"), ("decision", "call")]


def test_a_macro_whose_tables_are_missing_is_not_made() -> None:
    assert [macro.name for macro in journey_macros(["stage_history"])] == ["stage_as_of"]
