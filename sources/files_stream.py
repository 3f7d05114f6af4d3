"""``ReadFilesStream``: a folder of event files as a stream, for trying, for benchmarks, and without Pub/Sub.

Files are streamed once, in the order of received time across all of them, and then the stream ends by itself; with
``follow`` it waits for new files in a folder, without end. Output: ``ReadOutputs``, as ``ReadEvents`` gives it.
Received times stay as in the files. Element timestamps are min(event time, received time), and the watermark is the
greatest of them: since the order is that of received time, an event with ``received_time - event_time <= lateness`` is
never behind it by more than ``lateness``. With ``follow`` that holds within the files found at one look; a file that
comes later is expected to hold what was received later.

Following: a file is taken when it is there under its name, which does not begin with ``.`` or ``_`` and ends in
``.avro``: write it under another name and rename it. What is read is known by the file's name, so a file is read once
and a change to it is not seen. When nothing new comes, the watermark goes on (``sources.pubsub.watermark``).

Memory: see ``sources.ordered``; a checkpoint holds a position, and with ``follow`` eight bytes a file. A restart sorts
the files it was in again, which have to be there still. Errors: ``InputError``; damage is handed out as ``Received``
with its reason.
"""

from __future__ import annotations

import secrets
import time
import weakref
from collections.abc import Sequence
from itertools import islice
from typing import Any

import apache_beam as beam
from apache_beam.coders import Coder
from apache_beam.io.unbounded_source import ReadFromUnboundedSource, UnboundedReader, UnboundedSource
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from contracts.coders import CODERS
from contracts.errors import UsageError
from contracts.exchange import Received
from sources.counting import CountReceived
from sources.files_player import FilesMark, FilesSettings, MarkCoder, attach, detach, element_time
from sources.ordered import Ordered, Placed
from sources.pubsub.read import DIRECT, PORTABLE
from transforms.drain import DrainFlag
from transforms.read import ReadOutputs

_POLL, _A_BUNDLE, _A_BUNDLE_SECONDS = 0.01, 500, 0.1
_PATIENCE, _NAP = 0.1, 0.002
MOST_ON_DIRECT = 100_000
_A_SCRIPTED_BUNDLE = 100
"""The direct runner sets up every DoFn for each bundle, which costs more than a hundred events."""
_EVENTS, _END = "events", "end"


class FilesSource(UnboundedSource):  # type: ignore[misc]
    """Files in order; one part, since the order is one. ``token`` tells apart the sources of a process."""

    def __init__(self, settings: FilesSettings, token: str) -> None:
        self._settings = settings
        self._token = token

    def split(self, desired_num_splits: int, options: Any = None) -> list[FilesSource]:
        return [self]

    def create_reader(self, options: Any, checkpoint_mark: FilesMark | None) -> FilesReader:
        return FilesReader(self._settings, self._token, checkpoint_mark)

    def get_checkpoint_mark_coder(self) -> Coder:
        return MarkCoder()

    def default_output_coder(self) -> Coder:
        return CODERS[Received]()


class FilesReader(UnboundedReader):  # type: ignore[misc]
    """Takes from its process's player; of all readers of a source, the one made last."""

    def __init__(self, settings: FilesSettings, token: str, mark: FilesMark | None) -> None:
        self._token = token
        self._player = attach(token, settings, mark)
        self._current: tuple[Received, int] | None = None
        self._has_taken = False
        _current_reader[token] = self

    def start(self) -> bool:
        return self.advance()

    def advance(self) -> bool:
        # an empty bundle waits a little, since each keeps its DoFns until the next checkpoint
        deadline = time.monotonic() + (0.0 if self._has_taken else _PATIENCE)
        while (taken := self._player.next()) is None:
            if self._player.has_ended or time.monotonic() >= deadline:
                return False
            time.sleep(_NAP)
        self._current = taken
        self._has_taken = True
        return True

    def get_current(self) -> Received:
        assert self._current is not None
        return self._current[0]

    def get_current_timestamp(self) -> Timestamp:
        assert self._current is not None
        return Timestamp(micros=self._current[1])

    def get_watermark(self) -> Timestamp:
        return self._player.watermark()

    def get_checkpoint_mark(self) -> FilesMark:
        self._has_taken = False
        return self._player.mark()

    def close(self) -> None:
        """Forget where the process stood: whoever comes next has a mark. A later reader that took over keeps it."""
        if _current_reader.get(self._token) is self:
            del _current_reader[self._token]
            detach(self._token, self._player)


