"""What a strand shard gives up when it holds too much."""

from __future__ import annotations

from pathlib import Path

from contracts.event import Identifier
from transforms.identity.live_eviction import Keeper
from transforms.identity.live_memory import ShardMemory
from transforms.identity.live_records import HEAD_SIZE, Head, ShardState, Whole, record_of
from transforms.identity.live_step import Bounds, Work
from transforms.identity.live_telling import Versions
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.records import open_records


def test_a_shard_beyond_its_bound_gives_up_what_is_too_much_longest_untouched_first(tmp_path: Path) -> None:
    records = open_records(StoreAddress(tmp_path / STORE_FILE))
    held = [record_of(Whole(Head(Identifier("anonymous_id", f"{n}"), 1, []), [])) for n in range(12)]

    def given_up(of: int) -> list[str]:
        memory = ShardMemory(Bounds(shard_bytes=10 * HEAD_SIZE), Keeper(0, records))
        memory.records.update((record.key, record) for record in held[:of])
        memory.restored(ShardState())
        work = Work(ShardState(), Versions(0, 1), 1)
        memory.bound(work)
        return list(work.evicted)

    assert given_up(10) == []
    assert given_up(12) == [record.key for record in held[:2]]
    assert {key.key for key in records.names("strand", 0, "s")} == {record.key for record in held[:2]}
    records.close()
