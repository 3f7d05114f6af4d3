"""Which files a run reads, checked before anything starts.

Input: globs, folders and files, local or on a file system that Beam knows (``gs://…``); output: file names, sorted.
Errors: ``InputError``. Beam is imported only for names with a scheme.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, cast

from contracts.errors import InputError
from transforms.avro_file import MAX_HEADER, open_header
from transforms.decode import DecodeError

_MAGIC_CHARS = "*?["


def is_remote(name: str) -> bool:
    """Whether a name has a scheme such as ``gs://``."""
    return "://" in name


def open_file(name: str) -> IO[bytes]:
    """A binary stream of a file. Raises OSError."""
    if is_remote(name):
        from apache_beam.io.filesystem import CompressionTypes
        from apache_beam.io.filesystems import FileSystems

        return cast(IO[bytes], FileSystems.open(name, compression_type=CompressionTypes.UNCOMPRESSED))
    return open(name, "rb", buffering=0)


def _remote(pattern: str) -> list[str]:
    from apache_beam.io.filesystem import BeamIOError
    from apache_beam.io.filesystems import FileSystems

    spec = (
        pattern
        if any(c in pattern for c in _MAGIC_CHARS) or pattern.endswith(".avro")
        else f"{pattern.rstrip('/')}/**.avro"
    )
    try:
        return [item.path for match in FileSystems.match([spec]) for item in match.metadata_list]
    except (BeamIOError, ValueError, ImportError) as error:
        raise InputError(f"{pattern}: cannot be listed: {error}", hint="check the name and your credentials") from error


def _local(pattern: str) -> list[str]:
    path = Path(pattern)
    if path.is_dir():
        found = sorted(str(p) for p in path.rglob("*.avro") if p.is_file() and not p.name.startswith((".", "_")))
        if not found:
            raise InputError(
                f"{pattern}: the folder holds no .avro file",
                hint="turn other formats into events first: wayline import --mapping NAME --input … --out DIR",
            )
        return found
    if path.is_file():
        return [pattern]
    found = [name for name in glob.glob(pattern, recursive=True) if os.path.isfile(name)]
    if not found:
        raise InputError(
            f"{pattern}: no such file or folder, and nothing matches it as a pattern",
            hint="quote patterns so that the shell leaves them alone: --input 'events/*.avro'",
        )
    return found


def _fault(name: str) -> str | None:
    """Why a file cannot contribute any event; None when it may."""
    try:
        with open_file(name) as file:
            head = file.read(64 << 10)
            if not head:
                return "is empty"
            try:
                _, end, _ = open_header(head)
            except DecodeError as error:
                if error.reason != "not_avro" or len(head) < 64 << 10:
                    raise
                head += file.read(MAX_HEADER - len(head)) or b""
                _, end, _ = open_header(head)
            if len(head) == end and not file.read(1):
                return "is an event file without a single event"
    except DecodeError as error:
        return f"{error.reason}: {error.detail}"
    except OSError as error:
        return f"cannot be read: {error.strerror or type(error).__name__}"
    return None


def list_inputs(patterns: Sequence[str]) -> list[str]:
    """The files that the patterns name, each once, sorted.

    A folder stands for all ``.avro`` files below it. One file that may hold an event is enough: what is wrong with
    others becomes dead letters of the run.

    Raises:
        InputError: nothing is found, or no file found can give an event.
    """
    if not patterns:
        raise InputError("no input is named", hint="give --input GLOB_OR_DIR")
    names = sorted({name for pattern in patterns for name in (_remote if is_remote(pattern) else _local)(pattern)})
    first: str | None = None
    for name in names:
        fault = _fault(name)
        if fault is None:
            return names
        first = first or f"{name}: {fault}"
    if first is None:
        raise InputError(f"{', '.join(patterns)}: nothing is found there")
    rest = f" (and none of {len(names) - 1} other files can be read either)" if len(names) > 1 else ""
    raise InputError(
        f"{first}{rest}", hint="events are read from Avro files of a schema compatible with contracts/schemas/event"
    )
