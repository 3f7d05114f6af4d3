"""The tables and views of BigQuery, written from the declarations: ``python -m reports.bigquery_ddl``.

Input: ``contracts.tables`` with the features and stages that are shipped, the views for BI and the macros. Output:
``infra/bigquery/tables.sql``, ``views.sql``, ``journey_views.sql`` and ``functions.sql``, GoogleSQL for a dataset named
``wayline``, to be run in this order. A view shows what the view of the same name in an output folder shows, a table
function what the macro of its name does. Tables hold upserts (``transforms.tables.bigquery``); primary keys of BigQuery
are not enforced, so the views settle by themselves which row of a key counts. Errors: ``ValueError`` for a view that
has no form in GoogleSQL.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from contracts.tables import AT_ONCE, BLOB, BOOL, HIDDEN, INT, JSON, META, NEVER, REAL, TEXT, TIME, Column, Table
from reports.googlesql import googlesql
from reports.table_docs import ROOT, documented_tables
from transforms.tables.bigquery import ROWS
from transforms.tables.journey_macros import Macro, journey_macros
from transforms.tables.journey_views import View, journey_views
from transforms.tables.log import LOG_TABLE

FOLDER = ROOT / "infra" / "bigquery"
DATASET = "wayline"
HORIZON = "stream_horizon"
"""Of one row: how far the stream is, as ``transforms.tables.finality.Horizon``."""

TYPES = {
    TEXT: "STRING",
    JSON: "STRING",
    TIME: "TIMESTAMP",
    INT: "INT64",
    REAL: "FLOAT64",
    BOOL: "BOOL",
    BLOB: "BYTES",
}
_MOST_CLUSTERING = 4
_STALENESS = "INTERVAL 15 MINUTE"
"""How old an answer may be that BigQuery gives without applying the newest upserts itself."""


def tables_sql(tables: Sequence[Table]) -> str:
    """DDL of the tables of rows, the log and the horizon."""
    made = [_table(table) for table in (*tables, LOG_TABLE)]
    columns = ",\n".join(f"  `{name}` INT64" for name in ("horizon", "lateness", "silence"))
    made.append(f"CREATE TABLE IF NOT EXISTS `{DATASET}.{HORIZON}` (\n{columns}\n);\n")
    return _HEAD + "\n".join(made)


def views_sql(tables: Sequence[Table]) -> str:
    """DDL of the views: per key the row that counts, tombstones hidden."""
    return _HEAD + "\n".join(map(_view, tables))


def journey_views_sql(views: Sequence[View], relations: Collection[str]) -> str:
    """DDL of the views for BI, each after what it reads. ``relations``: what is in the dataset."""
    return _HEAD + "\n".join(_journey_view(view, relations) for view in views)


def functions_sql(macros: Sequence[Macro], relations: Collection[str]) -> str:
    """DDL of the table functions."""
    return _HEAD + "\n".join(_function(macro, relations) for macro in macros)


_HEAD = "-- Written by `python -m reports.bigquery_ddl`; change the declarations instead.\n\n"


def _journey_view(view: View, relations: Collection[str]) -> str:
    made = f"CREATE OR REPLACE VIEW `{DATASET}.{view.name}`\nOPTIONS (description = {_text(view.doc)})\nAS "
    return f"{made}{googlesql(view.sql, relations, DATASET)};\n"


def _function(macro: Macro, relations: Collection[str]) -> str:
    parameters = ", ".join(f"`{name}` {TYPES[kind]}" for name, kind in macro.parameters)
    made = f"CREATE OR REPLACE TABLE FUNCTION `{DATASET}.{macro.name}`({parameters})\n"
    described = f"OPTIONS (description = {_text(macro.doc)})\n"
    return f"{made}{described}AS (\n{googlesql(macro.sql, relations, DATASET)}\n);\n"


def _table(table: Table) -> str:
    required = set(table.statement)
    lines = [_column(column, required=column.name in required) for column in (*table.columns, *META)]
    keys = ", ".join(f"`{name}`" for name in table.statement)
    clustering = ", ".join(f"`{name}`" for name in table.key[:_MOST_CLUSTERING])
    body = ",\n".join([*lines, f"  PRIMARY KEY ({keys}) NOT ENFORCED"])
    options = f"OPTIONS (max_staleness = {_STALENESS}, description = {_text(table.doc)})"
    return (
        f"CREATE TABLE IF NOT EXISTS `{DATASET}.{table.name}{ROWS}` (\n{body}\n)\nCLUSTER BY {clustering}\n{options};\n"
    )


def _column(column: Column, *, required: bool) -> str:
    constraint = " NOT NULL" if required else ""
    described = f" OPTIONS (description = {_text(column.doc)})" if column.doc else ""
    return f"  `{column.name}` {TYPES[column.kind]}{constraint}{described}"


def _view(table: Table) -> str:
    shown = [*table.column_names, *(column.name for column in META if column.name not in HIDDEN)]
    columns = ",\n".join(f"  {_final(table)} AS `is_final`" if n == "is_final" else f"  `{n}`" for n in shown)
    ties = [f"`{tie[1:]}` DESC" if tie.startswith("-") else f"`{tie}`" for tie in table.ties]
    order = ", ".join(["COALESCE(`sequence`, 0) DESC", "`revision` DESC", *ties])
    newest = _first(f"`{DATASET}.{table.name}{ROWS}`", table.statement, order)
    if table.facets:
        newest = _first(f"(\n{newest}\n)", table.key, ", ".join(["`is_deleted`", *ties]))
    return (
        f"CREATE OR REPLACE VIEW `{DATASET}.{table.name}`\nOPTIONS (description = {_text(table.doc)})\nAS SELECT\n"
        f"{columns}\nFROM (\n{newest}\n)\nWHERE NOT `is_deleted`;\n"
    )


def _first(source: str, keys: Sequence[str], order: str) -> str:
    partition = ", ".join(f"`{name}`" for name in keys)
    place = f"ROW_NUMBER() OVER (PARTITION BY {partition} ORDER BY {order}) = 1"
    # BigQuery wants a condition beside QUALIFY
    return f"SELECT * FROM {source} WHERE true\nQUALIFY {place}"


def _final(table: Table) -> str:
    """``transforms.tables.finality.final_sql`` in GoogleSQL."""
    if table.final_by == AT_ONCE:
        return "true"
    if table.final_by == NEVER:
        return "COALESCE(`is_final`, false)"
    bound, order = ("horizon - lateness - silence", "<=") if table.closes else ("horizon - lateness", "<")
    reach = f"(SELECT TIMESTAMP_MICROS(MAX({bound})) FROM `{DATASET}.{HORIZON}`)"
    return f"COALESCE(`is_final` OR `{table.final_by}` {order} {reach}, false)"


def _text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def files() -> dict[Path, str]:
    """Every file and what it should hold."""
    tables = documented_tables()
    views = journey_views(tables)
    relations = {table.name for table in tables} | {view.name for view in views}
    return {
        FOLDER / "tables.sql": tables_sql(tables),
        FOLDER / "views.sql": views_sql(tables),
        FOLDER / "journey_views.sql": journey_views_sql(views, relations),
        FOLDER / "functions.sql": functions_sql(journey_macros(relations), relations),
    }


def main() -> None:
    """Write the files."""
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
