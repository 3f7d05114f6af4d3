"""The bookkeeping of a shard's log: which of its segments holds what that still says something. Pure.

The log lies in a fixed number of **segments**, each a bag of chunks in the engine's state. A chunk is what one step
appended. One segment is *active* and appended to; when it is full, an empty one becomes active. An entry dies when its
key gets a whole entry or is dropped. A full segment more than half dead is emptied: what lives in it is written to the
active segment anew, a slice at a time so that no batch waits long, and then it is cleared. When no segment is empty and
the active one is full, the one with least alive is emptied all the same: changes become whole records there. If
that frees less than half of it, segments are too small for what lives, and are doubled. So the log takes at most a few
times the bytes of the records, and each byte is copied a bounded number of times.

A dropped key leaves a **tombstone**, which is alive for as long as dead entries of the key lie in another segment:
without it they would come back to life at the next restore.

This object only reckons: it says what to append where and what to clear, and the host does it. After a crash it is made
anew by ``restore`` from the chunks themselves.

A chunk is one byte of version, then MessagePack: its number, ascending over all segments, and its entries. Errors:
``StateVersionError`` for a chunk of a newer version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from contracts.errors import StateVersionError
from transforms.actor.core import Entry

VERSION = 1
SEGMENTS = 8
SEAL = 2 * 1024 * 1024
"""Bytes after which a segment is full, at first."""
SLICE = 128 * 1024
"""Bytes copied by one compaction step at least; four times what the last step appended, when that is more."""

_CHANGE, _WHOLE, _DROP, _FIRST = 0, 1, 2, 3
"""Kinds of entries. The first change of a record, like a whole entry, has nothing before it."""
_OVERHEAD = 8
_PREFIX = bytes((VERSION,))
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[int, list[tuple[int, bytes, bytes]]])


class Append(NamedTuple):
    """A chunk to add to a segment."""

    segment: int
    chunk: bytes
    entries: int


class Compaction(NamedTuple):
    """One step of emptying a segment: what to append first, if anything, then what to clear, if that is all of it."""

    append: Append | None
    cleared: int | None


@dataclass
class _Segment:
    """``keys`` holds the bytes alive of each key that lies here, 0 where only dead entries do."""

    size: int = 0
    live: int = 0
    keys: dict[bytes, int] = field(default_factory=dict)


class SegmentLog:
    """An empty log.

    Args:
        segments: how many there are, at least three.
        seal: bytes after which a segment is full, at first.
        slice_bytes: bytes that one compaction step copies at least.
    """

    def __init__(self, segments: int = SEGMENTS, seal: int = SEAL, slice_bytes: int = SLICE) -> None:
        if segments < 3:
            raise ValueError(f"a log needs three segments, not {segments}: one active, one full, one empty")
        self._segments = [_Segment() for _ in range(segments)]
        self._seal = self._least_seal = seal
        self._slice = slice_bytes
        self._alive: set[bytes] = set()
        self._tombs: dict[bytes, int] = {}
        self._active = 0
        self._number = 0
        self._appended = 0
        self._victim: int | None = None
        self._todo: list[bytes] = []
        self._copied = 0

    @property
    def live_bytes(self) -> int:
        """Bytes of entries that still say something."""
        return sum(segment.live for segment in self._segments)

    @property
    def size(self) -> int:
        """Bytes in all segments."""
        return sum(segment.size for segment in self._segments)

    def restore(self, chunks: Sequence[Iterable[bytes]]) -> list[Entry]:
        """Take up the chunks of each segment; on an empty log. Returns the entries alive, oldest first.

        Raises:
            StateVersionError: a newer release wrote a chunk.
            ValueError: a chunk is none.
        """
        found = sorted(
            ((*_decode(chunk), segment) for segment, held in enumerate(chunks) for chunk in held),
            key=lambda chunk: chunk[0],
        )
        alive: dict[bytes, list[tuple[int, Entry]]] = {}
        position = 0
        for number, entries, segment in found:
            self._number, self._active = number, segment
            for kind, key, data in entries:
                self._note(segment, kind, key, len(data))
                if kind != _CHANGE:
                    alive.pop(key, None)
                if kind != _DROP:
                    alive.setdefault(key, []).append((position, Entry(key, data, kind == _WHOLE)))
                position += 1
        ordered = sorted((item for items in alive.values() for item in items), key=lambda item: item[0])
        return [entry for _, entry in ordered]

    def append(self, entries: Iterable[Entry], dropped: Iterable[bytes] = ()) -> Append | None:
        """Reckon with what a step appends; None when that is nothing."""
        gone = set(dropped)
        chunk: list[tuple[int, bytes, bytes]] = []
        segment = self._roll()
        for entry in entries:
            if entry.key in gone:
                continue
            kind = _WHOLE if entry.whole else _CHANGE if entry.key in self._alive else _FIRST
            self._note(segment, kind, entry.key, len(entry.data))
            chunk.append((kind, entry.key, entry.data))
        for key in sorted(gone):
            if key in self._alive:
                self._note(segment, _DROP, key, 0)
                chunk.append((_DROP, key, b""))
        self._appended = sum(len(key) + len(data) for _, key, data in chunk)
        return self._chunk(segment, chunk)

    def compact(self, live: Callable[[bytes], bytes | None]) -> Compaction | None:
        """One step of emptying a segment, where one is worth it; None otherwise.

        Args:
            live: the record of a key as the data of one whole entry, as it is after all that was appended.

        Raises:
            LookupError: it knows no record of a key that lives in the log.
        """
        if self._victim is None and not self._choose():
            return None
        victim = self._victim
        assert victim is not None
        old = self._segments[victim]
        segment = self._roll()
        budget = max(self._slice, 4 * self._appended)
        chunk: list[tuple[int, bytes, bytes]] = []
        while self._todo and budget > 0:
            key = self._todo.pop()
            if old.keys.get(key):
                data = live(key)
                if data is None:
                    raise LookupError(f"the log holds entries of key {key!r}, of which the core knows no record")
                self._note(segment, _WHOLE, key, len(data))
                chunk.append((_WHOLE, key, data))
                budget -= len(key) + len(data) + _OVERHEAD
            elif self._tombs.get(key) == victim:
                self._note(segment, _DROP, key, 0)
                chunk.append((_DROP, key, b""))
                budget -= len(key) + _OVERHEAD
        self._copied += sum(len(key) + len(data) + _OVERHEAD for _, key, data in chunk)
        appended = self._chunk(segment, chunk)
        if self._todo:
            return Compaction(appended, None)
        self._segments[victim] = _Segment()
        self._victim = None
        if 2 * self._copied > old.size:
            self._seal *= 2
        elif self._seal > self._least_seal and 4 * self.live_bytes < self._seal * len(self._segments):
            self._seal //= 2
        for key in old.keys:
            if key in self._tombs and not self._lies_outside(key, self._tombs[key]):
                self._bury(key)
        return Compaction(appended, victim)

    def _note(self, segment: int, kind: int, key: bytes, length: int) -> None:
        """Reckon with one entry in a segment."""
        if kind != _CHANGE:
            for other in self._segments:
                if lost := other.keys.get(key):
                    other.live -= lost
                    other.keys[key] = 0
            self._bury(key)
        held = self._segments[segment]
        size = len(key) + length + _OVERHEAD
        held.size += size
        if kind == _DROP:
            self._alive.discard(key)
            if self._lies_outside(key, segment):
                self._tombs[key] = segment
                held.live += size
        else:
            self._alive.add(key)
            held.live += size
            held.keys[key] = held.keys.get(key, 0) + size

    def _lies_outside(self, key: bytes, segment: int) -> bool:
        return any(key in held.keys for i, held in enumerate(self._segments) if i != segment)

    def _bury(self, key: bytes) -> None:
        """A tombstone is needed no more."""
        if (segment := self._tombs.pop(key, None)) is not None:
            self._segments[segment].live -= len(key) + _OVERHEAD

    def _chunk(self, segment: int, entries: list[tuple[int, bytes, bytes]]) -> Append | None:
        if not entries:
            return None
        self._number += 1
        return Append(segment, _PREFIX + _encoder.encode((self._number, entries)), len(entries))

    def _full(self) -> bool:
        return self._segments[self._active].size >= self._seal

    def _roll(self) -> int:
        """The segment to append to: the active one, or an empty one in its place when it is full."""
        if self._full():
            empty = (i for i, s in enumerate(self._segments) if not s.size and i != self._victim)
            self._active = next(empty, self._active)
        return self._active

    def _choose(self) -> bool:
        """Choose a segment to empty; False when none is worth it."""
        sealed = [(s.size - s.live, i) for i, s in enumerate(self._segments) if s.size and i != self._active]
        if not sealed:
            return False
        dead, best = max(sealed)
        if 2 * dead <= self._segments[best].size:
            if len(sealed) < len(self._segments) - 1 or not self._full():
                return False
            best = min((self._segments[i].live, i) for _, i in sealed)[1]
        self._victim, self._copied = best, 0
        held = self._segments[best]
        self._todo = [key for key, live in held.keys.items() if live]
        self._todo += [key for key, segment in self._tombs.items() if segment == best]
        return True


def _decode(chunk: bytes) -> tuple[int, list[tuple[int, bytes, bytes]]]:
    if not chunk:
        raise ValueError("a chunk of a shard's log is empty")
    if chunk[0] > VERSION:
        raise StateVersionError("the log of a shard", chunk[0], VERSION)
    try:
        return _decoder.decode(memoryview(chunk)[1:])
    except msgspec.DecodeError as error:
        raise ValueError(f"a chunk of a shard's log cannot be read: {error}") from error
