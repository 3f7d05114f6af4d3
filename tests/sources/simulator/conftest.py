"""One small world, made once, that the tests of the simulator look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import pandas as pd
import pyarrow.parquet as pq
import pytest

from sources.simulator.config import WorldConfig
from sources.simulator.world import SimulationSummary, simulate


@dataclass(frozen=True)
class Made:
    """A world on disk, and its files read back by libraries that are not ours."""

    config: WorldConfig
    folder: Path

    def records(self, pattern: str = "*.avro") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for path in sorted((self.folder / "events").glob(pattern)):
            with path.open("rb") as file:
                found.extend(fastavro.reader(file))
        return found

    def truth(self, name: str) -> pd.DataFrame:
        frame: pd.DataFrame = pq.read_table(self.folder / "truth" / f"{name}.parquet").to_pandas()
        return frame


@dataclass(frozen=True)
class MadeWithSummary(Made):
    """A world, and what its maker said about it."""

    summary: SimulationSummary


CONFIG = WorldConfig(
    customers=300,
    days=40,
    seed=3,
    opt_out_share=0.3,
    erasure_share=0.1,
    duplicate_share=0.02,
    conflict_share=0.003,
    malformed_share=0.01,
    late_share=0.02,
    expired_share=0.01,
    skew_share=0.05,
    events_per_file=6_000,
)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeWithSummary:
    folder = tmp_path_factory.mktemp("world")
    return MadeWithSummary(CONFIG, folder, simulate(CONFIG, folder))


@pytest.fixture(scope="session")
def records(made: MadeWithSummary) -> list[dict[str, Any]]:
    return made.records()


@pytest.fixture(scope="session")
def look_at() -> type[Made]:
    """Look at a world that a test made itself."""
    return Made
