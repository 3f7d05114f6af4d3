"""The log of a shard: what lives in it survives any order of puts, drops, compactions and crashes."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from contracts.errors import StateVersionError
from transforms.actor.core import Entry
from transforms.actor.segments import VERSION, SegmentLog

KEYS = st.sampled_from([b"a", b"b", b"c", b"d", b"e"])


class Bags:
    """The engine's side: bags of chunks, and the log that says what to do with them."""

    def __init__(self, seal: int, slice_bytes: int, segments: int = 4) -> None:
        self.bags: list[list[bytes]] = [[] for _ in range(segments)]
        self.sizes = (segments, seal, slice_bytes)
        self.log = SegmentLog(*self.sizes)
        self.copied = 0

    def append(self, entries: list[Entry], dropped: list[bytes]) -> None:
        if (made := self.log.append(entries, dropped)) is not None:
            self.bags[made.segment].append(made.chunk)

    def compact(self, records: dict[bytes, bytes]) -> bool:
        step = self.log.compact(records.get)
        if step is None:
            return False
        if step.append is not None:
            self.bags[step.append.segment].append(step.append.chunk)
            self.copied += len(step.append.chunk)
        if step.cleared is not None:
            self.bags[step.cleared].clear()
        return True

    def crash(self) -> dict[bytes, bytes]:
        """Forget everything but the bags; returns the records that come back."""
        self.log = SegmentLog(*self.sizes)
        back: dict[bytes, bytes] = {}
        # engines do not promise the order inside a bag
        shuffled = [random.Random(1).sample(bag, len(bag)) for bag in self.bags]
        for entry in self.log.restore(shuffled):
            assert not (entry.whole and entry.key in back), "what lies before a whole entry is dead"
            back[entry.key] = entry.data if entry.whole else back.get(entry.key, b"") + entry.data
        return back


class LogMachine(RuleBasedStateMachine):
    """Records are byte strings that changes add to."""

    def __init__(self) -> None:
        super().__init__()
        self.bags = Bags(seal=60, slice_bytes=20)
        self.records: dict[bytes, bytes] = {}

    @rule(changes=st.lists(st.tuples(KEYS, st.binary(min_size=1, max_size=9), st.booleans()), max_size=4))
    def put(self, changes: list[tuple[bytes, bytes, bool]]) -> None:
        entries = [Entry(*change) for change in changes]
        for key, data, whole in entries:
            self.records[key] = data if whole else self.records.get(key, b"") + data
        self.bags.append(entries, [])

    @rule(key=KEYS, data=st.binary(max_size=5), also=st.booleans())
    def drop(self, key: bytes, data: bytes, also: bool) -> None:
        self.records.pop(key, None)
        self.bags.append([Entry(key, data)] if also else [], [key])

    @rule()
    def compact(self) -> None:
        self.bags.compact(self.records)

    @rule()
    def crash(self) -> None:
        assert self.bags.crash() == self.records

    @invariant()
    def memory_and_bags_agree(self) -> None:
        reckoned = [(s.size, s.live, s.keys) for s in self.bags.log._segments]
        tombs = dict(self.bags.log._tombs)
        known = self.bags.log
        assert self.bags.crash() == self.records
        assert [(s.size, s.live, s.keys) for s in self.bags.log._segments] == reckoned
        assert self.bags.log._tombs == tombs
        self.bags.log = known


TestLog = LogMachine.TestCase


def test_a_log_stays_a_few_times_as_big_as_what_lives_in_it() -> None:
    bags = Bags(seal=10_000, slice_bytes=500, segments=8)
    records: dict[bytes, bytes] = {}
    chance, written = random.Random(5), 0
    for _ in range(20_000):
        key = b"k%d" % chance.randrange(300)
        if chance.random() < 0.1 and key in records:
            del records[key]
            bags.append([], [key])
        else:
            records[key] = chance.randbytes(chance.randrange(20, 60))
            written += len(records[key])
            bags.append([Entry(key, records[key], True)], [])
        bags.compact(records)
        assert sum(map(len, bags.bags[0])) <= 40_000
    alive = sum(map(len, records.values()))
    assert sum(len(chunk) for bag in bags.bags for chunk in bag) < 8 * 10_000 + 4 * alive
    assert bags.copied < 2 * written
    assert bags.crash() == records


