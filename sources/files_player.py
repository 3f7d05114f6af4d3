"""Where a process stands in a folder of event files that it streams; what ``sources.files_stream`` hands to Beam.

One player a source in a process, apart from the readers that come and go (``sources.pubsub.puller`` says
why). It reads files in order, keeps pace, knows the watermark, and cuts marks. Files have ended once all was handed out
and a checkpoint holds it: an engine may drop what its own end of time overtakes. Errors: ``InputError``.
"""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
from apache_beam.coders import Coder
from apache_beam.io.unbounded_source import CheckpointMark
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp

from contracts.errors import InputError
from contracts.exchange import Received
from sources.ordered import Batch, Placed
from sources.pubsub.watermark import Watermark
from transforms.drain import DrainFlag

_NAME_BYTES = 8
_KEPT_WITHIN = 120.0
"""Seconds for which an engine that makes no checkpoints is waited for."""


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
        player = players.get(self.token)
        if player is not None:
            player.kept(self.cut)


class MarkCoder(Coder):  # type: ignore[misc]
    def encode(self, value: FilesMark) -> bytes:
        content = (value.done, value.current, value.position, value.frontier, value.cut, value.token)
        return msgspec.msgpack.encode(content)

    def decode(self, encoded: bytes) -> FilesMark:
        return FilesMark(*msgspec.msgpack.decode(encoded, type=tuple[bytes, bytes, int, int | None, int, str]))

    def is_deterministic(self) -> bool:
        return True


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


class Player:
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


players: dict[str, Player] = {}
_lock = threading.Lock()


def attach(token: str, settings: FilesSettings, mark: FilesMark | None) -> Player:
    """The player of a source in this process, standing at a mark; one that stands elsewhere has seen a failure."""
    with _lock:
        player = players.get(token)
        if player is not None and player.stands_at(mark):
            return player
        made = players[token] = Player(settings, mark, token)
    if player is not None:
        player.close()
    made.open()
    return made


def detach(token: str, player: Player) -> None:
    """Forget a player, unless another has taken its place, and close it."""
    with _lock:
        if players.get(token) is player:
            del players[token]
    player.close()
