"""The output folder: its layout, format version, lock, and recovery of an interrupted commit. No Beam.

``OUT/format.json`` names the layout's version. ``OUT/.lock`` is held by the one process that writes. A commit first
writes ``OUT/commit.json``, the full list of its moves, then moves: whoever opens the folder next finishes the list,
so a process killed at any instant leaves either all of a run or nothing of it. Readers wait for it, or finish it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import LockedError, OutputError
from transforms.tables.part_names import bounded_revision, parts_in

TOMBSTONES = "tombstones.json"
"""End of the names of files that say what was erased; they lie beside the stores."""

MARKS = "marks.json"
"""Likewise, of those that say what stays of erased events on devices that are carried."""

_TO_DISK_AT_ONCE = 8
"""Files that are written to the disk together: the file system then says so of all in one entry of its journal."""

_PAUSE = 0.02
"""Seconds between two looks whether a commit has ended."""

FORMAT = 1
"""Raise it when parts or stores written before can no longer be read; say so in the changelog."""


@dataclass(frozen=True)
class OutputFolder:
    """Names inside OUT, so that no other module spells them."""

    root: Path

    @property
    def tables(self) -> Path:
        return self.root / "tables"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def staging(self) -> Path:
        return self.root / "staging"

    @property
    def stores(self) -> Path:
        return self.root / "stores"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def feast(self) -> Path:
        return self.root / "feast"

    @property
    def registry(self) -> Path:
        return self.root / "registry"

    @property
    def registry_note(self) -> Path:
        """Where the registry is that OUT was last run with, if it is not the one in OUT."""
        return self.root / "registry.json"

    @property
    def actions(self) -> Path:
        return self.root / "actions"

    @property
    def report(self) -> Path:
        """The page of ``wayline report``, unless it was told another place."""
        return self.root / "report.html"

    @property
    def database(self) -> Path:
        return self.root / "wayline.duckdb"

    @property
    def log_erased(self) -> Path:
        return self.root / "log" / "erased"

    @property
    def streams(self) -> Path:
        return self.root / "streams"

    @property
    def purges(self) -> Path:
        """What a stream erased and the identity store is still to forget (``transforms.purge``)."""
        return self.streams / "purges"

    @property
    def decided_notes(self) -> Path:
        """Ids of what was decided and is erased, until their rows are gone (``transforms.tables.decided_notes``)."""
        return self.stores / "decided"

    @property
    def retired(self) -> Path:
        return self.root / "retired.json"

    @property
    def horizon(self) -> Path:
        return self.root / "horizon.parquet"

    @property
    def journal(self) -> Path:
        return self.root / "commit.json"

    @property
    def format_file(self) -> Path:
        return self.root / "format.json"


def check_readable(root: Path) -> OutputFolder:
    """An existing output folder of this format. Raises OutputError otherwise."""
    folder = OutputFolder(root)
    if not folder.format_file.is_file():
        raise OutputError(f"{root} is no Wayline output folder", hint="name the folder that `wayline run --out` wrote")
    try:
        found = json.loads(folder.format_file.read_text(encoding="utf-8"))["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{folder.format_file} cannot be read: {error}") from error
    if found != FORMAT:
        raise OutputError(
            f"{root} was written in format {found}; this version of Wayline writes format {FORMAT}",
            hint="choose a new --out folder and run the same input again",
        )
    return folder


@contextmanager
def writing(root: Path) -> Iterator[OutputFolder]:
    """Hold OUT for writing: create or check it, lock it, finish an interrupted commit, clear old staging.

    Raises:
        OutputError: not writable, of another format, or a folder with other things in it.
        LockedError: another process writes it.
    """
    folder = OutputFolder(root)
    if "\\" in str(root.resolve()):
        raise OutputError(
            f"{root} has a backslash in its path, which DuckDB cannot read from", hint="rename the folder"
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not folder.format_file.exists() and any(p.name != ".lock" for p in root.iterdir()):
            # keys/ may be put there by the user before the first run, and a report may have said that there is nothing
            strangers = sorted(p.name for p in root.iterdir() if p.name not in {".lock", "keys", folder.report.name})
            if strangers:
                raise OutputError(
                    f"{root} is not empty and no Wayline output folder (it holds {', '.join(strangers[:3])})",
                    hint="choose an empty or new folder for --out",
                )
        lock = os.open(root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise OutputError(
            f"{root} cannot be written: {error.strerror}", hint="choose another --out, or mend its permissions"
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockedError(
                f"another process is writing to {root}", hint="wait until it has ended, or choose another --out"
            ) from error
        try:
            if not folder.format_file.exists():
                write_durably(folder.format_file, json.dumps({"format": FORMAT}))
            check_readable(root)
            recover(folder)
            shutil.rmtree(folder.staging, ignore_errors=True)
            for needed in (folder.tables, folder.log, folder.staging, folder.stores):
                needed.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{root} cannot be written: {error.strerror}") from error
        yield folder
    finally:
        os.close(lock)


@dataclass(frozen=True)
class Moves:
    """What a commit does to the files of OUT; paths relative to its root."""

    rename: tuple[tuple[str, str], ...]
    remove: tuple[str, ...] = ()


def publish(folder: OutputFolder, moves: Moves) -> None:
    """Make a commit visible: everything to the disk, journal, move, forget the journal.

    A million events leave over two thousand files. The disk takes many at once in the time of a few.
    """
    with ThreadPoolExecutor(_TO_DISK_AT_ONCE, "to-disk") as threads:
        for _ in threads.map(to_disk, [folder.root / source for source, _ in moves.rename]):
            pass  # to hear of an error
    write_durably(folder.journal, json.dumps({"rename": moves.rename, "remove": moves.remove}))
    recover(folder)


def recover(folder: OutputFolder) -> bool:
    """Finish the commit whose journal is there. Returns whether there was one. Safe to repeat."""
    if not folder.journal.exists():
        return False
    plan = _planned(folder)
    for source, target in plan.rename:
        origin, place = folder.root / source, folder.root / target
        place.parent.mkdir(parents=True, exist_ok=True)
        if origin.exists():
            origin.replace(place)
        elif not place.exists():
            raise OutputError(f"an interrupted commit cannot be finished: {source} is missing from {folder.root}")
    # last: who lists a folder just now finds what is replaced and what replaces it, of which the newer counts
    for path in plan.remove:
        (folder.root / path).unlink(missing_ok=True)
    for place in {(folder.root / target).parent for _, target in plan.rename}:
        to_disk(place)
    folder.journal.unlink()
    return True


def settle(folder: OutputFolder, patience: float = 30.0) -> None:
    """Before tables are read: let a commit that is being made end, and finish one whose process died in its midst.

    Who may not write in the folder, or has waited ``patience`` seconds, goes on with what is there.

    Raises:
        OutputError: the list of the commit is damaged, or it cannot be finished.
    """
    waited = 0.0
    while folder.journal.exists() and waited < patience:
        try:
            lock = os.open(folder.root / ".lock", os.O_RDWR)
        except OSError:
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            recover(folder)
        except BlockingIOError:
            time.sleep(_PAUSE)
            waited += _PAUSE
        except PermissionError:
            return
        finally:
            os.close(lock)


def _planned(folder: OutputFolder) -> Moves:
    """The moves of the journal, all within the folder. Raises OutputError when it says anything else."""
    try:
        plan = json.loads(folder.journal.read_text(encoding="utf-8"))
        moves = Moves(tuple((source, target) for source, target in plan["rename"]), tuple(plan["remove"]))
        for path in (*moves.remove, *(name for pair in moves.rename for name in pair)):
            if not isinstance(path, str) or Path(path).is_absolute() or ".." in Path(path).parts:
                raise ValueError(f"{path!r} is no place in the folder")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"{folder.journal}, the list of an interrupted commit, is damaged: {error}",
            hint="restore it from a backup, or choose a new --out and run the input again",
        ) from error
    return moves


def next_revision(folder: OutputFolder, now: int = 0) -> int:
    """The revision of the coming commit: more than that of any row in OUT.

    After bounded runs alone it is one more than the greatest in the name of a part. Rows of a stream carry the clock of
    their actors: after a stream it is also no less than ``now`` (UTC microseconds), since what the stream told other
    stores may be newer than what it could still write.
    """
    parts = [path for table in folder.tables.glob("*/") for path in parts_in(table)]
    named = [bounded_revision(path.name) for path in (*parts, *parts_in(folder.log))]
    greatest = max((revision for revision in named if revision is not None), default=0)
    others = [path for path in parts if bounded_revision(path.name) is None]
    if not others:
        return greatest + 1
    return max(greatest + 1, now, *(1 + _greatest_revision(path) for path in others))


def _greatest_revision(part: Path) -> int:
    """The greatest revision of a part, from what its end says of the column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(part)
    except (OSError, pa.ArrowException) as error:
        raise OutputError(f"{part} cannot be read: {error}", hint="restore it from a backup") from error
    place = metadata.schema.names.index("revision")
    found = [metadata.row_group(n).column(place).statistics for n in range(metadata.num_row_groups)]
    return max((s.max for s in found if s is not None and s.has_min_max), default=0)


def to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, would survive a loss of power."""
    if not path.exists():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    to_disk(path.parent)
