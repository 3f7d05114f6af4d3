"""Worlds that are simulated once, and runs over them that many tests look at."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from run_world import FEW_SHARDS, Runs
from simulated import World

from pipelines import telemetry
from sources.simulator.config import WorldConfig

telemetry.disable()


@pytest.fixture(scope="session")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped definitions with few shards."""
    path = tmp_path_factory.mktemp("config") / "wayline.yaml"
    path.write_text(FEW_SHARDS, encoding="utf-8")
    return path


@pytest.fixture
def runs(tmp_path: Path, config_file: Path) -> Runs:
    """An empty output folder."""
    return Runs(tmp_path / "runs", config_file)


@pytest.fixture(scope="session")
def make_runs(tmp_path_factory: pytest.TempPathFactory, config_file: Path) -> Callable[[str], Runs]:
    """name -> an empty output folder that outlives the test."""
    return lambda name: Runs(tmp_path_factory.mktemp(name), config_file)


@pytest.fixture(scope="session")
def dirty_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Everything that can be wrong with events, in a few hundred of them."""
    config = WorldConfig(
        customers=30,
        days=10,
        seed=3,
        late_share=0.05,
        expired_share=0.03,
        offline_share=0.1,
        duplicate_share=0.05,
        conflict_share=0.04,
        malformed_share=0.03,
        dirty_share=0.03,
        kiosk_share=0.05,
        shared_share=0.4,
        erasure_share=0.15,
    )
    return World(tmp_path_factory.mktemp("dirty"), config)


@pytest.fixture(scope="session")
def dirty_run(make_runs: Callable[[str], Runs], dirty_world: World) -> Runs:
    """The dirty world in one run, never changed by a test."""
    runs = make_runs("dirty-run")
    runs.run_files(dirty_world.events)
    return runs


@pytest.fixture
def dirty_copy(dirty_run: Runs, runs: Runs) -> Runs:
    """A copy of it that a test may change."""
    shutil.copytree(dirty_run.out, runs.out, dirs_exist_ok=True)
    return runs
