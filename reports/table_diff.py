"""Whether two output folders hold the same tables, row by row: the parity of two ways to the same answer.

No Beam. Input: two output folders and the tables' contracts. Output: ``Difference`` a table, by key. What depends on
when something was known, or on how the input was split into runs, is left out unless it is asked for: ``LEFT_OUT`` and
``UNEQUAL_BY_NATURE`` say what and why. Errors: ``OutputError``. State: one connection.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from contracts.errors import OutputError, UsageError
from contracts.tables import (
    ACTIONS,
    DEAD_LETTERS,
    DECISIONS,
    EVENTS,
    EXPIRED_LATE,
    LABELS,
    PERSONS,
    RUN_LEDGER,
    Table,
)
from transforms.tables.output import OutputFolder, check_readable, settle
from transforms.tables.part_names import parts_in
from transforms.tables.sql import name_sql
from transforms.tables.views import fetch, view_sql

LEFT_OUT: dict[str, str] = {
    DECISIONS.name: "what was decided depends on what was known then; compare it by replaying its records",
    ACTIONS.name: "they follow from decisions and from what channels answered",
    LABELS.name: "they follow from decisions",
    RUN_LEDGER.name: "it counts runs: which event was a duplicate depends on how the input was split",
}
"""Tables that are compared only when they are asked for, and why."""

UNEQUAL_BY_NATURE: dict[tuple[str, str], str] = {
    **{(name, "payload"): "encrypted anew each time" for name in (DEAD_LETTERS.name, EXPIRED_LATE.name)},
}
"""Columns that are never compared, and why. ``revision``, which says when a row was stated, is none of them either."""


@dataclass(frozen=True, slots=True)
class Example:
    """One difference: the key, and the columns that differ as (name, value in A, value in B); none for a lone row."""

    key: dict[str, Any]
    where: str
    columns: tuple[tuple[str, Any, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """How a table differs: rows in each, keys that only one has, keys whose rows differ, and in which columns."""

    table: str
    rows_a: int
    rows_b: int
    only_a: int
    only_b: int
    changed: int
    columns: dict[str, int] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()

    @property
    def equal(self) -> bool:
        return not (self.only_a or self.only_b or self.changed)


def under_other_keys(found: Sequence[Difference]) -> bool:
    """Whether it looks as if pseudonyms of the two were made with different keys: events in common, and no person."""
    by_name = {one.table: one for one in found}
    events, persons = by_name.get(EVENTS.name), by_name.get(PERSONS.name)
    if events is None or persons is None:
        return False
    strangers = persons.rows_a == persons.only_a > 0 and persons.rows_b == persons.only_b > 0
    return strangers and events.only_a < events.rows_a


def chosen_tables(tables: Sequence[Table], names: Collection[str], every: bool) -> list[Table]:
    """The tables to compare: those named, every one, or all that are a function of the events alone.

    Raises:
        UsageError: a name is no table.
    """
    known = {table.name for table in tables}
    if strangers := sorted(set(names) - known):
        raise UsageError(f"there is no table {strangers[0]}", hint=f"the tables are {', '.join(sorted(known))}")
    if names:
        return [table for table in tables if table.name in names]
    return [table for table in tables if every or table.name not in LEFT_OUT]


def compare(
    a: Path, b: Path, tables: Sequence[Table], *, ignore: Collection[str] = (), examples: int = 5
) -> list[Difference]:
    """Compare what the views of two output folders show.

    Args:
        ignore: columns not to compare, by name, in any table.
        examples: most examples of each kind of difference, for each table.

    Raises:
        OutputError: one of them is no output folder of this format, or has other columns.
    """
    folders = (check_readable(a), check_readable(b))
    for folder in folders:
        settle(folder)
    connection = duckdb.connect()
    try:
        connection.execute("SET TimeZone = 'UTC'")
        return [_compare(connection, folders, table, ignore, examples) for table in tables]
    except duckdb.Error as error:
        raise OutputError(
            f"the tables of {a} and {b} cannot be compared: {str(error).splitlines()[0]}",
            hint="both must be of this version and one project: `wayline run` once more on the older one",
        ) from error
    finally:
        connection.close()


def _compare(
    connection: Any,
    folders: tuple[OutputFolder, OutputFolder],
    table: Table,
    ignore: Collection[str],
    examples: int,
) -> Difference:
    keys = [name_sql(name) for name in table.key]
    skipped = {*ignore, *(column for name, column in UNEQUAL_BY_NATURE if name == table.name)}
    compared = [c for c in (*table.column_names, "is_final") if c not in table.key and c not in skipped]
    for side, folder in zip("ab", folders, strict=True):
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {side} AS SELECT *, true AS _here FROM ({_rows(folder, table)})"
        )
    same_key = " AND ".join(f"a.{key} IS NOT DISTINCT FROM b.{key}" for key in keys)
    differs = {name: f"a.{name_sql(name)} IS DISTINCT FROM b.{name_sql(name)}" for name in compared}
    both = "(a._here AND b._here)"
    changed = f"{both} AND ({' OR '.join(differs.values()) or 'false'})"
    sums = [f"count(*) FILTER (WHERE {both} AND {condition})" for condition in differs.values()]
    counts = ", ".join(
        [
            "count(a._here)",
            "count(b._here)",
            "count(*) FILTER (WHERE b._here IS NULL)",
            "count(*) FILTER (WHERE a._here IS NULL)",
            f"count(*) FILTER (WHERE {changed})",
            *sums,
        ]
    )
    joined = f"FROM a FULL JOIN b ON {same_key}"
    _, [row] = fetch(connection, f"SELECT {counts} {joined}")
    rows_a, rows_b, only_a, only_b, differing, *by_column = row
    return Difference(
        table=table.name,
        rows_a=rows_a,
        rows_b=rows_b,
        only_a=only_a,
        only_b=only_b,
        changed=differing,
        columns={name: n for name, n in zip(compared, by_column, strict=True) if n},
        examples=tuple(_examples(connection, table, compared, joined, changed, examples)) if examples else (),
    )


def _rows(folder: OutputFolder, table: Table) -> str:
    """The view of a table, or no row where OUT has none."""
    if not any((folder.tables / table.name).glob("*.parquet")) and not parts_in(folder.tables / table.name):
        nothing = ", ".join(f"NULL AS {name_sql(name)}" for name in (*table.column_names, "is_final"))
        return f"SELECT {nothing} WHERE false"
    return view_sql(folder, table)


def _examples(
    connection: Any, table: Table, compared: Sequence[str], joined: str, changed: str, examples: int
) -> list[Example]:
    keys = ", ".join(f"coalesce(a.{k}, b.{k}) AS {k}" for k in map(name_sql, table.key))
    values = "".join(f", a.{name_sql(name)}, b.{name_sql(name)}" for name in compared)
    found = []
    for where, condition in (("only in A", "b._here IS NULL"), ("only in B", "a._here IS NULL"), ("differs", changed)):
        sql = f"SELECT {keys}{values} {joined} WHERE {condition} ORDER BY ALL LIMIT {examples}"
        for row in fetch(connection, sql)[1]:
            key = dict(zip(table.key, row, strict=False))
            rest = row[len(table.key) :]
            pairs = zip(compared, rest[::2], rest[1::2], strict=True)
            columns = tuple(pair for pair in pairs if pair[1] != pair[2]) if where == "differs" else ()
            found.append(Example(key, where, columns))
    return found
