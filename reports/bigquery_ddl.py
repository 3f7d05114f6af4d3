"""The tables and views of BigQuery, written from the declarations: ``python -m reports.bigquery_ddl``.

Input: ``contracts.tables`` with the features and stages that are shipped. Output: ``infra/bigquery/tables.sql`` and
``views.sql``, GoogleSQL for a dataset named ``wayline``. A view shows what the view of the same name in an output
folder shows. Tables hold upserts (``transforms.tables.bigquery``); primary keys of BigQuery are not enforced, so the
views settle by themselves which row of a key counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from contracts.tables import AT_ONCE, BLOB, BOOL, HIDDEN, INT, JSON, META, NEVER, REAL, TEXT, TIME, Column, Table
from reports.table_docs import ROOT, documented_tables
from transforms.tables.bigquery import ROWS
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


_HEAD = "-- Written by `python -m reports.bigquery_ddl`; change contracts/tables.py instead.\n\n"


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
    return {FOLDER / "tables.sql": tables_sql(tables), FOLDER / "views.sql": views_sql(tables)}


def main() -> None:
    """Write the files."""
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
