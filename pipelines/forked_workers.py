"""Worker processes of the local runner, forked from one process that has loaded what they all need. Linux only.

To import Beam and the pipeline takes a second of CPU, and what loads a model another one. Here one process does that
for all workers, while the launcher still plans and builds the graph; each worker then begins at once and shares that
memory with the others. The process is single-threaded, knows nothing of the run, and ends with its workers when its
standard input has ended, that is, with the launcher, however that ends.

How a worker comes to be: the runner starts the program ``worker_call``, which asks for a worker through a Unix socket.
Where no process answers, it becomes a worker by itself, as it was before there was any of this.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from contracts.errors import INTERRUPTED
from pipelines import worker_call

MODEL = "--model"
_STDIN = 0
_MOST = 1 << 20
"""Bytes of an environment; the kernel allows less for one text of it."""


def can_fork() -> bool:
    """Whether workers may be forked here: elsewhere than on Linux, libraries do not bear it."""
    return sys.platform == "linux"


@contextmanager
def loaded_workers(*, model: bool, quiet: bool) -> Iterator[str]:
    """Begin to load what workers need, in a process of its own; give the command that starts a worker.

    Args:
        model: whether workers load a model.
        quiet: what workers say on standard error is lost.
    """
    folder = tempfile.mkdtemp(prefix="wayline-")
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            address = os.path.join(folder, "workers")
            # listened on from now, so that who asks before all is loaded waits
            listener.bind(address)
            listener.listen()
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(listener.fileno()), *([MODEL] if model else [])],
                stdin=subprocess.PIPE,
                stderr=subprocess.DEVNULL if quiet else None,
                pass_fds=(listener.fileno(),),
            )
        try:
            yield f"{shlex.quote(sys.executable)} -I -S {shlex.quote(worker_call.__file__)} {shlex.quote(address)}"
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def serve(listener: socket.socket, work: Callable[[], None]) -> None:
    """Fork a worker for everybody who asks, until standard input ends. In a worker: do its work, and return.

    Args:
        listener: where they ask.
        work: what a worker does, in the environment of who asked.
    """
    gc.collect()
    gc.freeze()  # no collection of a worker has to walk through what all share, and so to copy it
    while True:
        ready, _, _ = select.select([listener.fileno(), _STDIN], [], [])
        if _STDIN in ready:
            _see_all_end()
            gc.unfreeze()
            return
        connection, _ = listener.accept()
        with connection:
            environment = _asked(connection)
            if environment is not None and os.fork() == 0:
                listener.close()
                _as_worker(connection, environment, work)
                return


def _see_all_end() -> None:
    """Wait for every worker: what they used counts as used by whoever waits for this process only then."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def _asked(connection: socket.socket) -> dict[str, str] | None:
    """The environment that was sent; None from one that died meanwhile."""
    said = b""
    try:
        while not said.endswith(b"\n") and len(said) < _MOST:
            part = connection.recv(1 << 16)
            if not part:
                return None
            said += part
        environment: dict[str, str] = json.loads(said)
    except (OSError, ValueError):
        return None
    return environment


def _as_worker(connection: socket.socket, environment: dict[str, str], work: Callable[[], None]) -> None:
    """Work as the process that asked would, and tell it the exit code."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, _STDIN)
    os.close(nothing)
    os.environ.clear()
    os.environ.update(environment)
    connection.sendall(worker_call.STARTED)
    # who asked sees the end of the process by the end of this copy of the connection, which stays open till then
    held = os.dup(connection.fileno())
    code = 1
    try:
        work()
        code = 0
    finally:
        with suppress(OSError):
            os.write(held, bytes([code]))
        gc.unfreeze()  # what libraries count at the end of a process is not held by us


def _load(*, model: bool) -> Callable[[], None]:
    """Import what workers need; what a worker does then."""
    importlib.import_module("pipelines.graph")
    importlib.import_module("transforms.worker_process").sample_often()
    main: Callable[[list[str]], None] = importlib.import_module(worker_call.WORKER).main
    if model:
        from models.bundle import TRUSTED_TYPES
        from models.skops_import import skops_io

        skops_io()
        for name in TRUSTED_TYPES:
            importlib.import_module(name.rpartition(".")[0])
    return lambda: main([worker_call.WORKER])


def main() -> None:
    """``python -m pipelines.forked_workers DESCRIPTOR [--model]``."""
    descriptor, *options = sys.argv[1:]
    me = os.getpid()
    with socket.socket(fileno=int(descriptor)) as listener:
        folder = os.path.dirname(listener.getsockname())
        try:
            serve(listener, _load(model=MODEL in options))
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        finally:
            if os.getpid() == me:
                # a launcher that was killed leaves it
                shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
