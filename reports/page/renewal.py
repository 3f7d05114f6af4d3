"""What keeps the sections of the board new: each is made in a thread of its own, whenever the output folder changed.

Input: sections, a function that opens the tables, one that tells the state of the folder. Output: the newest HTML of
each section, at once: nobody who asks waits for a query, and no section waits for another. Time: the wall clock, for
pauses alone. Errors: what a query raises is said in its section, above what was shown before, and tried again. State:
the HTML, and a thread a section while it runs.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb

from contracts.errors import WaylineError
from reports.page.sections import Section
from transforms.tables.output import OutputFolder

_SHARE = 0.5
"""How much of the time sections are being made, all together, at most: a stream works beside the board."""


@dataclass(frozen=True, slots=True)
class Shown:
    """HTML of a section, and its version: empty until it was made once."""

    html: str = ""
    version: str = ""


def state_of(out: Path) -> object:
    """Something that differs when rows of OUT may differ: a part is added or removed, or the horizon moves.

    Raises OSError when the folder is not there.
    """
    folder = OutputFolder(out)
    parts = sorted((table.name, table.stat().st_mtime_ns) for table in folder.tables.iterdir())
    others = [path.stat().st_mtime_ns for path in (folder.horizon, folder.database) if path.exists()]
    return parts, others


class Renewal:
    """The newest HTML of the sections.

    Args:
        sections: what to make.
        connect: a connection to the views; may raise DuckDB's errors, OSError and WaylineError.
        state: the state of what is looked at; a section is made anew when it differs and somebody asked since.
        pause: least seconds between two looks.
    """

    def __init__(
        self, sections: Sequence[Section], connect: Callable[[], Any], state: Callable[[], object], pause: float = 1.0
    ) -> None:
        self.sections = tuple(sections)
        self._connect, self._state, self._pause = connect, state, pause
        self._shown = {one.name: Shown() for one in sections}
        self._changed = threading.Condition()
        self._asked = 0
        self._stopped = threading.Event()
        self._open: set[Any] = set()
        self._threads = [threading.Thread(target=self._keep, args=(one,), daemon=True) for one in sections]

    def __enter__(self) -> Renewal:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()
            for connection in self._open:
                connection.interrupt()
        for thread in self._threads:
            thread.join()

    def shown(self) -> dict[str, Shown]:
        """What there is now, by section. Asking keeps the sections being made."""
        with self._changed:
            self._asked += 1
            self._changed.notify_all()
            return dict(self._shown)

    def settled(self, seconds: float) -> bool:
        """Wait until every section was made once; False when that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: all(one.version for one in self._shown.values()), seconds)

    def _keep(self, section: Section) -> None:
        made_for: object = None
        while not self._stopped.is_set():
            asked, began = self._asked, time.monotonic()
            try:
                state = self._state()
                if state != made_for:
                    self._show(section, self._made(section))
                    made_for = state
            except (duckdb.Error, OSError, WaylineError) as error:
                made_for = None
                if not self._stopped.is_set():
                    self._show(section, self._failed(section, error))
            rest = (len(self.sections) / _SHARE - 1.0) * (time.monotonic() - began)
            self._stopped.wait(max(self._pause, rest))
            with self._changed:
                while self._asked == asked and not self._stopped.is_set():
                    self._changed.wait()

    def _made(self, section: Section) -> str:
        connection = self._connect()
        with self._changed:
            self._open.add(connection)
        try:
            return section.make(connection)
        finally:
            with self._changed:
                self._open.discard(connection)
            connection.close()

    def _failed(self, section: Section, error: Exception) -> str:
        said = f'<p role="alert">The tables cannot be read just now: {escape(str(error).splitlines()[0])}</p>'
        before = self._shown[section.name].html
        return said + before.removeprefix(said)

    def _show(self, section: Section, html: str) -> None:
        version = hashlib.sha256(html.encode()).hexdigest()[:16]
        with self._changed:
            self._shown[section.name] = Shown(html, version)
            self._changed.notify_all()
