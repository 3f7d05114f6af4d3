"""A real Pub/Sub server in a process of its own, for tests: what `make pubsub-server` builds."""

from __future__ import annotations

import secrets
import signal
import subprocess
from pathlib import Path

PROJECT = "wayline-trial"


class PubSubServer:
    """A server on a free port of localhost. ``stop`` ends it by its process id; ``start`` begins anew, empty."""

    def __init__(self, program: Path, *options: str) -> None:
        self._program = program
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self.endpoint = "localhost:0"
        self.start()

    def start(self) -> None:
        """Start it; on the port of before if there was one."""
        port = self.endpoint.rpartition(":")[2]
        self._process = subprocess.Popen(
            [str(self._program), "--port", port, *self._options],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        address = self._process.stdout.readline().strip()
        if not address:
            raise RuntimeError(f"the Pub/Sub server does not start: code {self._process.wait()}")
        self.endpoint = f"localhost:{address.rpartition(':')[2]}"

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.communicate(timeout=10)
            self._process = None

    def names(self) -> tuple[str, str]:
        """A topic and a subscription that nobody used yet, as full names."""
        name = f"t{secrets.token_hex(6)}"
        return f"projects/{PROJECT}/topics/{name}", f"projects/{PROJECT}/subscriptions/{name}"
