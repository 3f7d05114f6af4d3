"""The tables of identity kept up to date beside a stream: what changed in the identity store, as stated rows.

No Beam: a housekeeper calls it now and then. Input: pages of changed rows from the identity store (``ChangedRows``
below, ``IdentityStore.rows_since``). Output: ``StatedRows`` of ``identifiers``, ``edges``, and of ``persons`` whom each
id stands for; current persons are stated by their journeys, a facet of their own (``contracts.tables.Table.facets``).
Time domain: revisions are wall clock, UTC microseconds, given by the caller. State: how far the store was read, in a
file that is replaced after the rows of a page are in place; a page that is read again after a crash states the same
rows once more, at a higher revision. Errors: ``OutputError`` for a damaged file, those of the store, OSError of the
disk.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from contracts.errors import OutputError
from contracts.event import Identifier
from contracts.exchange import IdentityRows, StatedRows
from contracts.tables import EDGES, IDENTIFIERS, PERSONS, Table
from transforms.tables.output import OutputFolder, write_durably
from transforms.tables.pane import PaneWriter
from transforms.tables.stated import Row, stated

SHARD = b"\xff\xff"
"""Writer shard of these parts: no stage's, of which there are fewer."""

Mark = tuple[int, ...]


class Gone(Protocol):
    """Keys of rows that are no more."""

    @property
    def identifiers(self) -> tuple[Identifier, ...]: ...

    @property
    def ids(self) -> tuple[str, ...]: ...

    @property
    def edges(self) -> tuple[tuple[Identifier, Identifier, str], ...]: ...


class ChangedRows(Protocol):
    """A page of what changed since a mark; no key is in both ``rows`` and ``gone``."""

    @property
    def rows(self) -> IdentityRows: ...

    @property
    def gone(self) -> Gone: ...

    @property
    def mark(self) -> Mark: ...

    @property
    def more(self) -> bool: ...


class ReadsRows(Protocol):
    """What is needed of the identity store."""

    def rows_since(self, mark: Mark | None, limit: int = ...) -> ChangedRows: ...


def identity_rows(rows: IdentityRows, gone: Gone, revision: int) -> list[StatedRows]:
    """What changed, as rows of the tables."""
    no_identifiers = [(name, value, None, None, None) for name, value in gone.identifiers]
    no_ids = [(person, None, None, False, None) for person in gone.ids]
    unknown = [None] * (len(EDGES.columns) - len(EDGES.key))
    no_edges = [(*left, *right, kind, *unknown) for left, right, kind in gone.edges]
    found: list[tuple[Table, Iterable[Row], bool]] = [
        (IDENTIFIERS, rows.identifiers, False),
        (PERSONS, rows.persons, False),
        (EDGES, rows.edges, False),
        (IDENTIFIERS, no_identifiers, True),
        (PERSONS, no_ids, True),
        (EDGES, no_edges, True),
    ]
    batches = [(table, list(those), deleted) for table, those, deleted in found]
    return [stated(table, revision, those, deleted=deleted) for table, those, deleted in batches if those]


class IdentitySync:
    """Brings the tables of identity up to date, page after page. One an OUT at a time.

    Args:
        folder: OUT, prepared for a stream.
        store: the identity store.
        stream: number of the stream.
        clock: UTC microseconds, for revisions.
    """

    def __init__(self, folder: OutputFolder, store: ReadsRows, stream: int, clock: Callable[[], int]) -> None:
        self._writer = PaneWriter(folder.root, (IDENTIFIERS, PERSONS, EDGES), stream)
        self._store = store
        self._clock = clock
        self._file: Path = folder.streams / "identity.json"
        self._mark, self._revision = self._read()

    def run(self, limit: int = 10_000) -> int:
        """State what changed since the last time; returns how many rows were stated or taken back."""
        changed = 0
        while True:
            page = self._store.rows_since(self._mark, limit)
            self._revision = max(self._clock(), self._revision + 1)
            batches = identity_rows(page.rows, page.gone, self._revision)
            if batches:
                # nothing sets this writer back, so that its parts need no number of a checkpoint
                self._writer.append(SHARD, batches)
            if page.mark != self._mark:
                self._mark = page.mark
                write_durably(self._file, json.dumps({"mark": self._mark, "revision": self._revision}))
            changed += _size(page)
            if not page.more:
                return changed

    def _read(self) -> tuple[Mark | None, int]:
        """How far it was read before; who begins reads everything."""
        if not self._file.exists():
            return None, 0
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
            return tuple(map(int, found["mark"])), int(found["revision"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OutputError(
                f"{self._file} cannot be read: {error}",
                hint="remove it: all is stated anew; what was erased meanwhile goes with the next bounded run",
            ) from error


def _size(page: ChangedRows) -> int:
    rows, gone = page.rows, page.gone
    found = (rows.identifiers, rows.persons, rows.edges, gone.identifiers, gone.ids, gone.edges)
    return sum(map(len, found))
