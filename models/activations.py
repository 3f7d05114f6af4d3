"""Which model is in force when: dated activations, recorded once and never rewritten. Pure, and its file.

A point is scored by the version in force at its own time, so a refold never rewrites history with a later model. The
version in force at t is that of the *last recorded* activation whose ``active_from`` is at or before t: a later record
supersedes earlier ones from its date on, also those that were planned for a later date. Version None means rules alone.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from contracts.errors import LockedError, ModelError

FORMAT = 1


@dataclass(frozen=True)
class Activation:
    """From ``active_from`` (event time) on, ``version`` is in force; recorded at ``at`` (wall time) for ``reason``."""

    version: str | None
    active_from: int
    reason: str
    at: int


@dataclass(frozen=True)
class Activations:
    """All records, in the order of recording, and the challenger, if one waits."""

    records: tuple[Activation, ...] = ()
    challenger: str | None = None

    @property
    def champion(self) -> str | None:
        """The version of the last record: what is in force from now on."""
        return self.records[-1].version if self.records else None

    @property
    def previous(self) -> str | None:
        """What a rollback returns to: the latest recorded version other than the champion; None is rules alone."""
        champion = self.champion
        return next((record.version for record in reversed(self.records) if record.version != champion), None)

    @property
    def versions(self) -> tuple[str, ...]:
        """Every version that is in force at some time, first use first."""
        found: list[str] = []
        for index, record in enumerate(self.records):
            superseded = any(later.active_from <= record.active_from for later in self.records[index + 1 :])
            if record.version is not None and not superseded and record.version not in found:
                found.append(record.version)
        return tuple(found)

    def in_force(self, at: int) -> str | None:
        """The version in force at an event time, or None for rules alone."""
        return next((record.version for record in reversed(self.records) if record.active_from <= at), None)

    def records_in_force(self, times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """For each time the index of the record in force; -1 before the first."""
        found = np.full(len(times), -1, dtype=np.int64)
        for index, record in enumerate(self.records):
            found[times >= record.active_from] = index
        return found

    def activated(self, version: str | None, active_from: int, reason: str, at: int) -> Activations:
        """These activations and one more; a challenger that becomes champion is no challenger any more."""
        record = Activation(version, active_from, reason, at)
        return Activations((*self.records, record), None if self.challenger == version else self.challenger)

    def challenged(self, version: str) -> Activations:
        """These activations with another challenger."""
        return replace(self, challenger=version)


@dataclass(frozen=True)
class _File:
    format: int
    champion: str | None
    previous: str | None
    challenger: str | None
    activations: tuple[Activation, ...]


def read_activations(path: Path) -> Activations:
    """The activations in a pointer file; none when there is no file.

    Raises:
        ModelError: the file is damaged or of another format.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Activations()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    try:
        content = msgspec.json.decode(data, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is damaged: {error}", hint="restore the file from a backup") from error
    if content.format != FORMAT:
        raise ModelError(f"{path} has format {content.format}; this version of Wayline reads format {FORMAT}")
    return Activations(content.activations, content.challenger)


def write_activations(path: Path, activations: Activations) -> None:
    """Replace the pointer file atomically and durably: a reader sees the old content or the new, never a mixture."""
    content = _File(FORMAT, activations.champion, activations.previous, activations.challenger, activations.records)
    durable_write(path, msgspec.json.format(msgspec.json.encode(content), indent=2))


def durable_write(path: Path, data: bytes) -> None:
    """Write beside, flush to disk, rename, flush the folder."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the registry for a change. Raises LockedError when another process holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockedError(
                f"another process is changing the model registry {folder}", hint="try again when it has ended"
            ) from error
        yield
    finally:
        os.close(handle)
