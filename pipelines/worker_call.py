"""Ask the process of ``pipelines.forked_workers`` for a worker, and last as long as it does.

A program of its own, which the runner starts as if it were the worker: ``python -I -S worker_call.py SOCKET``. It
imports next to nothing. It sends its environment, in which the runner tells a worker where it is wanted, and ends with
the code of the worker. Where nobody forks one, it becomes a worker itself.
"""

from __future__ import annotations

import json
import os
import socket
import sys

WORKER = "apache_beam.runners.worker.sdk_worker_main"
STARTED = b"s"
"""What comes first from a worker that was forked; its exit code, one byte, comes before it ends."""


def ask(address: str) -> int | None:
    """Wait for a worker from its start to its end; its exit code, None when none was started.

    Args:
        address: path of the Unix socket.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(address)
            connection.sendall(json.dumps(dict(os.environ)).encode() + b"\n")
            if connection.recv(1) != STARTED:
                return None
        except OSError:
            return None
        code = 1  # of one that ended without a word
        try:
            while said := connection.recv(1):
                code = said[0]
        except OSError:
            pass
        return code


if __name__ == "__main__":
    found = ask(sys.argv[1])
    if found is None:
        os.execv(sys.executable, [sys.executable, "-m", WORKER])
    sys.exit(found)
