"""The live view of a stream on a terminal: what ``reports.live`` reads, every second."""

from __future__ import annotations

import threading
import time
from collections import deque
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from contracts.errors import OutputError
from pipelines.definitions import load_definitions
from pipelines.stream_plan import StreamOptions
from reports.live import Snapshot, look, picture

EVERY = 1.0
_OVER = 10
"""Looks over which the rate is told."""


class StreamView:
    """A context manager; ``tell`` says what is being done. It only reads: a view that fails to look looks again.

    Args:
        console: where to draw.
        options: of the stream.
    """

    def __init__(self, console: Console, options: StreamOptions) -> None:
        self._out = options.out
        definitions = load_definitions(options.config, options.session_by)
        self._tables, self._stages = definitions.tables, definitions.ontology.stage_names
        self._live = Live(Text("wayline stream: starting"), console=console, auto_refresh=False)
        self._what = "starting"
        self._seen: deque[tuple[float, int]] = deque(maxlen=_OVER)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="view", daemon=True)

    def __enter__(self) -> StreamView:
        self._started = time.monotonic()
        self._live.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._live.stop()

    def tell(self, what: str) -> None:
        """Say what is being done."""
        self._what = what
        if what != "running":
            self._live.update(Text(f"wayline stream: {what}"), refresh=True)

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            if self._what != "running":
                continue
            try:
                snapshot = look(self._out, self._tables, self._stages)
            except OutputError:
                # a part that was replaced while it was read; the next look sees the new one
                continue
            now = time.monotonic()
            self._live.update(picture(snapshot, self._rate(snapshot, now), now - self._started), refresh=True)

    def _rate(self, snapshot: Snapshot, now: float) -> float:
        self._seen.append((now, sum(snapshot.fates.values())))
        (since, before), (until, after) = self._seen[0], self._seen[-1]
        return (after - before) / (until - since) if until > since else 0.0
