"""What every row of a source leaves out, said once for all of them: ``wayline import --fill FIELD=VALUE``. Pure.

A field is a column or a path, as a mapping writes it; a row that has something there keeps it. Input: texts of the
command line, rows. Output: rows. Errors: ``UsageError`` for a text that is no FIELD=VALUE. State: none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from contracts.documents import Node
from contracts.errors import UsageError
from sources.importer.rows import Path, Row, parse_path

OPTION = "--fill"


@dataclass(frozen=True)
class Filling:
    """Fields with what stands in them where a row has nothing."""

    fields: tuple[tuple[Path, str], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The fields, as they were written."""
        return tuple(path.text for path, _ in self.fields)

    def row(self, row: Row) -> Row:
        """The row with what it leaves out; the row itself where it leaves nothing out. Total."""
        # a path finds a column of its very name before it goes into nested objects, so no object need be made
        said = {path.text: value for path, value in self.fields if path.find(row) in (None, "")}
        return {**row, **said} if said else row


NOTHING = Filling()


def parse_filling(texts: Iterable[str]) -> Filling:
    """What the command line says. Raises UsageError."""
    fields = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value:
            raise UsageError(
                f"{OPTION} {text!r} names no field and its value", hint=f"write {OPTION} timestamp=2024-03-01T10:00:00Z"
            )
        fields.append((parse_path(Node(name.strip(), OPTION, 1, OPTION)), value))
    return Filling(tuple(fields))
