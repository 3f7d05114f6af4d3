"""Who is alive: the owner of claims holds a lock, which the system frees when the owner dies.

A claim in a store names its owner. Another process that finds the claim must know whether that owner still works on it
or was killed; a lock tells at once and needs no clock, where a lease would make a restart wait. For SQLite it is a
lock on a file of the owner's own; for PostgreSQL an advisory lock of the owner's session (``stores.postgres``).
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path
from typing import Protocol

from contracts.errors import OutputError


class Owner(Protocol):
    """A name that lives as long as this object and its process."""

    @property
    def name(self) -> str: ...

    def is_alive(self, name: str) -> bool:
        """Whether the owner ``name`` still holds its lock."""
        ...

    def close(self) -> None:
        """Stop being alive. Safe to call again."""
        ...


class FileOwner:
    """``Owner`` by a lock file.

    Args:
        folder: where the lock files of this database's owners stand; made when missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = secrets.token_hex(8)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._file(self.name), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise OutputError(f"{folder} cannot be written: {error.strerror}") from error
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def close(self) -> None:
        if self._descriptor >= 0:
            self._file(self.name).unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1

    def is_alive(self, name: str) -> bool:
        """As ``Owner.is_alive``; the file of a dead one is removed."""
        if name == self.name:
            return self._descriptor >= 0
        try:
            descriptor = os.open(self._file(name), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            self._file(name).unlink(missing_ok=True)
            return False
        finally:
            os.close(descriptor)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.lock"
