"""Event files: the blocks of an Avro object container, read so that damage costs no more than what is damaged.

Pure: no Beam; reads from any binary stream. Input: a stream; output: events, and ``Damage`` for what is none. Memory is
bounded: by one block (``MAX_BLOCK``), what it inflates to (``MAX_INFLATED``) and what is kept of damage (``MAX_KEPT``).
Nothing but OSError of the stream itself escapes.

A damaged block is reported as a container of its own (the file's header, then the bytes): replayed, it reads as the
same events and the same damage. Of a damaged or cut block the events before the fault are given. After bytes that are
no block, reading goes on at the next sync marker.
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

import cramjam

from contracts.event import Event
from contracts.event_reader import FAULTS, read_long
from transforms.decode import DecodeError, EventDecoder

MAGIC = b"Obj\x01"
SYNC_SIZE = 16
MAX_HEADER = 4 << 20
MAX_BLOCK = 64 << 20
MAX_INFLATED = 64 << 20
MAX_KEPT = 8 << 20
_CHUNK = 128 << 10
_MAX_VARINT = 10
_XZ_MEMORY = 256 << 20
"""What the xz dictionary may take; its greatest preset needs 65 MiB."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Part of a file that gave no events.

    ``payload`` is the whole part, readable as a file of its own, or its first ``MAX_KEPT`` bytes; ``detail`` then names
    the size.
    """

    reason: str
    detail: str
    schema_id: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Header:
    """The head of a container: its own bytes, the writer's schema, the codec and the sync marker."""

    raw: bytes
    schema: bytes
    codec: str
    sync: bytes


# --- codecs --------------------------------------------------------------------------------------------------------


def _bounded(data: bytes) -> bytes:
    if len(data) > MAX_INFLATED:
        raise ValueError("the block inflates beyond the limit")
    return data


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj(-15)
    out = inflater.decompress(data, MAX_INFLATED + 1)
    if not inflater.eof and len(out) <= MAX_INFLATED:
        raise ValueError("the block is cut off")
    return _bounded(out)


def _bunzip(data: bytes) -> bytes:
    inflater = bz2.BZ2Decompressor()
    out = inflater.decompress(data, MAX_INFLATED + 1)
    if not inflater.eof and len(out) <= MAX_INFLATED:
        raise ValueError("the block is cut off")
    return _bounded(out)


def _unxz(data: bytes) -> bytes:
    inflater = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
    out = inflater.decompress(data, MAX_INFLATED + 1)
    if not inflater.eof and len(out) <= MAX_INFLATED:
        raise ValueError("the block is cut off")
    return _bounded(out)


def _unsnappy(data: bytes) -> bytes:
    body, checksum = data[:-4], data[-4:]
    if cramjam.snappy.decompress_raw_len(body) > MAX_INFLATED:
        raise ValueError("the block inflates beyond the limit")
    out = bytes(cramjam.snappy.decompress_raw(body))
    if zlib.crc32(out).to_bytes(4, "big") != checksum:
        raise ValueError("the block has another checksum")
    return out


def _unlz4(data: bytes) -> bytes:
    # the size stands before the block, as the lz4 package writes it
    if int.from_bytes(data[:4], "little") > MAX_INFLATED:
        raise ValueError("the block inflates beyond the limit")
    return bytes(cramjam.lz4.decompress_block(data))


def _unzstd(data: bytes) -> bytes:
    import pyarrow  # only here: the one codec whose output cramjam cannot bound

    with pyarrow.CompressedInputStream(pyarrow.BufferReader(data), "zstd") as stream:
        return _bounded(bytes(stream.read(MAX_INFLATED + 1)))


CODECS: dict[str, Callable[[bytes], bytes]] = {
    "null": bytes,
    "deflate": _inflate,
    "bzip2": _bunzip,
    "xz": _unxz,
    "snappy": _unsnappy,
    "lz4": _unlz4,
    "zstandard": _unzstd,
}
_CODEC_FAULTS = (ValueError, OSError, EOFError, MemoryError, zlib.error, lzma.LZMAError, cramjam.DecompressionError)
_UNREADABLE: tuple[type[Exception], ...] = (DecodeError, *_CODEC_FAULTS, *FAULTS)


# --- header --------------------------------------------------------------------------------------------------------


