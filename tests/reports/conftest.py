"""A tiny real output folder, made once: a simulated world, run in two parts, so that it holds revisions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from contracts.tables import Table
from pipelines.definitions import Definitions, load_definitions
from pipelines.run import run
from pipelines.run_options import RunOptions
from reports.lookup import JourneyTables, Row
from reports.page.renewal import Renewal
from reports.page.sections import Section
from reports.page.server import board_server
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


@pytest.fixture(scope="session")
def served() -> Callable[..., AbstractContextManager[int]]:
    """What serves a board over sections, and gives its port."""
    return _served


@pytest.fixture(scope="session")
def contrast() -> Callable[[str, str], float]:
    """Contrast of two colours."""
    return _contrast


@contextmanager
def _served(
    shown: Sequence[Section],
    story: Callable[[str], Callable[[], str]] = lambda asked: str,
    state: Callable[[], object] = int,
    connect: Callable[[], Any] = duckdb.connect,
    wait: bool = True,
) -> Iterator[int]:
    """The port of a board over sections."""
    with Renewal(shown, connect, state, pause=0.02) as renewal, board_server(0, renewal, story) as server:
        assert not wait or renewal.settled(30)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(a: str, b: str) -> float:
    """Contrast of two colours as WCAG 2 defines it."""
    light, dark = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
