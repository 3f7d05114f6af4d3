"""The actor core of the journey stage: killed, rolled back, evicted and read back, it ends with the same tables."""

from __future__ import annotations

import io
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from journey_world import SETTINGS, Strands, Tables, bounded, model
from test_live_journeys import delivered, differences

from contracts import codec, wire
from contracts import records as records_of
from contracts.errors import LockedError, StateVersionError
from contracts.event import DAY, HOUR, Identifier
from contracts.exchange import APPEND, GONE, WHOLE, ArchivedEvents, StrandMessage, StrandMessages
from transforms.actor.core import Entry, Step
from transforms.identity import live_eviction, live_step
from transforms.journey.live.archiving import ARCHIVE_READ_BACK, ARCHIVED
from transforms.journey.live.core import (
    DECISIONS,
    METRICS,
    NOT_FOLLOWED,
    ONLINE,
    RESTED,
    STATED,
    Bounds,
    JourneyCore,
)
from transforms.journey.live.entries import RECORD, LogEntry, pack_entry, unpack_entry
from transforms.journey.live.journeys import LiveJourneys
from transforms.journey.live.messages import PersonRecord, as_messages, size_of, take
from transforms.journey.live.paging import EVICTED_BYTES, EVICTED_IDLE, READ_BACK, STATED_AGAIN
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.effects import EffectStore, open_effects
from transforms.stores.records import RecordStore, open_records

TIGHT = Bounds(shard_bytes=6_000, machine_bytes=60_000, idle=500, settled=2_500, look_every=1)
TAILS = st.sampled_from([1, 500, 2_000, 10**9])
"""Bytes that a record keeps of its events: next to none, some, and all of them."""
T0 = 1_704_067_200_000_000


