"""Erased events out of the records of strands in the record store: for the time when no shard will do it any more.

A shard writes over its older states itself, after a while (``live_memory``). A stream that ends before leaves them, and
so does one that ended before a bounded run erased. Input: which events are erased. Output: how many records were cut.
What the records say otherwise stays, so that a shard or a handover that reads them goes on from there. Times: UTC
microseconds of event time. Errors: those of the store.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import NamedTuple

import msgspec

from contracts.event import Identifier
from transforms.actor.archives import unpack_archive
from transforms.identity.ids import shard_of, strand_id
from transforms.identity.live_eviction import STAGE, Keeper
from transforms.identity.live_records import (
    Archive,
    Part,
    Whole,
    key_of,
    pack_chunk,
    pack_evicted,
    unpack_chunk,
    unpack_evicted,
)
from transforms.stores.records import RecordKey, RecordStore, StoredRecord


class Gone(NamedTuple):
    """An erased event."""

    strand_id: str
    event_time: int
    event_id: str


def forget_events(
    records: RecordStore, shards: int, erased: Mapping[Identifier, Collection[Gone]], *, alone: bool
) -> int:
    """Take erased events out of the records of their primary identifiers; returns how many records were cut.

    Args:
        records: the record store.
        shards: strand shards.
        erased: by primary identifier.
        alone: no stream runs: archives that no record refers to, which its shards would have removed, go too.
    """
    count = 0
    for primary, gone in sorted(erased.items()):
        shard = int.from_bytes(shard_of(primary, shards), "big")
        key = RecordKey(STAGE, shard, key_of(primary))
        found = records.get([key]).get(key)
        archives = [] if found is None else unpack_evicted(found.body).head.archives
        names = [RecordKey(STAGE, shard, Keeper.archive_key(key.key, archive.number)) for archive in archives]
        read = records.get(names)
        chunks = [chunk for name in names if name in read for chunk in unpack_archive(read[name].body)]
        holds = _without(chunks, primary, gone) != chunks

        def cut(
            stored: StoredRecord,
            primary: Identifier = primary,
            gone: Collection[Gone] = gone,
            archived: list[bytes] | None = chunks if holds else None,
            archives: list[Archive] = archives,
        ) -> StoredRecord:
            return _cut(stored, primary, gone, archives, archived)

        changed = records.cut([key], cut)
        count += changed
        if changed and holds:
            records.delete(names)
        if alone:
            kept = set() if changed and holds else set(names)
            records.delete([name for name in records.names(STAGE, shard, f"{key.key}.") if name not in kept])
    return count


def _cut(
    stored: StoredRecord,
    primary: Identifier,
    gone: Collection[Gone],
    archives: list[Archive],
    archived: list[bytes] | None,
) -> StoredRecord:
    """The record without the events; with what is left of its archives in it, if they hold some of them."""
    whole = unpack_evicted(stored.body)
    if whole.head.archives != archives:
        # a shard has written it since, without them
        return stored
    left = _without(whole.chunks, primary, gone)
    head = whole.head
    if archived is not None:
        left = [*_without(archived, primary, gone), *left]
        head = msgspec.structs.replace(head, archives=[])
    elif left == whole.chunks:
        return stored
    return replace(stored, body=pack_evicted(Whole(head, left)))


def _without(chunks: Collection[bytes], primary: Identifier, gone: Collection[Gone]) -> list[bytes]:
    left = []
    for chunk in chunks:
        parts = unpack_chunk(chunk)
        kept = [
            Part(part.login, part.person, part.version, events)
            for part in parts
            for strand in (strand_id(primary, part.login),)
            if (events := [e for e in part.events if (strand, e.event_time, e.event_id) not in gone])
        ]
        if kept == parts:
            left.append(chunk)
        elif kept:
            left.append(pack_chunk(kept))
    return left
