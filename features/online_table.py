"""Where the online feature vectors lie: one SQLite row a person, in which the newest revision wins. No Feast, no Beam.

``features.online_store`` is the Feast view of this table; the pipeline writes the table itself, because importing
Feast costs a worker 8 to 16 s of CPU and its row-a-feature layout ten times the writes (docs/adr/0014).

Whatever the order of writes, one person ends with the row of the greatest revision: the guard stands in the upsert, so
it holds between processes. Event time does not decide, since a correction may have an equal or earlier one. A removed
person leaves a tombstone (its id and revision, no vector), so that a row written late does not bring it back.
"""

from __future__ import annotations

import hashlib
import json
import struct
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from transforms.stores.database import DEFAULT_TIMEOUT, Migration, Schema, Transaction
from transforms.stores.sqlite import SqliteDatabase

ONLINE_FILE = "online.db"
"""File of the online store below ``OUT/feast``."""

_SCHEMA = Schema(
    "online_features",
    (
        Migration(
            "vectors and their layouts",
            (
                "CREATE TABLE layouts (layout TEXT PRIMARY KEY, names TEXT NOT NULL)",
                "CREATE TABLE vectors (view TEXT NOT NULL, entity TEXT NOT NULL, revision INTEGER NOT NULL,"
                " event_time INTEGER NOT NULL, layout TEXT, vector BLOB, PRIMARY KEY (view, entity)) WITHOUT ROWID",
            ),
        ),
        Migration(
            "one name for the rows of every version of the view",
            ("UPDATE vectors SET view = 'journey' WHERE view = 'journey_v1'",),
        ),
    ),
)

_UPSERT = (
    "INSERT INTO vectors VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (view, entity) DO UPDATE SET"
    " revision = excluded.revision, event_time = excluded.event_time, layout = excluded.layout,"
    " vector = excluded.vector"
    " WHERE excluded.revision > vectors.revision"
    " OR (excluded.revision = vectors.revision AND vectors.vector IS NOT NULL)"
)
_RETIRE = "UPDATE vectors SET layout = NULL, vector = NULL WHERE view = ? AND entity = ?"
_RETIRE_OLD = "UPDATE vectors SET layout = NULL, vector = NULL WHERE view = ? AND revision < ? AND vector IS NOT NULL"
_READ_AT_ONCE = 500


class OnlineRow(NamedTuple):
    """The vector of an entity. ``event_time`` is the evaluation point, UTC microseconds."""

    revision: int
    event_time: int
    values: dict[str, float]


class OnlineTable:
    """The vectors of one feature view in one file. Each thread has its own connection.

    Args:
        path: the file; made when absent.
        view: name of the feature view.
        timeout: seconds to wait for another process's transaction.

    Every method raises LockedError when another process holds the file longer than ``timeout``, and OutputError when
    the file is no online store or cannot be used.
    """

    def __init__(self, path: Path, view: str, timeout: float = DEFAULT_TIMEOUT) -> None:
        self._path = path
        self._view = view
        self._timeout = timeout
        self._local = threading.local()
        self._layouts: set[str] = set()

    def write(self, names: Sequence[str], rows: Sequence[tuple[str, int, int, Sequence[float]]]) -> None:
        """Write vectors in one transaction; a row whose revision is older than the stored one changes nothing.

        Args:
            names: feature of each place in the vectors.
            rows: (entity, revision, event time, vector).
        """
        if not rows:
            return
        layout = hashlib.blake2b(json.dumps(list(names)).encode(), digest_size=8).hexdigest()
        pack = struct.Struct(f"<{len(names)}d").pack
        view = self._view
        packed = [(view, entity, revision, at, layout, pack(*values)) for entity, revision, at, values in rows]

        def put(tx: Transaction) -> None:
            if layout not in self._layouts:
                tx.execute(
                    "INSERT INTO layouts VALUES (?, ?) ON CONFLICT (layout) DO NOTHING",
                    (layout, json.dumps(list(names))),
                )
            tx.execute_many(_UPSERT, packed)

        self._database().write(put)
        self._layouts.add(layout)

    def retire(self, entities: Sequence[str]) -> None:
        """Remove vectors; only a greater revision brings an entity back. Unknown ones are ignored."""
        if not entities:
            return
        self._database().write(lambda tx: tx.execute_many(_RETIRE, [(self._view, entity) for entity in entities]))

    def retire_before(self, revision: int) -> None:
        """Remove every vector of a revision smaller than ``revision``."""
        self._database().write(lambda tx: tx.execute(_RETIRE_OLD, (self._view, revision)))

    def read(self, entities: Sequence[str]) -> list[OnlineRow | None]:
        """The row of each entity, None where there is none, in the order asked."""
        found: dict[str, OnlineRow] = {}

        def look(tx: Transaction) -> None:
            names = {layout: json.loads(text) for layout, text in tx.all("SELECT layout, names FROM layouts")}
            for start in range(0, len(entities), _READ_AT_ONCE):
                part = list(entities[start : start + _READ_AT_ONCE])
                query = (
                    "SELECT entity, revision, event_time, layout, vector FROM vectors"
                    " WHERE view = ? AND vector IS NOT NULL AND entity IN ??"
                )
                for entity, revision, event_time, layout, vector in tx.all(query, (self._view, part)):
                    values = struct.unpack(f"<{len(vector) // 8}d", vector)
                    found[entity] = OnlineRow(revision, event_time, dict(zip(names[layout], values, strict=True)))

        self._database().read(look)
        return [found.get(entity) for entity in entities]

    def create(self) -> None:
        """Make the file now rather than at the first use."""
        self._database()

    def clear(self) -> None:
        """Remove every row of the view, tombstones too."""
        self._database().write(lambda tx: tx.execute("DELETE FROM vectors WHERE view = ?", (self._view,)))

    def close(self) -> None:
        """Close the connection of the calling thread."""
        database = getattr(self._local, "database", None)
        if isinstance(database, SqliteDatabase):
            database.close()
            del self._local.database

    def _database(self) -> SqliteDatabase:
        database = getattr(self._local, "database", None)
        if not isinstance(database, SqliteDatabase):
            database = self._local.database = SqliteDatabase(self._path, _SCHEMA, self._timeout)
        return database
