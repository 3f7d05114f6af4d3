"""Every test that takes ``place`` runs twice: on a SQLite file, and on a schema of a real PostgreSQL server."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from store_world import MakePlace, Place, in_file, in_server

from benchmarks.postgres_server import PostgresServer


@pytest.fixture(params=["sqlite", "postgres"])
def make_place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MakePlace:
    """A maker of empty databases, for tests that need several."""

    def make() -> Place:
        folder = tmp_path_factory.mktemp("place")
        if request.param == "sqlite":
            return in_file(folder)
        server: PostgresServer = request.getfixturevalue("postgres_server")
        return in_server(folder, server.make_schema())

    if request.param == "postgres":
        request.getfixturevalue("postgres_server")
    return make


@pytest.fixture
def place(make_place: MakePlace) -> Place:
    """An empty database."""
    return make_place()
