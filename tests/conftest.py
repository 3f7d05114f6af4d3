"""What tests of every folder may use: real servers, each started once for all who ask."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "services"))

import beam_signatures
import property_tests
from googlesql import GoogleSql, find_googlesql
from pubsub_server import PubSubServer

from benchmarks.postgres_server import PostgresServer, binaries
from benchmarks.redis_server import RedisServer
from benchmarks.redis_server import program as redis_program
from sources.pubsub.emulator import find_server

property_tests.load_profile()
# what is imported while tests are collected stays, so no search through it finds garbage: on again once all is there
gc.disable()
# a Java that lives for seconds is better off without the compiler that pays after minutes: half a Flink test's CPU
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")


def pytest_configure(config: pytest.Config) -> None:
    """An exploration takes hours."""
    if property_tests.TIMES > 1:
        config.pluginmanager.register(property_tests.TellAtOnce(config))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """As many examples as asked for."""
    property_tests.multiply(items, property_tests.TIMES)
    # first what is long: workers take from the end of each other's tests, so one of them begins with these, and has the
    # servers that they share, while what fills the last minute is short
    items.sort(key=_is_short)


def _is_short(item: pytest.Item) -> bool:
    return not item.nodeid.startswith("tests/streaming/") and item.get_closest_marker("long") is None


def pytest_collection_finish() -> None:
    """What is loaded by now stays: no search for garbage has to look through all of it again."""
    if "apache_beam" in sys.modules:
        beam_signatures.remember()
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_sessionfinish() -> None:
    """Libraries that count at the end what was never given back find nothing."""
    gc.unfreeze()


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
