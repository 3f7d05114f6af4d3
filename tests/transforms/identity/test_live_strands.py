"""A stream's strand shards: whatever comes when, the journeys hear what one fold of everything says."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import identity_world as world
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_world import Seen
from live_world import SHARDS, Sent, Stream, counted, expected, folded_again, rejected

from transforms.identity.live_shard import ARCHIVED, EVICTED_BYTES, EVICTED_IDLE, READ_BACK, REFOLDED, Bounds
from transforms.identity.rules import IdentityRules
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.identity import open_identity
from transforms.stores.records import open_records

WIDE = 10**15
ROOMY = Bounds(lateness=WIDE, idle=WIDE)
TIGHT = Bounds(lateness=WIDE, idle=3, tail_bytes=500, shard_bytes=2_500, look_every=1)

OWNERS = ("last_known", "first_known", "keep_apart", "carry_forward", "carry_visit", "carry_back")
PLAIN = OWNERS[:3]


class Stores:
    """One database for all examples of a test, emptied between them: to make one takes longer than an example."""

    def __init__(self, folder: Path) -> None:
        self.address = StoreAddress(folder / STORE_FILE)
        self.records = open_records(self.address)
        self._made: dict[str, object] = {}

    def stream(self, rules: IdentityRules, bounds: Bounds) -> Stream:
        import sqlite3

        identity = open_identity(self.address, rules, SHARDS)
        assert self.address.path is not None
        with closing(sqlite3.connect(self.address.path, isolation_level=None)) as connection:
            names = connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND"
                " (name LIKE 'identity%' OR name LIKE 'records%')"
            )
            for (name,) in names.fetchall():
                connection.execute(f"DELETE FROM {name}")
        return Stream(rules, identity, self.records, bounds)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    made = Stores(tmp_path_factory.mktemp("live"))
    yield made
    made.records.close()


@st.composite
def sent(draw: st.DrawFn, *, erasing: bool, max_size: int = 12) -> list[Sent]:
    """Events of a small world, with copies, and other payloads under the same id on the same device."""
    seen = draw(world.worlds(erasing=erasing, max_size=max_size))
    made = [Sent(one) for one in seen]
    for _ in range(draw(st.integers(0, 5))):
        one = draw(st.sampled_from(seen))
        again = draw(st.booleans())
        times = Seen(draw(st.integers(0, 12)), one.names, one.id, one.name) if again else one
        made.append(
            Sent(
                times,
                draw(st.integers(0, 3)),
                draw(st.sampled_from(["web", "crm"])),
                draw(st.sampled_from(["", "", "x", "y"])),
            )
        )
    return made


def streamed(stream: Stream, events: Sequence[Sent], rnd: random.Random, *, crashes: bool = False) -> None:
    """Send events in any order and batching, with polls and watermarks between, and perhaps back to a checkpoint."""
    order = rnd.sample(list(events), len(events))
    batches = []
    while order:
        size = rnd.choice((1, 1, 2, 3, 8))
        batches.append(order[:size])
        order = order[size:]
    rolled_back = not crashes
    held, position, at = stream.checkpoint(), 0, 0
    while position < len(batches):
        stream.now += rnd.choice((0, 0, 1, 50))
        if rnd.random() < 0.3:
            stream.poll()
        if rnd.random() < 0.3:
            stream.advance(rnd.randint(0, 20))
        stream.send(batches[position], packs=rnd.choice((1, 2)))
        position += 1
        if not rolled_back and rnd.random() < 0.25:
            held, at = stream.checkpoint(), position
        if not rolled_back and rnd.random() < 0.2:
            rolled_back = rnd.random() < 0.5
            stream.roll_back(held)
            position = at
    if not rolled_back:
        stream.roll_back(held)
        for batch in batches[at:]:
            stream.send(batch)
    stream.drain()


def check(stream: Stream, events: Sequence[Sent], *, exact: bool) -> None:
    result, records = expected(stream, events)
    assert stream.ear.records() == records
    assert folded_again(stream) == records
    counts = counted(stream)
    if exact:
        assert counts == +result.counts
        assert rejected(stream.letters.values()) == rejected(result.dead_letters)
    else:
        assert sum(counts.values()) == len(events)


@settings(max_examples=150, deadline=None)
@given(
    events=sent(erasing=False), owner=st.sampled_from(OWNERS), tight=st.booleans(),
    rnd=st.randoms(use_true_random=False),
)  # fmt: skip
def test_journeys_hear_what_one_fold_of_everything_says(
    stores: Stores, events: list[Sent], owner: str, tight: bool, rnd: random.Random
) -> None:
    stream = stores.stream(world.rules(owner), TIGHT if tight else ROOMY)
    streamed(stream, events, rnd)
    check(stream, events, exact=True)


@settings(max_examples=100, deadline=None)
@given(
    events=sent(erasing=False), owner=st.sampled_from(OWNERS), tight=st.booleans(),
    rnd=st.randoms(use_true_random=False),
)  # fmt: skip
def test_back_at_a_checkpoint_with_stores_that_are_ahead_nothing_differs(
    stores: Stores, events: list[Sent], owner: str, tight: bool, rnd: random.Random
) -> None:
    stream = stores.stream(world.rules(owner), TIGHT if tight else ROOMY)
    streamed(stream, events, rnd, crashes=True)
    check(stream, events, exact=True)


@settings(max_examples=150, deadline=None)
@given(
    events=sent(erasing=True), owner=st.sampled_from(PLAIN), tight=st.booleans(),
    rnd=st.randoms(use_true_random=False),
)  # fmt: skip
def test_what_is_erased_goes_from_whoever_had_it(
    stores: Stores, events: list[Sent], owner: str, tight: bool, rnd: random.Random
) -> None:
    stream = stores.stream(world.rules(owner), TIGHT if tight else ROOMY)
    streamed(stream, events, rnd)
    check(stream, events, exact=False)
    for assignment in stream.assignments():
        until = assignment.erased_before
        if until is not None:
            left = [e for e in stream.log if (e.primary, e.login) == (assignment.primary, assignment.login)]
            gone = {e.event for e in stream.erased}
            assert all(e.event in gone for e in left if e.event_time <= until)


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
    check(stream, events + late, exact=True)
