"""A short chaos: kills, a restart from the checkpoint, and stores that go away change neither tables nor effects."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chaos import Trial, run


@pytest.mark.timeout(420)  # a minute on a machine that has nothing else to do
@pytest.mark.usefixtures("flink_settings")  # skipped where Flink cannot run
def test_a_stream_that_is_killed_ends_as_one_that_is_not(tmp_path: Path) -> None:
    result = run(Trial(tmp_path / "chaos", kills=3, restarts=1, outage=2.0, pause=1.5, customers=10, days=8))
    assert result.faults == []
    assert sum("kill -9 of the worker" in what for _, what in result.blows) >= 2
    assert sum("launcher" in what for _, what in result.blows) == 1
    assert result.effects, "no action had an effect, so none could have had two"
