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

import hashlib
import secrets
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.coders import Coder
from apache_beam.io.unbounded_source import CheckpointMark, ReadFromUnboundedSource, UnboundedReader, UnboundedSource
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp

from contracts.coders import CODERS
from contracts.errors import InputError, UsageError
from contracts.exchange import Received
from sources.counting import CountReceived
from sources.ordered import Batch, Ordered, Placed
from sources.pubsub.read import DIRECT, PORTABLE
from sources.pubsub.watermark import Watermark
from transforms.drain import DrainFlag
from transforms.read import ReadOutputs

_NAME_BYTES = 8
_POLL, _A_BUNDLE, _A_BUNDLE_SECONDS = 0.01, 500, 0.1
_PATIENCE, _NAP = 0.1, 0.002
MOST_ON_DIRECT = 100_000
_KEPT_WITHIN = 120.0
_A_SCRIPTED_BUNDLE = 100
"""The direct runner sets up every DoFn for each bundle, which costs more than a hundred events."""
_EVENTS, _END = "events", "end"


@dataclass(frozen=True)
class FilesSettings:
    """What to stream. Travels to workers.

    ``files``: as ``transforms.inputs.list_inputs`` gave them; empty with ``follow``, a local folder whose files are
    taken as they come. ``rate``: events a second; None: as fast as they are taken. ``idle_after``, ``look_every``:
    seconds; only with ``follow``. ``live``: each event is handed out when the clock reaches its received time, none
    before: for files that say what is to come, as a load test does. ``drain``: a file that asks for the end
    (``transforms.drain``).
    """

    files: tuple[str, ...] = ()
    follow: str | None = None
    rate: float | None = None
    idle_after: float | None = 5.0
    look_every: float = 1.0
    live: bool = False
    drain: str | None = None

    def __post_init__(self) -> None:
        if bool(self.files) == (self.follow is not None):
            raise ValueError("either files or a folder to follow")
        if self.rate is not None and self.rate <= 0:
            raise ValueError("a rate is greater than 0")


class FilesMark(CheckpointMark):  # type: ignore[misc]  # Beam's base class is untyped
    """How far the files were read: ``done`` files whole, of the ``current`` ones ``position`` units; its number, and
    the token of the source, by which the process that reads hears that a checkpoint holds it."""

    def __init__(
        self, done: bytes, current: bytes, position: int, frontier: int | None, cut: int, token: str = ""
    ) -> None:
        self.cut = cut
        self.token = token
        self.done = done
        self.current = current
        self.position = position
        self.frontier = frontier

    def finalize_checkpoint(self) -> None:
        """What was handed out before this mark has passed every stage, or is held by the checkpoint."""
        player = _players.get(self.token)
        if player is not None:
            player.kept(self.cut)


class _MarkCoder(Coder):  # type: ignore[misc]
    def encode(self, value: FilesMark) -> bytes:
        content = (value.done, value.current, value.position, value.frontier, value.cut, value.token)
        return msgspec.msgpack.encode(content)

    def decode(self, encoded: bytes) -> FilesMark:
        return FilesMark(*msgspec.msgpack.decode(encoded, type=tuple[bytes, bytes, int, int | None, int, str]))

    def is_deterministic(self) -> bool:
        return True


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
        return _MarkCoder()

    def default_output_coder(self) -> Coder:
        return CODERS[Received]()


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=_NAME_BYTES).digest()


def _digests(joined: bytes) -> set[bytes]:
    return {joined[at : at + _NAME_BYTES] for at in range(0, len(joined), _NAME_BYTES)}


def files_in(folder: str) -> list[str]:
    """The event files below a folder by now, sorted. Raises InputError when the folder is gone."""
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"{folder}: no such folder", hint="--follow names a local folder; it may be empty at first")
    return sorted(str(p) for p in root.rglob("*.avro") if not p.name.startswith((".", "_")) and p.is_file())


def element_time(placed: Placed, before: int | None) -> int:
    """The timestamp of an element in microseconds: min(event time, received time), for damage that of what precedes."""
    event = placed.received.event
    # an event before 1970 is refused by the next stage; Beam's own time has an end down there
    return max(0, min(event.event_time, event.received_time) if event is not None else before or 0)


