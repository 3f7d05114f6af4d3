"""A stream's strand shards: whatever comes when, the journeys hear what one fold of everything says."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import identity_world as world
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_world import Seen
from live_world import Sent, Stores, Stream, counted, expected, folded_again, left_in_log, rejected, sent, streamed

from transforms.identity.live_eviction import ARCHIVED, EVICTED_BYTES, EVICTED_IDLE, READ_BACK
from transforms.identity.live_step import REFOLDED, Bounds

WIDE = 10**15
ROOMY = Bounds(lateness=WIDE, idle=WIDE)
TIGHT = Bounds(lateness=WIDE, idle=3, tail_bytes=500, shard_bytes=2_500, look_every=1)

OWNERS = ("last_known", "first_known", "keep_apart", "carry_forward", "carry_visit", "carry_back")
PLAIN = OWNERS[:3]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    made = Stores(tmp_path_factory.mktemp("live"))
    yield made
    made.close()


def check(stream: Stream, events: Sequence[Sent]) -> None:
    result, records = expected(stream, events)
    assert stream.ear.records() == records
    assert folded_again(stream) == records
    assert counted(stream) == +result.counts
    assert rejected(stream.letters.values()) == rejected(result.dead_letters)


@settings(max_examples=60, deadline=None)
@given(
    events=sent(erasing=False), owner=st.sampled_from(OWNERS), tight=st.booleans(),
    rnd=st.randoms(use_true_random=False),
)  # fmt: skip
def test_journeys_hear_what_one_fold_of_everything_says(
    stores: Stores, events: list[Sent], owner: str, tight: bool, rnd: random.Random
) -> None:
    stream = stores.stream(world.rules(owner), TIGHT if tight else ROOMY)
    streamed(stream, events, rnd)
    check(stream, events)


@settings(max_examples=60, deadline=None)
@given(
    events=sent(erasing=False), owner=st.sampled_from(OWNERS), tight=st.booleans(),
    rnd=st.randoms(use_true_random=False),
)  # fmt: skip
def test_back_at_a_checkpoint_with_stores_that_are_ahead_nothing_differs(
    stores: Stores, events: list[Sent], owner: str, tight: bool, rnd: random.Random
) -> None:
    stream = stores.stream(world.rules(owner), TIGHT if tight else ROOMY)
    streamed(stream, events, rnd, crashes=True)
    check(stream, events)


@settings(max_examples=60, deadline=None)
@given(
    events=sent(erasing=True), owner=st.sampled_from(PLAIN), tight=st.booleans(),
    rnd=st.randoms(use_true_random=False),
)  # fmt: skip
def test_what_is_erased_goes_from_whoever_had_it_and_every_copy_of_it_counts_as_erased(
    stores: Stores, events: list[Sent], owner: str, tight: bool, rnd: random.Random
) -> None:
    stream = stores.stream(world.rules(owner), TIGHT if tight else ROOMY)
    streamed(stream, events, rnd)
    check(stream, events)
    check_erased(stream)


@settings(max_examples=60, deadline=None)
@given(
    events=sent(erasing=True), owner=st.sampled_from(PLAIN), tight=st.booleans(),
    rnd=st.randoms(use_true_random=False),
)  # fmt: skip
def test_what_is_erased_goes_also_when_a_stream_goes_back_behind_the_erasure(
    stores: Stores, events: list[Sent], owner: str, tight: bool, rnd: random.Random
) -> None:
    stream = stores.stream(world.rules(owner), TIGHT if tight else ROOMY)
    streamed(stream, events, rnd, crashes=True)
    check(stream, events)
    check_erased(stream)


def test_an_erasure_of_a_record_that_was_put_away_is_said_again_after_going_back(stores: Stores) -> None:
    stream = stores.stream(world.rules(), TIGHT)
    events = [Sent(Seen(1, "cookie:a", "first")), Sent(Seen(2, "cookie:a", "second"))]
    request = Sent(Seen(5, "cookie:a", name="erase"))
    stream.send(events)
    stream.advance(100)
    assert stream.metrics[EVICTED_IDLE] == 1
    checkpoint = stream.checkpoint()
    for _ in range(2):
        stream.send([request])
        stream.poll()
        assert {event.event_id for event in stream.erased} == {"first", "second"}
        check(stream, [*events, request])
        check_erased(stream)
        stream.roll_back(checkpoint)


def check_erased(stream: Stream) -> None:
    """Nothing up to the time of an erasure is left in the log."""
    for assignment in stream.assignments():
        until = assignment.erased_before
        if until is not None:
            left = [e for e in left_in_log(stream) if (e.primary, e.login) == (assignment.primary, assignment.login)]
            assert not [e for e in left if e.event_time <= until]


@settings(max_examples=40, deadline=None)
@given(
    events=sent(erasing=True), owner=st.sampled_from(OWNERS[3:]), tight=st.booleans(),
    rnd=st.randoms(use_true_random=False),
)  # fmt: skip
def test_erasures_on_carried_devices_lose_no_event_and_double_none(
    stores: Stores, events: list[Sent], owner: str, tight: bool, rnd: random.Random
) -> None:
    # whose a late event of an erased stretch was is not known any more, so one fold of everything may say otherwise
    stream = stores.stream(world.rules(owner), TIGHT if tight else ROOMY)
    streamed(stream, events, rnd)
    assert sum(counted(stream).values()) == len(events)


def test_tight_bounds_make_every_rule_of_eviction_count(stores: Stores) -> None:
    stream = stores.stream(world.rules(), replace(TIGHT, lateness=3))
    events = [Sent(Seen(at, f"cookie:{name}", f"{name}{at}")) for at in range(60) for name in "abcd"]
    rnd = random.Random(1)
    for at in range(0, len(events), 3):
        stream.send(events[at : at + 3])
        if rnd.random() < 0.1:
            stream.advance(at // 4)
    stream.advance(100)
    assert set(stream.metrics) >= {ARCHIVED, EVICTED_BYTES, EVICTED_IDLE, READ_BACK}
    before = stream.metrics[REFOLDED]
    late = [Sent(Seen(0, f"cookie:{name}", f"late {name}")) for name in "abcd"]
    stream.send(late)
    assert stream.metrics[REFOLDED] == before + 4
    check(stream, events + late)
