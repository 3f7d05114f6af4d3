"""What tests of every folder may use: real servers, each started once for all who ask."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent / "services"))

from googlesql import GoogleSql, find_googlesql
from pubsub_server import PubSubServer

from benchmarks.postgres_server import PostgresServer, binaries
from benchmarks.redis_server import RedisServer
from benchmarks.redis_server import program as redis_program
from sources.pubsub.emulator import find_server

# how long an example takes says how busy the machine is, not whether a rule holds
settings.register_profile("whatever_the_machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("whatever_the_machine")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the tests of a session that need one."""
    programs = binaries()
    if programs is None:
        pytest.skip("no PostgreSQL server on this machine (initdb, postgres); install one: make services")
    server = PostgresServer(programs)
    yield server
    server.remove()


@pytest.fixture(scope="session")
def pubsub_server() -> Iterator[PubSubServer]:
    """One Pub/Sub server for the tests of a session that need one; each takes topics of its own."""
    program = find_server()
    if program is None:
        pytest.skip("no Pub/Sub server in this environment; build it: make pubsub-server")
    server = PubSubServer(program)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One Redis server for the tests of a session that need one; it asks for a password."""
    found = redis_program()
    if found is None:
        pytest.skip("no redis-server on this machine; install it: make services")
    server = RedisServer(found, "only-for-tests")
    yield server
    server.remove()


@pytest.fixture(scope="session")
def google_sql() -> GoogleSql:
    """GoogleSQL's analyser and reference engine."""
    found = find_googlesql()
    if found is None:
        pytest.skip("no GoogleSQL in this environment; put it together: make googlesql")
    return found
