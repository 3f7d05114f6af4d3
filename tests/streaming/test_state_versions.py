"""A checkpoint of a newer release, or of a job of other tasks, is refused by name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))

from click.testing import CliRunner
from run_world import MINUTE, NOON, event, write_events

from benchmarks.chaos_parts import ONE_WORKER, StreamProcess
from contracts.errors import OtherGraphError, StateVersionError
from pipelines.cli import wayline as command
from transforms.actor.segments import VERSION

FAULTS = Path(__file__).with_name("faults")


@pytest.mark.timeout(420)  # a minute on a machine that has nothing else to do
@pytest.mark.usefixtures("flink_settings")  # skipped where Flink cannot run
def test_a_stream_does_not_resume_from_a_checkpoint_of_a_newer_release_or_another_graph_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, feed = tmp_path / "out", tmp_path / "feed"
    some = [event(n, "page_view", NOON + n * MINUTE, {"anonymous_id": f"a{n % 3}"}) for n in range(12)]
    write_events(feed / "events.avro", some)
    options = ["--source=files", f"--input={feed}", "--follow", f"--out={out}", "--no-view", "--workers=2"]
    monkeypatch.setenv("PYTHONPATH", str(FAULTS))
    monkeypatch.setenv("WAYLINE_STATE_VERSION", str(VERSION + 1))
    with StreamProcess(options, out, 240) as stream:
        stream.await_received(len(some))
        stream.await_work()
        stream.kill_all()
        monkeypatch.delenv("WAYLINE_STATE_VERSION")
        older = CliRunner().invoke(command, ["stream", *options, "--resume"])
        assert isinstance(older.exception, StateVersionError), older.output
        assert older.exception.exit_code == 11
        assert f"version {VERSION + 1}" in older.exception.message
        assert "release that wrote it" in older.exception.hint
        cut_otherwise = CliRunner().invoke(command, ["stream", *options, ONE_WORKER, "--resume"])
        assert isinstance(cut_otherwise.exception, OtherGraphError), cut_otherwise.output
        assert cut_otherwise.exception.exit_code == 11
        assert "--workers" in cut_otherwise.exception.hint
