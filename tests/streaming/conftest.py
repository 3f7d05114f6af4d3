"""Embedded Flink, started once for the tests that run on it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.errors import EngineError
from pipelines import telemetry
from pipelines.flink.java import find_java
from pipelines.flink.job_server import JobServer, JobServerSettings, class_path

telemetry.disable()
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="session")
def flink_settings(tmp_path_factory: pytest.TempPathFactory) -> JobServerSettings:
    """Settings of a job server; the test is skipped where none can run."""
    settings = JobServerSettings(tmp_path_factory.mktemp("flink"))
    try:
        find_java()
        class_path(settings)
    except EngineError as error:
        pytest.skip(f"{error.message} ({error.hint})")
    return settings


@pytest.fixture(scope="session")
def job_server(flink_settings: JobServerSettings) -> Iterator[JobServer]:
    """One job server for the tests of a session; they run their jobs one at a time."""
    # workers import what the tests count with
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [before])])
    with JobServer(flink_settings) as server:
        yield server
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before
    shutil.rmtree(flink_settings.work, ignore_errors=True)
