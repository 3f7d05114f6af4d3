"""infra/bigquery: the views for BI and the table functions answer in GoogleSQL what they answer here.

There is no BigQuery to ask. So each statement is parsed in BigQuery's dialect, its words are held against the reference
(test_googlesql.py), its text goes back to DuckDB and is run on the tables of a real output folder beside ours, and
GoogleSQL's own analyser takes every file, its reference engine every query on the same rows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot
from googlesql import GoogleSql, GoogleSqlError, Relation
from sqlglot import exp

from contracts.tables import HIDDEN, META
from reports.bigquery_ddl import DATASET, HORIZON, TYPES, files
from reports.googlesql import undocumented
from reports.table_docs import documented_tables
from transforms.tables.journey_macros import Macro, journey_macros
from transforms.tables.journey_views import journey_views
from transforms.tables.log import LOG_TABLE

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


_TYPE = {
    "VARCHAR": "STRING",
    "BOOLEAN": "BOOL",
    "DATE": "DATE",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMP",
    "BLOB": "BYTES",
}


def _type(kind: str) -> str:
    """Of a column in DuckDB, its type in GoogleSQL."""
    return _TYPE.get(kind) or ("FLOAT64" if kind.startswith(("DOUBLE", "DECIMAL")) else "INT64")


def _relation(engine: Any, name: str, wanted: set[str] | None = None, *, rows: bool = True) -> Relation:
    """A table or view of ours, with the columns that are wanted."""
    described = [(column, _type(kind)) for column, kind, *_ in _rows(engine, f"DESCRIBE main.{name}")]
    columns = [one for one in described if wanted is None or one[0] in wanted]
    names = ", ".join(f'"{column}"' for column, _ in columns)
    return columns, _rows(engine, f"SELECT {names} FROM main.{name}") if rows else []


def _read(engine: Any, query: str) -> dict[str, Relation]:
    """What a query reads: of each table or view the columns that it names, all where it says ``*``."""
    tree = sqlglot.parse_one(query, read="bigquery")
    star = any(isinstance(one, exp.Star) for select in tree.find_all(exp.Select) for one in select.expressions)
    wanted = None if star else {column.name for column in tree.find_all(exp.Column)}
    return {table.name: _relation(engine, table.name, wanted) for table in tree.find_all(exp.Table) if table.db}


def test_googlesql_takes_every_statement_of_every_file(engine: Any, google_sql: GoogleSql) -> None:
    known: dict[str, Relation] = {name: _relation(engine, name, rows=False) for name in RELATIONS}
    meta = [(column.name, TYPES[column.kind]) for column in META]
    for table in (*TABLES, LOG_TABLE):
        known[f"{table.name}_rows"] = ([*((c.name, TYPES[c.kind]) for c in table.columns), *meta], [])
    known[HORIZON] = ([(name, "INT64") for name in ("horizon", "lateness", "silence")], [])
    shown = [one for one in meta if one[0] not in HIDDEN]
    for table in TABLES:
        known[table.name] = ([*((c.name, TYPES[c.kind]) for c in table.columns), *shown], [])
    statements = [one for text in files().values() for one in re.split(r"(?m)^(?=CREATE )", text)[1:]]
    # BigQuery takes a path that is quoted whole, the analyser its parts
    parted = [re.sub(rf"`{DATASET}\.(\w+)`", rf"`{DATASET}`.`\1`", one.strip().rstrip(";")) for one in statements]
    taken = google_sql.analyse(parted, known, DATASET)
    assert len(taken) == 2 * len(TABLES) + 2 + len(VIEWS) + len(MACROS)
    assert all(kind.startswith("resolved_create") for kind in taken)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("SELECT EPOCH_US(`at`) FROM `wayline`.`outcomes`", "Function not found"),
        ("SELECT at FROM `wayline`.`outcomes`", "keyword AT"),
        ("SELECT `kind` - INTERVAL 30 DAY FROM `wayline`.`outcomes`", "No matching signature"),
        ("SELECT `kinds` FROM `wayline`.`outcomes`", "Unrecognized name"),
    ],
)
def test_googlesql_refuses_what_is_no_googlesql(engine: Any, google_sql: GoogleSql, query: str, why: str) -> None:
    with pytest.raises(GoogleSqlError, match=why):
        google_sql.analyse([query], {"outcomes": _relation(engine, "outcomes", rows=False)}, DATASET)


@pytest.mark.parametrize("view", VIEWS, ids=[view.name for view in VIEWS])
def test_googlesql_gives_the_rows_of_a_view(engine: Any, google_sql: GoogleSql, view: Any) -> None:
    query = WRITTEN[view.name]
    columns, found = google_sql.rows(query.replace(f"`{DATASET}`.", ""), _read(engine, query))
    described = _rows(engine, f"DESCRIBE main.{view.name}")
    assert columns == [(name, _type(kind)) for name, kind, *_ in described]
    names = [name for name, _ in columns]
    places = [names.index(name) for name in view.key]
    key = ", ".join(f'"{name}"' for name in view.key)
    _same(_rows(engine, f"SELECT * FROM main.{view.name} ORDER BY {key}"), _sorted(found, places))


def _sorted(rows: Any, places: list[int]) -> list[Row]:
    return [tuple(row) for row in sorted(rows, key=lambda row: [row[place] for place in places])]


@pytest.mark.parametrize("macro", MACROS, ids=[macro.name for macro in MACROS])
def test_a_table_function_gives_the_rows_of_its_macro(engine: Any, macro: Macro) -> None:
    told = 0
    for values in _calls(engine, macro, 4):
        ours, theirs = (_called(engine, schema, macro, values) for schema in ("main", DATASET))
        _same(ours, theirs)
        told += len(ours)
    assert told


@pytest.mark.parametrize("macro", MACROS, ids=[macro.name for macro in MACROS])
def test_googlesql_gives_the_rows_of_a_table_function(engine: Any, google_sql: GoogleSql, macro: Macro) -> None:
    query = FUNCTIONS[macro.name]
    read = _read(engine, query)
    asked = query.replace(f"`{DATASET}`.", "")
    for name, _ in macro.parameters:
        asked = asked.replace(f"`{name}`", f"@{name}")
    for values in _calls(engine, macro, 1):
        given = {name: (TYPES[kind], value) for (name, kind), value in zip(macro.parameters, values, strict=True)}
        columns, found = google_sql.rows(asked, read, given)
        names = ", ".join(f'"{name}"' for name, _ in columns)
        _same(_called(engine, "main", macro, values, names), sorted(map(tuple, found), key=repr))


def _calls(engine: Any, macro: Macro, most: int) -> list[list[object]]:
    """Arguments: moments through the run, the last one its end, of persons and of aliases."""
    parts = [place / most for place in range(1, most + 1)]
    moments = _rows(engine, f'SELECT quantile_disc("at", {parts}) FROM main.decisions')[0][0]
    persons = _rows(engine, "SELECT person_id FROM main.persons ORDER BY merged_into IS NULL, last_seen DESC")
    if macro.parameters[0][0] != "person":
        return [[moment] * len(macro.parameters) for moment in moments]
    times = len(macro.parameters) - 1
    return [
        [person, *[moment] * times]
        for (person,) in persons[:: 5 if most > 1 else len(persons) - 1]
        for moment in moments
    ]


def _called(engine: Any, schema: str, macro: Macro, values: list[object], columns: str = "*") -> list[Row]:
    marks = ", ".join("?" for _ in values)
    return sorted(_rows(engine, f"SELECT {columns} FROM {schema}.{macro.name}({marks})", *values), key=repr)
