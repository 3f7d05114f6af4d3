"""A real Redis server in a folder of its own, for tests: made, started and stopped by its process id."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import redis


def program() -> Path | None:
    """``redis-server``; None when the machine has none."""
    found = shutil.which("redis-server")
    return Path(found) if found else None


class RedisServer:
    """A server on 127.0.0.1 that writes nothing to the disk.

    Args:
        server: its program.
        password: that it asks for; none by default.
    """

    def __init__(self, server: Path, password: str = "") -> None:
        self._password = password
        self._folder = Path(tempfile.mkdtemp(prefix="wayline-redis-"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        command = [str(server), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        if password:
            command += ["--requirepass", password]
        self._process = subprocess.Popen(
            [*command, "--dir", str(self._folder)], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 30.0
        client = redis.Redis.from_url(self.url)
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("Redis does not start") from None
                time.sleep(0.02)
        client.close()

    @property
    def url(self) -> str:
        user = f":{self._password}@" if self._password else ""
        return f"redis://{user}127.0.0.1:{self.port}/0"

    def pause(self) -> None:
        """Answer nobody until ``resume``."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
        shutil.rmtree(self._folder)
