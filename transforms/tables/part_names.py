"""What the files of a table, and of the log, are called: who wrote a part can be told from its name. No Beam.

``r000007-delta.parquet``: a bounded run, its revision. ``s0002-0a-00000031.parquet``: stream 2 on this OUT, its writer
shard, the number of the pane. ``c000004-00.parquet``: the fourth compaction. ``_schema.parquet`` has no row and every
column, so that a view exists before the first row, and columns added later are known. Anything else in the folder is a
temporary file, or not ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

SCHEMA_PART = "_schema.parquet"

_BOUNDED = re.compile(r"r(\d+)-.*\.parquet")
_STREAM = re.compile(r"s(\d{4,})-([0-9a-f]*)-(\d{8,})\.parquet")
_COMPACTED = re.compile(r"c(\d+)-.*\.parquet")


@dataclass(frozen=True, slots=True)
class StreamPart:
    """A part of a stream: the number of the stream on its OUT, the shard as hexadecimal digits, and the pane."""

    stream: int
    shard: str
    pane: int

    @property
    def name(self) -> str:
        return f"s{self.stream:04d}-{self.shard}-{self.pane:08d}.parquet"


def stream_part(name: str) -> StreamPart | None:
    """The part of a stream that has this name; None for any other name."""
    found = _STREAM.fullmatch(name)
    return None if found is None else StreamPart(int(found[1]), found[2], int(found[3]))


def bounded_revision(name: str) -> int | None:
    """The revision of the run that wrote a part of this name; None when no run did."""
    found = _BOUNDED.fullmatch(name)
    return None if found is None else int(found[1])


def compaction_number(name: str) -> int | None:
    """The number of the compaction that wrote a part of this name; None when none did."""
    found = _COMPACTED.fullmatch(name)
    return None if found is None else int(found[1])


def parts_in(folder: Path) -> list[Path]:
    """The parts with rows in a folder of ``OUT/tables``, or in ``OUT/log``, by name; none when there is no folder."""
    if not folder.is_dir():
        return []
    named = (_BOUNDED, _STREAM, _COMPACTED)
    return sorted(path for path in folder.iterdir() if any(pattern.fullmatch(path.name) for pattern in named))
