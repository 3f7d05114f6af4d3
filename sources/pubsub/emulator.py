"""The Pub/Sub server for trials and tests: finding it, becoming it, and having it run beside us.

The server is Google's own ``pstest`` (``infra/pubsub-server``), built by ``make pubsub-server`` beside the programs of
this environment. It keeps everything in memory, every message until it ends. Errors: ``ServiceError``.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contracts.errors import ServiceError

SERVER = "wayline-pubsub-server"
DEFAULT_PORT = 8085
_ENDS_WITHIN = 10.0
_GUARD = """
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
{ read -r _ <&3; kill "$server" 2>/dev/null; } >/dev/null &
wait "$server"
code=$?
kill $! 2>/dev/null
exit "$code"
"""
"""Runs the server until it ends or our end of the pipe is closed: also when we are killed, it does not stay behind."""


def find_server() -> Path | None:
    """The server's program, in this environment or on the search path; None when it is not built."""
    beside = Path(sys.executable).parent / SERVER
    if beside.is_file():
        return beside
    found = shutil.which(SERVER)
    return Path(found) if found else None


def need_server() -> Path:
    """``find_server``, or a ServiceError that says how to get it."""
    program = find_server()
    if program is not None:
        return program
    if shutil.which("go") is None:
        raise ServiceError(
            "the Pub/Sub server is not built, and Go, which builds it, is not on this machine",
            hint="install Go 1.24 or newer, then: make pubsub-server",
        )
    raise ServiceError("the Pub/Sub server is not built", hint="make pubsub-server")


def free_port(port: int) -> int:
    """``port``, known to be free a moment ago; for 0 one that is. Raises ServiceError when it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("localhost", port))
        except OSError as error:
            raise ServiceError(
                f"port {port} cannot be listened on: {error.strerror or error}",
                hint="end what listens there, or choose another one: --port N (0 takes a free one)",
            ) from error
        return int(probe.getsockname()[1])


def become_server(program: Path, port: int) -> None:
    """Replace this process by the server, so that signals reach it itself; it ends with code 0 on SIGINT and SIGTERM.

    Does not return. Raises ServiceError when the program cannot be run.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execv(program, [str(program), "--port", str(port)])
    except OSError as error:
        raise ServiceError(
            f"{program} cannot be run: {error.strerror or error}", hint="build it anew: make pubsub-server"
        ) from error


@contextmanager
def running_server() -> Iterator[str]:
    """A server in a process of its own, on a free port, until the context ends. Gives ``host:port``.

    Raises:
        ServiceError: it is not built, or does not start.
    """
    program = need_server()
    # a session of its own: Ctrl-C is for whoever started it, and it ends last
    process = subprocess.Popen(
        ["sh", "-c", _GUARD, "pubsub-server", str(program), "--port", "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        if not address:
            raise ServiceError(
                f"{program} does not start: it ended with code {process.wait()}",
                hint="build it anew: make pubsub-server",
            )
        yield f"localhost:{address.rpartition(':')[2]}"
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            # the group that we made: the guard and the server
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert process.stdout is not None
        process.stdout.close()
