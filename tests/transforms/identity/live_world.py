"""A stream in small: strand shards before a real identity store, the log of each, and who hears their messages.

``Stream`` does what the link stage and the host do: it stores links before it hands events on, appends what a step says
to a real ``SegmentLog``, compacts it, and only then commits. ``Ear`` applies messages as the contract says, and keeps
who has an event by the rule of the tables: the greatest version.
"""

from __future__ import annotations

import copy
import random
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "stores"))

import identity_world as world
from hypothesis import strategies as st
from identity_world import Seen

from contracts import wire
from contracts.event import Event, Identifier
from contracts.event_codec import decode_event
from contracts.exchange import (
    APPEND,
    GONE,
    Assignment,
    DeadLetter,
    LedgerCount,
    Purge,
    ShardInput,
    StrandEvent,
    StrandMessage,
)
from transforms.actor.core import Step
from transforms.actor.segments import SegmentLog
from transforms.dead_letter import DeadLetterBox
from transforms.identity.ids import shard_of
from transforms.identity.live_records import unpack_state
from transforms.identity.live_shard import StrandCore
from transforms.identity.live_step import Bounds
from transforms.identity.rules import IdentityRules
from transforms.identity.strands import ShardResult, fold_shard, payload_hash
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.identity import IdentityStore, open_identity
from transforms.stores.records import RecordStore, open_records

SHARDS = 2
BOX = DeadLetterBox(b"k" * 32)
Part = tuple[str, str]
"""A strand and a person."""


@dataclass(frozen=True)
class Sent:
    """A copy of an event: when it was received, from which source, and another payload if ``page`` is."""

    seen: Seen
    received: int = 0
    source: str = "web"
    page: str = ""

    def event(self) -> Event:
        s = self.seen
        properties = {"page": self.page} if self.page else {}
        return Event(
            s.id, s.name, s.time, s.time + self.received, "web", "web", tuple(sorted(s.identifiers)),
            properties=dict(properties),
        )  # fmt: skip


def strand_event(sent: Sent, rules: IdentityRules, *, stored: bool = False) -> StrandEvent:
    event = sent.event()
    key = rules.strand_of(event.identifiers, event.name)
    assert key is not None
    return StrandEvent(
        event.event_id, event.event_time, event.received_time, sent.source, key.primary, key.login,
        wire.pack(event), stored, rules.is_logout(event.name),
    )  # fmt: skip


def shard_number(primary: Identifier) -> int:
    return int.from_bytes(shard_of(primary, SHARDS), "big")


@dataclass
class Heard:
    version: int
    events: tuple[bytes, ...]
    spans: tuple[tuple[int, int], ...] = ()
    has: bool = True


@dataclass
class Ear:
    """What the persons know: a part is what one person has of one strand."""

    parts: dict[Part, Heard] = field(default_factory=dict)
    versions: dict[int, int] = field(default_factory=dict)
    rows: dict[tuple[Identifier, str], tuple[int, Part]] = field(default_factory=dict)
    strands: dict[str, Identifier] = field(default_factory=dict)
    forgets: bool = False

    def hear(self, shard: int, message: StrandMessage) -> None:
        part = (message.strand_id, message.person_id)
        self.strands[message.strand_id] = message.primary
        assert message.version > self.versions.get(shard, 0), "versions of a shard grow"
        self.versions[shard] = message.version
        held = self.parts.get(part)
        if not self.forgets:
            assert message.after == (0 if held is None else held.version)
        events, spans = message.events, message.spans
        if message.kind == APPEND:
            assert held is not None
            assert held.has
            assert message.after == held.version
            assert _orders(held.events)[-1] < _orders(events)[0]
            events = held.events + events
        self.parts[part] = Heard(message.version, events, spans, message.kind != GONE)
        assert _orders(events) == sorted(set(_orders(events)))
        for event in message.events:
            self.rows[message.primary, wire.unpack(Event, event).event_id] = (message.version, part)
        ids = Counter(
            (self.strands[strand], wire.unpack(Event, event).event_id)
            for (strand, _), heard in self.parts.items()
            for event in heard.events
        )
        assert not [one for one, n in ids.items() if n > 1], "an event is taken before it is given"

    def records(self) -> dict[Part, tuple[tuple[bytes, ...], tuple[tuple[int, int], ...]]]:
        return {part: (heard.events, heard.spans) for part, heard in self.parts.items() if heard.has}

    def check_rows(self) -> None:
        """Between steps the tables say of each event that it is whose it is."""
        for (strand, person), heard in self.parts.items():
            for event in heard.events:
                row = self.rows[self.strands[strand], wire.unpack(Event, event).event_id]
                assert row[1] == (strand, person)