class Log:
    """What a host keeps of a shard's log: the entries that live, in order."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def append(self, step: Step) -> None:
        for entry in step.entries:
            if entry.whole:
                self._forget(entry.key)
            self.entries.append(entry)
        for key in step.dropped:
            self._forget(key)

    def _forget(self, key: bytes) -> None:
        self.entries = [entry for entry in self.entries if entry.key != key]

    def compact(self, core: JourneyCore, key: bytes) -> None:
        data = core.live(key)
        self._forget(key)
        if data is not None:
            self.entries.append(Entry(key, data, True))


class Host:
    """A host of one core, whose bundles may fail, whose worker may die and whose engine may go back."""

    def __init__(self, make: Callable[[], JourneyCore]) -> None:
        self.make = make
        self.core = make()
        self.log = Log()
        self.tables = Tables()
        self.counts: Counter[str] = Counter()
        self.decided: list[str] = []
        self.next_event_time: int | None = None

    def done(self, step: Step) -> None:
        self.log.append(step)
        self.core.commit(step)
        self.tables.take([element for tag, element in step.outputs if tag == STATED])
        self.decided += [element.decision_id for tag, element in step.outputs if tag == DECISIONS]
        for tag, element in step.outputs:
            if tag == METRICS:
                self.counts[element[0]] += element[1]
        self.next_event_time = step.next_event_time

    def restart(self) -> None:
        self.core = self.make()
        self.core.restore(iter(self.log.entries))
        self.next_event_time = self.core.handle([], 0).next_event_time


@pytest.fixture
def stores() -> Iterator[tuple[EffectStore, RecordStore]]:
    with tempfile.TemporaryDirectory() as folder:
        address = StoreAddress(Path(folder) / STORE_FILE)
        effects, records = open_effects(address), open_records(address)
        yield effects, records
        records.close()
        effects.close()


def packed(messages: list[StrandMessage]) -> list[bytes]:
    return [wire.pack(StrandMessages((message,))) for message in messages]


def misfortunes(rng: random.Random, host: Host, strands: Strands, meanwhile: Callable[[], None] = lambda: None) -> int:
    """Deliver all messages while bundles fail, the worker dies, the log is compacted and the engine goes back.

    ``meanwhile`` is called before each batch. Returns what the clock then says, microseconds.
    """
    batches = delivered(rng, strands, 0)
    now, number, back = 1_000_000, 0, 0
    saved, saved_at = deepcopy((host.log, host.tables, number)), now
    while number < len(batches):
        now += rng.randrange(1, 400)
        meanwhile()
        if rng.random() < 0.15:
            host.core.handle(packed(batches[number]), now)  # the bundle fails: the step is forgotten
            if rng.random() < 0.5:
                host.restart()
        host.done(host.core.handle(packed(batches[number]), now))
        number += 1
        if rng.random() < 0.4:
            host.done(host.core.poll(now))
        if rng.random() < 0.5:
            watermark = rng.randrange(strands.now - 20 * DAY, strands.now + 1)
            while host.next_event_time is not None and host.next_event_time <= watermark:
                host.done(host.core.advance(watermark, now))
        if rng.random() < 0.15:
            host.restart()
        if rng.random() < 0.2 and host.log.entries:
            host.log.compact(host.core, rng.choice(host.log.entries).key)
        if rng.random() < 0.2:
            saved, saved_at = deepcopy((host.log, host.tables, number)), now
        if rng.random() < 0.1 and back < 3 and saved_at > now - TIGHT.settled:
            back += 1
            host.log, host.tables, number = deepcopy(saved)  # the engine goes back, what is outside does not
            host.restart()
    return now


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 10**6), alone=st.booleans(), tail=TAILS)
def test_kills_rollbacks_evictions_and_archives_change_no_table(seed: int, alone: bool, tail: int) -> None:
    rng = random.Random(seed)
    strands = Strands(rng)
    strands.live(rng.randrange(1, 50), erasing=True)
    horizon = strands.now + rng.randrange(40 * DAY)
    with tempfile.TemporaryDirectory() as folder:
        address = StoreAddress(Path(folder) / STORE_FILE)
        effects, records = open_effects(address), open_records(address)

        def make() -> JourneyCore:
            journeys = LiveJourneys(SETTINGS, model, effects)
            return JourneyCore(
                journeys, lambda: horizon, 3, None if alone else records, replace(TIGHT, tail_bytes=tail)
            )

        host = Host(make)
        now = misfortunes(rng, host, strands)
        host.done(host.core.drain(now + 1))
        other = open_effects(StoreAddress(Path(folder) / "other" / STORE_FILE))
        assert differences(host.tables, bounded(strands.records(), horizon, other, model)) == []
        other.close()
        records.close()
        effects.close()


def visit(person: str, number: int, after: int, at: int, strands: Strands) -> StrandMessage:
    event = strands.event(at)
    return StrandMessage(
        f"s-{person}", Identifier("anonymous_id", person), None, person, APPEND, 1, number, after, (wire.pack(event),)
    )


def test_an_idle_person_leaves_memory_and_log_and_comes_back(stores: tuple[EffectStore, RecordStore]) -> None:
    effects, records = stores
    strands = Strands(random.Random(1))
    core = JourneyCore(LiveJourneys(SETTINGS, None, effects), lambda: T0, 0, records, TIGHT)
    host = Host(lambda: core)
    host.done(core.handle(packed([visit("p", 10, 0, T0, strands)]), 10))
    while host.next_event_time is not None:
        host.done(core.advance(host.next_event_time, 20))
    host.done(core.poll(5_000))
    assert core.journeys.records == {}
    assert [entry.key for entry in host.log.entries] == [b""]
    assert core.live(b"p") is None
    host.done(core.handle(packed([visit("p", 11, 10, T0 + 90 * DAY, strands)]), 6_000))
    assert host.counts["read_back"] == 1
    assert len(host.tables.shown("events")) == 2
    assert [row["events"] for row in host.tables.shown("journeys").values()] == [2]
    assert unpack_entry(core.live(b"p") or b"").kind == RECORD


def test_a_person_asleep_is_woken_when_time_has_something_to_do(stores: tuple[EffectStore, RecordStore]) -> None:
    effects, records = stores
    strands = Strands(random.Random(1))
    full = Bounds(shard_bytes=0, machine_bytes=0, idle=HOUR)
    core = JourneyCore(LiveJourneys(SETTINGS, None, effects), lambda: T0, 0, records, full)
    host = Host(lambda: core)
    host.done(core.handle(packed([visit("p", 10, 0, T0, strands)]), 10))
    due = host.next_event_time
    host.done(core.poll(20))
    assert core.journeys.records == {}
    assert host.next_event_time == due
    before = len(host.tables.shown("features"))
    host.done(core.advance(T0 + 8 * DAY, 30))
    assert len(host.tables.shown("features")) > before
    assert host.counts["stated_again"] == 0, "what was stated is known, so only the new is"


def test_what_an_attempt_erased_and_put_away_is_erased_again_after_it_was_lost(
    stores: tuple[EffectStore, RecordStore],
) -> None:
    """The event was stated by one person, and erased when it was another's, who knows of it no more."""
    effects, records = stores
    strands = Strands(random.Random(1))
    full = replace(TIGHT, shard_bytes=0)
    host = Host(lambda: JourneyCore(LiveJourneys(SETTINGS, None, effects), lambda: T0, 0, records, full))
    first = visit("p", 10, 0, T0, strands)
    left = replace(first, kind=GONE, version=11, after=10, events=())
    came = replace(first, person_id="q", kind=WHOLE, version=12, after=0)
    erased = replace(came, version=13, after=12, events=(), erased_until=T0)
    other = replace(visit("q", 14, 0, T0 + DAY, strands), strand_id="another")
    sent = [[first], [left, came], [erased, other]]
    for again in (0, 100):
        for number, messages in enumerate(sent, again):
            host.done(host.core.handle(packed(messages), number))
        host.done(host.core.poll(again + 30))
        assert [row["event_time"] for row in host.tables.shown("events").values()] == [T0 + DAY]
        if not again:
            # the engine goes back to where nobody was known
            host.log, host.tables, host.core = Log(), Tables(), host.make()
    host.done(host.core.poll(200 + TIGHT.settled))
    assert "q" not in host.core.journeys.records, "then the person is put away as any other"


