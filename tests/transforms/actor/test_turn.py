"""Turns of an actor, without an engine: cells are a dict that a failed bundle is rolled back in."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.counting import CLOSED, COUNTS, OUTPUTS, POISON, POLLED, TOTALS, CountingFactory, Number, encode_number
from contracts.errors import LockedError, StateVersionError
from contracts.exchange import RejectedElement
from transforms.actor.core import ActorCore, Entry, Step
from transforms.actor.held import HeldShards
from transforms.actor.packing import VERSION, pack
from transforms.actor.segments import SEGMENTS
from transforms.actor.turn import (
    AGAIN_AFTER,
    AGAIN_FOR,
    COUNTERS,
    HEAD_VERSION,
    REJECTED,
    Actors,
    HostSettings,
    Outputs,
)

SECOND = 1_000_000
END = 9_000_000_000 * SECOND
SETTINGS = HostSettings("job", "counting", tuple(OUTPUTS), END, delays=(0.1, 0.2))


@dataclass
class Cells:
    head: bytes | None = None
    bags: list[list[bytes]] = field(default_factory=lambda: [[] for _ in range(SEGMENTS)])
    event: int | None = None
    poll: int | None = None
    sets: int = 0

    def saved(self) -> Cells:
        """A checkpoint."""
        return replace(self, bags=[list(bag) for bag in self.bags])

    def read_head(self) -> bytes | None:
        return self.head

    def write_head(self, head: bytes) -> None:
        self.head = head

    def read_segments(self) -> Sequence[Iterable[bytes]]:
        return self.bags

    def add(self, segment: int, chunk: bytes) -> None:
        self.bags[segment].append(chunk)

    def clear(self, segment: int) -> None:
        self.bags[segment].clear()

    def set_event_timer(self, at: int) -> None:
        self.event, self.sets = at, self.sets + 1

    def set_poll_timer(self, at: int) -> None:
        self.poll, self.sets = at, self.sets + 1

    def clear_poll_timer(self) -> None:
        self.poll = None


class World:
    """One shard on one worker; ``now`` is the processing time."""

    def __init__(self, factory: Any = None, settings: HostSettings = SETTINGS) -> None:
        self.cells = Cells()
        self.held = HeldShards()
        self.counted: Counter[str] = Counter()
        self.now = 0
        self.slept: list[float] = []
        tokens = itertools.count()
        self.actors = Actors(
            settings,
            factory or CountingFactory(),
            lambda: self.now,
            lambda: b"%d" % next(tokens),
            lambda name, by: self.counted.update({name: by}),
            self.held,
            self.slept.append,
        )

    def batch(self, *elements: bytes) -> Outputs:
        return self._bundle(lambda: self.actors.handle(b"s", pack(elements), self.cells))

    def counts(self, *keys: str, at: int = 0) -> dict[str, int]:
        out = self.batch(*(element(key, at) for key in keys))
        return {key.decode(): n for tag, (key, n) in out if tag == COUNTS}

    def serve_event(self) -> Outputs:
        at, self.cells.event = self.cells.event, None
        assert at is not None
        return self._bundle(lambda: self.actors.event_timer(b"s", at, self.cells))

    def serve_poll(self, at: int | None = None) -> Outputs:
        due, self.cells.poll = self.cells.poll if at is None else at, None
        assert due is not None
        self.now = max(self.now, due)
        return self._bundle(lambda: self.actors.poll_timer(b"s", due, self.cells))

    def crash(self) -> None:
        """The worker is gone; state and timers are not."""
        self.held = self.actors.held = HeldShards()

    def _bundle(self, turn: Callable[[], Outputs]) -> Outputs:
        before = self.cells.saved()
        try:
            return turn()
        except BaseException:
            self.cells = before
            raise


class Hesitant:
    """Makes cores that drain some times before the last."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.drains = 0

    def setup(self) -> None: ...

    def teardown(self) -> None: ...

    def adopt(self, core: ActorCore) -> None: ...

    def core(self, shard: bytes) -> Any:
        made = CountingFactory().core(shard)

        def drain(now: int) -> Step:
            self.drains += 1
            return Step(again=self.drains <= self.times)

        made.drain = drain  # type: ignore[method-assign]
        return made


def test_a_core_that_is_not_through_drains_again_a_little_later_and_before_the_next_stage() -> None:
    factory = Hesitant(3)
    world = World(factory)
    world.batch()
    for later in range(4):
        assert world.cells.event == END + later * 1_000
        world.serve_event()
    assert (factory.drains, world.cells.event) == (4, None)
    assert world.slept == [AGAIN_AFTER] * 3


