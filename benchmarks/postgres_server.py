"""A real PostgreSQL server in a folder of its own, for chaos and tests: made, started, stopped and started again.

PostgreSQL refuses to run as root, so under root the server runs as another user, who owns its folder.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

PASSWORD = "not-to-be-shown-7f3a"
_ROLE = "tester"
_STARTED = 30.0


def binaries() -> Path | None:
    """The folder of ``initdb`` and ``postgres``, the newest one; None when the machine has none."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    on_path = [Path(found).resolve().parent for name in ("postgres",) if (found := shutil.which(name))]
    for folder in (*debian, *on_path):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    return None


def _unprivileged() -> int | None:
    """The user id to run the server as; None for one's own."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise RuntimeError("under root, PostgreSQL needs a user named postgres or nobody to run as")


class PostgresServer:
    """A server on 127.0.0.1. It is stopped by its process id, and its folder removed, by ``remove``."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._user = _unprivileged()
        # not below pytest's folder, through which no other user may pass
        self._folder = Path(tempfile.mkdtemp(prefix="wayline-pg-"))
        self._data = self._folder / "data"
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        if self._user is not None:
            for path in (self._folder, secret):
                os.chown(path, self._user, -1)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        subprocess.run(
            [
                str(programs / "initdb"), "--pgdata", str(self._data), "--username", _ROLE, "--pwfile", str(secret),
                "--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale", "--no-sync", "--no-instructions",
            ],
            check=True, stdout=subprocess.DEVNULL, user=self._user, cwd=self._folder,
        )  # fmt: skip
        self.start()

    def start(self) -> None:
        """Start it on its port, and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self._folder),
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": "60",
            "shared_buffers": "32MB",
            "deadlock_timeout": "100ms",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self._data), *options],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, user=self._user, cwd=self._folder,
            )  # fmt: skip
        deadline = time.monotonic() + _STARTED
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL does not start: {(self._folder / 'log').read_text()}") from None
                time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT ends its sessions in order, SIGQUIT at once, as a crash would."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=30)
            self._process = None

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._folder)

    def url(self, database: str, password: str = PASSWORD) -> str:
        return f"postgresql://{_ROLE}:{password}@127.0.0.1:{self.port}/{database}"

    def make_database(self) -> str:
        """The URL of a new, empty database: a thousand files, so not for each of hundreds of tests."""
        name = f"t_{secrets.token_hex(6)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def make_schema(self) -> str:
        """The URL of a new, empty schema, in which all is as in a database of its own."""
        name = f"t_{secrets.token_hex(6)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return f"{self.url('postgres')}?options=-csearch_path%3D{name}"
