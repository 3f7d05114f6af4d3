"""SQL over parts: the newest row of each key, names and literals. Pure text; what runs it is DuckDB."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from contracts.tables import Table


def newest_rows(table: Table, source: str) -> str:
    """SQL of the newest row of each key among the parts that ``source`` reads, tombstones included."""
    keys = ", ".join(map(name_sql, table.key))
    # parts of earlier versions have no sequence, and perhaps none of them has
    every = f"(FROM {source} UNION ALL BY NAME SELECT NULL::BIGINT AS sequence WHERE false)"
    place = f"row_number() OVER (PARTITION BY {keys} ORDER BY {', '.join(newness(table))})"
    return f"SELECT * FROM {every} QUALIFY {place} = 1"


def newness(table: Table) -> list[str]:
    """What the rows of one key are ordered by, the one that counts first."""
    ties = (f"{name_sql(tie[1:])} DESC" if tie.startswith("-") else name_sql(tie) for tie in table.ties)
    return ["coalesce(sequence, 0) DESC", "revision DESC", *ties]


def parts_sql(paths: Sequence[Path | str]) -> str:
    """A DuckDB table function over some parts."""
    listed = ", ".join(quote(str(path)) for path in paths)
    return f"read_parquet([{listed}], union_by_name = true)"


def name_sql(name: str) -> str:
    """A quoted SQL name: ``at`` is a reserved word of DuckDB."""
    return '"' + name.replace('"', '""') + '"'


def quote(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"
