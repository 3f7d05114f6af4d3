"""What a run was asked, and what follows from that alone, before anything heavy is imported.

Input: the options as typed values. Errors: ``InputError`` of files that are not there. State: none.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from transforms.inputs import list_inputs

Mode = Literal["live", "dry-run"]


@dataclass(frozen=True)
class RunOptions:
    """What ``wayline run`` was asked, as typed values.

    ``inputs``: none of them folds again what OUT knows. ``as_of`` in microseconds. ``workers``: processes of the local
    runner; None chooses by the size of the input. ``beam`` holds further Beam options as given. ``now``: when the run
    starts, UTC microseconds; ``run`` reads the clock when it is None. A later event, beyond the bound of clock skew, is
    a dead letter: one broken clock would otherwise carry the horizon of all persons into the future.
    """

    inputs: tuple[str, ...]
    out: Path
    as_of: int | None = None
    actions: Mode = "dry-run"
    config: Path | None = None
    registry: Path | None = None
    pseudonym_key: Path | None = None
    dead_letter_key: Path | None = None
    session_by: str | None = None
    workers: int | None = None
    runner: str = "DirectRunner"
    beam: tuple[str, ...] = field(default=())
    now: int | None = None


def find_inputs(options: RunOptions) -> list[str]:
    """The input files. Raises InputError for nothing found, empty or unreadable ones."""
    return list_inputs(options.inputs) if options.inputs else []


def default_workers(files: list[str]) -> int:
    """Further processes pay for their start, some seconds each, from about 8 MB of input on: 150,000 packed events."""
    size = sum(os.path.getsize(name) for name in files if os.path.exists(name))
    return min(os.cpu_count() or 1, 8) if size > 8 * 1024 * 1024 else 1
