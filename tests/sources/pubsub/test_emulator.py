"""``wayline pubsub-emulator``: it serves until it is told to stop, and says what is missing."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ServiceError
from sources.pubsub import emulator

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_in_the_foreground_and_ends_with_code_0(pubsub_server: Any, how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "pubsub-emulator", "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        address = lines[2].strip().rpartition(":")
        assert lines[1].strip() == f"export PUBSUB_EMULATOR_HOST=localhost:{address[2]}"
        socket.create_connection(("localhost", int(address[2])), timeout=5).close()
        process.send_signal(how)
        assert process.wait(timeout=10) == 0


def test_a_taken_port_is_named() -> None:
    with socket.socket() as holder:
        holder.bind(("localhost", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(ServiceError, match=f"port {port} cannot be listened on") as error:
            emulator.free_port(port)
    assert "--port" in error.value.hint


def test_a_server_that_is_not_built_is_named_with_the_command_that_builds_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServiceError, match="Go, which builds it") as error:
        emulator.need_server()
    assert error.value.hint.endswith("make pubsub-server")
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\n")
    go.chmod(0o755)
    with pytest.raises(ServiceError, match=r"server is not built$") as error:
        emulator.need_server()
    assert error.value.hint == "make pubsub-server"


def test_a_program_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="cannot be run"):
        emulator.become_server(tmp_path / "absent", 0)


def answers(endpoint: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("localhost", int(endpoint.rpartition(":")[2]))) == 0


def test_a_server_beside_us_ends_with_the_context(pubsub_server: Any) -> None:
    with emulator.running_server() as endpoint:
        assert answers(endpoint)
    assert not answers(endpoint)


def test_a_server_beside_us_does_not_outlive_a_process_that_is_killed(pubsub_server: Any) -> None:
    code = (
        "import time\nfrom sources.pubsub.emulator import running_server\n"
        "with running_server() as endpoint:\n    print(endpoint, flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        endpoint = process.stdout.readline().strip()
        assert answers(endpoint)
        process.kill()
    deadline = time.monotonic() + 20
    while answers(endpoint) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not answers(endpoint)
