"""Events as columns, and from columns to Avro: a fast encoder for the event schema, and the plain one it must equal.

fastavro needs tens of microseconds for one event of this schema. Simulated events repeat nearly all their values, so
here each distinct value is encoded once, and a record is the join of such pieces: a few microseconds.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from contracts import codec
from contracts.event import Context

Ints = NDArray[np.int64]

_CONTEXT_FIELDS = tuple(Context.__dataclass_fields__)


# --- one value ---------------------------------------------------------------------------------------------------


def long(value: int) -> bytes:
    """An Avro long: zigzag, then seven bits a byte."""
    rest = (value << 1) ^ (value >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append((rest & 0x7F) | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def text(value: str) -> bytes:
    data = value.encode("utf-8")
    return long(len(data)) + data


def optional_text(value: str | None) -> bytes:
    return b"\x00" if value is None else b"\x02" + text(value)


def context(value: dict[str, str] | None) -> bytes:
    if value is None:
        return b"\x00"
    return b"\x02" + b"".join(optional_text(value.get(name)) for name in _CONTEXT_FIELDS)


def place(value: tuple[str, str, str]) -> bytes:
    """Locale, time zone, country."""
    return b"".join(optional_text(part) for part in value)


def flags(value: dict[str, bool]) -> bytes:
    if not value:
        return b"\x00"
    body = b"".join(text(name) + (b"\x01" if granted else b"\x00") for name, granted in value.items())
    return long(len(value)) + body + b"\x00"


def _scalar(value: Any) -> bytes:
    if value is None:
        return b"\x00"
    if isinstance(value, bool):
        return b"\x02\x01" if value else b"\x02\x00"
    if isinstance(value, int):
        return b"\x04" + long(value)
    if isinstance(value, float):
        return b"\x06" + struct.pack("<d", value)
    return b"\x08" + text(value)


def scalars(value: dict[str, Any]) -> bytes:
    if not value:
        return b"\x00"
    return long(len(value)) + b"".join(text(name) + _scalar(item) for name, item in value.items()) + b"\x00"


def identifier(namespace: str) -> Callable[[str | None], bytes]:
    """An encoder of the values of one namespace; an absent one takes no bytes."""
    prefix = text(namespace)
    return lambda value: b"" if value is None else prefix + text(value)


# --- columns -----------------------------------------------------------------------------------------------------


class Table:
    """Distinct values, each encoded at most once."""

    def __init__(self, values: Sequence[Any], encode: Callable[[Any], bytes]) -> None:
        self.values = values
        self._encode = encode
        self._encoded: NDArray[np.object_] | None = None

    @property
    def encoded(self) -> NDArray[np.object_]:
        if self._encoded is None:
            self._encoded = np.empty(len(self.values), dtype=object)
            self._encoded[:] = [self._encode(value) for value in self.values]
        return self._encoded


@dataclass(frozen=True, slots=True)
class Lookup:
    """A column: for each row the index of its value in a table."""

    table: Table
    codes: Ints

    def encoded(self) -> list[bytes]:
        pieces: list[bytes] = self.table.encoded[self.codes].tolist()
        return pieces

    def plain(self) -> list[Any]:
        values = self.table.values
        return [values[code] for code in self.codes.tolist()]

    def present(self) -> NDArray[np.bool_]:
        """Which rows have a value other than None."""
        held = np.fromiter((value is not None for value in self.table.values), np.bool_, len(self.table.values))
        present: NDArray[np.bool_] = held[self.codes]
        return present

    def take(self, rows: Ints) -> Lookup:
        return Lookup(self.table, self.codes[rows])


@dataclass(frozen=True, slots=True)
class EventColumns:
    """Events by column. Times are UTC microseconds between 1980 and 3000; event ids are 64 bits, shown as hex."""

    event_id: NDArray[np.uint64]
    name: Lookup
    event_time: Ints
    received_time: Ints
    source: Lookup
    channel: Lookup
    identifiers: tuple[tuple[str, Lookup], ...]
    tracker_session: Lookup
    action: Lookup
    context: Lookup
    device_class: Lookup
    place: Lookup
    consent: Lookup
    correlation: Lookup
    properties: Lookup


_COUNTS = [long(n) if n else b"" for n in range(16)]


def encode_events(columns: EventColumns) -> list[bytes]:
    """One Avro binary record a row."""
    count = np.zeros(len(columns.event_id), dtype=np.int64)
    for _, lookup in columns.identifiers:
        count += lookup.present()
    counts = np.empty(len(_COUNTS), dtype=object)
    counts[:] = _COUNTS
    pieces = zip(
        _hex_ids(columns.event_id),
        columns.name.encoded(),
        _times(columns.event_time, columns.received_time),
        columns.source.encoded(),
        columns.channel.encoded(),
        counts[count].tolist(),
        *(lookup.encoded() for _, lookup in columns.identifiers),
        [b"\x00"] * len(count),
        columns.tracker_session.encoded(),
        columns.action.encoded(),
        columns.context.encoded(),
        columns.device_class.encoded(),
        columns.place.encoded(),
        columns.consent.encoded(),
        columns.correlation.encoded(),
        [b"\x00"] * len(count),  # traceparent
        columns.properties.encoded(),
        [b"\x02\x00"] * len(count),  # schema_version 1, no mapping_version
        strict=True,
    )
    return list(map(b"".join, pieces))


def plain_events(columns: EventColumns) -> list[dict[str, Any]]:
    """The same rows as dictionaries that fastavro can write: slow, the definition of what ``encode_events`` means."""
    identifiers = [(namespace, lookup.plain()) for namespace, lookup in columns.identifiers]
    rows = zip(
        columns.event_id.tolist(),
        columns.name.plain(),
        columns.event_time.tolist(),
        columns.received_time.tolist(),
        columns.source.plain(),
        columns.channel.plain(),
        columns.tracker_session.plain(),
        columns.action.plain(),
        columns.context.plain(),
        columns.device_class.plain(),
        columns.place.plain(),
        columns.consent.plain(),
        columns.correlation.plain(),
        columns.properties.plain(),
        strict=True,
    )
    return [
        {
            "event_id": f"{row[0]:016x}",
            "name": row[1],
            "event_time": row[2],
            "received_time": row[3],
            "source": row[4],
            "channel": row[5],
            "identifiers": [
                {"namespace": namespace, "value": values[i]}
                for namespace, values in identifiers
                if values[i] is not None
            ],
            "tracker_session_id": row[6],
            "action_id": row[7],
            "context": None if row[8] is None else {name: row[8].get(name) for name in _CONTEXT_FIELDS},
            "device_class": row[9],
            "locale": row[10][0],
            "time_zone": row[10][1],
            "country": row[10][2],
            "consent": row[11],
            "correlation_id": row[12],
            "traceparent": None,
            "properties": row[13],
            "schema_version": 1,
            "mapping_version": None,
        }
        for i, row in enumerate(rows)
    ]


def hex_ids(ids: NDArray[np.uint64]) -> list[str]:
    """Event ids as they stand in the records."""
    joined = ids.astype(">u8").tobytes().hex()
    return [joined[i : i + 16] for i in range(0, len(joined), 16)]


def _hex_ids(ids: NDArray[np.uint64]) -> list[bytes]:
    digits = np.frombuffer(ids.astype(">u8").tobytes().hex().encode("ascii"), dtype=np.uint8).reshape(-1, 16)
    rows = np.empty((len(ids), 17), dtype=np.uint8)
    rows[:, 0] = 32  # length 16, zigzag
    rows[:, 1:] = digits
    return _slices(rows)


def _times(first: Ints, second: Ints) -> list[bytes]:
    """Two longs a row. Between 1980 and 3000 a time in microseconds always takes eight bytes."""
    rows = np.empty((len(first), 16), dtype=np.uint8)
    for offset, values in ((0, first), (8, second)):
        if len(values) and (int(values.min()) < 2**48 or int(values.max()) >= 2**55):
            raise ValueError("an event time lies outside the years 1980 to 3000")
        rest = values << 1
        for position in range(8):
            rows[:, offset + position] = (rest & 0x7F) | (0x80 if position < 7 else 0)
            rest = rest >> 7
    return _slices(rows)


def _slices(rows: NDArray[np.uint8]) -> list[bytes]:
    data, width = rows.tobytes(), rows.shape[1]
    return [data[i : i + width] for i in range(0, len(data), width)]


# --- container files ---------------------------------------------------------------------------------------------

_BLOCK_BYTES = 256 * 1024


class ContainerWriter:
    """An Avro object container file of encoded events. The sync marker comes from ``seed``: same input, same bytes."""

    def __init__(self, path: Path, *, codec_name: str, seed: str) -> None:
        self.path = path
        self._deflate = codec_name == "deflate"
        self._sync = hashlib.blake2b(seed.encode("utf-8"), digest_size=16).digest()
        self._partial = path.with_name(path.name + ".tmp")
        self._file: BinaryIO = self._partial.open("wb")
        self.records = 0
        schema = json.dumps(codec.raw_schema("event"), separators=(",", ":")).encode("utf-8")
        pairs = ((b"avro.schema", schema), (b"avro.codec", codec_name.encode("ascii")))
        body = b"".join(long(len(part)) + part for pair in pairs for part in pair)
        self._file.write(b"Obj\x01" + long(len(pairs)) + body + b"\x00" + self._sync)

    def write(self, records: Iterable[bytes]) -> None:
        """Append encoded records, in blocks of about 256 KiB."""
        block: list[bytes] = []
        size = 0
        for record in records:
            block.append(record)
            size += len(record)
            if size >= _BLOCK_BYTES:
                self._write_block(block)
                block, size = [], 0
        if block:
            self._write_block(block)

    def _write_block(self, block: list[bytes]) -> None:
        data = b"".join(block)
        if self._deflate:
            deflater = zlib.compressobj(1, zlib.DEFLATED, -15)
            data = deflater.compress(data) + deflater.flush()
        self._file.write(long(len(block)) + long(len(data)) + data + self._sync)
        self.records += len(block)

    def close(self) -> None:
        """Finish the file under its own name; until then only a ``.tmp`` exists."""
        self._file.close()
        self._partial.replace(self.path)
