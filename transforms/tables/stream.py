"""Tables: what a stream states becomes parts, a part a table and pane. The streaming host of this stage.

Contract: (writer shard, ``StatedRows``) in; nothing out. The shard is the producer's choice: a few, since each writes
its own parts. On engines that try bundles again the rows are grouped by the engine until a timer of processing time
fires; the number of the pane, its state, names the part, and ``transforms.tables.pane`` does the rest. On runners that
never try anything again (``direct``) the rows of a bundle are written when it ends. State: rows between two panes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.transforms import trigger
from apache_beam.transforms.window import GlobalWindows

from contracts import coders as _coders  # noqa: F401  # registers the coder of StatedRows
from contracts.exchange import StatedRows
from contracts.tables import Table
from transforms.tables.pane import PaneWriter

EVERY = 2
"""Seconds of processing time between two panes: how far the tables lag behind what was decided."""

_BYTES_A_PART = 32 * 1024 * 1024


class _WritePane(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    def __init__(self, out: str, tables: Sequence[Table], stream: int) -> None:
        self._out = out
        self._tables = tuple(tables)
        self._stream = stream

    def setup(self) -> None:
        self._writer = PaneWriter(Path(self._out), self._tables, self._stream)

    def process(self, element: tuple[bytes, Iterable[StatedRows]], pane: Any = beam.DoFn.PaneInfoParam) -> None:
        shard, batches = element
        self._writer.write(shard, pane.index, batches)


class _AppendRows(beam.DoFn):  # type: ignore[misc]
    def __init__(self, out: str, tables: Sequence[Table], stream: int) -> None:
        self._out = out
        self._tables = tuple(tables)
        self._stream = stream

    def setup(self) -> None:
        self._writer = PaneWriter(Path(self._out), self._tables, self._stream)

    def start_bundle(self) -> None:
        self._held: defaultdict[bytes, list[StatedRows]] = defaultdict(list)
        self._bytes = 0

    def process(self, element: tuple[bytes, StatedRows]) -> None:
        shard, batch = element
        self._held[shard].append(batch)
        self._bytes += len(batch.rows)
        if self._bytes >= _BYTES_A_PART:
            self._drain()

    def finish_bundle(self) -> None:
        self._drain()

    def _drain(self) -> None:
        for shard, batches in sorted(self._held.items()):
            self._writer.append(shard, batches)
        self._held.clear()
        self._bytes = 0


class WriteStated(beam.PTransform):  # type: ignore[misc]
    """PCollections of (writer shard, ``StatedRows``) to parts in OUT, by the name of where they come from.

    Gives a PCollection in which nothing comes: its watermark does.

    It does not make views, nor number the stream: ``transforms.tables.stream_folder``. Errors: a full or read-only disk
    fails the bundle, which the engine tries again.

    Args:
        out: the output folder, absolute, the same for every worker.
        tables: every table that may be stated; the log goes without saying.
        stream: number of the stream on this folder.
        every: whole seconds between two panes of a shard: Beam takes no part of one.
        direct: for runners that never try a bundle again, nor number panes.
        hints: resource hints by the name of an input: what comes from a worker process of its own stays in it until
            it is grouped.
    """

    def __init__(
        self,
        out: str,
        tables: Sequence[Table],
        stream: int,
        *,
        every: int = EVERY,
        direct: bool = False,
        hints: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        self._every = every
        self._fn = (_AppendRows if direct else _WritePane)(out, tables, stream)
        self._direct = direct
        self._hints = dict(hints or {})

    def expand(self, stated: Mapping[str, beam.PCollection[tuple[bytes, StatedRows]]]) -> beam.PCollection[bytes]:
        if self._direct:
            together = tuple(stated.values()) | "Together" >> beam.Flatten()
            return together | "AppendRows" >> beam.ParDo(self._fn).with_output_types(bytes)
        every = trigger.Repeatedly(trigger.AfterProcessingTime(self._every))
        panes = tuple(
            rows | f"{name}Panes" >> _panes(every).with_resource_hints(**self._hints.get(name, {}))
            for name, rows in stated.items()
        )
        return (
            panes
            | "Together" >> beam.Flatten()
            | "GatherPane" >> beam.GroupByKey()
            | "WritePane" >> beam.ParDo(self._fn).with_output_types(bytes)
        )


def _panes(every: Any) -> beam.PTransform:
    windows = beam.WindowInto(GlobalWindows(), trigger=every, accumulation_mode=trigger.AccumulationMode.DISCARDING)
    return windows.with_output_types(tuple[bytes, StatedRows])