def test_a_core_that_is_never_through_is_given_up_and_says_so() -> None:
    world = World(Hesitant(10_000))
    world.batch()
    out: Outputs = []
    while world.cells.event is not None:
        out += world.serve_event()
    ((tag, rejected),) = out
    assert (tag, rejected.during, rejected.reason) == (REJECTED, "drain", "TimeoutError")
    assert world.counted["faults"] == 1
    assert len(world.slept) == AGAIN_FOR // 1_000


def test_every_counter_is_documented() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "streaming_host.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(COUNTERS)


def element(key: str, at: int = 0) -> bytes:
    return encode_number(Number(key.encode(), at))


def test_a_worker_that_stays_rebuilds_nothing() -> None:
    world = World()
    assert world.counts("a", "b", "a") == {"a": 2, "b": 1}
    assert world.counts("a") == {"a": 3}
    assert world.counted["rebuilds"] == 0


@pytest.mark.parametrize("whole", [True, False])
def test_records_are_rebuilt_from_the_log_after_a_crash(whole: bool) -> None:
    world = World(CountingFactory(whole=whole))
    for _ in range(3):
        world.counts("a", "b", "a")
    world.crash()
    assert world.counts("a", "c") == {"a": 7, "c": 1}
    assert world.counted["rebuilds"] == 1


def test_a_bundle_that_failed_after_its_turn_leaves_nothing_behind() -> None:
    world = World()
    world.counts("a")
    before = world.cells.saved()
    world.counts("a", "a")
    world.cells = before
    assert world.counts("a") == {"a": 2}
    assert world.counted["rebuilds"] == 1


def test_a_bundle_that_failed_before_anything_was_ever_kept_leaves_nothing_behind() -> None:
    world = World()
    world.counts("a")
    world.cells = Cells()
    assert world.counts("a") == {"a": 1}


def test_an_attempt_that_was_given_up_but_runs_on_shares_no_records() -> None:
    world = World()
    world.counts("a")
    stuck = world.held.take(next(iter(world.held._held)))
    assert stuck is not None
    assert world.counts("a") == {"a": 2}
    stuck.core.commit(stuck.core.handle([element("a")], 0))
    assert world.counts("a") == {"a": 3}


def test_a_poison_element_is_put_out_and_the_rest_of_its_batch_is_counted() -> None:
    world = World()
    world.counts("a")
    out = world.batch(element("a"), POISON, element("b"))
    assert [item for item in out if item[0] == COUNTS] == [(COUNTS, (b"a", 2)), (COUNTS, (b"b", 1))]
    (rejected,) = (item for tag, item in out if tag == REJECTED)
    assert isinstance(rejected, RejectedElement)
    assert (rejected.stage, rejected.shard, rejected.during) == ("counting", b"s", "handle")
    assert (rejected.data, rejected.reason) == (POISON, "ValueError")
    assert "jane@example.com" not in rejected.detail
    world.crash()
    assert world.counts("a", "b") == {"a": 3, "b": 2}
    assert world.counted["rejected"] == 1


class InParts(CountingFactory):
    """Its elements may be several in one."""

    def split(self, element: bytes) -> list[bytes]:
        if element != b"several":
            raise ValueError("it is no several")
        return [encode_number(Number(b"a", 0)), POISON, encode_number(Number(b"b", 0))]


def test_of_an_element_of_several_things_only_the_poison_one_is_put_out() -> None:
    world = World(InParts())
    out = world.batch(b"several")
    assert [item for item in out if item[0] == COUNTS] == [(COUNTS, (b"a", 1)), (COUNTS, (b"b", 1))]
    (rejected,) = (item for tag, item in out if tag == REJECTED)
    assert rejected.data == POISON


def test_bytes_that_are_no_batch_are_put_out_whole() -> None:
    world = World()
    ((tag, rejected),) = world.actors.handle(b"s", b"\x01junk", world.cells)
    assert (tag, rejected.data, rejected.reason) == (REJECTED, b"\x01junk", "ValueError")
    assert world.cells.event == END, "a shard that has only seen junk is drained all the same"


def test_a_batch_and_a_state_of_a_newer_release_fail_the_bundle_by_name() -> None:
    world = World()
    with pytest.raises(StateVersionError, match="batch on its way to an actor"):
        world.actors.handle(b"s", bytes((VERSION + 1,)), world.cells)
    world.cells.head = bytes([HEAD_VERSION + 1]) + b"whatever"
    with pytest.raises(StateVersionError, match=f"state of stage counting has version {HEAD_VERSION + 1}"):
        world.counts("a")


