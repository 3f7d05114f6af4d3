"""Writing parts: one Parquet file a ``TableFile``, under a temporary name, then renamed.

Nothing here is visible to readers: parts go to the staging folder of the run and ``commit`` publishes them together.
The part's name comes from its producer and is the same on a retry, so a retried bundle writes the same file again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import apache_beam as beam

from contracts.exchange import TableFile


def write_part(folder: Path, batch: TableFile) -> Path:
    """Write one part below ``folder/TABLE/``. Raises OSError when the disk refuses."""
    target = folder / batch.table / f"{batch.part}.parquet"
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_bytes(batch.parquet)
    temporary.replace(target)
    return target


class _WritePart(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    def __init__(self, staging: str) -> None:
        self._staging = Path(staging)

    def process(self, batch: TableFile) -> None:
        write_part(self._staging, batch)


class WriteParts(beam.PTransform):  # type: ignore[misc]
    """PCollections of TableFile, by the name of who makes them, to parts in ``staging``.

    Each is written where it is made: flattened together they would all be held in memory by a bounded runner. Output:
    none. State: none. Errors: a full or read-only disk fails the bundle.
    """

    def __init__(self, staging: str) -> None:
        super().__init__()
        self._staging = staging

    def expand(self, batches: Mapping[str, beam.PCollection]) -> None:
        for maker, made in batches.items():
            _ = made | f"Write{maker}" >> beam.ParDo(_WritePart(self._staging))