def parse_header(data: bytes) -> tuple[Header, int]:
    """The header at the start of ``data``, and its length.

    Raises:
        DecodeError: ``not_avro``; or IndexError from ``FAULTS`` is turned into it when ``data`` ends too early.
    """
    if not data.startswith(MAGIC):
        raise DecodeError("not_avro", "does not begin as an Avro file does")
    meta: dict[bytes, bytes] = {}
    at = len(MAGIC)
    try:
        while True:
            count, at = read_long(data, at)
            if count == 0:
                break
            if count < 0:
                count = -count
                _, at = read_long(data, at)
            for _ in range(count):
                pair = []
                for _ in range(2):
                    size, at = read_long(data, at)
                    if size < 0 or at + size > len(data):
                        raise IndexError
                    pair.append(data[at : at + size])
                    at += size
                meta[pair[0]] = pair[1]
    except FAULTS as fault:
        raise DecodeError("not_avro", "its header is damaged or cut off") from fault
    end = at + SYNC_SIZE
    if end > len(data):
        raise DecodeError("not_avro", "its header is cut off")
    if b"avro.schema" not in meta:
        raise DecodeError("not_avro", "its header names no schema")
    codec = meta.get(b"avro.codec", b"null").decode("utf-8", "replace")
    return Header(data[:end], meta[b"avro.schema"], codec, data[at:end]), end


def open_header(data: bytes) -> tuple[Header, int, EventDecoder]:
    """``parse_header`` and the decoder of its schema. Raises DecodeError also for a schema or codec of no use."""
    header, end = parse_header(data)
    decoder = EventDecoder(header.schema)
    if header.codec not in CODECS:
        raise DecodeError("unsupported_codec", f"codec {header.codec[:40]!r} is none of {', '.join(CODECS)}")
    return header, end, decoder


# --- blocks --------------------------------------------------------------------------------------------------------


class _Window:
    """A stream with a look-ahead: ``fill`` makes bytes available, ``take`` consumes them. ``at``: where it stands."""

    def __init__(self, stream: IO[bytes], at: int = 0) -> None:
        self._stream = stream
        self.at = at
        self.data = b""
        self.ended = False

    def fill(self, size: int) -> bool:
        """Have at least ``size`` bytes ahead; False when the stream ends before."""
        if len(self.data) >= size:
            return True
        parts, have = [self.data], len(self.data)
        while have < size and not self.ended:
            chunk = self._stream.read(max(_CHUNK, size - have))
            self.ended = not chunk
            parts.append(chunk)
            have += len(chunk)
        self.data = b"".join(parts)
        return have >= size

    def take(self, size: int) -> bytes:
        out, self.data = self.data[:size], self.data[size:]
        self.at += len(out)
        return out


class _Kept:
    """The first ``MAX_KEPT`` bytes of a part, and how many there were."""

    def __init__(self, head: bytes) -> None:
        self._out = io.BytesIO()
        self.size = 0
        self._out.write(head)
        self._room = MAX_KEPT

    def add(self, data: bytes) -> None:
        self.size += len(data)
        self._out.write(data[: self._room])
        self._room -= min(self._room, len(data))

    def damage(self, reason: str, detail: str, schema_id: str) -> Damage:
        if self.size > MAX_KEPT:
            detail = f"{detail}; {self.size} bytes, of which the first {MAX_KEPT} are kept"
        return Damage(reason, detail, schema_id, self._out.getvalue())


def _whole(window: _Window, error: DecodeError) -> Damage:
    """All that is left of the stream as one damage."""
    kept = _Kept(b"")
    while window.data or window.fill(1):
        kept.add(window.take(len(window.data)))
    return kept.damage(error.reason, error.detail, "")


def _to_next_sync(window: _Window, header: Header, schema_id: str) -> Damage:
    """Bytes that are no block, up to and with the next sync marker, or all that is left."""
    kept = _Kept(header.raw)
    while True:
        found = window.data.find(header.sync)
        if found >= 0:
            kept.add(window.take(found + SYNC_SIZE))
            return kept.damage("corrupt_block", "these bytes are no block", schema_id)
        # all but what may be the beginning of a marker
        kept.add(window.take(max(0, len(window.data) - SYNC_SIZE + 1)))
        if not window.fill(len(window.data) + 1):
            kept.add(window.take(len(window.data)))
            return kept.damage("truncated", "the file ends inside a block", schema_id)


def _frame(window: _Window, sync: bytes) -> tuple[int, bytes, bytes] | None:
    """The next block as (records, data, all its bytes), consumed; None when there is no whole block."""
    window.fill(2 * _MAX_VARINT)
    try:
        count, at = read_long(window.data, 0)
        size, at = read_long(window.data, at)
    except FAULTS:
        return None
    end = at + size + SYNC_SIZE
    if count < 0 or not 0 <= size <= MAX_BLOCK or not window.fill(end) or window.data[end - SYNC_SIZE : end] != sync:
        return None
    block = window.take(end)
    return count, block[at : at + size], block


