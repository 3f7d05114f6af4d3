"""Parts that a compaction replaced, kept a while for the queries that have already listed them. No Beam.

``OUT/retired.json`` names them with the time when they were replaced. They are still read by who lists the folder now,
which changes no answer: views take the newest row of a key, and the log is a set. The next compaction removes those
older than its grace time, so a query fails only when it lists the parts in the instant before they are removed, and
then it has to be asked again (``transforms.tables.views.fetch`` does). It never gives a wrong answer. The list is
replaced at once; a part that is named but gone was removed before. Errors: ``OutputError`` for a damaged list,
``LockedError``. Times are seconds since 1970, wall clock.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from contracts.errors import LockedError, OutputError
from transforms.tables.output import OutputFolder, write_durably


@contextmanager
def compacting(folder: OutputFolder, *, wait: bool = True) -> Iterator[None]:
    """Hold the parts of OUT against every other compaction, and against bounded runs, which hold them as they run.

    A stream goes on writing meanwhile. Raises LockedError when they are held and ``wait`` is False.
    """
    lock = os.open(folder.root / ".compact.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise LockedError(
                f"the tables of {folder.root} are being compacted, or a bounded run is writing them",
                hint="wait until it has ended",
            ) from error
        yield
    finally:
        os.close(lock)


class Retired:
    """The list of replaced parts of an OUT that is held by ``compacting``.

    A part is known by its name and the time of its last change: one that was written anew under the name of a replaced
    part, by a stream that was set back far, is a part like any other.
    """

    def __init__(self, folder: OutputFolder) -> None:
        self._folder = folder
        self._since: dict[str, tuple[float, int]] = {}
        if folder.retired.exists():
            try:
                found = json.loads(folder.retired.read_text(encoding="utf-8"))
                self._since = {str(name): (float(since), int(changed)) for name, (since, changed) in found.items()}
            except (OSError, ValueError, TypeError, AttributeError) as error:
                raise OutputError(
                    f"{folder.retired} cannot be read: {error}",
                    hint="remove it; the next compaction merges what it named once more",
                ) from error

    def __contains__(self, part: Path) -> bool:
        known = self._since.get(self._name(part))
        return known is not None and known[1] == _changed(part)

    def add(self, parts: Mapping[Path, int], now: float) -> None:
        """These parts, with the time of their last change when they were read, are replaced by others in place."""
        self._since |= {self._name(part): (now, changed) for part, changed in parts.items()}
        self._keep()

    def remove_before(self, until: float) -> None:
        """Remove the parts that were replaced at or before a time."""
        due = [(name, changed) for name, (since, changed) in self._since.items() if since <= until]
        for name, changed in due:
            part = self._folder.root / name
            if _changed(part) == changed:
                part.unlink(missing_ok=True)
            del self._since[name]
        if due:
            self._keep()

    def _name(self, part: Path) -> str:
        return str(part.relative_to(self._folder.root))

    def _keep(self) -> None:
        write_durably(self._folder.retired, json.dumps(self._since, indent=0))


def changes(parts: Iterable[Path]) -> dict[Path, int]:
    """When each part was last changed, nanoseconds as the file system has them."""
    return {part: part.stat().st_mtime_ns for part in parts}


def _changed(part: Path) -> int | None:
    try:
        return part.stat().st_mtime_ns
    except FileNotFoundError:
        return None
