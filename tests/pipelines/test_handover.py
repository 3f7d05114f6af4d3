"""Handover: a stream that begins where bounded runs ended says in the end what one fold of everything says."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "transforms" / "identity"))

import identity_world as world
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_world import Seen
from live_world import BOX, SHARDS, Sent, Stores, Stream, counted, expected, sent, strand_event, streamed

from contracts.exchange import ShardInput, StrandEvent, StrandMessage
from pipelines.handover import Handover, hand_over, parts_since
from transforms.identity.live_eviction import READ_BACK
from transforms.identity.live_step import Bounds
from transforms.identity.strands import fold_shard
from transforms.tables.log import write_log
from transforms.tables.output import OutputFolder

ROOMY = Bounds(lateness=10**15, idle=10**15)
TIGHT = Bounds(lateness=10**15, idle=3, tail_bytes=500, shard_bytes=2_500, look_every=1)
OWNERS = ("last_known", "first_known", "keep_apart", "carry_forward", "carry_visit", "carry_back")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    made = Stores(tmp_path_factory.mktemp("handover"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("out")


def backfilled(stream: Stream, events: Sequence[Sent], out: OutputFolder, revision: int) -> list[StrandEvent]:
    """What a bounded run of these leaves: links in the identity store, accepted events in the log."""
    stream.link(events)
    inputs = [
        ShardInput(tuple(strand_event(one, stream.rules) for one in events)),
        ShardInput((), tuple(stream.assignments())),
    ]
    log = fold_shard(inputs, BOX, carries=stream.rules.carries()).log
    for number, start in enumerate(range(0, len(log), 3)):
        write_log(out.root, f"r{revision:06d}-s{number}", log[start : start + 3])
    return log


def handed_over(stream: Stream, out: OutputFolder, since: int | None = None, share: int = 8_000) -> int:
    how = Handover(stream.identity, stream.records, stream.rules, SHARDS, BOX, share)
    stream.now += 10

    def give(shard: int, messages: Sequence[StrandMessage]) -> None:
        for message in messages:
            stream.ear.hear(shard, message)

    done = hand_over(how, out, since, stream.now, give, out.root / "spill")
    assert not (out.root / "spill").exists()
    stream.now += 1_000
    return done.events


def empty(folder: Path) -> OutputFolder:
    out = OutputFolder(folder)
    out.log.mkdir(exist_ok=True)
    for path in out.log.iterdir():
        path.unlink()
    return out


@settings(max_examples=20, deadline=None)
@given(
    events=sent(erasing=False, max_size=16), owner=st.sampled_from(OWNERS), tight=st.booleans(),
    rnd=st.randoms(use_true_random=False),
)  # fmt: skip
def test_backfill_of_the_first_half_then_a_stream_of_the_second_with_overlap_is_one_fold_of_all(
    stores: Stores, folder: Path, events: list[Sent], owner: str, tight: bool, rnd: random.Random
) -> None:
    out = empty(folder)
    stream = stores.stream(world.rules(owner), TIGHT if tight else ROOMY)
    half = rnd.randint(0, len(events))
    log = backfilled(stream, events[:half], out, 1)
    assert handed_over(stream, out) == len(log)
    later = events[max(0, half - 3) :]
    streamed(stream, later, rnd)
    stream.now += 1
    _, records = expected(stream, events)
    assert stream.ear.records() == records
    inputs = [
        *(ShardInput((event,)) for event in (_stored(one) for one in log)),
        ShardInput(tuple(strand_event(one, stream.rules) for one in later)),
        ShardInput((), tuple(stream.assignments())),
    ]
    assert counted(stream) == +fold_shard(inputs, BOX, carries=stream.rules.carries()).counts


def _stored(event: StrandEvent) -> StrandEvent:
    from dataclasses import replace

    return replace(event, stored=True)


@settings(max_examples=20, deadline=None)
@given(events=sent(erasing=False, max_size=16), rnd=st.randoms(use_true_random=False))
def test_a_second_handover_reads_what_is_new_in_the_log_and_tells_whoever_it_concerns(
    stores: Stores, folder: Path, events: list[Sent], rnd: random.Random
) -> None:
    out = empty(folder)
    stream = stores.stream(world.rules(), ROOMY)
    half = rnd.randint(0, len(events))
    backfilled(stream, events[:half], out, 1)
    handed_over(stream, out)
    for part in out.log.iterdir():
        os.utime(part, (0, 0))
    log = backfilled(stream, events[half:], out, 2)
    assert handed_over(stream, out, since=1) == len(log)
    stream.drain()
    _, records = expected(stream, events)
    assert stream.ear.records() == records


def test_a_handed_over_device_is_read_back_at_its_first_event_and_costs_nothing_before(
    stores: Stores, folder: Path
) -> None:
    out = empty(folder)
    stream = stores.stream(world.rules(), ROOMY)
    backfilled(stream, [Sent(Seen(at, f"cookie:{name}", f"{name}{at}")) for at in range(9) for name in "abc"], out, 1)
    handed_over(stream, out)
    stream.poll()
    assert stream.metrics[READ_BACK] == 0
    stream.send([Sent(Seen(9, "cookie:a", "a9"))])
    assert stream.metrics[READ_BACK] == 1
    assert counted(stream) == {("web", "accepted"): 1}


def test_parts_written_since_the_last_handover_are_those_to_read(stores: Stores, folder: Path) -> None:
    out = empty(folder)
    stream = stores.stream(world.rules(), ROOMY)
    backfilled(stream, [Sent(Seen(1, "cookie:a"))], out, 1)
    (first,) = parts_since(out, None)
    os.utime(first, (10, 10))
    assert parts_since(out, 10_000_000) == [first]
    assert parts_since(out, 10_000_001) == []
