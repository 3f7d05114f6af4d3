"""A keyed stage that counts, and a source of numbers: what the streaming host is measured and tested with.

The least that an actor can do, so that what is measured is the host: an element is (key, event time, when made); the
record of a key is how many came and the latest event time. What must come out can be reckoned from the number of
elements alone, so that a lost or doubled element shows in a count.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import apache_beam as beam
import msgspec
from apache_beam.coders import Coder
from apache_beam.io.unbounded_source import CheckpointMark, UnboundedReader, UnboundedSource
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp

from transforms.actor.core import ActorCore, Entry, Step

START = 1_700_000_000_000_000
"""Event time of the first number, microseconds; the others follow a millisecond apart."""
POISON = b"poison"
COUNTS, PASSED, CLOSED, POLLED, TOTALS = "counts", "passed", "closed", "polled", "totals"
OUTPUTS: dict[str, Any] = {
    COUNTS: tuple[bytes, int],
    PASSED: tuple[bytes, bytes],
    CLOSED: tuple[bytes, int],
    POLLED: tuple[bytes, int],
    TOTALS: tuple[bytes, int],
}
_VERSION = 1


class Number(NamedTuple):
    """One element. ``at`` is event time, ``made`` processing time when it was made, both microseconds."""

    key: bytes
    at: int
    made: int = 0


class _Count(NamedTuple):
    n: int
    latest: int


_encode = msgspec.msgpack.Encoder().encode
_number = msgspec.msgpack.Decoder(tuple[bytes, int, int])
_count = msgspec.msgpack.Decoder(tuple[int, int, int])


def encode_number(number: Number) -> bytes:
    """An element as the host carries it."""
    return _encode(tuple(number))


def decode_number(data: bytes) -> Number:
    """The inverse. Raises ``msgspec.DecodeError``."""
    return Number(*_number.decode(data))


def shard_of(key: bytes, shards: int) -> bytes:
    """The shard of a key."""
    return (crc32(key) % shards).to_bytes(2, "big")


def wall_clock() -> int:
    """Processing time, microseconds."""
    return time.time_ns() // 1_000


class CountingCore:
    """Counts the elements of each key; closes a key after a pause in event time; asks to poll, if told to.

    Outputs: ``counts`` (key, count so far) and ``passed`` (shard, element) for each element, ``closed`` (key, count)
    when a key paused, which drops it if ``forget``, ``polled`` (shard, now), ``totals`` (key, count) when drained.
    """

    def __init__(self, shard: bytes, settings: CountingFactory) -> None:
        self._shard = shard
        self._settings = settings
        self._counts: dict[bytes, _Count] = {}
        self._closed: set[bytes] = set()
        self._poll_at: int | None = None

    def restore(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            version, n, latest = _count.decode(entry.data)
            assert version == _VERSION
            before = self._counts.get(entry.key)
            if before is None or entry.whole:
                self._counts[entry.key] = _Count(n, latest)
            else:
                self._counts[entry.key] = _Count(before.n + n, max(before.latest, latest))

    def handle(self, batch: Sequence[bytes], now: int) -> Step:
        changed: dict[bytes, _Count] = {}
        added: dict[bytes, int] = {}
        outputs: list[tuple[str, Any]] = []
        for data in batch:
            if data == POISON:
                raise ValueError("cannot count poison of jane@example.com")
            number = decode_number(data)
            before = changed.get(number.key) or self._counts.get(number.key) or _Count(0, 0)
            changed[number.key] = _Count(before.n + 1, max(before.latest, number.at))
            added[number.key] = added.get(number.key, 0) + 1
            if self._settings.tell:
                outputs.append((COUNTS, (number.key, before.n + 1)))
            if self._settings.passes:
                outputs.append((PASSED, (shard_of(number.key[::-1], self._settings.passes), data)))
        if self._settings.whole:
            entries = [Entry(key, _encode((_VERSION, *count)), True) for key, count in changed.items()]
        else:
            entries = [Entry(key, _encode((_VERSION, added[key], count.latest))) for key, count in changed.items()]
        return self._step(outputs, entries, (), changed, now)

    def advance(self, watermark: int, now: int) -> Step:
        pause = self._settings.pause
        assert pause is not None
        ended = [key for key, c in self._counts.items() if c.latest + pause <= watermark and key not in self._closed]
        outputs = [(CLOSED, (key, self._counts[key].n)) for key in sorted(ended)]
        return self._step(outputs, (), ended if self._settings.forget else (), {}, now, closed=ended)

    def poll(self, now: int) -> Step:
        return self._step([(POLLED, (self._shard, now))], (), (), {}, now, polled=True)

    def drain(self, now: int) -> Step:
        outputs = [(TOTALS, (key, count.n)) for key, count in sorted(self._counts.items())]
        return Step(tuple(outputs), pending=({}, (), (), None))

    def commit(self, step: Step) -> None:
        if step.pending is None:
            return
        changed, dropped, closed, self._poll_at = step.pending
        self._counts.update(changed)
        self._closed.difference_update(changed)
        self._closed.update(closed)
        for key in dropped:
            self._counts.pop(key, None)
            self._closed.discard(key)

    def live(self, key: bytes) -> bytes | None:
        count = self._counts.get(key)
        return None if count is None else _encode((_VERSION, *count))

    def _step(
        self,
        outputs: list[tuple[str, Any]],
        entries: Iterable[Entry],
        dropped: Iterable[bytes],
        changed: dict[bytes, _Count],
        now: int,
        *,
        closed: Iterable[bytes] = (),
        polled: bool = False,
    ) -> Step:
        poll_at, period = self._poll_at, self._settings.poll_every
        if period is not None and (poll_at is None or polled):
            poll_at = now + period
        gone, closed = tuple(dropped), tuple(closed)
        due = None
        if self._settings.pause is not None:
            skipped = {*self._closed.difference(changed), *gone, *closed}
            latest = [c.latest for key, c in {**self._counts, **changed}.items() if key not in skipped]
            due = min(latest) + self._settings.pause if latest else None
        return Step(tuple(outputs), tuple(entries), gone, due, poll_at, (changed, gone, closed, poll_at))


@dataclass(frozen=True)
class CountingFactory:
    """Makes counting cores.

    ``whole`` writes whole records to the log, else changes; ``pause`` closes keys, ``forget`` drops them then;
    ``poll_every`` in microseconds; ``passes`` is the number of shards of a stage after this one, 0 without; ``tell``
    puts out each count.
    """

    whole: bool = False
    pause: int | None = None
    forget: bool = False
    poll_every: int | None = None
    passes: int = 0
    tell: bool = True

    def setup(self) -> None: ...

    def core(self, shard: bytes) -> ActorCore:
        return CountingCore(shard, self)

    def adopt(self, core: ActorCore) -> None: ...

    def teardown(self) -> None: ...


class Mark(CheckpointMark):  # type: ignore[misc]
    """How many numbers were given; when the engine has committed that, it is noted as a line of ``file``."""

    def __init__(self, position: int, file: str) -> None:
        self.position = position
        self.file = file

    def finalize_checkpoint(self) -> None:
        if self.file:
            with open(self.file, "a", encoding="ascii") as committed:
                committed.write(f"{self.position}\n")


class MarkCoder(Coder):  # type: ignore[misc]
    def encode(self, value: Mark) -> bytes:
        return _encode((value.position, value.file))

    def decode(self, encoded: bytes) -> Mark:
        return Mark(*msgspec.msgpack.decode(encoded, type=tuple[int, str]))

    def is_deterministic(self) -> bool:
        return True


class Numbers(UnboundedSource):  # type: ignore[misc]
    """``count`` elements, ``rate`` a second or as fast as they are taken, of ``keys`` keys in turn; then it ends.

    ``committed`` is a file that gets the committed positions.
    """

    def __init__(self, count: int, keys: int, shards: int, rate: float = 0, committed: Path | None = None) -> None:
        self.count = count
        self.keys = keys
        self.shards = shards
        self.rate = rate
        self.committed = str(committed or "")
        self.name = secrets.token_hex(4)

    def split(self, desired_num_splits: int, options: Any = None) -> list[Numbers]:
        return [self]

    def create_reader(self, options: Any, checkpoint_mark: Mark | None) -> _NumbersReader:
        return _NumbersReader(self, checkpoint_mark.position if checkpoint_mark else 0)

    def get_checkpoint_mark_coder(self) -> MarkCoder:
        return MarkCoder()


_PACE: dict[str, tuple[float, int]] = {}
"""By source: when this process began to read it, and where."""


class _NumbersReader(UnboundedReader):  # type: ignore[misc]
    def __init__(self, source: Numbers, position: int) -> None:
        self._source = source
        self._next = position
        # an engine may make a reader anew for each bundle; the pace is that of the process
        self._begun, self._first = _PACE.setdefault(source.name, (time.monotonic(), position))

    def start(self) -> bool:
        return self.advance()

    def advance(self) -> bool:
        source = self._source
        if self._next >= source.count:
            return False
        if source.rate and self._next - self._first >= (time.monotonic() - self._begun) * source.rate:
            return False
        self._next += 1
        return True

    def get_current(self) -> tuple[bytes, bytes]:
        i = self._next - 1
        key = b"k%d" % (i % self._source.keys)
        return shard_of(key, self._source.shards), encode_number(Number(key, START + i * 1_000, wall_clock()))

    def get_current_timestamp(self) -> Timestamp:
        return Timestamp(micros=START + (self._next - 1) * 1_000)

    def get_watermark(self) -> Timestamp:
        done = self._next >= self._source.count
        return MAX_TIMESTAMP if done else Timestamp(micros=START + self._next * 1_000)

    def get_checkpoint_mark(self) -> Mark:
        return Mark(self._next, self._source.committed)


def expected_counts(count: int, keys: int) -> dict[bytes, int]:
    """What ``Numbers`` comes to."""
    return {b"k%d" % k: len(range(k, count, keys)) for k in range(min(keys, count))}


class ToFile(beam.DoFn):  # type: ignore[misc]
    """Appends a line ``label key number`` for each (key, number), so that another process can read it meanwhile."""

    def __init__(self, path: Path, label: str) -> None:
        super().__init__()
        self._path = str(path)
        self._label = label
        self._lines: list[str] = []

    def process(self, element: tuple[bytes, int]) -> None:
        self._lines.append(f"{self._label} {element[0].hex()} {element[1]}\n")

    def finish_bundle(self) -> None:
        lines, self._lines = self._lines, []
        with open(self._path, "a", encoding="ascii") as file:
            file.write("".join(lines))


def told(path: Path, label: str) -> list[tuple[bytes, int]]:
    """The (key, number) that ``ToFile`` wrote under a label, in order."""
    lines = path.read_text(encoding="ascii").splitlines() if path.exists() else []
    found = (line.split(" ") for line in lines)
    return [(bytes.fromhex(key), int(number)) for name, key, number in found if name == label]
