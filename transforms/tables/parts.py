"""Writing parts: one Parquet file a ``TableBatch``, under a temporary name, then renamed.

Nothing here is visible to readers: parts go to the staging folder of the run and ``commit`` publishes them together.
The part's name comes from its producer and is the same on a retry, so a retried bundle writes the same file again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from contracts.exchange import TableBatch


def write_part(folder: Path, batch: TableBatch) -> Path:
    """Write one part below ``folder/TABLE/``. Raises OSError when the disk refuses."""
    target = folder / batch.table / f"{batch.part}.parquet"
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(f".{os.getpid()}.tmp")
    with pa.ipc.open_stream(batch.ipc) as reader:
        pq.write_table(reader.read_all(), temporary, compression="zstd", compression_level=1)
    temporary.replace(target)
    return target


class _WritePart(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    def __init__(self, staging: str) -> None:
        self._staging = Path(staging)

    def process(self, batch: TableBatch) -> Iterator[tuple[str, int]]:
        write_part(self._staging, batch)
        yield batch.table, batch.rows


class WriteParts(beam.PTransform):  # type: ignore[misc]
    """PCollection[TableBatch] to parts in ``staging``.

    Output: (table, rows) of every part written. State: none. Errors: a full or read-only disk fails the bundle.
    """

    def __init__(self, staging: str) -> None:
        super().__init__()
        self._staging = staging

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        return batches | "WritePart" >> beam.ParDo(_WritePart(self._staging)).with_output_types(tuple[str, int])