def test_a_state_of_an_older_release_is_read_on_and_written_as_one_of_this() -> None:
    world = World()
    assert world.counts("a", "b", "a") == {"a": 2, "b": 1}
    assert world.cells.head is not None
    world.cells.head = bytes([1]) + world.cells.head[1:]
    world.crash()
    assert world.counts("a") == {"a": 3}
    assert world.cells.head[0] == HEAD_VERSION


def test_keys_are_closed_in_event_time_by_one_timer_at_the_earliest() -> None:
    world = World(CountingFactory(pause=10 * SECOND, forget=True))
    world.counts("a", at=100 * SECOND)
    world.counts("b", at=103 * SECOND)
    assert world.cells.event == 110 * SECOND
    assert world.serve_event() == [(CLOSED, (b"a", 1))]
    assert world.cells.event == 113 * SECOND
    world.counts("b", at=120 * SECOND)
    assert world.cells.event == 113 * SECOND, "a timer is not put off: it looks again when it comes"
    assert world.serve_event() == []
    assert world.cells.event == 130 * SECOND
    world.crash()
    assert world.serve_event() == [(CLOSED, (b"b", 2))]
    assert world.cells.event == END
    world.crash()
    assert world.counts("a", "b") == {"a": 1, "b": 1}


def test_instants_closer_than_the_grid_share_a_timer() -> None:
    world = World(CountingFactory(pause=0, forget=True))
    for i in range(5):
        world.counts(f"k{i}", at=7 * SECOND + 1 + i)
    assert world.cells.event == 8 * SECOND
    assert len(world.serve_event()) == 5


def test_the_end_of_the_input_drains_and_sets_no_timer_again() -> None:
    world = World(CountingFactory(poll_every=SECOND))
    world.counts("a", "b", "a")
    assert (world.cells.event, world.cells.poll) == (END, SECOND)
    assert world.serve_event() == [(TOTALS, (b"a", 2)), (TOTALS, (b"b", 1))]
    assert world.cells.event is None
    assert world.cells.poll is None


def test_an_event_after_the_drain_is_taken_and_drained_again() -> None:
    world = World()
    world.counts("a")
    world.serve_event()
    world.counts("a")
    assert world.serve_event() == [(TOTALS, (b"a", 2))]


def test_the_end_is_known_by_a_timer_cut_to_milliseconds() -> None:
    world = World(settings=replace(SETTINGS, end=END + 999))
    world.counts("a")
    world.cells.event = END
    assert world.serve_event() == [(TOTALS, (b"a", 1))]


def test_a_poll_that_is_pending_is_not_put_off() -> None:
    world = World(CountingFactory(poll_every=SECOND))
    world.counts("a")
    assert world.cells.poll == SECOND
    world.now = SECOND // 2
    sets = world.cells.sets
    world.counts("a")
    assert world.cells.sets == sets
    assert world.serve_poll() == [(POLLED, (b"s", SECOND))]
    assert world.cells.poll == 2 * SECOND


def test_a_poll_goes_on_after_a_crash() -> None:
    world = World(CountingFactory(poll_every=SECOND))
    world.counts("a")
    world.crash()
    assert world.serve_poll() == [(POLLED, (b"s", SECOND))]
    world.crash()
    world.counts("a")
    assert world.cells.poll == 2 * SECOND


