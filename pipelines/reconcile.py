"""Reconciling: every person of OUT folded again from the stored events, and what that changed.

A bounded run without new events: identity is resolved, and journeys are folded, from ``OUT/log`` alone. A stream needs
it only where what it kept beside the log is gone: its stores were lost, or it died without a checkpoint before the rows
of its last events were written. Nothing is sent. Where the store of effects is lost, what was decided and sent is known
from tables alone; a run would state it anew as if nothing had been sent, so that has to be asked for. Errors: those of
a run, and ``OutputError`` for a folder without a log, or with actions that only its table knows of. Time domain: as a
bounded run, up to the greatest event time of the log.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import OutputError
from contracts.tables import ACTIONS, RUN_LEDGER
from pipelines.definitions import Definitions
from pipelines.run import Observe, RunReport, run
from pipelines.run_options import RunOptions
from reports.table_diff import Difference, compare
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.effects import open_effects
from transforms.tables.output import OutputFolder, check_readable
from transforms.tables.part_names import parts_in
from transforms.tables.views import answering, open_views

SENT = "sent"


@dataclass(frozen=True)
class Reconciled:
    """``run`` is the report of the run, ``changed`` the tables that show other rows than before."""

    run: RunReport
    changed: tuple[Difference, ...]


def reconcile(
    options: RunOptions, definitions: Definitions, observe: Observe | None = None, *, decide_anew: bool = False
) -> Reconciled:
    """Fold all persons again. ``options`` name no input.

    Args:
        decide_anew: state decisions and actions anew although the store of what was sent is lost.

    Raises:
        OutputError: OUT has no log, cannot be written, or has sent what its store does not know of.
        WaylineError: whatever stops a run; OUT then holds what it held before.
    """
    folder = check_readable(options.out)
    if not parts_in(folder.log):
        raise OutputError(f"{options.out} holds no event to fold", hint="a run or a stream has to have been there")
    if not decide_anew:
        _check_effects(folder, definitions)
    with tempfile.TemporaryDirectory(prefix=".wayline-before-", dir=options.out.resolve().parent) as place:
        before = Path(place)
        _remember(folder, before)
        report = run(options, observe, definitions)
        tables = [table for table in definitions.tables if table.name != RUN_LEDGER.name]
        found = compare(before, options.out, tables, ignore=("is_final",), examples=3)
    return Reconciled(report, tuple(one for one in found if not one.equal))


def _check_effects(folder: OutputFolder, definitions: Definitions) -> None:
    """Raises OutputError when the table of actions knows of sent ones and the store of none."""
    connection = open_views(folder.root, definitions.tables)
    try:
        with answering(folder.root):
            (sent,) = connection.execute(f"SELECT count(*) FROM {ACTIONS.name} WHERE status = ?", [SENT]).fetchone()
    finally:
        connection.close()
    if not sent:
        return
    effects = open_effects(definitions.config.store or StoreAddress((folder.stores / STORE_FILE).resolve()))
    try:
        known = effects.action_counts().get(SENT, 0)
    finally:
        effects.close()
    if not known:
        raise OutputError(
            f"{folder.root} has sent {sent:,} actions, and its store of effects knows of none",
            hint="restore the stores' database; or accept with --decide-anew that tables forget what was sent",
        )


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
