"""The actor core of a strand shard: its log, its mailbox, its bounds, one rule a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import identity_world as world
import pytest
from identity_world import Seen, ident
from live_world import SHARDS, Sent, Stores, Stream, expected, shard_number

from contracts.errors import OutputError, StateVersionError
from contracts.exchange import APPEND, GONE, WHOLE, StrandMessage
from transforms.actor.core import Entry
from transforms.identity.live_memory import KEPT
from transforms.identity.live_records import VERSION, key_of, pack_state, unpack_entry, unpack_evicted
from transforms.identity.live_shard import STATE_KEY
from transforms.identity.live_step import COUNTS, MESSAGES, Bounds
from transforms.stores.records import RecordKey

ROOMY = Bounds(lateness=10**15, idle=10**15)
A, SHARD = ident("cookie:a"), shard_number(ident("cookie:a"))


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    made = Stores(tmp_path_factory.mktemp("shard"))
    yield made
    made.close()


@pytest.fixture
def stream(stores: Stores) -> Stream:
    return stores.stream(world.rules(), ROOMY)


def at(time: int, names: str = "cookie:a", name: str = "view") -> Sent:
    return Sent(Seen(time, names, name=name))


def heard(stream: Stream) -> list[StrandMessage]:
    """Messages from here on."""
    found: list[StrandMessage] = []
    hear = stream.ear.hear

    def both(shard: int, message: StrandMessage) -> None:
        hear(shard, message)
        found.append(message)

    stream.ear.hear = both  # type: ignore[method-assign]
    return found


def test_events_in_order_are_appended_and_name_the_message_before(stream: Stream) -> None:
    found = heard(stream)
    for time in (1, 2, 3):
        stream.send([at(time)])
    assert [message.kind for message in found] == [WHOLE, APPEND, APPEND]
    assert [message.after for message in found] == [0, found[0].version, found[1].version]
    assert [len(message.events) for message in found] == [1, 1, 1]


def test_a_late_event_tells_the_strand_whole(stream: Stream) -> None:
    stream.send([at(5)])
    found = heard(stream)
    stream.send([at(3)])
    assert [(message.kind, len(message.events)) for message in found] == [(WHOLE, 2)]


def test_a_merge_in_the_mailbox_moves_the_strand_at_the_next_poll(stream: Stream) -> None:
    stream.send([at(1), at(2)])
    found = heard(stream)
    stream.link([at(3, "cookie:a user:1")])
    stream.poll()
    assert [message.kind for message in found] == [GONE, WHOLE]
    assert found[0].person_id != found[1].person_id
    assert found[0].version < found[1].version
    stream.poll()
    assert len(found) == 2


def test_a_move_is_seen_by_the_next_batch_of_anybody(stream: Stream) -> None:
    stream.send([at(1)])
    stream.link([at(3, "cookie:a user:1")])
    found = heard(stream)
    other = next(n for n in "bcdefgh" if shard_number(ident(f"cookie:{n}")) == SHARD)
    stream.send([at(2, f"cookie:{other}")])
    assert [message.kind for message in found if message.primary == A] == [GONE, WHOLE]


def test_an_erasure_says_up_to_when_and_is_purged_once(stream: Stream) -> None:
    stream.send([at(1), at(9)])
    found = heard(stream)
    stream.send([at(5, name="erase")])
    stream.poll()
    assert [(message.kind, message.erased_until, len(message.events)) for message in found] == [(WHOLE, 5, 1)]
    assert [(purge.primary, purge.until) for purge in stream.purges] == [(A, 5)]
    assert stream.purges[0].persons == tuple(sorted({message.person_id for message in found})), "who was told of it"
    assert [event.event_time for event in stream.erased] == [1]


def test_a_step_that_is_not_committed_leaves_nothing(stream: Stream) -> None:
    stream.send([at(1)])
    core = stream.cores[SHARD]
    before = {key: core.live(key) for key in (STATE_KEY, key_of(A).encode())}
    stream.link([at(2), at(0), at(3, "cookie:a user:1")])
    for _ in range(2):
        step = core.poll(stream.now)
        assert [tag for tag, _ in step.outputs] == [MESSAGES, MESSAGES, "metrics"]
        assert {key: core.live(key) for key in before} == before


def test_counts_are_told_by_what_they_became_more(stream: Stream) -> None:
    stream.send([at(1), at(1)])
    assert stream.counts == {("web", "accepted"): 1, ("web", "duplicate"): 1}
    stream.send([at(1)])
    stream.send([at(2)])
    assert stream.counts == {("web", "accepted"): 2, ("web", "duplicate"): 2}
    stream.send([at(9, name="erase")])
    assert stream.counts == {("web", "accepted"): 0, ("web", "duplicate"): 0, ("web", "erased"): 5}
    step = stream.cores[SHARD].poll(stream.now)
    assert not [value for tag, value in step.outputs if tag == COUNTS]


def test_a_poll_that_finds_nothing_writes_nothing(stream: Stream) -> None:
    stream.send([at(1)])
    step = stream.cores[SHARD].poll(stream.now)
    assert (step.outputs, step.entries, step.dropped) == ((), (), ())
    assert step.next_poll == stream.now + ROOMY.poll_every


def test_a_long_mailbox_is_read_on_at_once_and_to_its_end_when_input_ends(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.identity.live_shard._PAGE", 1)
    monkeypatch.setattr("transforms.identity.live_shard._PAGES", 2)
    stream.send([at(1)])
    stream.link([at(2, f"cookie:x{n}") for n in range(20)])
    stream.link([at(3, "cookie:a user:1")])
    core = stream.cores[SHARD]
    step = core.poll(stream.now)
    assert step.next_poll == stream.now
    assert not [tag for tag, _ in step.outputs if tag == MESSAGES]
    core.commit(step)
    found = heard(stream)
    stream.drain()
    assert [message.kind for message in found] == [GONE, WHOLE]


def test_time_is_asked_for_when_the_first_record_is_idle(stores: Stores) -> None:
    stream = stores.stream(world.rules(), Bounds(lateness=10, idle=20, look_every=5))
    stream.link([at(7)])
    core = stream.cores[SHARD]
    assert core.poll(stream.now).next_event_time is None
    stream.send([at(7)])
    assert core.poll(stream.now).next_event_time == 28
    core.commit(core.advance(27, stream.now))
    assert core.live(key_of(A).encode()) is not None
    step = core.advance(28, stream.now)
    assert step.dropped == (key_of(A).encode(),)
    assert step.next_event_time is None
    core.commit(step)
    assert core.live(key_of(A).encode()) is None


def test_what_was_evicted_is_erased_in_the_record_store_too(stores: Stores) -> None:
    stream = stores.stream(world.rules(), Bounds(lateness=10, idle=2, look_every=1))
    stream.send([at(1), at(9)])
    stream.advance(20)
    key = RecordKey("strand", SHARD, key_of(A))
    assert unpack_evicted(stores.records.get([key])[key].body).chunks
    stream.link([at(5, name="erase")])
    stream.poll()
    stream.now += KEPT - 10
    stream.advance(30)
    assert b"e1:cookie:a" in b"".join(unpack_evicted(stores.records.get([key])[key].body).chunks), "to go back to"
    stream.now += 20
    stream.poll()
    whole = unpack_evicted(stores.records.get([key])[key].body)
    assert b"e1:cookie:a" not in b"".join(whole.chunks)
    assert b"e9:cookie:a" in b"".join(whole.chunks)


def test_what_a_lost_attempt_added_to_an_evicted_record_comes_anew(stores: Stores) -> None:
    stream = stores.stream(world.rules(), Bounds(lateness=10, idle=2, look_every=1))
    stream.send([at(1)])
    stream.advance(20)
    held = stream.checkpoint()
    stream.send([at(2)])
    stream.send([at(3), at(3)])
    stream.advance(40)
    stream.roll_back(held)
    found = heard(stream)
    stream.send([at(2)])
    assert [(message.kind, len(message.events)) for message in found] == [(WHOLE, 2)]
    stream.send([at(3), at(3)])
    assert [(message.kind, len(message.events)) for message in found[1:]] == [(APPEND, 1)]
    assert stream.counts == {("web", "accepted"): 3, ("web", "duplicate"): 1}


def test_a_move_that_a_lost_attempt_made_of_an_evicted_record_is_told_anew(stores: Stores) -> None:
    stream = stores.stream(world.rules(), Bounds(lateness=10, idle=2, look_every=1))
    stream.send([at(1)])
    stream.advance(20)
    held = stream.checkpoint()
    stream.link([at(3, "cookie:a user:1")])
    stream.poll()
    stream.advance(40)
    moved = stream.ear.records()
    stream.roll_back(held)
    found = heard(stream)
    stream.poll()
    assert [message.kind for message in found] == [GONE, WHOLE]
    assert stream.ear.records() == moved


def test_an_archive_that_is_not_there_is_an_error_and_no_guess(stores: Stores) -> None:
    stream = stores.stream(world.rules(), Bounds(lateness=10**15, idle=10**15, tail_bytes=500))
    for time in range(10, 20):
        stream.send([at(time)])
    keys = [record.key for record in stores.records.of_shard("strand", SHARD)]
    assert keys
    stores.records.delete(keys)
    with pytest.raises(OutputError, match="lacks"):
        stream.send([at(1)])


def test_state_of_a_newer_release_is_refused_by_name(stream: Stream) -> None:
    core = stream.core(SHARD)
    newer = bytes((VERSION + 1,))
    with pytest.raises(StateVersionError, match="strand shard"):
        core.restore([Entry(STATE_KEY, newer + pack_state(stream.cores[0]._state)[1:], whole=True)])
    with pytest.raises(StateVersionError, match="strand record"):
        core.restore([Entry(b"s_1", newer, whole=True)])
    with pytest.raises(ValueError, match="cannot be read"):
        unpack_entry(bytes((VERSION,)) + b"\xc1")


def test_shards_of_a_world_are_more_than_one() -> None:
    assert len({shard_number(ident(f"cookie:{n}")) for n in "abcdefgh"}) == SHARDS


def test_a_device_with_a_long_past_costs_no_more_a_batch(tmp_path: Path, stores: Stores) -> None:
    stream = stores.stream(world.rules(), Bounds(lateness=5, idle=10**15, tail_bytes=4_000))
    sizes = []
    for time in range(300):
        stream.send([at(time)])
        stream.advance(time)
        sizes.append(len(stream.cores[SHARD].live(key_of(A).encode()) or b""))
    assert max(sizes[100:]) < 12_000
    _, records = expected(stream, [at(time) for time in range(300)])
    assert stream.ear.records() == records
