"""What tests of every folder may use: a real PostgreSQL server, started once for all who ask."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "services"))

from postgres_server import PostgresServer, binaries


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the tests of a session that need one."""
    programs = binaries()
    if programs is None:
        pytest.skip("no PostgreSQL server on this machine; install one: make services")
    server = PostgresServer(programs)
    yield server
    server.remove()
