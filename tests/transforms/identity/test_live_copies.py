"""Erased events leave what a strand shard has in the record store, also when the shard is not there to see to it."""

from __future__ import annotations

from collections.abc import Iterator

import identity_world as world
import pytest
from identity_world import Seen
from live_world import SHARDS, Sent, Stores, Stream, shard_number
from test_live_strands import TIGHT

from contracts.event import Identifier
from transforms.actor.archives import unpack_archive
from transforms.identity.ids import strand_id
from transforms.identity.live_copies import Gone, forget_events
from transforms.identity.live_eviction import STAGE
from transforms.identity.live_records import key_of, unpack_chunk, unpack_evicted
from transforms.stores.records import RecordKey

A, B = world.ident("cookie:a"), world.ident("cookie:b")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    made = Stores(tmp_path_factory.mktemp("live"))
    yield made
    made.close()


@pytest.fixture(name="stream")
def stream_fixture(stores: Stores) -> Stream:
    """Two devices, all of whose events left memory: old ones in archives, the others in records."""
    stream = stores.stream(world.rules(), TIGHT)
    for at in range(40):
        stream.send([Sent(Seen(at, f"cookie:{name}", f"{name}{at:02d}")) for name in "ab"])
    stream.advance(1_000)
    return stream


def name_of(primary: Identifier) -> RecordKey:
    return RecordKey(STAGE, shard_number(primary), key_of(primary))


def left(stream: Stream, primary: Identifier) -> list[bytes]:
    """What the record store has of a device: the record, and its archives."""
    records, key = stream.records, name_of(primary)
    names = records.names(STAGE, key.shard, f"{key.key}.")
    archives = [chunk for found in records.get(names).values() for chunk in unpack_archive(found.body)]
    return [*archives, *unpack_evicted(records.get([key])[key].body).chunks]


def ids_in(chunks: list[bytes]) -> set[str]:
    return {event.event_id for chunk in chunks for part in unpack_chunk(chunk) for event in part.events}


def gone(primary: Identifier, *times: int) -> dict[Identifier, set[Gone]]:
    name = primary.value
    return {primary: {Gone(strand_id(primary, None), at, f"{name}{at:02d}") for at in times}}


@pytest.mark.parametrize("erased", [range(40), range(3), (39,), (0, 20, 39)])
def test_erased_events_go_and_no_other_is_lost_wherever_they_lie(stream: Stream, erased: range) -> None:
    assert unpack_evicted(stream.records.get([name_of(A)])[name_of(A)].body).head.archives
    assert forget_events(stream.records, SHARDS, gone(A, *erased), alone=False) == 1
    assert ids_in(left(stream, A)) == {f"a{at:02d}" for at in range(40) if at not in erased}
    assert ids_in(left(stream, B)) == {f"b{at:02d}" for at in range(40)}
    assert forget_events(stream.records, SHARDS, gone(A, *erased), alone=False) == 0


def test_a_shard_reads_on_from_what_is_left(stream: Stream) -> None:
    forget_events(stream.records, SHARDS, gone(A, *range(10)), alone=True)
    # late: all of the record is read
    stream.send([Sent(Seen(5, "cookie:a", "late"))])
    (events,) = (heard.events for (strand, _), heard in stream.ear.parts.items() if strand == strand_id(A, None))
    assert len(events) == 31


def test_an_archive_that_no_record_refers_to_goes_when_no_shard_is_there(stream: Stream) -> None:
    # read back, written anew, and not put away again: its archives would have gone in an hour
    stream.send([Sent(Seen(39, "cookie:a", "a39", name="other"), page="x"), Sent(Seen(5, "cookie:a", name="erase"))])
    stream.send([Sent(Seen(41, "cookie:a", "a41"))])
    orphan = stream.records.names(STAGE, shard_number(A), f"{key_of(A)}.")
    assert orphan
    forget_events(stream.records, SHARDS, gone(A, *range(6)), alone=True)
    key = name_of(A)
    kept = unpack_evicted(stream.records.get([key])[key].body).head.archives
    assert len(stream.records.names(STAGE, key.shard, f"{key.key}.")) == len(kept)
    assert not ids_in(left(stream, A)) & {f"a{at:02d}" for at in range(6)}
