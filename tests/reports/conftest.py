"""A tiny real output folder, made once: a simulated world, run in two parts, so that it holds revisions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.tables import Table
from pipelines.definitions import Definitions, load_definitions
from pipelines.plan import RunOptions
from pipelines.run import run
from reports.lookup import JourneyTables, Row
from sources.simulator.config import WorldConfig
from sources.simulator.world import simulate


@pytest.fixture(scope="session")
def definitions() -> Definitions:
    loaded = load_definitions(None)
    # two shards show as much as sixty-four, and cost less
    return replace(loaded, config=replace(loaded.config, strand_shards=2, journey_shards=2))


@pytest.fixture(scope="session")
def tables(definitions: Definitions) -> dict[str, Table]:
    return {table.name: table for table in definitions.tables}


@pytest.fixture(scope="session")
def tiny_out(tmp_path_factory: pytest.TempPathFactory, definitions: Definitions) -> Path:
    root = tmp_path_factory.mktemp("tiny")
    simulate(WorldConfig(customers=8, days=16, seed=5, expired_share=0.01, malformed_share=0.02), root / "world")
    parts = sorted(str(path) for path in (root / "world" / "events").glob("*.avro"))
    out = root / "out"
    run(RunOptions((*parts[:2],), out), definitions=definitions)
    run(RunOptions((*parts,), out), definitions=definitions)
    return out


@pytest.fixture
def found(tiny_out: Path, definitions: Definitions) -> Iterator[JourneyTables]:
    tables = JourneyTables(tiny_out, definitions.tables)
    yield tables
    tables.close()


@pytest.fixture
def busiest(found: JourneyTables) -> Row:
    row = found.first("journeys", "TRUE", order="events DESC, person_id")
    assert row is not None
    return row
