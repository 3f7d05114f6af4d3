"""Ctrl-C at whatever a command does: it ends within ten seconds, says so, and its code is 130."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from run_world import MINUTE, NOON, event, write_events

from contracts.errors import INTERRUPTED

STRUCK = Path(__file__).with_name("struck")


def wayline(*arguments: str, struck: str | None = None) -> tuple[int, str]:
    """The real command: its code, and what it said of errors."""
    environment = {**os.environ, "PYTHONPATH": str(STRUCK), "WAYLINE_STRUCK": struck or ""}
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *arguments],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interrupted")
    events = [event(f"e{n}", "page_view", NOON + n * MINUTE, {"anonymous_id": f"a{n % 3}"}) for n in range(12)]
    write_events(folder / "events" / "events.avro", events)
    code, said = wayline("run", f"--input={folder / 'events'}", f"--out={folder / 'out'}")
    assert code == 0, said
    return folder / "out"


@pytest.mark.parametrize(
    ("command", "place"),
    [
        (("run", "--input={events}", "--out={out}"), "reports.table_check:hold"),
        (("run", "--input={events}", "--out={out}"), "transforms.tables.commit:commit"),
        (("reconcile", "--out={out}"), "reports.table_check:hold"),
        (("tables", "compact", "--out={out}"), "transforms.tables.compaction:compact"),
        (("train", "--out={out}"), "models.training:train"),
        (("report", "--out={out}"), "reports.written:report_page"),
    ],
    ids=lambda given: given[0] if isinstance(given, tuple) else given,
)
def test_ctrl_c_while_a_database_answers_is_an_interruption_and_no_failure(
    out: Path, command: tuple[str, ...], place: str
) -> None:
    code, said = wayline(*(part.format(events=out.parent / "events", out=out) for part in command), struck=place)
    assert code == INTERRUPTED, said
    # who answers for too long is not waited for
    assert said.strip().splitlines()[-1].startswith("interrupted")
    assert "error" not in said
    assert "Traceback" not in said


def test_what_was_interrupted_after_its_commit_is_whole(out: Path) -> None:
    code, said = wayline("query", "SELECT count(*) AS n FROM events", f"--out={out}")
    assert (code, said) == (0, "")
