"""One world and one training for all tests of the registry: training imports Feast, Great Expectations and MLflow."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from model_world import DEFINITIONS, SETTINGS, TrainedWorld, write_world

from models.training import train
from pipelines import telemetry


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> TrainedWorld:
    """Trained, registered as challenger, never changed by a test."""
    telemetry.disable()
    out = tmp_path_factory.mktemp("world")
    write_world(out)
    return TrainedWorld(out, train(out, DEFINITIONS, SETTINGS))


@pytest.fixture
def trained_world(trained_once: TrainedWorld, tmp_path: Path) -> TrainedWorld:
    """A copy that a test may change."""
    out = tmp_path / "out"
    shutil.copytree(trained_once.out, out)
    return TrainedWorld(out, trained_once.trained)
