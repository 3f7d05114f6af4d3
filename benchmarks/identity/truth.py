"""The truth of a simulated world about who did what. Read for evaluation only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.identity.agreement import Ints
from benchmarks.identity.evidence import number_of
from contracts.errors import InputError


@dataclass(frozen=True)
class Truth:
    """``person[i]`` is the row in ``names`` of who did event ``event_id[i]``; in order of ``event_id``."""

    event_id: NDArray[np.uint64]
    person: Ints
    names: list[str]

    def rows_of(self, event_id: NDArray[np.uint64]) -> Ints:
        """The row of each event, -1 for one that the truth does not know."""
        rows = np.minimum(np.searchsorted(self.event_id, event_id), len(self.event_id) - 1)
        return np.where(self.event_id[rows] == event_id, rows, -1).astype(np.int64)


def read_truth(world: Path) -> Truth:
    """The truth about the events of a world. Raises InputError when the folder holds none."""
    path = world / "truth" / "events.parquet"
    try:
        ids: list[NDArray[np.uint64]] = []
        persons: list[Ints] = []
        names: dict[str, int] = {}
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["event_id", "true_person_id"]):
                texts = batch.column(0).to_pylist()
                ids.append(np.fromiter(map(number_of, texts), np.uint64, len(texts)))
                coded = batch.column(1).dictionary_encode()
                codes = [names.setdefault(name, len(names)) for name in coded.dictionary.to_pylist()]
                persons.append(np.array(codes, dtype=np.int64)[coded.indices.to_numpy()])
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(
            f"{path} cannot be read: {error}", hint="give a folder that `wayline simulate` wrote"
        ) from error
    event_id = np.concatenate(ids) if ids else np.zeros(0, dtype=np.uint64)
    order = np.argsort(event_id, kind="stable")
    # numbers follow the names, so that a tie between persons is broken by name
    ordered = sorted(names)
    rank = np.empty(len(names), dtype=np.int64)
    rank[[names[name] for name in ordered]] = np.arange(len(names))
    person = rank[np.concatenate(persons)] if persons else np.zeros(0, dtype=np.int64)
    return Truth(event_id[order], person[order], ordered)