class _Player:
    """Where a process stands in the files, apart from the readers that come and go (``sources.pubsub.puller``)."""

    def __init__(self, settings: FilesSettings, mark: FilesMark | None, token: str = "") -> None:
        self._settings = settings
        self._token = token
        self._done = b"" if mark is None else mark.done
        self._known = _digests(self._done)
        self._resume = b"" if mark is None else mark.current
        self._position = 0 if mark is None else mark.position
        self.cut = 0 if mark is None else mark.cut
        idle_after = settings.idle_after if settings.follow is not None else None
        self._watermark = Watermark(idle_after, time.monotonic(), None if mark is None else mark.frontier)
        self._batch: Batch | None = None
        self._next_look = 0.0
        self._paced_from: tuple[float, int] | None = None
        self._emitted = 0
        self._since_cut = 0
        self._full_cut, self._kept_cut = self.cut, self.cut
        self._exhausted_at: float | None = None
        self._ahead: Placed | None = None
        self._drain = DrainFlag(settings.drain)

    def open(self) -> None:
        """Begin with the files of the mark. Raises InputError when they are gone."""
        if self._settings.follow is None:
            self._batch = Batch(self._settings.files, self._position)
        elif self._resume:
            wanted = _digests(self._resume)
            files = [name for name in files_in(self._settings.follow) if self._digest(name) in wanted]
            if len(files) < len(wanted):
                raise InputError(
                    f"{len(wanted) - len(files)} files that were being read are gone from {self._settings.follow}",
                    hint="put them back; files may go once a later one was read",
                )
            self._batch = Batch(files, self._position)

    def next(self) -> tuple[Received, int] | None:
        """The next unit and its timestamp, if it is there and due."""
        now = time.monotonic()
        if self._drain.is_raised(now):
            self._exhaust()
        if self._exhausted_at is not None or (self._batch is None and not self._look(now)):
            return None
        assert self._batch is not None
        if not self._batch.is_ready() or not self._is_due(now):
            return None
        placed = self._ahead or self._batch.next()
        if self._settings.live and placed is not None and _is_to_come(placed):
            self._ahead = placed
            return None
        self._ahead = None
        if placed is None:
            self._finish_batch()
            return None
        at = element_time(placed, self._watermark.frontier)
        self._watermark.hold(at, now)
        self._watermark.emit(at if placed.received.event is not None else None)
        self._position += 1
        self._emitted += 1
        self._since_cut += 1
        return placed.received, at

    def stands_at(self, mark: FilesMark | None) -> bool:
        """Whether a mark was the last one and nothing was handed out since, as it is unless a bundle failed."""
        return not self._since_cut and self.cut == (0 if mark is None else mark.cut)

    def kept(self, cut: int) -> None:
        """A checkpoint that holds this cut is complete."""
        self._kept_cut = max(self._kept_cut, cut)

    @property
    def has_ended(self) -> bool:
        """Whether all was handed out, and has been kept: an engine may drop what its own end of time overtakes.

        An engine that makes no checkpoints is waited for ``_KEPT_WITHIN`` seconds.
        """
        if self._exhausted_at is None:
            return False
        kept = not self._since_cut and self._kept_cut >= self._full_cut
        return kept or time.monotonic() - self._exhausted_at > _KEPT_WITHIN

    def _exhaust(self) -> None:
        if self._exhausted_at is None:
            self._exhausted_at = time.monotonic()

    def _digest(self, name: str) -> bytes:
        assert self._settings.follow is not None
        return _digest(str(Path(name).relative_to(self._settings.follow)))

    def _look(self, now: float) -> bool:
        """Whether new files are there; they then are the batch."""
        if self._settings.follow is None or now < self._next_look:
            return False
        self._next_look = now + self._settings.look_every
        new = [name for name in files_in(self._settings.follow) if self._digest(name) not in self._known]
        if not new:
            self._watermark.empty(now)
            return False
        self._batch, self._position = Batch(new, 0), 0
        return True

    def _is_due(self, now: float) -> bool:
        """Whether the rate allows the next one: arrivals do not wait for a slow pipeline, they pile up."""
        if self._settings.rate is None:
            return True
        if self._paced_from is None:
            self._paced_from = now, self._emitted
        since, before = self._paced_from
        return self._emitted - before <= (now - since) * self._settings.rate

    def _finish_batch(self) -> None:
        assert self._batch is not None
        self._batch.close()
        if self._settings.follow is None:
            self._drain.say_ended()
            self._exhaust()
            return
        new = [self._digest(name) for name in self._batch.files]
        self._known.update(new)
        self._done += b"".join(new)
        # the pace begins anew with what comes next: a pause is no debt
        self._batch, self._position, self._paced_from = None, 0, None

    def watermark(self) -> Timestamp:
        if self.has_ended:
            return MAX_TIMESTAMP
        at = self._watermark.at()
        return MIN_TIMESTAMP if at is None else Timestamp(micros=at)

    def mark(self) -> FilesMark:
        self.cut += 1
        if self._since_cut:
            self._full_cut = self.cut
        self._since_cut = 0
        current = b""
        if self._batch is not None and self._settings.follow is not None:
            current = b"".join(self._digest(name) for name in self._batch.files)
        return FilesMark(self._done, current, self._position, self._watermark.frontier, self.cut, self._token)

    def close(self) -> None:
        if self._batch is not None:
            self._batch.close()


def _is_to_come(placed: Placed) -> bool:
    event = placed.received.event
    return event is not None and event.received_time > time.time_ns() // 1_000


_players: dict[str, _Player] = {}
_players_lock = threading.Lock()


def _attach(token: str, settings: FilesSettings, mark: FilesMark | None) -> _Player:
    """The player of a source in this process, standing at a mark; one that stands elsewhere has seen a failure."""
    with _players_lock:
        player = _players.get(token)
        if player is not None and player.stands_at(mark):
            return player
        made = _players[token] = _Player(settings, mark, token)
    if player is not None:
        player.close()
    made.open()
    return made


class FilesReader(UnboundedReader):  # type: ignore[misc]
    """Takes from its process's player; of all readers of a source, the one made last."""

    def __init__(self, settings: FilesSettings, token: str, mark: FilesMark | None) -> None:
        self._token = token
        self._player = _attach(token, settings, mark)
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
            with _players_lock:
                if _players.get(self._token) is self._player:
                    del _players[self._token]
            self._player.close()


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
