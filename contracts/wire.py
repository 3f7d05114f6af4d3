"""The encoding of elements in flight: MessagePack by field name, without Beam.

Avro is the contract at rest and at the edges (``codec``); between two stages of one running graph an element is
encoded and decoded once, and there MessagePack through msgspec costs a twentieth of Avro (docs/adr/0003). Decoding
checks types, ignores unknown fields and fills new ones from their defaults, so that a graph can be updated while it
runs.
"""

from __future__ import annotations

from typing import Any, TypeVar

import cramjam
import msgspec

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()
_COMPRESSION_LEVEL = 1


_decoders: dict[type[Any], msgspec.msgpack.Decoder[Any]] = {}


def _decoder(kind: type[Any]) -> msgspec.msgpack.Decoder[Any]:
    """One decoder a class: building it costs a thousand times its use."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.msgpack.Decoder(kind)
    return decoder


def pack(element: object) -> bytes:
    """A contract dataclass to bytes."""
    return _encoder.encode(element)


def unpack(kind: type[T], data: bytes) -> T:
    """The inverse of ``pack``. Raises ``msgspec.ValidationError`` or ``DecodeError`` when it is something else."""
    element: T = _decoder(kind).decode(data)
    return element


def pack_compressed(element: object) -> bytes:
    """Like ``pack``, compressed with zstd: for batches, whose field names and identifiers repeat."""
    return bytes(cramjam.zstd.compress(_encoder.encode(element), _COMPRESSION_LEVEL))


def unpack_compressed(kind: type[T], data: bytes) -> T:
    """The inverse of ``pack_compressed``. Raises what ``unpack`` does, also when it is nothing compressed."""
    try:
        content = bytes(cramjam.zstd.decompress(data))
    except cramjam.DecompressionError as error:
        raise msgspec.DecodeError(f"it does not decompress: {error}") from error
    return unpack(kind, content)