def test_a_poll_that_comes_before_it_is_due_looks_again_later() -> None:
    world = World(CountingFactory(poll_every=SECOND))
    world.counts("a")
    assert world.serve_poll(at=SECOND // 2) == []
    assert world.cells.poll == SECOND


def test_a_shard_rebuilt_by_junk_alone_still_knows_when_it_is_due() -> None:
    world = World(CountingFactory(pause=10 * SECOND, poll_every=SECOND))
    world.counts("a", at=100 * SECOND)
    world.crash()
    world.cells.event = world.cells.poll = None
    world.batch(POISON)
    assert world.cells.event == 110 * SECOND
    assert world.cells.poll == SECOND


class _Flaky(CountingFactory):
    """Cores that fail as told."""

    def core(self, shard: bytes) -> ActorCore:
        core = super().core(shard)
        for call in ("handle", "advance", "poll", "drain"):
            setattr(core, call, _failing(getattr(core, call), FAIL.get(call, [])))
        return core


FAIL: dict[str, list[Exception]] = {}


def _failing(call: Callable[..., Step], errors: list[Exception]) -> Callable[..., Step]:
    def called(*arguments: Any) -> Step:
        if errors:
            raise errors.pop(0)
        return call(*arguments)

    return called


@pytest.fixture
def flaky() -> Iterable[World]:
    FAIL.clear()
    FAIL.update({call: [] for call in ("handle", "advance", "poll", "drain")})
    yield World(_Flaky(pause=10 * SECOND, forget=True, poll_every=SECOND))
    FAIL.clear()


@pytest.mark.parametrize("error", [LockedError("store away"), OSError(28, "no space"), ConnectionError("gone")])
def test_a_store_that_comes_back_costs_time_and_nothing_else(flaky: World, error: Exception) -> None:
    FAIL["handle"] += [error, error]
    assert flaky.counts("a", "b") == {"a": 1, "b": 1}
    assert flaky.slept == [0.1, 0.2]
    assert flaky.counted["store_retries"] == 2


def test_a_store_that_stays_away_fails_the_bundle_and_no_element(flaky: World) -> None:
    flaky.counts("a")
    FAIL["handle"] += [LockedError("store away")] * 3
    with pytest.raises(LockedError):
        flaky.counts("a", "b")
    assert flaky.counts("a", "b") == {"a": 2, "b": 1}
    assert flaky.counted["rejected"] == 0


def test_an_advance_that_fails_is_told_tried_again_later_and_stops_nothing(flaky: World) -> None:
    flaky.counts("a", at=100 * SECOND)
    FAIL["advance"] += [ZeroDivisionError("x"), ZeroDivisionError("y")]
    ((tag, fault),) = flaky.serve_event()
    assert (tag, fault.during, fault.data, fault.reason) == (REJECTED, "advance", b"", "ZeroDivisionError")
    assert flaky.cells.event == END, "else it would be served, and fail, at once and for ever"
    assert flaky.counts("b", at=101 * SECOND) == {"b": 1}
    assert flaky.cells.event == END
    told = [item for _ in range(40) for item in flaky.serve_poll()]
    assert [item.during for tag, item in told if tag == REJECTED] == ["advance"]
    assert [item for tag, item in told if tag == CLOSED] == [(b"a", 1)]
    assert flaky.cells.event == 111 * SECOND
    assert flaky.counted["faults"] == 2


def test_a_poll_that_fails_is_told_and_tried_again_later(flaky: World) -> None:
    flaky.counts("a")
    FAIL["poll"] += [ZeroDivisionError("x")]
    ((_, fault),) = flaky.serve_poll()
    assert fault.during == "poll"
    assert flaky.cells.poll is not None
    assert flaky.cells.poll <= SECOND + SETTINGS.retry_after
    assert [tag for tag, _ in flaky.serve_poll()] == [POLLED]


def test_a_drain_that_fails_fails_the_bundle(flaky: World) -> None:
    flaky.counts("a")
    flaky.cells.event = END
    FAIL["drain"] += [ZeroDivisionError("x")]
    with pytest.raises(ZeroDivisionError):
        flaky.serve_event()
    flaky.cells.event = END
    assert flaky.serve_event() == [(TOTALS, (b"a", 1))]


def test_a_tag_that_was_not_declared_is_an_error() -> None:
    world = World(settings=replace(SETTINGS, tags=("other",)))
    with pytest.raises(LookupError, match="counting puts out under tags it did not declare: \\['counts'\\]"):
        world.counts("a")


@pytest.mark.parametrize("whole", [True, False])
def test_a_long_stream_with_crashes_counts_exactly_and_its_log_stays_small(whole: bool) -> None:
    world = World(CountingFactory(whole=whole), replace(SETTINGS, seal=5_000))
    for i in range(3_000):
        world.batch(*(element(f"k{(i * 7 + j) % 50}") for j in range(20)))
        if i % 500 == 499:
            world.crash()
        assert sum(len(chunk) for bag in world.cells.bags for chunk in bag) < SEGMENTS * 2 * 5_000
    assert set(world.counts(*(f"k{i}" for i in range(50))).values()) == {60_000 // 50 + 1}
    assert world.counted["rebuilds"] == 6
    assert world.counted["compactions"] > 20
    assert world.counted["copied_bytes"] < world.counted["bytes"]


def test_a_core_is_restored_with_what_lives_alone() -> None:
    world = World(CountingFactory(pause=SECOND, forget=True))
    world.counts("gone", at=0)
    world.serve_event()
    world.counts("kept", at=5 * SECOND)
    seen: list[Entry] = []
    core = CountingFactory().core(b"s")
    world.actors._factory = replace_core(core, seen)
    world.crash()
    world.counts("kept", at=5 * SECOND)
    assert [entry.key for entry in seen] == [b"kept"]


def replace_core(core: Any, seen: list[Entry]) -> Any:
    restore = core.restore
    core.restore = lambda entries: (seen.extend(entries), restore(seen))

    class One(CountingFactory):
        def core(self, shard: bytes) -> ActorCore:
            made: ActorCore = core
            return made

    return One()