def _orders(events: Sequence[bytes]) -> list[tuple[int, str]]:
    return [wire.unpack(Event, event).order for event in events]


class ShardLog:
    """The log of a shard as the host keeps it: a few tiny segments, compacted at every step."""

    def __init__(self, chunks: Sequence[Sequence[bytes]] = ()) -> None:
        self.chunks: list[list[bytes]] = [list(some) for some in chunks] or [[] for _ in range(4)]
        self._log = SegmentLog(4, 2_000, 500)
        self.entries = self._log.restore(self.chunks)

    def append(self, step: Step, core: StrandCore) -> None:
        appended = self._log.append(step.entries, step.dropped)
        if appended is not None:
            self.chunks[appended.segment].append(appended.chunk)
        core.commit(step)
        compaction = self._log.compact(core.live)
        if compaction is not None:
            if compaction.append is not None:
                self.chunks[compaction.append.segment].append(compaction.append.chunk)
            if compaction.cleared is not None:
                self.chunks[compaction.cleared].clear()


@dataclass
class Table:
    """Where shards meet to drain."""

    noted: list[int] = field(default_factory=lambda: [-1] * SHARDS)

    def note(self, shard: int, value: int) -> None:
        self.noted[shard] = max(self.noted[shard], value)

    def values(self) -> list[int]:
        return list(self.noted)


