"""Several elements of a shard as one, for the way to its actor. Pure.

One byte of version, then a MessagePack list. Errors: ``StateVersionError`` for a version that this code does not know,
as after going back to an older release; ``ValueError`` for what is no batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from contracts.errors import StateVersionError

VERSION = 1

_PREFIX = bytes((VERSION,))
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[bytes])


def pack(elements: Sequence[bytes]) -> bytes:
    """Elements to one batch."""
    return _PREFIX + _encoder.encode(elements)


def unpack(data: bytes) -> list[bytes]:
    """The inverse of ``pack``.

    Raises:
        StateVersionError: a newer release packed it.
        ValueError: it is no batch.
    """
    if not data:
        raise ValueError("no batch of elements: it is empty")
    if data[0] > VERSION:
        raise StateVersionError("a batch on its way to an actor", data[0], VERSION)
    try:
        return _decoder.decode(memoryview(data)[1:])
    except msgspec.DecodeError as error:
        raise ValueError(f"no batch of elements: {error}") from error
