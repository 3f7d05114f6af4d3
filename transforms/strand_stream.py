"""Strand: deduplicate, say which person each event belongs to, and erase what must go. The streaming host.

Contract: (strand shard, packed ``ShardInput``) in, as ``link_stream`` gives it; (person shard, packed
``StrandMessages``) out, and beside it dead letters, ledger counts, rows of the log, purges, and what the core could not
take. The fold is ``transforms.identity.live_shard``, hosted by ``transforms.actor``; ``transforms.strand`` is the
bounded host. State: key, bounds, expiry and timers as both say. Time: microseconds of event time; polls of the mailbox
in processing time.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import apache_beam as beam

from contracts import wire
from contracts.exchange import DeadLetter, LedgerCount, Purge, ShardInput, StatedRows, StrandMessage, StrandMessages
from transforms.actor.batch import BatchByShard
from transforms.actor.core import ActorCore
from transforms.actor.counted import Counted
from transforms.actor.host import ShardActor
from transforms.actor.turn import REJECTED
from transforms.actor.wake import WakeAll
from transforms.dead_letter import DeadLetterBox
from transforms.identity.ids import person_shard
from transforms.identity.live_drain import Meeting
from transforms.identity.live_shard import StrandCore
from transforms.identity.live_step import (
    COUNTS,
    DEAD_LETTERS,
    ERASED,
    LOG,
    MESSAGES,
    METRICS,
    PURGES,
    WITHDRAWN,
    Bounds,
)
from transforms.identity.rules import IdentityRules
from transforms.read import typed
from transforms.stores.database import StoreAddress
from transforms.stores.identity import IdentityStore, open_identity
from transforms.stores.progress import Progress, open_progress
from transforms.stores.records import RecordStore, open_records
from transforms.tables.log import erased_rows, log_rows

STAGE = "strand"
LOG_SHARD = b"log"
"""Writer shard of the log: it has more rows than any table."""


class StrandCores:
    """Makes the strand cores of a worker; a ``CoreFactory``.

    Args:
        stores: the database of identity and records.
        rules: the identity rules in force.
        shards: strand shards.
        box: makes dead letters.
        schema_id: of the event schema, for dead letters.
        bounds: what a shard holds at most; by default its share of what all may.
    """

    _identity: IdentityStore | None = None
    _records: RecordStore | None = None
    _progress: Progress | None = None

    def __init__(
        self,
        stores: StoreAddress,
        rules: IdentityRules,
        shards: int,
        box: DeadLetterBox,
        schema_id: str,
        bounds: Bounds | None = None,
    ) -> None:
        self._stores = stores
        self._rules = rules
        self.shards = shards
        self._box = box
        self._schema_id = schema_id
        self._bounds = bounds or Bounds.of_one_of(shards)
        self._drain = secrets.token_hex(8)

    def setup(self) -> None:
        """Open both stores."""
        self._identity = open_identity(self._stores, self._rules, self.shards)
        self._records = open_records(self._stores)
        self._progress = open_progress(self._stores)

    def core(self, shard: bytes) -> StrandCore:
        """The core of a shard, empty."""
        identity, records, meeting = self._opened()
        number = int.from_bytes(shard, "big")
        return StrandCore(number, identity, records, self._box, self._rules, self._schema_id, self._bounds, meeting)

    def adopt(self, core: ActorCore) -> None:
        """Give a core the connections of this instance."""
        assert isinstance(core, StrandCore)
        core.adopt(*self._opened())

    def split(self, element: bytes) -> list[bytes]:
        """Each event by itself, and what comes with them. Raises MsgspecError for what is no ``ShardInput``."""
        content = wire.unpack_compressed(ShardInput, element)
        rest = replace(content, events=())
        parts = [] if rest == ShardInput() else [rest]
        parts += [ShardInput((event,)) for event in content.events]
        return [wire.pack_compressed(part) for part in parts]

    def teardown(self) -> None:
        """Close both stores."""
        for store in (self._identity, self._records, self._progress):
            if store is not None:
                store.close()
        self._identity = self._records = self._progress = None

    def _opened(self) -> tuple[IdentityStore, RecordStore, Meeting]:
        assert self._identity is not None, "setup() comes first"
        assert self._records is not None, "setup() comes first"
        assert self._progress is not None, "setup() comes first"
        return self._identity, self._records, NotedMeeting(self._progress, f"drain {self._drain}", self.shards)


@dataclass(frozen=True)
class NotedMeeting:
    """``Meeting`` of a stream's strand shards in the shared database, under a name of its own."""

    progress: Progress
    name: str
    shards: int

    def note(self, shard: int, value: int) -> None:
        self.progress.note(f"{self.name} {shard}", value)

    def values(self) -> list[int]:
        noted = self.progress.values([f"{self.name} {shard}" for shard in range(self.shards)])
        return [-1 if value is None else value for value in noted]


