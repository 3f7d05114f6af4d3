"""The kinds of tables and their references: all are told, and each reference is tested."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from reports.table_docs import documented_tables
from transforms.tables.data_tests import data_tests
from transforms.tables.journey_views import journey_views
from transforms.tables.metrics import empty_tables
from transforms.tables.roles import MEANINGS, REFERENCES, ROLES

TABLES = documented_tables()
VIEWS = journey_views(TABLES)
KEYS = {table.name: table.key for table in TABLES} | {view.name: view.key for view in VIEWS}
ELSEWHERE = {
    ("events", "channel"),  # an event may be in a channel in which no session begins; so may what is sent
    ("decisions", "channel"),
    ("actions", "channel"),
    ("device_sessions", "channel"),
    ("device_sessions", "campaign"),
    ("dead_letters", "stage"),  # of the pipeline
    ("expired_late", "stage"),
    ("sessions", "tracker_session_id"),  # the tracker's own
    ("device_sessions", "tracker_session_id"),
}
"""Columns called like the key of a table, which say something else."""


@pytest.fixture(scope="module")
def columns() -> Iterator[dict[str, list[str]]]:
    base: Any = empty_tables(TABLES)
    yield {name: [row[0] for row in base.execute(f"DESCRIBE {name}").fetchall()] for name in KEYS}
    base.close()


def test_every_table_and_view_is_of_a_kind() -> None:
    assert set(ROLES) == set(KEYS)
    assert set(ROLES.values()) == set(MEANINGS)


def test_every_table_and_view_has_a_key_that_is_tested_for_being_there_once(columns: dict[str, list[str]]) -> None:
    tests = {test.name for test in data_tests(TABLES)}
    for name, key in KEYS.items():
        assert key, name
        assert set(key) <= set(columns[name]), name
        assert {f"{name}.key_is_unique", f"{name}.key_is_not_null"} <= tests


def test_a_reference_leads_to_the_whole_key_of_a_table_or_to_a_part_that_is_one(columns: dict[str, list[str]]) -> None:
    for link in REFERENCES:
        assert link.column in columns[link.table], link
        assert KEYS[link.other] == (link.there,), link
    assert len({(link.table, link.column) for link in REFERENCES}) == len(REFERENCES)


def test_every_column_called_like_the_key_of_another_table_refers_to_it(columns: dict[str, list[str]]) -> None:
    told = {(link.table, link.column) for link in REFERENCES}
    singles = {key[0] for key in KEYS.values() if len(key) == 1}
    called = {
        (name, column)
        for name, found in columns.items()
        for column in found
        if KEYS[name] != (column,) and any(column == key or column.endswith(f"_{key}") for key in singles)
    }
    assert called - told == ELSEWHERE


def test_every_reference_is_tested_unless_it_says_why_not() -> None:
    tests = {test.name for test in data_tests(TABLES)}
    for link in REFERENCES:
        assert (f"{link.table}.{link.column}_is_in_{link.other}" in tests) == (not link.loose), link


@pytest.mark.parametrize("name", [test.name for test in data_tests(TABLES) if "_is_in_" in test.name])
def test_a_reference_that_leads_nowhere_is_found(name: str, columns: dict[str, list[str]]) -> None:
    """Each is asked of a row whose every column names nothing."""
    (test,) = (test for test in data_tests(TABLES) if test.name == name)
    table = name.partition(".")[0]
    base: Any = empty_tables(TABLES)
    for view in VIEWS:
        base.execute(f"CREATE TEMP TABLE {view.name} AS FROM {view.name}")
    kinds = {row[0]: row[1] for row in base.execute(f"DESCRIBE {table}").fetchall()}
    values = {"BOOLEAN": "true", "BLOB": "''::BLOB", "DATE": "DATE '1999-01-01'"}
    values["TIMESTAMP WITH TIME ZONE"] = "TIMESTAMPTZ '1999-01-01 00:00:00+00'"
    row = [f"'of {name}'" if kind == "VARCHAR" else values.get(kind, "0") for name, kind in kinds.items()]
    if "origin" in kinds:
        row[list(kinds).index("origin")] = "'policy'"
    base.execute(f"INSERT INTO {table} VALUES ({', '.join(row)})")
    assert len(base.execute(test.sql).fetchall()) == 1
    base.close()