@dataclass
class Stream:
    """The strand shards of a stream. ``meeting``: they drain in rounds; None: each by itself, one after the other."""

    rules: IdentityRules
    identity: IdentityStore
    records: RecordStore
    bounds: Bounds
    now: int = 1_000
    meeting: Table | None = field(default_factory=Table)
    drains: list[int] = field(default_factory=list)
    ear: Ear = field(default_factory=Ear)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    letters: dict[str, DeadLetter] = field(default_factory=dict)
    log: list[StrandEvent] = field(default_factory=list)
    erased: list[StrandEvent] = field(default_factory=list)
    purges: list[Purge] = field(default_factory=list)
    metrics: Counter[str] = field(default_factory=Counter)
    logs: list[ShardLog] = field(default_factory=list)
    cores: list[StrandCore] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.logs = [ShardLog() for _ in range(SHARDS)]
        self.cores = [self.core(shard) for shard in range(SHARDS)]

    def core(self, shard: int) -> StrandCore:
        core = StrandCore(
            shard, self.identity, self.records, BOX, self.rules, "", self.bounds, self.meeting,
        )  # fmt: skip
        core.restore(self.logs[shard].entries)
        return core

    # --- what the host does -------------------------------------------------------------------------------------

    def link(self, batch: Sequence[Sent]) -> None:
        links = [
            link
            for sent in batch
            for e in (sent.event(),)
            for link in self.rules.links(e.identifiers, e.name, e.event_id, e.event_time, e.received_time)
        ]
        self.identity.link(links)

    def send(self, batch: Sequence[Sent], *, packs: int = 1) -> None:
        self.link(batch)
        by_shard: dict[int, list[StrandEvent]] = {}
        for sent in batch:
            event = strand_event(sent, self.rules)
            by_shard.setdefault(shard_number(event.primary), []).append(event)
        for shard, events in sorted(by_shard.items()):
            size = -(-len(events) // packs)
            packed = [
                wire.pack_compressed(ShardInput(tuple(events[i : i + size]))) for i in range(0, len(events), size)
            ]
            self._do(shard, lambda core, packed=packed: core.handle(packed, self.now))

    def poll(self) -> None:
        self._each(lambda core: core.poll(self.now))

    def advance(self, watermark: int) -> None:
        self._each(lambda core: core.advance(watermark, self.now))

    def drain(self) -> None:
        again = list(range(SHARDS))
        while again:
            self.drains += again
            assert len(self.drains) < 100, "the shards wait for each other"
            again = [shard for shard in again if self._do(shard, lambda core: core.drain(self.now)).again]

    def _each(self, call: Callable[[StrandCore], Step]) -> None:
        for shard in range(SHARDS):
            self._do(shard, call)

    def unread(self) -> list[Assignment]:
        """What the store has for shards that drained, and they did not hear."""
        found: list[Assignment] = []
        for shard, core in enumerate(self.cores):
            state = core.live(b"")
            assert state is not None
            found += self.identity.assignments_since(shard, unpack_state(state).sequence, 1_000)
        return found

    def _do(self, shard: int, call: Callable[[StrandCore], Step]) -> Step:
        core = self.cores[shard]
        step = call(core)
        self.logs[shard].append(step, core)
        for tag, value in step.outputs:
            getattr(self, f"_{tag}")(shard, value)
        self.ear.check_rows()
        self.now += 1
        return step

    def _messages(self, shard: int, message: StrandMessage) -> None:
        self.ear.hear(shard, message)

    def _dead_letters(self, shard: int, letter: DeadLetter) -> None:
        self.letters[letter.dead_letter_id] = letter

    def _withdrawn(self, shard: int, letter: DeadLetter) -> None:
        self.letters.pop(letter.dead_letter_id, None)

    def _log(self, shard: int, content: ShardInput) -> None:
        self.log.extend(content.events)

    def _erased(self, shard: int, content: ShardInput) -> None:
        self.erased.extend(content.events)

    def _purges(self, shard: int, purge: Purge) -> None:
        self.purges.append(purge)

    def _counts(self, shard: int, count: LedgerCount) -> None:
        assert count.n
        self.counts[count.source, count.kind] += count.n

    def _metrics(self, shard: int, item: tuple[str, int]) -> None:
        assert item[1] > 0
        self.metrics[item[0]] += item[1]

    # --- checkpoints --------------------------------------------------------------------------------------------

    def checkpoint(self) -> dict[str, Any]:
        """All that an engine rolls back together."""
        held = {name: copy.deepcopy(getattr(self, name)) for name in ("ear", "counts", "letters", "log", "erased")}
        return held | {"chunks": [copy.deepcopy(log.chunks) for log in self.logs]}

    def roll_back(self, checkpoint: dict[str, Any]) -> None:
        """Begin again at a checkpoint with new workers: stores and clock stay as they are."""
        for name in ("ear", "counts", "letters", "log", "erased"):
            setattr(self, name, copy.deepcopy(checkpoint[name]))
        self.ear.forgets = True
        self.logs = [ShardLog(chunks) for chunks in checkpoint["chunks"]]
        self.now += 1_000
        self.cores = [self.core(shard) for shard in range(SHARDS)]

    # --- what has to be -----------------------------------------------------------------------------------------

    def assignments(self) -> list[Assignment]:
        return [a for shard in range(SHARDS) for a in self.identity.assignments_since(shard, 0, 100_000)]


def expected(stream: Stream, world: Sequence[Sent]) -> tuple[ShardResult, dict[Part, Any]]:
    """What one fold of everything says, with the assignments as they are at the end."""
    events = [strand_event(sent, stream.rules) for sent in world]
    inputs = [ShardInput(tuple(events)), ShardInput((), tuple(stream.assignments()))]
    result = fold_shard(inputs, BOX, carries=stream.rules.carries())
    return result, {(r.strand_id, r.person_id): (r.events, r.spans) for r in result.records}


def left_in_log(stream: Stream) -> list[StrandEvent]:
    """The event log without what was erased: every copy of it goes, whenever that was received."""
    gone = {(e.primary, e.event_id, payload_hash(e.event)) for e in stream.erased}
    return [e for e in stream.log if (e.primary, e.event_id, payload_hash(e.event)) not in gone]


def folded_again(stream: Stream) -> dict[Part, Any]:
    """What the next run makes of the event log."""
    left = [replace(e, stored=True) for e in left_in_log(stream)]
    inputs = [ShardInput(tuple(left)), ShardInput((), tuple(stream.assignments()))]
    records = fold_shard(inputs, BOX, carries=stream.rules.carries()).records
    return {(r.strand_id, r.person_id): (r.events, r.spans) for r in records}


def rejected(letters: Iterable[DeadLetter]) -> Counter[bytes]:
    """What was rejected, whichever copy of it."""
    opened = (BOX.open(letter.dead_letter_id, letter.payload) for letter in letters)
    return Counter(payload_hash(wire.pack(decode_event(payload))) for payload in opened)


def counted(stream: Stream) -> Counter[tuple[str, str]]:
    assert all(n >= 0 for n in stream.counts.values())
    return +stream.counts


class Stores:
    """One database for all examples of a test, emptied between them: to make one takes longer than an example."""

    def __init__(self, folder: Path) -> None:
        self.address = StoreAddress(folder / STORE_FILE)
        self.records = open_records(self.address)
        self._identity: dict[str, IdentityStore] = {}

    def close(self) -> None:
        self.records.close()
        for identity in self._identity.values():
            identity.close()

    def stream(self, rules: IdentityRules, bounds: Bounds) -> Stream:
        identity = self._identity.get(rules.version)
        if identity is None:
            identity = self._identity[rules.version] = open_identity(self.address, rules, SHARDS)
        assert self.address.path is not None
        with closing(sqlite3.connect(self.address.path, isolation_level=None)) as connection:
            names = connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND"
                " (name LIKE 'identity%' OR name LIKE 'records%')"
            )
            for (name,) in names.fetchall():
                connection.execute(f"DELETE FROM {name}")
        return Stream(rules, identity, self.records, bounds)


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