_current_reader: weakref.WeakValueDictionary[str, FilesReader] = weakref.WeakValueDictionary()


class ReadFilesStream(beam.PTransform):  # type: ignore[misc]
    """Streams event files in order of received time; see the module.

    On ``direct`` (BundleBased), which runs no such source, the files are read while the graph is built, at most
    ``MOST_ON_DIRECT`` units, and played by ``TestStream``: no following, no pace.

    Args:
        settings: what to stream.
        engine: ``portable`` or ``direct``.
    """

    def __init__(self, settings: FilesSettings, engine: str = PORTABLE) -> None:
        super().__init__()
        if engine not in (PORTABLE, DIRECT):
            raise ValueError(f"{engine!r} is neither {PORTABLE} nor {DIRECT}")
        if engine == DIRECT and (settings.follow is not None or settings.rate is not None):
            raise UsageError("the direct runner can neither follow a folder nor pace it", hint="use --runner flink")
        self._settings = settings
        self._engine = engine

    def expand(self, pbegin: Any) -> ReadOutputs:
        if self._engine == DIRECT:
            played = pbegin | "Play" >> _script(self._settings.files)
            received = played[_EVENTS]
            _ = played[_END] | "End" >> beam.ParDo(_SayEnded(self._settings.drain))
        else:
            received = pbegin | "Stream" >> ReadFromUnboundedSource(
                FilesSource(self._settings, secrets.token_hex(8)),
                poll_interval=_POLL,
                max_records_per_bundle=_A_BUNDLE,
                max_read_time_seconds=_A_BUNDLE_SECONDS,
            )
        counted: ReadOutputs = received | "Count" >> CountReceived()
        return counted


class _SayEnded(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    """Says that the stream ends, before the watermark jumps."""

    def __init__(self, drain: str | None) -> None:
        self._drain = drain

    def process(self, _element: Received) -> None:
        DrainFlag(self._drain).say_ended()


def _script(files: Sequence[str]) -> TestStream:
    ordered = Ordered(files)
    ordered.sort()
    try:
        if ordered.total > MOST_ON_DIRECT:
            raise UsageError(
                f"{ordered.total:,} events are too many for the direct runner, which takes {MOST_ON_DIRECT:,}",
                hint="use --runner flink",
            )
        stream, frontier = TestStream(coder=CODERS[Received](), output_tags=[_EVENTS, _END]), None
        units = ordered.units()
        last: Placed | None = None
        while some := list(islice(units, _A_SCRIPTED_BUNDLE)):
            before, elements = frontier, []
            for placed in some:
                at = element_time(placed, frontier) // 1_000 * 1_000  # TestStream knows milliseconds
                elements.append(TimestampedValue(placed.received, Timestamp(micros=at)))
                if placed.received.event is not None and (frontier is None or at > frontier):
                    frontier = at
            stream.add_elements(elements, tag=_EVENTS)
            if frontier is not None and frontier != before:
                stream.advance_watermark_to(Timestamp(micros=frontier), tag=_EVENTS)
            last = some[-1]
        if last is not None:
            stream.add_elements([last.received], tag=_END)
        return stream.advance_watermark_to_infinity(tag=_EVENTS).advance_watermark_to_infinity(tag=_END)
    finally:
        ordered.close()
