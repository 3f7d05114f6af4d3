"""Ids and shards of identity: hashes that never depend on arrival, process or machine."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator

from contracts.event import Identifier

DEFAULT_SHARDS = 64
"""Shards of the strand stage and of the journey stage on the bounded path."""

_ID_BYTES = 10


def _digest(*parts: str) -> str:
    return _hashed("\0".join(parts)).hex()


def _hashed(text: str) -> bytes:
    # surrogatepass: total for text that is no legal Unicode, which Avro refuses long before
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_ID_BYTES).digest()


def canonical_id(identifier: Identifier) -> str:
    """The id of an identifier: ``p_`` and 20 hex digits. That of a person's anchor is the person's ``person_id``."""
    return "p_" + _digest(identifier.namespace, identifier.value)


def canonical_digest(identifier: Identifier) -> bytes:
    """The 10 bytes that the digits of ``canonical_id`` say."""
    return _hashed(f"{identifier[0]}\0{identifier[1]}")


def strand_id(primary: Identifier, login: Identifier | None) -> str:
    """The id of a strand: ``s_`` and 20 hex digits."""
    if login is None:
        return "s_" + _digest(primary.namespace, primary.value)
    return "s_" + _digest(primary.namespace, primary.value, login.namespace, login.value)


def shard_of(primary: Identifier, shards: int = DEFAULT_SHARDS) -> bytes:
    """The strand shard of a primary identifier, as a shuffle key. All logins of a device share it."""
    text = primary.namespace + "\0" + primary.value
    return (zlib.crc32(text.encode("utf-8", "surrogatepass")) % shards).to_bytes(2, "big")


def in_bulk(identifiers: Iterable[Identifier], shards: int) -> Iterator[tuple[bytes, bytes, int]]:
    """For each identifier its ``canonical_digest``, its value as bytes, and the number of its ``shard_of``."""
    prefixes: dict[str, tuple[bytes, int]] = {}
    for namespace, value in identifiers:
        found = prefixes.get(namespace)
        if found is None:
            prefix = f"{namespace}\0".encode("utf-8", "surrogatepass")
            found = prefixes[namespace] = (prefix, zlib.crc32(prefix))
        encoded = value.encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(found[0] + encoded, digest_size=_ID_BYTES).digest()
        yield digest, encoded, zlib.crc32(encoded, found[1]) % shards


def person_shard(person_id: str, shards: int = DEFAULT_SHARDS) -> bytes:
    """The journey shard of a person, as a shuffle key."""
    return (zlib.crc32(person_id.encode("utf-8", "surrogatepass")) % shards).to_bytes(2, "big")
