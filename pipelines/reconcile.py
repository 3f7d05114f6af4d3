"""Reconciling: every person of OUT folded again from the stored events, and what that changed.

A bounded run without new events: identity is resolved, and journeys are folded, from ``OUT/log`` alone. A stream needs
it only where what it kept beside the log is gone: its stores were lost, or it died without a checkpoint before the rows
of its last events were written. Nothing is sent. Errors: those of a run, and ``OutputError`` for a folder without a
log. Time domain: as a bounded run, up to the greatest event time of the log.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import OutputError
from contracts.tables import ACTIONS, DECISIONS, RUN_LEDGER
from pipelines.definitions import Definitions
from pipelines.plan import RunOptions
from pipelines.run import Observe, RunReport, run
from reports.table_diff import Difference, compare
from transforms.tables.output import OutputFolder, check_readable
from transforms.tables.part_names import parts_in

_KEPT = frozenset({DECISIONS.name, ACTIONS.name, RUN_LEDGER.name})
"""Tables that say what was done, not what is so."""


@dataclass(frozen=True)
class Reconciled:
    """``run`` is the report of the run, ``changed`` the tables that show other rows than before."""

    run: RunReport
    changed: tuple[Difference, ...]


def reconcile(options: RunOptions, definitions: Definitions, observe: Observe | None = None) -> Reconciled:
    """Fold all persons again. ``options`` name no input.

    Raises:
        OutputError: OUT has no log, or cannot be written.
        WaylineError: whatever stops a run; OUT then holds what it held before.
    """
    folder = check_readable(options.out)
    if not parts_in(folder.log):
        raise OutputError(f"{options.out} holds no event to fold", hint="a run or a stream has to have been there")
    with tempfile.TemporaryDirectory(prefix=".wayline-before-", dir=options.out.resolve().parent) as place:
        before = Path(place)
        _remember(folder, before)
        report = run(options, observe, definitions)
        tables = [table for table in definitions.tables if table.name not in _KEPT]
        found = compare(before, options.out, tables, ignore=("is_final",), examples=3)
    return Reconciled(report, tuple(one for one in found if not one.equal))


def _remember(folder: OutputFolder, before: Path) -> None:
    """The tables as they are, by hard links: parts never change, they are only replaced."""
    shutil.copyfile(folder.format_file, before / folder.format_file.name)
    if folder.horizon.is_file():
        shutil.copyfile(folder.horizon, before / folder.horizon.name)
    try:
        shutil.copytree(folder.tables, before / folder.tables.name, copy_function=_link)
    except OSError as error:
        raise OutputError(f"{folder.root.parent} cannot be written: {error}") from error


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        # a file system without links
        shutil.copyfile(source, target)
