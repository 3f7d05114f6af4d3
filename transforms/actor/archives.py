"""Archives: the older part of a long record, which lies in the record store by itself. Pure but for that store.

Both keyed stages put there what going on in order needs no more, and read it back when something is out of order. An
archive is a list of bytes, which are the stage's own: one byte of version, then MessagePack, compressed.

Errors: ``StateVersionError`` for what a newer release wrote, ``ValueError`` for what is no archive, ``OutputError``
when one is not there, and those of the store.
"""

from __future__ import annotations

from collections.abc import Sequence

import cramjam
import msgspec

from contracts.errors import OutputError, StateVersionError
from transforms.stores.records import RecordKey, RecordStore

VERSION = 1
_PREFIX = bytes((VERSION,))
_LEVEL = 1
_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(list[bytes])


def pack_archive(items: Sequence[bytes]) -> bytes:
    """Items to the body of an archive; equal items give equal bytes."""
    return _PREFIX + bytes(cramjam.zstd.compress(_encode(items), _LEVEL))


def unpack_archive(data: bytes) -> list[bytes]:
    """The inverse of ``pack_archive``."""
    if not data:
        raise ValueError("an archive in the record store is empty")
    if data[0] > VERSION:
        raise StateVersionError("an archive in the record store", data[0], VERSION)
    try:
        return _decoder.decode(bytes(cramjam.zstd.decompress(data[1:])))
    except (msgspec.DecodeError, cramjam.DecompressionError) as error:
        raise ValueError(f"an archive in the record store cannot be read: {error}") from error


def read_archives(records: RecordStore, keys: Sequence[RecordKey], whose: str) -> list[list[bytes]]:
    """What archives of a record hold, each by itself; ``whose`` names the record should one be missing."""
    found = records.get(keys)
    missing = sum(key not in found for key in keys)
    if missing:
        raise OutputError(
            f"the record store lacks {missing} archives of {whose}",
            hint="restore the database of the stores together with the checkpoint",
        )
    return [unpack_archive(found[key].body) for key in keys]
