"""A run that keeps its stores in PostgreSQL gives what a run with the file in OUT gives, live and continued too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psycopg
import pytest
from run_world import FEW_SHARDS, Runs, assert_same, definitions, text_of

from benchmarks.postgres_server import PASSWORD, PostgresServer
from contracts.errors import ConfigurationError

STORE = "store: {postgres: {env: TEST_STORE_URL}}\n"


@pytest.fixture
def served(postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """An empty output folder whose stores are on the server."""
    monkeypatch.setenv("TEST_STORE_URL", postgres_server.make_schema())
    config = tmp_path / "served.yaml"
    config.write_text(FEW_SHARDS + STORE, encoding="utf-8")
    return Runs(tmp_path / "served", config)


def everything(runs: Runs) -> dict[str, list[tuple[object, ...]]]:
    names = [table.name for table in definitions(runs.config).tables]
    return runs.views([name for name in names if name not in ("run_ledger", "dead_letters", "expired_late")])


def sent(runs: Runs) -> list[str]:
    return sorted(line for path in runs.out.glob("actions/*.jsonl") for line in path.read_text().splitlines())


@pytest.mark.long
def test_a_run_on_the_server_equals_a_run_on_the_file(served: Runs, dirty_copy: Runs, dirty_world: Any) -> None:
    served.run_files(dirty_world.events, workers=2)
    assert_same(everything(served), everything(dirty_copy))
    live = [runs.run_files(dirty_world.events, actions="live") for runs in (served, dirty_copy)]
    assert live[0].effects == live[1].effects
    assert live[0].effects["sent"] > 0
    assert_same(everything(served), everything(dirty_copy))
    assert sent(served) == sent(dirty_copy)
    again = served.run_files(dirty_world.events, actions="live")
    assert again.effects == {}
    assert sent(served) == sent(dirty_copy), "what was sent is not sent again"
    assert not list(served.out.glob("stores/*.sqlite*"))
    assert PASSWORD not in text_of(served.out)


def test_the_stores_are_on_the_server_and_nowhere_else(served: Runs, dirty_world: Any) -> None:
    served.run(dirty_world.records[:200])
    with psycopg.connect(os.environ["TEST_STORE_URL"]) as connection:
        (decisions,) = connection.execute("SELECT count(*) FROM decisions").fetchone() or (0,)
    assert decisions == served.query("SELECT count(*) FROM decisions")[0][0] > 0


def test_a_run_without_its_url_ends_before_it_begins(
    served: Runs, dirty_world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_STORE_URL")
    with pytest.raises(ConfigurationError, match="environment variable TEST_STORE_URL: is not set"):
        served.run(dirty_world.records[:5])
    assert not list(served.out.glob("tables/*"))
