"""Strand: deduplicate, say which person each event belongs to, and erase what must go. The streaming host's part.

Contract: what ``transforms.identity.live_shard.StrandCore`` takes and gives, one core a strand shard, each in an actor
(``transforms.actor``). ``StrandCores`` makes them in a worker; ``batch_messages`` brings their messages on the way to
the journey stage. State: connections to the stores, one of each an instance, opened in ``setup``. Time: as the core.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from contracts.exchange import StrandMessage, StrandMessages
from transforms.actor.core import ActorCore
from transforms.collector import relax_collector
from transforms.identity.ids import person_shard
from transforms.identity.live_shard import StrandCore
from transforms.identity.live_step import Bounds
from transforms.identity.rules import IdentityRules
from transforms.identity.strands import Rejects
from transforms.stores.database import StoreAddress
from transforms.stores.identity import IdentityStore, open_identity
from transforms.stores.records import RecordStore, open_records

_MESSAGE_EVENTS = 2_000
"""Events at which a batch of messages is closed, so that no element of a shuffle grows large."""


class StrandCores:
    """Makes the cores of the strand stage: a ``transforms.actor.core.CoreFactory``.

    Args:
        stores: the database of the identity and the record store.
        rules: the identity rules in force.
        shards: strand shards.
        box: makes dead letters.
        schema_id: of the event schema, for dead letters.
        bounds: what a shard holds.
    """

    _identity: IdentityStore | None = None
    _records: RecordStore | None = None

    def __init__(
        self,
        stores: StoreAddress,
        rules: IdentityRules,
        shards: int,
        box: Rejects,
        schema_id: str = "",
        bounds: Bounds | None = None,
    ) -> None:
        self._stores = stores
        self._rules = rules
        self._shards = shards
        self._box = box
        self._schema_id = schema_id
        self._bounds = bounds or Bounds()

    def setup(self) -> None:
        relax_collector()
        self._identity = open_identity(self._stores, self._rules, self._shards)
        self._records = open_records(self._stores)

    def core(self, shard: bytes) -> StrandCore:
        identity, records = self._opened()
        number = int.from_bytes(shard, "big")
        carries = self._rules.carries()
        return StrandCore(number, identity, records, self._box, self._schema_id, carries, self._bounds)

    def adopt(self, core: ActorCore) -> None:
        assert isinstance(core, StrandCore)
        core.adopt(*self._opened())

    def teardown(self) -> None:
        for opened in (self._identity, self._records):
            if opened is not None:
                opened.close()
        self._identity = self._records = None

    def _opened(self) -> tuple[IdentityStore, RecordStore]:
        assert self._identity is not None  # setup opened both
        assert self._records is not None
        return self._identity, self._records


def batch_messages(messages: Iterable[StrandMessage], shards: int) -> Iterator[tuple[bytes, StrandMessages]]:
    """Messages in batches per person shard, each in the order of its versions.

    Args:
        messages: of one strand shard, in the order of their versions.
        shards: of the journey stage.
    """
    open_batches: dict[bytes, list[StrandMessage]] = {}
    sizes: dict[bytes, int] = {}
    for message in messages:
        shard = person_shard(message.person_id, shards)
        open_batches.setdefault(shard, []).append(message)
        sizes[shard] = sizes.get(shard, 0) + len(message.events) + 1
        if sizes[shard] >= _MESSAGE_EVENTS:
            yield shard, StrandMessages(tuple(open_batches.pop(shard)))
            del sizes[shard]
    for shard, batch in sorted(open_batches.items()):
        yield shard, StrandMessages(tuple(batch))
