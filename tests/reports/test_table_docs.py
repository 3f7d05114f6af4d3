"""docs/tables.md, the declarations and the files of a real run say the same."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from contracts.tables import HIDDEN, META, Table
from reports.table_docs import PAGE, documented_tables, written
from transforms.tables.batches import arrow_schema

PROSE = PAGE.read_text(encoding="utf-8")
QUERIES = re.findall(r"```sql\n(.*?)```", PROSE, re.DOTALL)
EMPTY_HERE = ("scores", "p_0123456789abcdef0123")
"""What a query names that finds nothing in a run without a model, or by an id made up for the page."""


def test_the_page_lists_every_table_and_column_as_declared() -> None:
    assert written(PROSE) == PROSE, "write it anew: python -m reports.table_docs"


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="columns"):
        written("# Tables\n")


def test_the_page_says_what_meta_columns_mean() -> None:
    assert all(f"| `{column.name}` | {column.kind} |" in PROSE for column in META)


def test_the_page_documents_the_tables_of_a_shipped_project(tables: dict[str, Table]) -> None:
    assert {table.name: table for table in documented_tables()} == tables


def test_every_part_has_exactly_the_declared_columns_and_types(tiny_out: Path, tables: dict[str, Table]) -> None:
    folders = {path.name for path in (tiny_out / "tables").iterdir()}
    assert folders == set(tables)
    for name, table in tables.items():
        parts = sorted((tiny_out / "tables" / name).glob("*.parquet"))
        assert parts
        for part in parts:
            found, declared = pq.read_schema(part), arrow_schema(table)
            assert [(f.name, f.type) for f in found] == [(f.name, f.type) for f in declared], part.name


def test_every_view_has_the_declared_columns_and_the_documented_types(tiny_out: Path, tables: dict[str, Table]) -> None:
    documented = dict(re.findall(r"^\| (\w+) \| `[^`]+` \| `([A-Z ]+)` \|$", PROSE, re.MULTILINE))
    connection = duckdb.connect(str(tiny_out / "wayline.duckdb"), read_only=True)
    for name, table in tables.items():
        shown = connection.execute(f"DESCRIBE {name}").fetchall()
        declared = [(c.name, documented[c.kind]) for c in (*table.columns, *META) if c.name not in HIDDEN]
        assert [(row[0], row[1]) for row in shown] == declared, name
    connection.close()


def test_every_example_query_runs_on_a_real_output_folder(tiny_out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_out)
    connection = duckdb.connect("wayline.duckdb", read_only=True)
    assert len(QUERIES) >= 12
    for query in QUERIES:
        rows = connection.execute(query).fetchall()
        assert rows or any(word in query for word in EMPTY_HERE), query
    connection.close()


def test_a_view_shows_the_newest_revision_that_is_not_deleted(tiny_out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_out)
    by_hand = next(query for query in QUERIES if "EXCLUDE" in query).rstrip().rstrip(";")
    connection = duckdb.connect("wayline.duckdb", read_only=True)
    difference = connection.execute(
        f"(({by_hand}) EXCEPT SELECT * FROM journeys) UNION ALL (SELECT * FROM journeys EXCEPT ({by_hand}))"
    ).fetchall()
    assert difference == []
    revisions = connection.execute("SELECT DISTINCT revision FROM journeys ORDER BY 1").fetchall()
    assert (2,) in revisions
    connection.close()


def test_at_must_be_quoted(tiny_out: Path) -> None:
    connection = duckdb.connect(str(tiny_out / "wayline.duckdb"), read_only=True)
    with pytest.raises(duckdb.ParserException):
        connection.execute("SELECT at FROM transitions")
    assert connection.execute('SELECT "at" FROM transitions').fetchone()
    assert connection.execute("SELECT t.at FROM transitions t").fetchone()
    connection.close()
