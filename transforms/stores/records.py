"""The record store: records of keyed stages that no worker holds in memory, read back when they are touched again.

A shard evicts what has been idle, so that its state stays small, and a backfill leaves its records here, which is how a
stream takes over from it. A record is bytes of its stage, with what the store has to know of them: the version, and up
to when their events reach, event time in UTC microseconds. The store never looks into the bytes. An erasure names the
records it concerns (``transforms.purge``), and cuts them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from transforms.stores.database import DEFAULT_TIMEOUT, StoreAddress, open_database


class RecordKey(NamedTuple):
    """Where a record belongs: the stage, the shard of that stage, and the key within the shard."""

    stage: str
    shard: int
    key: str


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record and what the store knows of it.

    ``version`` grows with every change of the record. ``last_time`` is that of its latest event, included.
    ``schema_version`` says how ``body`` is written, for the stage that reads it.
    """

    key: RecordKey
    version: int
    last_time: int
    schema_version: int
    body: bytes


Put = Literal["stored", "stale"]
"""What became of a record: kept; not kept, since a newer version is there."""

Cut = Callable[[StoredRecord], StoredRecord | None]
"""A record without its events up to a time, None if nothing is left; pure, since it may be called again."""


class RecordStore(Protocol):
    """Versioned bytes by key, in batches, safe for several processes.

    Every method is one transaction, but for ``of_shard``. Errors: as ``transforms.stores.database``.
    """

    def put(self, records: Sequence[StoredRecord]) -> list[Put]:
        """Keep records; say what became of each, in the given order.

        A lower version never replaces a higher one. An equal one does: a retried bundle writes the same record again.
        """
        ...

    def get(self, keys: Collection[RecordKey]) -> dict[RecordKey, StoredRecord]:
        """The records of keys; unknown ones are left out."""
        ...

    def of_shard(self, stage: str, shard: int, after: str | None = None) -> Iterator[StoredRecord]:
        """All records of a shard, ascending by key, a page a transaction: each as it stands when its page is read.

        ``after``: only those of greater keys.
        """
        ...

    def names(self, stage: str, shard: int, prefix: str) -> list[RecordKey]:
        """The keys of a shard that begin with ``prefix``, in order; all of them if it is empty."""
        ...

    def delete(self, keys: Collection[RecordKey]) -> int:
        """Remove records that are held elsewhere again; return how many there were. The keys may be put again."""
        ...

    def cut(self, keys: Collection[RecordKey], cut: Cut) -> int:
        """Replace records by what ``cut`` leaves of them, or remove them; return of how many it left something else.

        It says nothing about what is put later.
        """
        ...

    def close(self) -> None: ...


def open_records(address: StoreAddress, timeout: float = DEFAULT_TIMEOUT) -> RecordStore:
    """The record store in the database ``address``; arguments and errors as ``open_database``."""
    from transforms.stores.record_store import SCHEMA, StoredRecords

    return StoredRecords(open_database(address, SCHEMA, timeout))
