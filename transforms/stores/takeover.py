"""An output folder of before takes its history along: the effect store had a file of its own, now all stores share one.

Before the shared file is opened for the first time, a file of the effect store is renamed to it; its tables stay as
they are, and the other stores add theirs.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from contracts.errors import LockedError, OutputError

OLD_FILE = "effects.sqlite"
_LOG, _INDEX = "-wal", "-shm"


def take_over(path: Path, timeout: float) -> None:
    """Rename the old file beside ``path`` to ``path``. Safe when several processes do so, or one is killed within.

    Raises:
        LockedError: an old run still uses the file, or another process takes it over for longer than ``timeout``.
        OutputError: both files are there, or the old one cannot be renamed.
    """
    from transforms.stores.sqlite import is_foreign, translated

    old = path.with_name(OLD_FILE)
    if not old.exists():
        return
    try:
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise OutputError(f"{path.parent} cannot be read: {error.strerror}") from error
    try:
        # waits for another process that does the same: it takes milliseconds
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not old.exists():
            return
        if path.exists():
            raise OutputError(
                f"{path.parent} holds {OLD_FILE} beside {path.name}: an older version of Wayline has written there"
                " since this one took it over",
                hint=f"what it decided stands in {OLD_FILE}; move that file away to go on without it",
            )
        with translated(old, timeout), closing(sqlite3.connect(old, timeout=timeout, isolation_level=None)) as opened:
            if is_foreign(opened):
                raise OutputError(f"{old} is a database of something else", hint="choose another output folder")
            # copies the log back and removes it, which needs the file alone
            mode = opened.execute("PRAGMA journal_mode = DELETE").fetchone()[0]
        if mode != "delete" or old.with_name(OLD_FILE + _LOG).exists():
            raise LockedError(f"{old} is used by another process", hint="wait for the other run to end, or stop it")
        os.rename(old, path)
        _remove_owners(old.with_name(f"{OLD_FILE}.owners"))
    except OSError as error:
        raise OutputError(f"{old} cannot be renamed to {path.name}: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _remove_owners(folder: Path) -> None:
    """The lock files of the dead: nobody had the database open."""
    if folder.is_dir():
        for lock in folder.glob("*.lock"):
            lock.unlink(missing_ok=True)
        folder.rmdir()
