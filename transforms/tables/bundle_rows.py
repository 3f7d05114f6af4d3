"""From what a streaming stage gives to rows of a table: one ``StatedRows`` for what comes together within a bundle.

Contract: elements of one kind in; (writer shard, ``StatedRows``) out. Only for rows that say the same whenever they are
made, keyed by an id of their own (dead letters, actions): the engine may make them again, and the newest counts. State:
the rows of a bundle. Time domain: ``revision`` is processing time in microseconds, when the last of the rows came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows

from contracts import coders as _coders  # noqa: F401  # registers the coders of what goes in and out
from contracts.exchange import StatedRows
from contracts.tables import Table
from transforms.read import typed
from transforms.tables.stated import stated

Row = tuple[Any, ...]

_TOGETHER = 50_000
"""Microseconds of processing time after the first of some rows up to which others come together with it: a bundle may
last a second, and rows say when."""


class StateRows(beam.PTransform):  # type: ignore[misc]  # Beam's base class is untyped
    """Elements to the rows of one table.

    Args:
        table: the table.
        row: of an element, in the order of the table's columns.
        clock: microseconds of processing time.
        deleted: the elements are no more: their keys vanish, for good. So such a row goes before any that states the
            key, whichever of the two a bundle happens to finish first.
    """

    def __init__(
        self, table: Table, row: Callable[[Any], Row], clock: Callable[[], int], *, deleted: bool = False
    ) -> None:
        super().__init__()
        self._fn = _StateRows(table, row, clock, deleted)

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        rows = elements | "State" >> beam.ParDo(self._fn).with_output_types(tuple[bytes, StatedRows])
        return typed(rows, tuple[bytes, StatedRows])


class _StateRows(beam.DoFn):  # type: ignore[misc]
    def __init__(self, table: Table, row: Callable[[Any], Row], clock: Callable[[], int], deleted: bool) -> None:
        self._deleted = deleted
        self._table = table
        self._row = row
        self._clock = clock
        self._since = self._at = 0

    def start_bundle(self) -> None:
        self._rows: list[Row] = []

    def process(self, element: Any) -> Iterator[tuple[bytes, StatedRows]]:
        now = self._clock()
        if self._rows and now - self._since > _TOGETHER:
            yield self._stated()
        if not self._rows:
            self._since = now
        self._at = now
        self._rows.append(self._row(element))

    def finish_bundle(self) -> Iterator[Any]:
        if self._rows:
            yield GlobalWindows.windowed_value(self._stated())

    def _stated(self) -> tuple[bytes, StatedRows]:
        rows, self._rows = self._rows, []
        one = stated(self._table, self._at, rows, sequence=int(self._deleted), deleted=self._deleted)
        return self._table.name.encode(), one
