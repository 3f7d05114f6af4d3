"""Writing what a stream states: a part a table and pane, under a name that a second attempt overwrites. No Beam.

A pane's parts are ``sSTREAM-SHARD-PANE.parquet``; the shard is the writer's key, the pane a number that grows by one
and is state of the engine. So a bundle that is tried again writes the same files again, and an engine that is set back
to a checkpoint numbers from there: the parts from that number on are of the attempt that was lost, and the first pane
written puts an empty part in the place of each (a file that vanished would fail a query that runs). ``OUT/streams`` has
a small file a shard with the last pane and who wrote it: a writer that finds its own last pane there has nothing to
look for. Errors: OSError when the disk refuses, ValueError for a table nobody declared. State: none but those files.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from contracts.exchange import StatedRows
from contracts.tables import Table
from transforms.tables.batches import arrow_schema
from transforms.tables.log import ERASED_SCHEMA, LOG_SCHEMA, LOG_TABLE
from transforms.tables.output import OutputFolder, to_disk
from transforms.tables.part_names import StreamPart, stream_part
from transforms.tables.stated import arrow_rows, newest_stated, rows_of


class PaneWriter:
    """Writes the panes of one stream.

    Args:
        out: the output folder, prepared by ``transforms.tables.stream_folder``.
        tables: every table that may be stated, besides the log.
        stream: number of the stream on this folder.
    """

    def __init__(self, out: Path, tables: Iterable[Table], stream: int) -> None:
        self._folder = OutputFolder(out)
        self._tables = {table.name: table for table in tables}
        self._stream = stream
        self._writer = os.urandom(8).hex()

    def write(self, shard: bytes, pane: int, batches: Iterable[StatedRows]) -> None:
        """Write one pane of a shard, whole; again it gives the same files."""
        parts = self._parts(batches)
        part = StreamPart(self._stream, shard.hex(), pane)
        if self._last(part.shard) != pane - 1:
            self._forget_from(part, {folder for folder, _ in parts})
        for folder, rows in parts:
            _write(rows, folder / part.name)
        self._note(part)

    def append(self, shard: bytes, batches: Iterable[StatedRows]) -> None:
        """Write rows under the next number that is free, for engines that never try anything again."""
        for folder, rows in self._parts(batches):
            greatest = max((found.pane for found in self._written(folder, shard.hex()).values()), default=-1)
            for pane in count(greatest + 1):
                if _write(rows, folder / StreamPart(self._stream, shard.hex(), pane).name, replace=False):
                    break

    # --- rows ---------------------------------------------------------------------------------------------------

    def _parts(self, batches: Iterable[StatedRows]) -> list[tuple[Path, Any]]:
        """Folder and rows of each part that these statements make."""
        by_table: defaultdict[str, list[StatedRows]] = defaultdict(list)
        for batch in batches:
            by_table[batch.table].append(batch)
        parts: list[tuple[Path, Any]] = []
        for name, stated in sorted(by_table.items()):
            if name == LOG_TABLE.name:
                parts.extend(self._log_parts(stated))
                continue
            if name not in self._tables:
                raise ValueError(f"rows of {name}, which is no table of this project")
            rows = newest_stated(self._tables[name], stated)
            if rows:
                parts.append((self._folder.tables / name, arrow_rows(self._tables[name], rows)))
        return parts

    def _log_parts(self, stated: list[StatedRows]) -> Iterable[tuple[Path, Any]]:
        # losers of a conflict share their key with the winner, and are kept
        found = list(rows_of(LOG_TABLE, stated))
        names = LOG_TABLE.column_names
        accepted = arrow_rows(LOG_TABLE, [row for row in found if not row[2]]).select(names).cast(LOG_SCHEMA)
        erased = arrow_rows(LOG_TABLE, [row for row in found if row[2]]).select(LOG_TABLE.key).cast(ERASED_SCHEMA)
        parts = [(self._folder.log, accepted), (self._folder.log_erased, erased)]
        return [(folder, rows) for folder, rows in parts if rows.num_rows]

    # --- numbers ------------------------------------------------------------------------------------------------

    def _mark(self, shard: str) -> Path:
        return self._folder.streams / f"{self._stream:04d}-{shard}.json"

    def _last(self, shard: str) -> int | None:
        """The last pane of a shard, if this writer wrote it."""
        try:
            mark = json.loads(self._mark(shard).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            # a damaged mark only costs a look at the names
            return None
        return int(mark["pane"]) if mark["writer"] == self._writer else None

    def _note(self, part: StreamPart) -> None:
        target = self._mark(part.shard)
        temporary = target.with_suffix(f".{self._writer}.tmp")
        temporary.parent.mkdir(exist_ok=True)
        temporary.write_text(json.dumps({"pane": part.pane, "writer": self._writer}), encoding="utf-8")
        temporary.replace(target)

    def _written(self, folder: Path, shard: str) -> Mapping[Path, StreamPart]:
        if not folder.is_dir():
            return {}
        named = {path: stream_part(path.name) for path in folder.iterdir()}
        return {p: part for p, part in named.items() if part and (part.stream, part.shard) == (self._stream, shard)}

    def _forget_from(self, part: StreamPart, written: set[Path]) -> None:
        """Empty the parts of a lost attempt: those from this pane on, but for the ones about to be written anew."""
        schemas = {self._folder.tables / name: arrow_schema(table) for name, table in self._tables.items()}
        schemas |= {self._folder.log: LOG_SCHEMA, self._folder.log_erased: ERASED_SCHEMA}
        for folder, schema in schemas.items():
            for path, found in self._written(folder, part.shard).items():
                if found.pane > part.pane or (found.pane == part.pane and folder not in written):
                    _write(schema.empty_table(), path)


def _write(rows: Any, target: Path, *, replace: bool = True) -> bool:
    """Put a part in place at once and on the disk. Without ``replace`` it says False when the name is taken."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(f".{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        pq.write_table(rows, temporary, compression="zstd", compression_level=1)
        to_disk(temporary)
        if replace:
            temporary.replace(target)
            return True
        try:
            target.hardlink_to(temporary)
        except FileExistsError:
            return False
        return True
    finally:
        temporary.unlink(missing_ok=True)