def test_what_failed_changes_nothing(stores: tuple[EffectStore, RecordStore], monkeypatch: Any) -> None:
    effects, records = stores
    strands = Strands(random.Random(1))
    core = JourneyCore(LiveJourneys(SETTINGS, None, effects), lambda: T0, 0, records, TIGHT)
    host = Host(lambda: core)
    host.done(core.handle(packed([visit("p", 10, 0, T0, strands)]), 10))
    before = core.live(b"p"), len(host.log.entries)
    first = set(host.decided)

    def away(*arguments: object, **named: object) -> None:
        raise LockedError("the store is away")

    later = visit("p", 11, 10, T0 + DAY, strands)
    monkeypatch.setattr(effects, "claim_decisions", away)
    with pytest.raises(LockedError):
        core.handle(packed([later]), 20)
    assert (core.live(b"p"), len(host.log.entries)) == before
    monkeypatch.undo()
    host.done(core.handle(packed([later]), 30))
    assert len(host.tables.shown("events")) == 2
    assert first < set(host.decided), "what was not claimed is decided after all"


def test_poison_is_found_before_anything_is_built(stores: tuple[EffectStore, RecordStore]) -> None:
    effects, records = stores
    strands = Strands(random.Random(1))
    core = JourneyCore(LiveJourneys(SETTINGS, None, effects), lambda: T0, 0, records, TIGHT)
    good = visit("p", 10, 0, T0, strands)
    bad = StrandMessage("s", Identifier("anonymous_id", "a"), None, "q", APPEND, 1, 11, 0, (b"\x00",))
    with pytest.raises(Exception, match=r"(?i)expected|invalid|trailing"):
        core.handle(packed([good, bad]), 10)
    step = core.handle(packed([good]), 20)
    assert [tag for tag, _ in step.outputs if tag == ONLINE] == [ONLINE]


def test_an_entry_of_a_later_version_is_refused_by_name() -> None:
    message = StrandMessage(
        "s", Identifier("anonymous_id", "a"), Identifier("user_id", "u"), "p", APPEND, 1, 2, 0, (b"e",)
    )
    entry = LogEntry(RECORD, "p", None, (message,))
    data = pack_entry(entry)
    assert unpack_entry(data) == entry
    with pytest.raises(StateVersionError, match="version 999"):
        unpack_entry(data[:1] + (999).to_bytes(2) + data[3:])


def test_what_a_release_without_archives_wrote_is_read() -> None:
    login = Identifier("user_id", "u")
    message = StrandMessage("s", Identifier("anonymous_id", "a"), login, "p", APPEND, 1, 2, 0, (b"e", b"f"), ((1, 2),))
    before = fastavro.parse_schema(codec.without_logical_types(deepcopy(codec.raw_schema("strand_messages", 1))))
    out = io.BytesIO()
    fastavro.schemaless_writer(out, before, records_of.to_record(StrandMessages((message,))))
    newest = pack_entry(LogEntry(RECORD, "p", None))
    data = newest[:1] + (1).to_bytes(2) + newest[3:] + out.getvalue()
    assert unpack_entry(data) == LogEntry(RECORD, "p", None, (message,))


def test_a_record_is_written_down_with_the_names_of_its_archives() -> None:
    named = (ArchivedEvents("a", 3, T0, T0 + 1), ArchivedEvents("b", 1, T0 + 2, T0 + 2))
    message = StrandMessage("s", Identifier("anonymous_id", "a"), None, "p", WHOLE, 1, 2, 0, (b"e",), archives=named)
    entry = LogEntry(RECORD, "p", None, (message,))
    assert unpack_entry(pack_entry(entry)) == entry
    record = take(PersonRecord("p"), entry.messages).record
    assert as_messages(record) == (message,)
    assert record.tail == size_of(b"e")


def test_all_shards_together_hold_what_one_alone_would() -> None:
    alone, shared = Bounds.of_one_of(1), Bounds.of_one_of(16)
    assert alone == Bounds()
    assert (16 * shared.shard_bytes, 16 * shared.machine_bytes) == (alone.shard_bytes, alone.machine_bytes)
    assert Bounds.of_one_of(0) == alone


def test_every_counter_of_the_keyed_stages_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "streaming_host.md").read_text(encoding="utf-8")
    told = {
        stage: {name for names in re.findall(rf"^\| {stage} \| ([^|]+) \|", page, re.MULTILINE)
                for name in re.findall(r"`(\w+)`", names)}
        for stage in ("strand", "journey")
    }  # fmt: skip
    of_strands = (live_eviction.EVICTED_IDLE, live_eviction.EVICTED_BYTES, live_eviction.ARCHIVED,
                  live_eviction.READ_BACK, live_step.REFOLDED)  # fmt: skip
    assert told["strand"] == set(of_strands)
    doc = LiveJourneys.__doc__ or ""
    counts = set(re.findall(r"``(\w+)``", doc[doc.index("Counts of ``Work``") :])) - {"Work"}
    of_cores = {EVICTED_IDLE, EVICTED_BYTES, RESTED, READ_BACK, STATED_AGAIN, NOT_FOLLOWED, ARCHIVED, ARCHIVE_READ_BACK}
    assert told["journey"] == counts | of_cores
