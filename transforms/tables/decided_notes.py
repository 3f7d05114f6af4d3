"""Ids of decisions and actions that are erased, from whoever erases them to whoever takes their rows back. No Beam.

The stage that erases notes the ids before the effect store forgets them, in files below OUT. Whoever has OUT states
then that their rows are no more: beside a stream its housekeeper (``TakeBack``), outside of the engine, so that nothing
sets it back; in a bounded run the commit. Then the note goes. Each step may be done again, by any later stream or run:
a note that was dealt with twice, or came twice, changes nothing. Errors: OSError when the disk refuses, ``OutputError``
for a damaged note. State: the notes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import OutputError
from contracts.exchange import StatedRows
from contracts.tables import ACTIONS, DECISIONS, LABELS, Table
from transforms.tables.output import OutputFolder, write_durably
from transforms.tables.pane import PaneWriter
from transforms.tables.stated import stated

_LAST_WORD = 1
"""The ``sequence`` of a row that is no more: all rows of these tables have 0, also one that is stated later."""
_SHARD = b"erased"


@dataclass(frozen=True, slots=True)
class Noted:
    """What the notes name, and the notes."""

    decisions: tuple[str, ...]
    actions: tuple[str, ...]
    paths: tuple[Path, ...]

    def forget(self) -> None:
        """Remove the notes: their rows were taken back."""
        for path in self.paths:
            path.unlink(missing_ok=True)


def note_decided(folder: Path, decisions: Sequence[str], actions: Sequence[str]) -> None:
    """Note ids durably, in a file of their own; again it is the same."""
    if not decisions and not actions:
        return
    content = json.dumps([sorted(decisions), sorted(actions)])
    folder.mkdir(parents=True, exist_ok=True)
    write_durably(folder / f"{hashlib.blake2b(content.encode(), digest_size=8).hexdigest()}.json", content)


def read_noted(folder: Path) -> Noted:
    """All notes; whoever reads them is alone to remove them."""
    decisions: set[str] = set()
    actions: set[str] = set()
    paths = sorted(folder.glob("*.json"))
    for path in paths:
        try:
            some_decisions, some_actions = json.loads(path.read_text(encoding="utf-8"))
            decisions.update(map(str, some_decisions))
            actions.update(map(str, some_actions))
        except (ValueError, TypeError) as error:
            raise OutputError(
                f"{path} cannot be read: {error}",
                hint="remove it; rows that it named stay until their person is erased again",
            ) from error
    return Noted(tuple(sorted(decisions)), tuple(sorted(actions)), tuple(paths))


class TakeBack:
    """States, beside a stream, that rows of what was erased are no more. One an OUT at a time.

    Args:
        folder: OUT, prepared for a stream.
        stream: number of the stream.
        clock: UTC microseconds, for revisions.
    """

    def __init__(self, folder: OutputFolder, stream: int, clock: Callable[[], int]) -> None:
        self._writer = PaneWriter(folder.root, (DECISIONS, ACTIONS, LABELS), stream)
        self._notes = folder.decided_notes
        self._clock = clock

    def run(self) -> int:
        """Deal with all notes; returns how many decisions they named."""
        noted = read_noted(self._notes)
        if noted.paths:
            self._writer.append(_SHARD, deleted_rows(noted, self._clock()))
            noted.forget()
        return len(noted.decisions)


def deleted_rows(noted: Noted, revision: int) -> list[StatedRows]:
    """Statements that the rows of what was noted are no more."""
    named = ((DECISIONS, noted.decisions), (ACTIONS, noted.actions), (LABELS, noted.decisions))
    return [
        stated(table, revision, [_only_key(table, name) for name in ids], sequence=_LAST_WORD, deleted=True)
        for table, ids in named
        if ids
    ]


def _only_key(table: Table, value: str) -> tuple[str | None, ...]:
    return tuple(value if column.name in table.key else None for column in table.columns)
