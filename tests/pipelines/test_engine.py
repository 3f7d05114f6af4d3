"""The runner: what does not exist is refused before a graph is built; what a worker raised comes back as it was."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from contracts.errors import LockedError, OutputError, UsageError
from pipelines.commands.run import print_report
from pipelines.engine import cause, engine_options, local_runner
from pipelines.run import RunReport
from transforms.ledger import LedgerRow


def test_the_bounded_direct_runner_is_named() -> None:
    assert engine_options("DirectRunner", 1, ()).get_all_options()["runner"] == "FnApiRunner"


def test_options_go_to_beam_as_they_are() -> None:
    found = engine_options("DirectRunner", 2, ("--job_name=nightly",)).get_all_options()
    assert (found["job_name"], found["direct_num_workers"]) == ("nightly", 2)


def test_several_workers_are_started_by_a_command_that_bears_a_space_in_the_path_of_python(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert local_runner(engine_options("DirectRunner", 1, ())) is None
    monkeypatch.setattr("sys.executable", "/my code/bin/python")
    monkeypatch.delenv("WAYLINE_LOG", raising=False)
    runner = local_runner(engine_options("DirectRunner", 2, ()))
    command = runner._default_environment.command_string
    assert command == "'/my code/bin/python' -m apache_beam.runners.worker.sdk_worker_main 2>/dev/null"
    monkeypatch.setenv("WAYLINE_LOG", "DEBUG")
    assert "2>" not in local_runner(engine_options("DirectRunner", 2, ()))._default_environment.command_string


@pytest.mark.parametrize(
    ("option", "near"), [("--acttions=live", "--actions"), ("--job_nane=x", "--job_name"), ("--worker=4", "--workers")]
)
def test_a_misspelt_option_is_refused_with_the_nearest(option: str, near: str) -> None:
    with pytest.raises(UsageError) as caught:
        engine_options("DirectRunner", 1, (option,))
    assert near in caught.value.hint


def test_an_unknown_runner_is_refused() -> None:
    with pytest.raises(UsageError, match="'Bogus'"):
        engine_options("Bogus", 1, ())


def test_an_error_of_ours_is_found_in_the_text_of_another_process() -> None:
    text = (
        'Traceback (most recent call last):\n  File "worker.py", line 1, in process\n'
        "contracts.errors.LockedError: effects.sqlite is locked by another process [while running 'Act/Perform']\n"
    )
    found = cause(RuntimeError(text))
    assert isinstance(found, LockedError)
    assert found.message == "effects.sqlite is locked by another process"


def test_a_full_disk_in_another_process_is_an_output_error() -> None:
    text = "Traceback:\nOSError: [Errno 28] No space left on device [while running 'Tables/WriteJourneys']\n"
    assert isinstance(cause(RuntimeError(text)), OutputError)


def test_a_defect_is_not_dressed_up() -> None:
    assert cause(RuntimeError("KeyError: 'x'")) is None


def report(models: tuple[tuple[str, int], ...]) -> str:
    console = Console(file=io.StringIO(), width=100)
    row = LedgerRow("web", received=1, accepted=1)
    print_report(console, Path("out"), RunReport("run-000001", 1, (row,), row, {}, {}, 1.0, {}, models))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_run_without_a_model_says_that_rules_alone_decide() -> None:
    assert "rules alone" in report(())


def test_a_run_with_a_model_says_which_and_from_when() -> None:
    assert "events from 1970-01-01 00:00:01Z on are scored by stage-1" in report((("stage-1", 1_000_000),))


_INTERRUPTED = """
import os, signal, threading, time
from pipelines.interruption import interruptible
try:
    with interruptible(patience=0.3):
        {what}
except KeyboardInterrupt as error:
    print("interrupted by", type(error.__cause__).__name__, flush=True)
{then}
"""
_STRIKE = "os.kill(os.getpid(), signal.SIGINT)"
_MEANWHILE = f"try:\n            {_STRIKE}\n        finally:\n            "


@pytest.mark.parametrize(
    ("what", "then", "code", "said"),
    [
        (_STRIKE, "", 0, "interrupted by NoneType"),
        # what a runner makes of a worker that heard it first
        (
            f"{_MEANWHILE}raise RuntimeError('a worker ended')",
            "",
            0,
            "RuntimeError",
        ),
        # what a runner waits for in the end
        (f"{_MEANWHILE}time.sleep(60)", "", 130, ""),
        (_STRIKE, "threading.Thread(target=time.sleep, args=(60,)).start()", 130, "interrupted by NoneType"),
        ("raise ValueError('no Ctrl-C')", "", 1, ""),
    ],
    ids=["at once", "a failure", "a wait inside", "a wait at the end", "no interruption"],
)
def test_ctrl_c_ends_a_process_whatever_a_runner_makes_of_it(what: str, then: str, code: int, said: str) -> None:
    program = _INTERRUPTED.format(what=what, then=then)
    # a shell's background is deaf to Ctrl-C, and hands that on
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n" + program
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50)
    assert done.returncode == code, done.stderr
    assert said in done.stdout


_UNHURRIED = """
import os, signal, sys, time
from pipelines.interruption import interruptible, unhurried
if "deaf" in sys.argv:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
else:
    signal.signal(signal.SIGINT, signal.default_int_handler)
with interruptible(patience=0.3):
    with unhurried():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            print("deaf", flush=True)
        except KeyboardInterrupt:
            time.sleep(1)
            print("drained", flush=True)
    print("finished", flush=True)
    if "again" in sys.argv:
        os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [("", 0, "drained finished"), ("deaf", 0, "deaf finished"), ("again", 1, "drained finished")],
)
def test_what_answers_for_its_own_end_has_the_time_for_it_and_what_comes_after_has_not(
    how: str, code: int, said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _UNHURRIED, how], capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.stdout.split(), bool(done.returncode)) == (said.split(), bool(code)), done.stderr
