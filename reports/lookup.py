"""Looking things up in the journey tables of OUT, by any id that was ever shown.

No Beam. Input: an output folder and the tables' contracts. Output: rows as dictionaries, columns of JSON already
read, times as aware UTC datetimes. It reads the Parquet parts, not ``wayline.duckdb``: only the keys in question are
compared among their revisions, so one person of a million is found without sorting the million, and OUT may be
read-only. Errors: ``OutputError`` for what is no output folder or changes while it is read. State: one connection.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import duckdb

from contracts.errors import OutputError
from contracts.tables import HIDDEN, JSON, Table
from transforms.tables.finality import final_sql
from transforms.tables.output import check_readable, settle
from transforms.tables.sql import folder_sql, name_sql, newest_rows
from transforms.tables.views import fetch, unanswered

Row = dict[str, Any]

_MOST_MERGES = 100
"""An alias points at the person; a long chain could only come of a damaged table, and is not followed for ever."""


class _Known(Row):
    """A row of what the parts have: to ask it for a column that they lack, says so. Raises OutputError."""

    def __init__(self, out: Path, table: str, values: Iterable[tuple[str, Any]]) -> None:
        super().__init__(values)
        self._of = (out, table)

    def __missing__(self, column: str) -> NoReturn:
        out, table = self._of
        raise OutputError(
            f"the table {table} of {out} has no column {column!r}",
            hint="an earlier version may have written it: `wayline run` once more on the same --out, in its project",
        )


class JourneyTables:
    """The rows of OUT.

    Args:
        out: the output folder.
        tables: every table that may be asked for.

    Raises:
        OutputError: ``out`` is no output folder of this format.
    """

    def __init__(self, out: Path, tables: Sequence[Table]) -> None:
        self.out = out
        self._folder = check_readable(out)
        settle(self._folder)
        self._tables = {table.name: table for table in tables}
        self._present: dict[str, list[str]] = {}
        self._connection = duckdb.connect()
        self._connection.execute("SET TimeZone = 'UTC'")

    def close(self) -> None:
        """Give the connection up."""
        self._connection.close()

    def rows(
        self, name: str, where: str, values: Sequence[object] = (), *, order: str = "", limit: int = 0
    ) -> list[Row]:
        """The rows of a table for which a condition holds.

        Args:
            name: the table.
            where: SQL over its columns; ``?`` stands for a value.
            values: the values, in order. A list may be asked for by ``column = ANY(?)``.
            order: SQL to order by; any order without it.
            limit: most rows to return; 0 for all.
        """
        table = self._tables[name]
        parts = self._folder.tables.resolve() / name
        if not any(parts.glob("*.parquet")):
            return []
        source = folder_sql(parts)
        keys = ", ".join(map(name_sql, table.key))
        # A key counts when any revision of it fits; its newest one then decides.
        touched = f"(SELECT DISTINCT {keys} FROM {source} WHERE {where})"
        try:
            final = f"{final_sql(self._folder, table)} AS is_final"
            columns = ", ".join(final if n == "is_final" else name_sql(n) for n in self._columns(table, source))
            sql = (
                f"SELECT {columns} FROM ({newest_rows(table, f'(FROM {source} SEMI JOIN {touched} USING ({keys}))')}) "
                f"WHERE NOT is_deleted AND ({where})"
            )
            sql += f" ORDER BY {order}" if order else ""
            sql += f" LIMIT {limit}" if limit else ""
            names, found = fetch(self._connection, sql, [*values, *values])
        except duckdb.Error as error:
            raise unanswered(self.out, error) from error
        documents = {column.name for column in table.columns if column.kind == JSON}
        return [
            _Known(self.out, name, ((n, _read(v) if n in documents else v) for n, v in zip(names, row, strict=True)))
            for row in found
        ]

    def first(self, name: str, where: str, values: Sequence[object] = (), *, order: str = "") -> Row | None:
        """The first such row, or None."""
        found = self.rows(name, where, values, order=order, limit=1)
        return found[0] if found else None

    def counts(self, name: str, column: str, values: Sequence[object], where: str = "TRUE") -> dict[str, int]:
        """How many rows of a table hold each of some values in a column; a value of none is missing.

        ``where`` is SQL over the columns that must hold too.
        """
        table = self._tables[name]
        parts = self._folder.tables.resolve() / name
        if not any(parts.glob("*.parquet")):
            return {}
        source = folder_sql(parts)
        keys, asked = ", ".join(map(name_sql, table.key)), name_sql(column)
        touched = f"(SELECT DISTINCT {keys} FROM {source} WHERE {asked} = ANY(?))"
        newest = newest_rows(table, f"(FROM {source} SEMI JOIN {touched} USING ({keys}))")
        try:
            _, found = fetch(
                self._connection,
                f"SELECT {asked}, count(*) FROM ({newest}) "
                f"WHERE NOT is_deleted AND {asked} = ANY(?) AND ({where}) GROUP BY 1",
                [list(values), list(values)],
            )
        except duckdb.Error as error:
            raise unanswered(self.out, error) from error
        return dict(found)

    def count(self, name: str) -> int:
        """How many rows a table has."""
        table = self._tables[name]
        parts = self._folder.tables.resolve() / name
        if not any(parts.glob("*.parquet")):
            return 0
        source = folder_sql(parts)
        newest = newest_rows(table, f"(FROM {source})")
        try:
            _, [row] = fetch(self._connection, f"SELECT count(*) FROM ({newest}) WHERE NOT is_deleted")
        except duckdb.Error as error:
            raise unanswered(self.out, error) from error
        return int(row[0])

    def _columns(self, table: Table, source: str) -> list[str]:
        """The columns that the parts have: those of ``scores`` depend on the ontology they were made by."""
        known = self._present.get(table.name)
        if known is None:
            cursor = self._connection.execute(f"SELECT * FROM {source} LIMIT 0")
            present = [column[0] for column in cursor.description if column[0] not in HIDDEN]
            declared = [name for name in table.column_names if name in present]
            known = [*declared, *(name for name in present if name not in declared)]
            self._present[table.name] = known
        return known

    # --- persons --------------------------------------------------------------------------------------------------

    def current_person(self, person_id: str) -> str | None:
        """The person an id stands for: itself, or whom it was merged into; None when OUT does not know it."""
        for _ in range(_MOST_MERGES):
            row = self.first("persons", "person_id = ?", [person_id])
            if row is None:
                return None
            if row["is_current"] or row["merged_into"] is None:
                return person_id
            person_id = row["merged_into"]
        raise OutputError(f"{person_id} is merged into others in a circle", hint="run the same input into a new --out")

    def is_nobody(self, person_id: str) -> bool:
        """Whether an id that stands for itself is no person: its identifier holds no events, or none any more."""
        row = self.first("persons", "person_id = ?", [person_id])
        return row is not None and not row["is_current"] and row["merged_into"] is None

    def heirs(self, person_id: str) -> list[str]:
        """The persons who have the strands now that something was decided for under an id, in the order of ids."""
        decisions = self.rows("decisions", "person_id = ?", [person_id])
        strands = sorted({row["anchor_strand"] for row in decisions})
        return sorted({row["person_id"] for row in self.rows("events", "strand_id = ANY(?)", [strands])})

    def aliases(self, person_id: str) -> list[Row]:
        """The rows of ``persons`` that stand for a person, in the order they were first seen."""
        found: list[Row] = []
        asked = [person_id]
        for _ in range(_MOST_MERGES):
            more = self.rows("persons", "merged_into = ANY(?)", [asked])
            known = {person_id, *(row["person_id"] for row in found)}
            more = [row for row in more if row["person_id"] not in known]
            if not more:
                break
            found += more
            asked = [row["person_id"] for row in more]
        return sorted(found, key=lambda row: (row["first_seen"], row["person_id"]))

    def decisions_of(self, person_id: str, family: Sequence[str], strands: Collection[str]) -> list[Row]:
        """The decisions of a person, also those made under another id before a merge, in order of time.

        A decision follows its anchor strand. Where several persons hold parts of the strand, or nobody holds any, it
        stays with the person it was made for.

        Args:
            person_id: a current person.
            family: that id and its aliases.
            strands: strands of which the person holds events.
        """
        held = sorted(strands)
        shared = {
            row["strand_id"] for row in self.rows("events", "strand_id = ANY(?) AND person_id <> ?", [held, person_id])
        }
        own = [strand for strand in held if strand not in shared]
        found = self.rows("decisions", "anchor_strand = ANY(?) OR person_id = ANY(?)", [own, list(family)])
        strange = {row["anchor_strand"] for row in found}.difference(strands)
        moved: set[str] = set()
        if strange:
            moved = {row["strand_id"] for row in self.rows("events", "strand_id = ANY(?)", [sorted(strange)])}
        kept = [row for row in found if row["anchor_strand"] not in moved]
        return sorted(kept, key=lambda row: (row["at"], row["decision_id"]))


def _read(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value