class StreamStrands(NamedTuple):
    """What the stage gives.

    ``messages`` are (person shard or person, packed ``StrandMessages``); ``log`` is keyed by writer shard.
    ``withdrawn`` are dead letters of before that no longer hold.
    """

    messages: beam.PCollection[tuple[bytes, bytes]]
    dead_letters: beam.PCollection[DeadLetter]
    withdrawn: beam.PCollection[DeadLetter]
    ledger: beam.PCollection[LedgerCount]
    log: beam.PCollection[tuple[bytes, StatedRows]]
    purges: beam.PCollection[Purge]
    rejected: beam.PCollection[Any]


class StreamStrand(beam.PTransform):  # type: ignore[misc]  # Beam's base class is untyped
    """Events by strand shard to messages to persons.

    Args:
        cores: makes the cores.
        person_shards: of the journey stage; 0: keyed by person.
        clock: processing time in microseconds.
    """

    def __init__(self, cores: StrandCores, person_shards: int, clock: Callable[[], int]) -> None:
        super().__init__()
        self._cores = cores
        self._person_shards = person_shards
        self._clock = clock

    def expand(self, inputs: beam.PCollection[tuple[bytes, bytes]]) -> StreamStrands:
        outputs = {
            MESSAGES: StrandMessage,
            DEAD_LETTERS: DeadLetter,
            WITHDRAWN: DeadLetter,
            COUNTS: LedgerCount,
            LOG: ShardInput,
            ERASED: ShardInput,
            PURGES: Purge,
            METRICS: tuple[str, int],
        }
        batches = inputs | "ByShard" >> BatchByShard() | "Wake" >> WakeAll(self._cores.shards, self._clock)
        given = batches | "Fold" >> ShardActor(STAGE, self._cores, outputs, self._clock)
        messages = given[MESSAGES] | "ToPersons" >> beam.ParDo(_ToPersons(self._person_shards))
        accepted = given[LOG] | "LogRows" >> beam.ParDo(_LogRows(self._clock))
        erased = given[ERASED] | "ErasedRows" >> beam.ParDo(_ErasedRows(self._clock))
        _ = given[METRICS] | "Metrics" >> beam.ParDo(Counted(STAGE))
        log = (
            typed(accepted, tuple[bytes, StatedRows]),
            typed(erased, tuple[bytes, StatedRows]),
        ) | "WholeLog" >> beam.Flatten()
        return StreamStrands(
            typed(messages, tuple[bytes, bytes]),
            given[DEAD_LETTERS],
            given[WITHDRAWN],
            given[COUNTS],
            log,
            given[PURGES],
            given[REJECTED],
        )


def person_key(person_id: str, shards: int) -> bytes:
    """The key of a person's actor: its shard, or itself when ``shards`` is 0."""
    return person_shard(person_id, shards) if shards else person_id.encode("utf-8", "surrogatepass")


class _ToPersons(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    def __init__(self, shards: int) -> None:
        self._shards = shards

    def process(self, element: StrandMessage) -> Iterator[tuple[bytes, bytes]]:
        yield person_key(element.person_id, self._shards), wire.pack(StrandMessages((element,)))


class _LogRows(beam.DoFn):  # type: ignore[misc]
    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock

    def process(self, element: ShardInput) -> Iterator[tuple[bytes, StatedRows]]:
        yield LOG_SHARD, log_rows(element.events, self._clock())


class _ErasedRows(beam.DoFn):  # type: ignore[misc]
    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock

    def process(self, element: ShardInput) -> Iterator[tuple[bytes, StatedRows]]:
        yield LOG_SHARD, erased_rows(((e.event_id, e.primary) for e in element.events), self._clock())
