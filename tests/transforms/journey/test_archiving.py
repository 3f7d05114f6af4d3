"""Persons with a long record: what memory and log keep of them, what is read back when, and what never gets lost."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from journey_world import SETTINGS, T0, Strands, bounded
from test_journey_core import Host, packed
from test_live_journeys import differences

from contracts import wire
from contracts.errors import LockedError, OutputError
from contracts.event import SECOND, Event, Identifier
from contracts.exchange import APPEND, GONE, WHOLE, StrandMessage, StrandRecord
from transforms.journey.live.core import Bounds, JourneyCore
from transforms.journey.live.journeys import LiveJourneys
from transforms.journey.live.messages import PersonRecord
from transforms.journey.live.stored import ARCHIVES, archived_names, delete_unused
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.effects import EffectStore, open_effects
from transforms.stores.records import RecordStore, open_records

TAIL = 16 * 1024
BOUNDS = Bounds(tail_bytes=TAIL, settled=1_000, look_every=1)
SHARD = 3
DEVICE = Identifier("anonymous_id", "kiosk")


class World:
    """One core and its stores, and one device whose events come to a person."""

    def __init__(self, folder: Path) -> None:
        address = StoreAddress(folder / STORE_FILE)
        self.effects: EffectStore = open_effects(address)
        self.records: RecordStore = open_records(address)
        self.other = open_effects(StoreAddress(folder / "other" / STORE_FILE))
        self.bounds = BOUNDS
        self.horizon = T0
        self.now = 1_000
        self.version = 0
        self.told: dict[str, int] = {}
        self.events: list[Event] = []
        self.strands = Strands(random.Random(1))
        self.host = Host(self.make)

    def make(self) -> JourneyCore:
        journeys = LiveJourneys(SETTINGS, None, self.effects)
        return JourneyCore(journeys, lambda: self.horizon, SHARD, self.records, self.bounds)

    def close(self) -> None:
        for store in (self.effects, self.records, self.other):
            store.close()

    def event(self, at: int) -> Event:
        number = self.strands.number = self.strands.number + 1
        return Event(f"e{number:07}", "product_view", at, at, "t", "web", (DEVICE,))

    def send(self, person: str, kind: str, events: list[Event], erased: int | None = None) -> None:
        self.version += 1
        message = StrandMessage(
            "s", DEVICE, None, person, kind, 1, self.version, self.told.get(person, 0),
            tuple(wire.pack(event) for event in events), (), erased,
        )  # fmt: skip
        self.told[person] = self.version
        self.take([message])

    def take(self, messages: list[StrandMessage]) -> None:
        self.now += 10
        self.host.done(self.host.core.handle(packed(messages), self.now))

    def come(self, count: int, person: str = "p") -> None:
        """So many more events, in order."""
        last = self.events[-1].event_time if self.events else T0
        fresh = [self.event(last + number * 20 * SECOND) for number in range(1, count + 1)]
        self.events += fresh
        self.send(person, APPEND, fresh)

    def late(self, at: int, person: str = "p") -> None:
        self.events = sorted([*self.events, self.event(at)], key=lambda event: event.order)
        self.send(person, WHOLE, self.events)

    def poll(self) -> None:
        """As a host does: again as long as the core asks for it at once."""
        while True:
            self.now += 1
            step = self.host.core.poll(self.now)
            self.host.done(step)
            if step.next_poll is None or step.next_poll > self.now:
                return

    def record(self, person: str = "p") -> PersonRecord:
        return self.host.core.journeys.records[person]

    def archives(self) -> set[str]:
        return {key.key for key in self.records.names(ARCHIVES, SHARD, "")}

    def log_bytes(self) -> int:
        return sum(len(entry.data) for entry in self.host.log.entries)

    def agrees(self, person: str = "p") -> bool:
        """Whether the tables are those of one fold of everything."""
        self.horizon = self.events[-1].event_time
        self.host.done(self.host.core.drain(self.now + 1))
        events = tuple(wire.pack(event) for event in self.events)
        expected = bounded([StrandRecord("s", DEVICE, None, person, 1, 1, events)], self.horizon, self.other, None)
        return differences(self.host.tables, expected) == []


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def failing(*_: object, **__: object) -> Any:
    raise LockedError("the store is away")


def test_a_person_with_ever_more_events_in_order_stays_small_and_reads_nothing_back(world: World) -> None:
    world.bounds = replace(BOUNDS, tail_bytes=64 * 1024)
    world.host.core = world.make()
    batch, most_tail, most_log, all_bytes = 100, 0, 0, 0
    for _ in range(200):
        world.come(batch)
        all_bytes += sum(len(wire.pack(event)) for event in world.events[-batch:])
        most_tail, most_log = max(most_tail, world.record().tail), max(most_log, world.log_bytes())
        world.poll()
        assert world.record().tail <= 2 * world.bounds.tail_bytes
    archives = len(archived_names(world.record()))
    assert archives > 100
    assert all_bytes > 7_500_000
    assert most_tail <= 2 * world.bounds.tail_bytes + 64 * 1024, "twice what is kept, and a batch"
    assert most_log <= 2 * world.bounds.tail_bytes + 64 * 1024 + 100 * archives, "and of each archive its name"
    assert world.host.counts["archived"] == archives == len(world.archives()), "each event was archived once"
    assert world.host.counts["archive_read_back"] == 0
    assert (world.host.counts["began"], world.host.counts["folded_again"]) == (1, 0)


def test_a_late_event_reads_back_what_it_changes_and_leaves_the_other_archives(world: World) -> None:
    for _ in range(6):
        world.come(50)
        world.poll()
    before = archived_names(world.record())
    assert len(before) > 4
    world.late(world.events[-2].event_time + SECOND)
    assert world.host.counts["archive_read_back"] == 1
    assert archived_names(world.record()) == before, "they hold what they held"
    assert world.log_bytes() < 3 * TAIL, "the log does not get back what lies in archives"
    world.late(world.events[120].event_time + SECOND)
    world.poll()
    after = archived_names(world.record())
    assert 2 < len(before & after) < len(before), "those before it"
    assert world.agrees()


def test_going_on_after_the_machine_was_given_up_reads_back_once(world: World) -> None:
    world.come(200)
    world.poll()
    world.host.core.journeys.rest("p")
    world.come(1)
    assert world.host.counts["archive_read_back"] == 1
    world.come(1)
    assert world.host.counts["archive_read_back"] == 1
    assert world.agrees()


def test_an_evicted_person_comes_back_with_archives(world: World) -> None:
    world.bounds = replace(BOUNDS, shard_bytes=1, settled=1)
    world.host.core = world.make()
    world.come(200)
    world.poll()
    world.poll()
    assert world.host.core.journeys.records == {}
    assert world.archives()
    world.come(5)
    assert (world.host.counts["read_back"], world.host.counts["archive_read_back"]) == (1, 1)
    assert world.record().has_archives
    assert world.agrees()


def test_a_strand_moves_with_what_was_archived_and_its_archives_go_once_no_checkpoint_needs_them(world: World) -> None:
    world.come(200)
    world.poll()
    mine = archived_names(world.record())
    assert mine
    world.send("p", GONE, [])
    world.send("q", WHOLE, world.events)
    world.poll()
    yours = archived_names(world.record("q"))
    assert len(yours) == len(mine)
    assert world.archives() == mine | yours, "the engine may still go back"
    world.now += BOUNDS.settled
    world.poll()
    assert world.archives() == yours
    assert world.agrees("q")


@pytest.mark.parametrize("late", [False, True], ids=["soon", "when they would be deleted"])
def test_archives_that_are_the_same_again_stay(world: World, late: bool) -> None:
    world.come(200)
    world.poll()
    mine = archived_names(world.record())
    world.send("p", GONE, [])
    world.send("q", WHOLE, world.events)
    world.poll()
    world.now += BOUNDS.settled if late else 0
    world.send("q", GONE, [])
    world.send("p", WHOLE, world.events)
    world.poll()
    assert archived_names(world.record()) == mine
    world.now += BOUNDS.settled
    world.poll()
    assert world.archives() == mine
    world.host.restart()
    assert world.agrees()


def test_an_archive_stays_while_the_copy_in_the_record_store_refers_to_it(world: World) -> None:
    world.bounds = replace(BOUNDS, shard_bytes=1, settled=50)
    world.host.core = world.make()
    world.come(200)
    world.poll()
    world.poll()
    held = world.archives()
    world.host.core._bounds = world.host.core._keeping._bounds = BOUNDS
    world.late(T0 + SECOND)
    world.poll()
    world.now += 10_000
    world.poll()
    assert held - archived_names(world.record()), "the first event is another one"
    assert held <= world.archives()


def test_what_is_erased_is_erased_from_what_was_archived_too(world: World) -> None:
    world.come(200)
    world.poll()
    until = world.events[150].event_time
    gone = {event.event_id for event in world.events if event.event_time <= until}
    world.events = [event for event in world.events if event.event_time > until]
    world.send("p", WHOLE, world.events, until)
    assert not {key[0] for key in world.host.tables.shown("events")} & gone
    assert world.agrees()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_store_that_fails_while_archiving_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """``before`` or ``after`` it wrote: whoever fails does not know which."""
    world.come(200)
    put = world.records.put

    def away(records: Any) -> Any:
        if when == "after":
            put(records)
        raise LockedError("the store is away")

    monkeypatch.setattr(world.records, "put", away)
    before, size = world.log_bytes(), world.record().size
    with pytest.raises(LockedError):
        world.poll()
    assert (world.log_bytes(), world.record().size) == (before, size)
    world.come(10)
    assert not world.record().has_archives
    monkeypatch.undo()
    world.poll()
    assert world.record().has_archives
    world.host.restart()
    assert world.agrees()


def test_a_store_that_fails_while_archives_are_read_back_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.come(200)
    world.poll()
    before, told, version = list(world.events), dict(world.told), world.version
    monkeypatch.setattr(world.records, "get", failing)
    with pytest.raises(LockedError):
        world.late(T0 + SECOND)
    monkeypatch.undo()
    late = next(event for event in world.events if event not in before)
    world.told, world.version = told, version
    world.send("p", WHOLE, world.events)
    assert (late.event_id,) in world.host.tables.shown("events")
    assert world.agrees()


@pytest.mark.parametrize("come", [1, 40])
def test_an_engine_that_goes_back_to_before_the_archives_neither_loses_nor_doubles_events(
    world: World, come: int
) -> None:
    """The attempt that was lost archived by other batches, or the same."""
    world.come(90)
    log, tables = list(world.host.log.entries), world.host.tables
    events, told, version = list(world.events), dict(world.told), world.version
    world.come(60)
    world.poll()
    lost = archived_names(world.record())
    later = world.events[90:]
    world.host.log.entries, world.host.tables = log, tables
    world.host.restart()
    assert not world.record().has_archives
    world.events, world.told, world.version = events, told, version
    for start in range(0, 60, come):
        some = later[start : start + come]
        world.events += some
        world.send("p", APPEND, some)
        world.poll()
    assert archived_names(world.record()) <= lost | world.archives()
    assert len(world.record().events(world.host.core._archiving.read(world.record()))) == 150
    assert world.agrees()


def test_a_shard_is_rebuilt_from_its_log_with_archives_at_any_moment(world: World) -> None:
    rng = random.Random(5)
    for _ in range(25):
        rng.choice([lambda: world.come(30), lambda: world.late(rng.randrange(T0, world.events[-1].event_time)),
                    world.poll, world.host.restart] if world.events else [lambda: world.come(30)])()  # fmt: skip
    assert world.host.counts["archived"]
    assert world.agrees()


def test_an_archive_that_is_not_there_is_named_and_nothing_goes_on_without_it(world: World) -> None:
    world.come(200)
    world.poll()
    world.records.delete(world.records.names(ARCHIVES, SHARD, ""))
    with pytest.raises(OutputError, match=r"lacks \d+ archives of person p"):
        world.late(T0 + SECOND)


def test_nothing_is_archived_without_a_record_store(world: World) -> None:
    journeys = LiveJourneys(SETTINGS, None, world.effects)
    world.host.core = JourneyCore(journeys, lambda: T0, SHARD, None, BOUNDS)
    world.come(200)
    world.poll()
    assert not world.record().has_archives
    assert world.host.counts["archived"] == 0


def test_a_stream_that_begins_deletes_archives_that_no_record_refers_to(world: World) -> None:
    world.bounds = replace(BOUNDS, shard_bytes=1, settled=1)
    world.host.core = world.make()
    world.come(200)
    world.poll()
    world.poll()
    kept = world.archives()
    world.bounds = BOUNDS
    world.host.core = world.make()
    world.come(200, "another")
    world.poll()
    assert kept < world.archives()
    assert delete_unused(world.records, SHARD) == len(archived_names(world.record("another")))
    assert world.archives() == kept


def test_the_last_event_of_a_strand_is_never_archived(world: World) -> None:
    world.bounds = replace(BOUNDS, tail_bytes=1)
    world.host.core = world.make()
    world.come(20)
    world.poll()
    assert [len(held.events) for held in world.record().strands.values()] == [1]
    assert world.record().last_time == world.events[-1].event_time
    world.poll()
    assert world.agrees()
