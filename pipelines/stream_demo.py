"""The live demo: a world that happens now, published to a Pub/Sub server in memory, streamed on the engine of choice.

What ``wayline stream-demo`` does, without its looks. The server is a process of its own and the publisher a thread, so
that the stream is the very one that ``wayline stream`` runs. Errors: those of its parts; what the publisher met is
raised when the stream has ended. State: none beyond the folder.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from contracts.errors import WaylineError
from contracts.tables import RUN_LEDGER
from pipelines.clock import now
from pipelines.stream import Observe, StreamReport, stream
from pipelines.stream_plan import StreamOptions, drain_file
from sources.publish import Present, Published, publish
from sources.pubsub import client
from sources.pubsub.emulator import running_server
from transforms.payloads import PayloadEncoder
from transforms.tables.output import check_readable
from transforms.tables.part_names import parts_in
from transforms.tables.stream_folder import last_stream

TOPIC, SUBSCRIPTION = "projects/wayline-demo/topics/events", "projects/wayline-demo/subscriptions/events"
_SETTLE = 2.0
"""Seconds between the last message and the request to end, so that nothing is left in the topic."""


@dataclass(frozen=True)
class LiveDemo:
    """What is to be shown: ``seconds`` of the events of ``files``, ``rate`` a second."""

    files: tuple[str, ...]
    rate: float
    seconds: float


def run_demo(demo: LiveDemo, options: StreamOptions, observe: Observe) -> tuple[StreamReport, Published | None]:
    """Stream the demo until its time is over, its events are, or Ctrl-C; then drain. ``options`` name no source.

    Raises:
        WaylineError: as ``stream`` says, or what the publisher met.
    """
    with _emulator() as endpoint:
        client.create(TOPIC, SUBSCRIPTION, endpoint)
        feeder = Feeder(demo, endpoint, options.out)

        def tell(what: str) -> None:
            observe(what)
            if what == "running":
                feeder.start()
            elif what.startswith("draining"):
                feeder.stop()

        try:
            report = stream(replace(options, subscription=SUBSCRIPTION), tell)
        finally:
            feeder.stop()
        return report, feeder.result()


@contextmanager
def _emulator() -> Iterator[str]:
    """A server on a free port, named in the environment as a user would name it."""
    before = os.environ.get(client.EMULATOR_VARIABLE)
    with running_server() as endpoint:
        os.environ[client.EMULATOR_VARIABLE] = endpoint
        try:
            yield endpoint
        finally:
            if before is None:
                del os.environ[client.EMULATOR_VARIABLE]
            else:
                os.environ[client.EMULATOR_VARIABLE] = before


class Feeder:
    """Publishes for as long as the demo lasts, then asks the stream for its end, as ``wayline drain`` does.

    One event goes first. The rest, and the time, wait until the tables know of it: an engine takes a while to start,
    and what waits for it would pass for latency.

    Args:
        demo: what to publish.
        endpoint: of the server.
        out: folder of the stream.
    """

    def __init__(self, demo: LiveDemo, endpoint: str, out: Path) -> None:
        self._demo = demo
        self._endpoint = endpoint
        self._out = out
        self._stop = threading.Event()
        self._began: float | None = None
        self._done: Published | None = None
        self._failure: WaylineError | None = None
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def stop(self) -> None:
        """Publish no more, and wait until it is so. Again is harmless."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def result(self) -> Published | None:
        """What was published; None: nothing was begun. Raises what the publisher met."""
        if self._failure is not None:
            raise self._failure
        return self._done

    def _run(self) -> None:
        try:
            self._done = publish(
                self._demo.files,
                TOPIC,
                self._endpoint,
                PayloadEncoder(),
                self._demo.rate,
                present=Present(now),
                stopped=lambda: self._stop.is_set() or self._seconds() > self._demo.seconds,
                clock=self._seconds,
            )
        except WaylineError as error:
            self._failure = error
        if not self._stop.wait(_SETTLE):
            folder = check_readable(self._out)
            drain_file(folder, last_stream(folder)).touch()

    def _seconds(self) -> float:
        """Since the tables knew of the first event; 0 until then."""
        if self._began is None:
            if not parts_in(self._out / "tables" / RUN_LEDGER.name):
                return 0.0
            self._began = time.monotonic()
        return time.monotonic() - self._began
