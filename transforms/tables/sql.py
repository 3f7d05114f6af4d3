"""SQL over parts: the newest row of each key, names and literals. Pure text; what runs it is DuckDB."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from contracts.tables import Table


def newest_rows(table: Table, source: str) -> str:
    """SQL of the row that counts of each key among the parts that ``source`` reads, tombstones included."""
    newest = newest_statements(table, source)
    if not table.facets:
        return newest
    keys = ", ".join(map(name_sql, table.key))
    order = ", ".join(["is_deleted", *_ties(table)])
    return f"SELECT * FROM ({newest}) QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {order}) = 1"


def newest_statements(table: Table, source: str) -> str:
    """SQL of the newest row of each key and facet: what must be kept of the parts."""
    keys = ", ".join(map(name_sql, table.statement))
    # parts of earlier versions have no sequence, and perhaps none of them has
    every = f"(FROM {source} UNION ALL BY NAME SELECT NULL::BIGINT AS sequence WHERE false)"
    order = ", ".join(["coalesce(sequence, 0) DESC", "revision DESC", *_ties(table)])
    return f"SELECT * FROM {every} QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {order}) = 1"


def _ties(table: Table) -> list[str]:
    return [f"{name_sql(tie[1:])} DESC" if tie.startswith("-") else name_sql(tie) for tie in table.ties]


def parts_sql(paths: Sequence[Path | str]) -> str:
    """A DuckDB table function over some parts."""
    listed = ", ".join(map(path_sql, paths))
    return f"read_parquet([{listed}], union_by_name = true)"


def folder_sql(folder: Path) -> str:
    """A DuckDB table function over every part of a folder, also one that comes later."""
    return f"read_parquet({path_sql(folder)[:-1]}/*.parquet', union_by_name = true)"


def path_sql(path: Path | str) -> str:
    """A literal that names one file or folder: DuckDB takes a path for a pattern, whatever its folders are called."""
    return quote(re.sub(r"[\[*?]", r"[\g<0>]", str(path)))


def name_sql(name: str) -> str:
    """A quoted SQL name: ``at`` is a reserved word of DuckDB."""
    return '"' + name.replace('"', '""') + '"'


def quote(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"
