"""Sorting more events than fit in memory: people are generated one chunk after the other, files go by received time.

Encoded records are spilled into buckets of received time; then each bucket is sorted and written on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import TracebackType

import numpy as np

from sources.simulator.avro import ContainerWriter, Ints
from sources.simulator.config import Segment

_PER_BUCKET = 40_000
_MAX_BUCKETS = 512


class Spill:
    """Buckets on disk, used as a context: they are gone at its end, whatever happens.

    Args:
        folder: a folder that does not exist yet.
        segment: time that the buckets divide; what is received outside goes to the first or last.
        expected: about how many records will come.
    """

    def __init__(self, folder: Path, segment: Segment, expected: int) -> None:
        self._folder = folder
        count = min(_MAX_BUCKETS, max(1, expected // _PER_BUCKET))
        self._edges = np.linspace(segment.start, segment.end, count + 1).astype(np.int64)[1:-1]
        self.records = 0

    def __enter__(self) -> Spill:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, received: Ints, records: list[bytes]) -> None:
        """Take records with their received times, in any order."""
        order = np.argsort(received, kind="stable")
        ordered = received[order]
        positions = order.tolist()
        cuts = [0, *np.searchsorted(ordered, self._edges, side="left").tolist(), len(positions)]
        for bucket, (low, high) in enumerate(pairwise(cuts)):
            if low == high:
                continue
            chosen = [records[position] for position in positions[low:high]]
            index = np.column_stack([ordered[low:high], np.fromiter(map(len, chosen), np.int64, high - low)])
            with self._path(bucket, "index").open("ab") as out:
                out.write(index.astype("<i8").tobytes())
            with self._path(bucket, "records").open("ab") as out:
                out.write(b"".join(chosen))
        self.records += len(positions)

    def write(self, open_part: Callable[[int], ContainerWriter], per_file: int) -> list[Path]:
        """Write everything in order of received time, ties in order of arrival here, ``per_file`` records a file."""
        paths: list[Path] = []
        writer: ContainerWriter | None = None
        for bucket in range(len(self._edges) + 1):
            records = self._sorted(bucket)
            while records:
                if writer is None:
                    writer = open_part(len(paths))
                    paths.append(writer.path)
                room = per_file - writer.records
                writer.write(records[:room])
                records = records[room:]
                if writer.records >= per_file:
                    writer.close()
                    writer = None
        if writer is not None:
            writer.close()
        return paths

    def _sorted(self, bucket: int) -> list[bytes]:
        index_path = self._path(bucket, "index")
        if not index_path.exists():
            return []
        index = np.frombuffer(index_path.read_bytes(), dtype="<i8").reshape(-1, 2)
        data = self._path(bucket, "records").read_bytes()
        ends = np.cumsum(index[:, 1])
        starts = (ends - index[:, 1]).tolist()
        stops = ends.tolist()
        order = np.argsort(index[:, 0], kind="stable").tolist()
        return [data[starts[row] : stops[row]] for row in order]

    def _path(self, bucket: int, kind: str) -> Path:
        return self._folder / f"{bucket:04d}.{kind}"
