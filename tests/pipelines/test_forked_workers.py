"""Workers forked from one process: each works in the environment of who asked, and who asked lasts as long as it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import worker_call
from pipelines.engine import early_workers
from pipelines.forked_workers import can_fork

pytestmark = pytest.mark.skipif(not can_fork(), reason="workers are forked on Linux only")

_SERVER = """
import os, signal, socket, sys, time
from pipelines.forked_workers import serve

def work():
    # in one write, so that the lines of two workers do not mix
    os.write(1, f"{os.environ['WHO']} {os.getppid()}\\n".encode())
    exec(os.environ["WHAT"])

with socket.socket(fileno=int(sys.argv[1])) as listener:
    serve(listener, work)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "workers"))
        listener.listen()
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, str(listener.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(listener.fileno(),),
            text=True,
        )
    yield process
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(20) == 0


def call(folder: Path, who: str, what: str) -> subprocess.Popen[bytes]:
    """What the runner starts."""
    command = [sys.executable, "-I", "-S", worker_call.__file__, str(folder / "workers")]
    return subprocess.Popen(command, env={**os.environ, "WHO": who, "WHAT": what}, stderr=subprocess.DEVNULL)


def said(server: subprocess.Popen[str]) -> tuple[str, int]:
    assert server.stdout is not None
    who, parent = server.stdout.readline().split()
    return who, int(parent)


def test_each_worker_has_the_environment_of_who_asked_and_one_parent(
    server: subprocess.Popen[str], tmp_path: Path
) -> None:
    calls = [call(tmp_path, who, "time.sleep(0.2)") for who in ("first", "second")]
    assert sorted([said(server), said(server)]) == [("first", server.pid), ("second", server.pid)]
    assert [asked.wait(20) for asked in calls] == [0, 0]


@pytest.mark.parametrize(
    ("what", "code"),
    [("raise ValueError('x')", 1), ("os.kill(os.getpid(), signal.SIGKILL)", 1), ("os._exit(0)", 1), ("pass", 0)],
)
def test_who_asked_ends_as_the_worker_does(server: subprocess.Popen[str], tmp_path: Path, what: str, code: int) -> None:
    assert call(tmp_path, "it", what).wait(20) == code


def test_who_asked_waits_for_the_end_of_the_worker_and_not_for_its_code_alone(
    server: subprocess.Popen[str], tmp_path: Path
) -> None:
    late = tmp_path / "late"
    what = f"import atexit; atexit.register(lambda: (time.sleep(0.5), open({str(late)!r}, 'w').close()))"
    assert call(tmp_path, "it", what).wait(20) == 0
    assert late.exists()


def test_the_process_ends_after_its_workers_and_has_what_they_used(
    server: subprocess.Popen[str], tmp_path: Path
) -> None:
    asked = call(tmp_path, "it", "until = time.process_time() + 1\nwhile time.process_time() < until: pass")
    assert said(server)[0] == "it"
    assert server.stdin is not None
    server.stdin.close()
    _, code, used = os.wait4(server.pid, 0)
    server.returncode = code
    assert asked.wait(20) == code == 0
    assert used.ru_utime + used.ru_stime >= 1.0


def test_one_that_asks_and_dies_harms_nobody(server: subprocess.Popen[str], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.connect(str(tmp_path / "workers"))
        dead.sendall(b'{"WHO": "ha')
    assert call(tmp_path, "it", "pass").wait(20) == 0


def test_where_nobody_forks_a_worker_loads_all_by_itself(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", worker_call.__file__, str(tmp_path / "workers")], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "CONTROL_API_SERVICE_DESCRIPTOR" in done.stderr, "Beam's own worker, which was told nothing"


def test_one_worker_is_this_process() -> None:
    with early_workers("DirectRunner", 1, model=False) as command:
        assert command is None


def test_the_process_that_has_loaded_all_makes_workers_of_beam_and_ends_with_the_run(tmp_path: Path) -> None:
    with early_workers("DirectRunner", 2, model=False) as command:
        assert command is not None
        done = subprocess.run(f"{command} 2>/dev/null", shell=True, timeout=100)
        assert done.returncode == 1, "Beam's worker, which was told nothing"
        folder = Path(command.split()[-1]).parent
        assert folder.is_dir()
    assert not folder.exists()


_KILLED = """
import os, signal
from pipelines.engine import early_workers
with early_workers("DirectRunner", 2, model=False) as command:
    print(command.split()[-1], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_of_a_launcher_that_was_killed_nothing_stays() -> None:
    killed = subprocess.run([sys.executable, "-c", _KILLED], capture_output=True, text=True, timeout=100)
    folder = Path(killed.stdout.strip()).parent
    until = time.monotonic() + 100
    while folder.exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert not folder.exists()
