"""How far something has come, by name: numbers that only grow, in the shared database.

A stream notes the greatest event time that it has accepted, so that whoever starts after it knows where it was, though
the process that accepted is gone. Notes of several workers, repeated ones and old ones make no difference.
"""

from __future__ import annotations

from collections.abc import Sequence

from transforms.stores.database import DEFAULT_TIMEOUT, Database, Migration, Schema, StoreAddress, open_database

SCHEMA = Schema(
    "progress",
    (
        Migration(
            "greatest values by name",
            (
                "CREATE TABLE progress (name TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
            ),
        ),
    ),
)  # fmt: skip

_NOTE = (
    "INSERT INTO progress (name, value) VALUES (?, ?)"
    " ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE excluded.value > progress.value"
)


class Progress:
    """Greatest values by name. Each method is one transaction of one statement; errors: as ``open_database``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, name: str, value: int) -> None:
        """Keep ``value``, a number of 64 bits, unless a greater one is noted under this name."""
        self._database.write(lambda tx: tx.execute(_NOTE, (name, value)))

    def value(self, name: str) -> int | None:
        """The greatest value noted under a name; None when there was none."""
        row = self._database.read(lambda tx: tx.one("SELECT value FROM progress WHERE name = ?", (name,)))
        return None if row is None else int(row[0])

    def values(self, names: Sequence[str]) -> list[int | None]:
        """The greatest values noted under names, in their order."""
        rows = self._database.read(
            lambda tx: tx.all("SELECT name, value FROM progress WHERE name IN ??", (sorted(set(names)),))
        )
        found: dict[str, int] = dict(rows)
        return [found.get(name) for name in names]

    def close(self) -> None:
        """Give up the connection."""
        self._database.close()


def open_progress(address: StoreAddress, timeout: float = DEFAULT_TIMEOUT) -> Progress:
    """The progress that is kept in the database ``address``; arguments and errors as ``open_database``."""
    return Progress(open_database(address, SCHEMA, timeout))