def test_keys_that_come_and_go_leave_nothing_behind() -> None:
    bags = Bags(seal=2_000, slice_bytes=500, segments=4)
    records = {b"stays%d" % i: b"x" * 50 for i in range(20)}
    bags.append([Entry(key, data, True) for key, data in records.items()], [])
    for i in range(5_000):
        key = b"passes%d" % i
        bags.append([Entry(key, b"y" * 30)], [])
        bags.append([], [key])
        bags.compact(records)
        assert len(bags.log._tombs) < 200
        assert bags.log.size < 12_000
    assert bags.crash() == records


def test_changes_alone_are_folded_into_whole_records_when_no_segment_is_empty() -> None:
    bags = Bags(seal=500, slice_bytes=100, segments=4)
    records: dict[bytes, bytes] = {}
    for i in range(2_000):
        key = b"k%d" % (i % 7)
        records[key] = (records.get(key, b"") + b"%d" % (i % 10))[-20:]
        bags.append([Entry(key, records[key][-1:])], [])
        bags.compact(records)
        assert bags.log.size < 5_000


def test_segments_grow_with_what_lives_and_copying_does_not() -> None:
    bags = Bags(seal=500, slice_bytes=100, segments=8)
    records: dict[bytes, bytes] = {}
    written = 0
    for i in range(20_000):
        key = b"k%d" % (i * 7919 % 1_000)
        records[key] = b"%060d" % i
        bags.append([Entry(key, records[key], True)], [])
        written += 60
        bags.compact(records)
    alive = sum(map(len, records.values()))
    assert bags.copied < 2 * written
    assert bags.log.size < 6 * alive
    assert bags.crash() == records


def test_one_step_copies_a_slice() -> None:
    bags = Bags(seal=10_000, slice_bytes=1_000, segments=4)
    records = {b"k%d" % i: b"x" * 90 for i in range(200)}
    for key, data in records.items():
        bags.append([Entry(key, data, True)], [])
    for key in [key for i, key in enumerate(records) if i % 5 < 3]:
        records[key] = b"z" * 90
        bags.append([Entry(key, records[key], True)], [])
    steps = 0
    while bags.compact(records):
        steps += 1
        assert bags.copied <= steps * 1_200
    assert steps > 1
    assert bags.crash() == records


def test_a_chunk_of_a_newer_release_is_refused_by_its_version() -> None:
    newer = bytes((VERSION + 1,)) + b"whatever it may look like"
    with pytest.raises(StateVersionError, match=f"log of a shard has version {VERSION + 1}, .* up to"):
        SegmentLog().restore([[newer]])


@pytest.mark.parametrize("junk", [b"", b"\x01", bytes((VERSION,)) + msgspec.msgpack.encode(["no", "chunk"])])
def test_a_damaged_chunk_is_an_error_and_no_empty_log(junk: bytes) -> None:
    with pytest.raises(ValueError, match="a chunk of a shard's log"):
        SegmentLog().restore([[junk]])


def test_a_core_that_forgot_a_record_is_found_out() -> None:
    bags = Bags(seal=50, slice_bytes=1_000, segments=3)
    for _ in range(10):
        bags.append([Entry(b"kept", b"x" * 10, True), Entry(b"lost", b"y" * 2)], [])
    with pytest.raises(LookupError, match="b'lost'"):
        bags.compact({b"kept": b"x" * 10})


def test_a_log_of_two_segments_is_refused() -> None:
    with pytest.raises(ValueError, match="three segments, not 2"):
        SegmentLog(segments=2)
