"""infra/bigquery: the views for BI and the table functions answer in GoogleSQL what they answer here.

There is no BigQuery to ask. So each statement is parsed in BigQuery's dialect, its words are held against the reference
(test_googlesql.py), and its text goes back to DuckDB and is run on the tables of a real output folder beside ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot
from sqlglot import exp

from contracts.tables import META
from reports.bigquery_ddl import DATASET, files
from reports.googlesql import undocumented
from reports.table_docs import documented_tables
from transforms.tables.journey_macros import journey_macros
from transforms.tables.journey_views import journey_views

TABLES = documented_tables()
VIEWS = journey_views(TABLES)
RELATIONS = {table.name for table in TABLES} | {view.name for view in VIEWS}
MACROS = journey_macros(RELATIONS)

Row = tuple[Any, ...]


def queries(name: str, kind: str) -> dict[str, str]:
    """The query of each view or table function of a file, as it is written there."""
    (text,) = (text for path, text in files().items() if path.name == name)
    found = {}
    for statement in text.split("CREATE OR REPLACE ")[1:]:
        head, _, query = statement.rstrip().removesuffix(";").partition("\nAS ")
        assert head.startswith(f"{kind} `{DATASET}.")
        found[head.removeprefix(f"{kind} `{DATASET}.").partition("`")[0]] = query
    return found


WRITTEN = queries("journey_views.sql", "VIEW")
FUNCTIONS = {name: query[1:-1] for name, query in queries("functions.sql", "TABLE FUNCTION").items()}


def test_every_view_and_every_macro_is_there_each_view_after_what_it_reads() -> None:
    assert list(WRITTEN) == [view.name for view in VIEWS]
    assert list(FUNCTIONS) == [macro.name for macro in MACROS]
    known = {table.name for table in TABLES}
    for name, query in WRITTEN.items():
        tree = sqlglot.parse_one(query, read="bigquery")
        read = {table.name for table in tree.find_all(exp.Table) if table.db}
        assert read or name == "dim_stage", name
        assert read <= known, name
        known.add(name)


@pytest.mark.parametrize("name", [*WRITTEN, *FUNCTIONS])
def test_every_word_and_call_is_of_the_reference(name: str) -> None:
    assert undocumented({**WRITTEN, **FUNCTIONS}[name]) == []


@pytest.fixture(scope="module")
def engine(tiny_out: Path) -> Iterator[Any]:
    """Two schemas over the same rows: ours, and what comes back of the statements for BigQuery.

    The rows are those of a run, with some told otherwise, so that no view is empty: actions are sent, sessions belong
    to campaigns.
    """
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"ATTACH '{tiny_out / 'wayline.duckdb'}' AS run (READ_ONLY)")
    connection.execute(f"CREATE SCHEMA {DATASET}")
    for table in TABLES:
        connection.execute(f"CREATE TABLE main.{table.name} AS FROM run.{table.name}")
        connection.execute(f"CREATE VIEW {DATASET}.{table.name} AS FROM main.{table.name}")
    connection.execute("UPDATE main.actions SET status = 'sent'")
    connection.execute("UPDATE main.sessions SET campaign = 'spring' WHERE events > 3")
    for view in VIEWS:
        connection.execute(f"CREATE VIEW main.{view.name} AS {view.sql}")
        connection.execute(f"CREATE VIEW {DATASET}.{view.name} AS {_back(WRITTEN[view.name])}")
    for macro in MACROS:
        connection.execute(macro.statement)
        names = ", ".join(name for name, _ in macro.parameters)
        connection.execute(f"CREATE MACRO {DATASET}.{macro.name}({names}) AS TABLE {_back(FUNCTIONS[macro.name])}")
    yield connection
    connection.close()


def _back(query: str) -> str:
    (text,) = sqlglot.transpile(query, read="bigquery", write="duckdb", unsupported_level=sqlglot.ErrorLevel.RAISE)
    return text


def _rows(engine: Any, sql: str, *values: object) -> list[Row]:
    found: list[Row] = engine.execute(sql, list(values)).fetchall()
    return found


def _same(ours: list[Row], theirs: list[Row]) -> None:
    """Row by row in an order of ours; sums of floats are the same to the last digits only."""
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        for here, there in zip(one, other, strict=True):
            if isinstance(here, float) or isinstance(there, float):
                assert math.isclose(here, there, rel_tol=1e-12, abs_tol=1e-12), (one, other)
            else:
                assert here == there, (one, other)


@pytest.mark.parametrize("view", VIEWS, ids=[view.name for view in VIEWS])
def test_a_view_gives_the_same_columns_and_rows(engine: Any, view: Any) -> None:
    key = ", ".join(f'"{name}"' for name in view.key)
    ours, theirs = (f"SELECT * FROM {schema}.{view.name} ORDER BY {key}" for schema in ("main", DATASET))
    columns = _rows(engine, f"DESCRIBE {ours}")
    assert [row[:2] for row in _rows(engine, f"DESCRIBE {theirs}")] == [row[:2] for row in columns]
    assert not {name for name, *_ in columns}.intersection(column.name for column in META)
    rows = _rows(engine, ours)
    assert rows
    _same(rows, _rows(engine, theirs))


def test_the_stage_as_of_a_time_is_the_same(engine: Any) -> None:
    moments = [moment for (moment,) in _rows(engine, 'SELECT DISTINCT "at" FROM main.transitions ORDER BY 1')]
    assert len(moments) > 5
    for moment in moments[:: len(moments) // 5]:
        ours, theirs = (
            _rows(engine, f"SELECT * FROM {schema}.stage_as_of(?) ORDER BY person_id", moment)
            for schema in ("main", DATASET)
        )
        assert ours
        assert ours == theirs


def test_the_journey_as_of_a_time_is_the_same_for_persons_and_aliases(engine: Any) -> None:
    asked = [person for (person,) in _rows(engine, "SELECT person_id FROM main.persons ORDER BY 1")]
    aliases = _rows(engine, "SELECT 1 FROM main.persons WHERE merged_into IS NOT NULL")
    assert aliases
    told = 0
    (middle,) = _rows(engine, 'SELECT CAST(quantile_disc("at", 0.5) AS VARCHAR) FROM main.decisions')[0]
    for person in asked:
        ours, theirs = (
            _rows(engine, f"SELECT * FROM {schema}.journey_as_of(?, ?)", person, middle) for schema in ("main", DATASET)
        )
        assert ours == theirs
        told += len(ours)
    assert told