def _of_cut_block(window: _Window, header: Header, decoder: EventDecoder) -> Iterator[Event]:
    """The whole events at the beginning of a block that the end of the file cuts off; consumes nothing.

    Only codecs that unpack from the front: of a block of another codec nothing is readable.
    """
    if not window.ended or header.sync in window.data:
        return  # not a cut: bytes that are no block
    try:
        count, at = read_long(window.data, 0)
        size, at = read_long(window.data, at)
        if not 0 <= size <= MAX_BLOCK:
            return
        packed = window.data[at : at + size]
        if header.codec == "deflate":
            packed = zlib.decompressobj(-15).decompress(packed, MAX_INFLATED)
        elif header.codec != "null":
            return
        yield from decoder.decode_block(packed, count)
    except _UNREADABLE:
        return  # the damage that follows holds the block


def read_blocks(stream: IO[bytes]) -> Iterator[tuple[Header, int, bytes]]:
    """The blocks of any container, inflated: its header, the number of records, their bytes. Bounded as events are.

    Raises:
        DecodeError: the header is none, the codec unknown, or a block damaged, too large or too large once inflated.
    """
    window = _Window(stream)
    window.fill(MAX_HEADER)
    header, end = parse_header(window.data[:MAX_HEADER])
    if header.codec not in CODECS:
        raise DecodeError("unsupported_codec", f"codec {header.codec[:40]!r} is none of {', '.join(CODECS)}")
    window.take(end)
    while window.fill(1):
        framed = _frame(window, header.sync)
        if framed is None:
            raise DecodeError("corrupt_block", "a block is damaged, cut off or too large")
        count, packed, _ = framed
        try:
            inflated = CODECS[header.codec](packed)
        except _CODEC_FAULTS as fault:
            raise DecodeError("corrupt_block", f"a block cannot be inflated: {type(fault).__name__}") from fault
        if count > len(inflated):
            raise DecodeError("corrupt_block", f"a block claims {count} records in {len(inflated)} bytes")
        yield header, count, inflated


def places_to_cut(stream: IO[bytes], pieces: int, size: int) -> list[int]:
    """Where a file may be read in pieces of about the same size: places at which blocks begin, ascending.

    Only blocks of which all before are whole are gone by, by their lengths and sync markers. So whoever reads the file
    in one go comes to each place, and what pieces give together is what the file gives, damage included.

    Args:
        stream: one that can seek, at the file's beginning.
        pieces: how many there should be; there are fewer where blocks are large.
        size: of the file, bytes.

    Raises OSError when the stream does. A file whose header cannot be read is not cut.
    """
    try:
        header, begin, _ = open_header(stream.read(MAX_HEADER))
    except DecodeError:
        return []
    places: list[int] = []
    at = begin
    for number in range(1, pieces):
        while at < begin + (size - begin) * number // pieces:
            stream.seek(at)
            head = stream.read(2 * _MAX_VARINT)
            try:
                count, body = read_long(head, 0)
                length, body = read_long(head, body)
            except FAULTS:
                return places
            marker = at + body + length
            if count < 0 or not 0 <= length <= MAX_BLOCK or marker + SYNC_SIZE >= size:
                return places
            stream.seek(marker)
            if stream.read(SYNC_SIZE) != header.sync:
                return places
            at = marker + SYNC_SIZE
        if not places or places[-1] < at:
            places.append(at)
    return places


def read_events(stream: IO[bytes], start: int = 0, end: int | None = None) -> Iterator[Event | Damage]:
    """The events of one file in their order, and a ``Damage`` in the place of each part that cannot be read.

    An empty stream is damage as well: it is no Avro file. Raises OSError when the stream itself does.

    Args:
        start, end: of ``places_to_cut``, those around the piece to read; without them the whole file.
    """
    window = _Window(stream)
    window.fill(64 << 10)
    try:
        try:
            header, body, decoder = open_header(window.data)
        except DecodeError as error:
            if error.reason != "not_avro" or not window.data.startswith(MAGIC):
                raise
            window.fill(MAX_HEADER)  # a long schema: once more with all that a header may take
            header, body, decoder = open_header(window.data[:MAX_HEADER])
    except DecodeError as error:
        yield _whole(window, error)
        return
    if start:
        stream.seek(start)
        window = _Window(stream, start)
    else:
        window.take(body)
    decompress = CODECS[header.codec]
    while (end is None or window.at < end) and window.fill(1):
        framed = _frame(window, header.sync)
        if framed is None:
            yield from _of_cut_block(window, header, decoder)
            yield _to_next_sync(window, header, decoder.schema_id)
            continue
        count, packed, block = framed
        try:
            yield from decoder.decode_block(decompress(packed), count)
        except (DecodeError, *_CODEC_FAULTS) as fault:
            kept = _Kept(header.raw)
            kept.add(block)
            detail = fault.detail if isinstance(fault, DecodeError) else f"cannot be inflated: {type(fault).__name__}"
            yield kept.damage("corrupt_block", detail, decoder.schema_id)
