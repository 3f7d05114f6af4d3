"""The layouts of the stores in one database: which migrations of which store it has, and applying the missing ones.

Pure but for the transaction it is given, which holds a lock that keeps other openers out.
"""

from __future__ import annotations

from collections.abc import Callable

from contracts.errors import OutputError
from transforms.stores.database import Schema, Transaction


def create_migrations(tx: Transaction, ddl: Callable[[str], str] = str) -> None:
    """Make the table of what was applied, if it is missing."""
    tx.execute(
        ddl(
            "CREATE TABLE IF NOT EXISTS migrations"
            " (store TEXT NOT NULL, version INTEGER NOT NULL, description TEXT NOT NULL, PRIMARY KEY (store, version))"
        )
    )


def applied_migrations(tx: Transaction, schema: Schema, label: str) -> int:
    """How many migrations of a store the database has. Raises OutputError when they are more than this code knows."""
    found = tx.one("SELECT max(version) FROM migrations WHERE store = ?", (schema.name,))
    version: int = (found[0] if found else None) or 0
    if version > len(schema.migrations):
        raise OutputError(
            f"{label} has layout {version} of {schema.name}; this version of Wayline knows {len(schema.migrations)}",
            hint="use the version of Wayline that wrote it, or a newer one",
        )
    return version


def apply_migrations(tx: Transaction, schema: Schema, applied: int, ddl: Callable[[str], str] = str) -> None:
    """Apply the migrations after the first ``applied``; ``ddl`` turns a statement into the database's own words."""
    for number, migration in enumerate(schema.migrations[applied:], start=applied + 1):
        for statement in migration.statements:
            tx.execute(ddl(statement))
        tx.execute("INSERT INTO migrations VALUES (?, ?, ?)", (schema.name, number, migration.description))
