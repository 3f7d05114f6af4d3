"""infra/bigquery: as declared, GoogleSQL that parses, and views that show what the views of an output folder show."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
import sqlglot
from sqlglot import exp

from contracts.tables import META, Table
from reports.bigquery_ddl import DATASET, HORIZON, TYPES, files, views_sql
from reports.table_docs import documented_tables
from transforms.tables.finality import Horizon, write_horizon
from transforms.tables.log import LOG_TABLE
from transforms.tables.output import OutputFolder
from transforms.tables.views import view_sql

TABLES = documented_tables()


def statements(name: str) -> list[exp.Create]:
    (text,) = (text for path, text in files().items() if path.name == name)
    found = [s for s in sqlglot.parse(text, read="bigquery", error_level=sqlglot.ErrorLevel.RAISE) if s is not None]
    assert all(isinstance(statement, exp.Create) for statement in found)
    return found  # type: ignore[return-value]


def test_the_files_are_as_declared() -> None:
    for path, text in files().items():
        assert path.read_text(encoding="utf-8") == text, "write them anew: python -m reports.bigquery_ddl"


def test_every_table_has_its_columns_and_its_primary_key() -> None:
    made = {statement.find(exp.Table).name: statement for statement in statements("tables.sql")}  # type: ignore[union-attr]
    assert set(made) == {*(f"{t.name}_rows" for t in (*TABLES, LOG_TABLE)), HORIZON}
    for table in (*TABLES, LOG_TABLE):
        statement = made[f"{table.name}_rows"]
        columns = {column.name: column for column in statement.find_all(exp.ColumnDef)}
        assert list(columns) == [column.name for column in (*table.columns, *META)]
        for column in (*table.columns, *META):
            assert columns[column.name].args["kind"].sql("bigquery") == TYPES[column.kind]
            required = columns[column.name].find(exp.NotNullColumnConstraint) is not None
            assert required == (column.name in table.statement), (table.name, column.name)
        (key,) = statement.find_all(exp.PrimaryKey)
        assert [part.name for part in key.expressions] == list(table.statement)
        assert statement.find(exp.Cluster) is None or len(statement.find(exp.Cluster).expressions) <= 4  # type: ignore[union-attr]


def test_every_table_has_a_view_and_the_log_none() -> None:
    assert [s.find(exp.Table).name for s in statements("views.sql")] == [t.name for t in TABLES]  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def warehouse(tiny_out: Path) -> duckdb.DuckDBPyConnection:
    """The rows of a real output folder as a dataset, every revision and tombstone, in a database that speaks SQL."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"CREATE SCHEMA {DATASET}")
    for table in TABLES:
        parts = tiny_out / "tables" / table.name / "*.parquet"
        connection.execute(
            f"CREATE TABLE {DATASET}.{table.name}_rows AS FROM read_parquet('{parts}', union_by_name = true)"
        )
    connection.execute(f"CREATE TABLE {DATASET}.{HORIZON} (horizon BIGINT, lateness BIGINT, silence BIGINT)")
    return connection


@pytest.mark.parametrize("table", TABLES, ids=[table.name for table in TABLES])
@pytest.mark.parametrize("live", [False, True], ids=["bounded", "stream"])
def test_a_view_shows_what_the_view_of_an_output_folder_shows(
    warehouse: duckdb.DuckDBPyConnection, tiny_out: Path, tmp_path: Path, table: Table, live: bool
) -> None:
    ours = OutputFolder(tmp_path)
    (tmp_path / "tables").symlink_to(tiny_out / "tables")
    warehouse.execute(f"DELETE FROM {DATASET}.{HORIZON}")
    if live:
        (latest,) = warehouse.execute(f"SELECT max(epoch_us(event_time)) FROM {DATASET}.events_rows").fetchone() or ()
        horizon = Horizon(latest, 5 * 86_400_000_000, 1_800_000_000)
        write_horizon(ours.horizon, horizon)
        warehouse.execute(
            f"INSERT INTO {DATASET}.{HORIZON} VALUES ({horizon.horizon}, {horizon.lateness}, {horizon.silence})"
        )
    (view,) = sqlglot.transpile(views_sql([table]), read="bigquery", write="duckdb")
    # DuckDB keeps zones apart from types; BigQuery's TIMESTAMP has one
    warehouse.execute(view.replace("MAKE_TIMESTAMP(", "MAKE_TIMESTAMPTZ("))
    columns = ", ".join(f'"{name}"' for name in (*table.column_names, "revision", "is_final"))
    theirs = f"SELECT {columns} FROM {DATASET}.{table.name}"
    local = f"SELECT {columns} FROM ({view_sql(ours, table)})"
    differing = warehouse.execute(f"(({theirs}) EXCEPT ({local})) UNION ALL (({local}) EXCEPT ({theirs}))").fetchall()
    assert differing == []
    if table.name == "events":
        finals = {final for (final,) in warehouse.execute(f"SELECT is_final FROM {DATASET}.events").fetchall()}
        assert finals == ({True, False} if live else {False, True} & finals)
