"""What an event costs a stream by how many persons it has seen: the stages that remember, in one process.

``python -m benchmarks.persons --persons 10000,100000,1000000`` goes through the life of two streams: persons come, each
with a device and an event, 500 a batch, until the first number is reached in one and the next number in the other; then
visits are measured, of ten events each, 500 at a time, by persons picked at random among all there are; then more
persons come to the other, and so on. Before it is measured, visits go on in the other until what it holds are visitors:
else each of them drives out several of those who came with one event, which no stream does for long. The two are
measured in turns, a batch each, so that what else the machine does meets both. In it are the links into the identity
store (SQLite), the strand core and the journey core with the effect store, as their hosts call them, in batches of 50
events: a stage is polled when it says so, and again as long as it says so, so that no backlog is there when measuring
begins. Persons long untouched are in the record store. Stated are CPU microseconds an event, of all and by stage, the
part of the cycle collector in it, and the ratio of the two.

``--shards 10`` gives a stage the bounds of one shard of ten: 100,000 persons are then to it what a million are to one
alone, but for the stores, which hold a tenth.
"""

from __future__ import annotations

import argparse
import gc
import random
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from contracts import wire
from contracts.event import DAY, HOUR, SECOND, Context, Event, Identifier
from contracts.exchange import ShardInput, StrandEvent, StrandMessages
from contracts.tables import feature_tables
from features.journey_features import feature_columns
from pipelines.definitions import load_definitions
from transforms.actor.core import ActorCore, Step
from transforms.collector import relax_collector
from transforms.dead_letter import DeadLetterBox
from transforms.identity.evidence import LinkBook
from transforms.identity.live_shard import StrandCore
from transforms.identity.live_step import MESSAGES
from transforms.identity.live_step import Bounds as StrandBounds
from transforms.identity.rules_file import load_rules
from transforms.journey.live.core import Bounds as JourneyBounds
from transforms.journey.live.core import JourneyCore
from transforms.journey.live.journeys import LiveJourneys
from transforms.journey.worker import JourneySettings
from transforms.link_stream import LinkStore, StoredLinks
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.effects import open_effects
from transforms.stores.identity import open_identity
from transforms.stores.records import open_records

_NOON = 1_750_000_000_000_000
_BATCH, _GROWN = 50, 500
_WARM_UP, _MEASURED = 2_000, 20_000
_FILLED = 400_000
"""Events of visits after which the bounds of the only shard of a stage are full of visitors."""
_VISITS, _OF_EVENTS = 500, 10


class Costs:
    """CPU seconds by stage, and of the cycle collector, whichever stage it came in."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._collecting: float = 0.0
        self._is_running = False
        gc.callbacks.append(self._collector)

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        self._is_running, before = True, time.process_time()
        yield
        self._is_running = False
        self.seconds[stage] += time.process_time() - before

    def _collector(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._collecting = time.process_time()
        elif self._is_running:
            self.seconds["collector"] += time.process_time() - self._collecting


class Stage:
    """A core of one shard that is polled when it says so, as its host does."""

    def __init__(self, core: ActorCore) -> None:
        self._core = core
        self._due: int | None = 0

    def handle(self, packed: bytes, now: int) -> Step:
        return self._apply(self._core.handle([packed], now))

    def poll(self, now: int) -> tuple[tuple[str, Any], ...]:
        """What it says when it is polled as often as it asks for."""
        outputs: tuple[tuple[str, Any], ...] = ()
        while self._due is not None and self._due <= now:
            outputs += self._apply(self._core.poll(now)).outputs
        return outputs

    def _apply(self, step: Step) -> Step:
        self._core.commit(step)
        self._due = step.next_poll
        return step


class Stream:
    """The stages that remember, one shard of each."""

    def __init__(self, folder: Path, shards: int) -> None:
        definitions = load_definitions(None)
        self.costs = Costs()
        self.rules = load_rules(definitions.config.identity)
        address = StoreAddress(folder / STORE_FILE)
        self._links = StoredLinks(LinkStore(address, self.rules, 1))
        features, scores = feature_tables(feature_columns(), definitions.ontology.stage_names)
        settings = JourneySettings(
            definitions.ontology, definitions.policies, 48 * HOUR, 1, "dry-run", DAY, features, scores
        )
        records = open_records(address)
        self._strands = Stage(StrandCore(
            0, open_identity(address, self.rules, 1), records, DeadLetterBox(b"k" * 32),
            self.rules, bounds=StrandBounds.of_one_of(shards),
        ))  # fmt: skip
        journeys = LiveJourneys(settings, None, open_effects(address))
        self._journeys = Stage(JourneyCore(
            journeys, lambda: 0, 0, records,
            replace(JourneyBounds.of_one_of(shards), settled=0, look_every=5 * SECOND),
        ))  # fmt: skip
        self._at = _NOON
        self._number = 0

    def take(self, persons: Sequence[int]) -> None:
        """One event of each of these persons, in one batch."""
        made = []
        for person in persons:
            self._number += 1
            self._at += SECOND // 1_000
            made.append(_event(person, self._number, self._at))
        now, of = self._at, self.costs.of
        with of("links"):
            book = LinkBook(self.rules)
            events = []
            for event in made:
                at = event.event_time
                book.observe(event.identifiers, event.name, event.event_id, at, event.received_time)
                events.append(StrandEvent(event.event_id, at, at, "web", event.identifiers[0], None, wire.pack(event)))
            _, later = self._links.tell(book.drain(), now)
            packed = wire.pack_compressed(ShardInput(tuple(events), sightings=tuple(later)))
        with of("strand"):
            outputs = self._strands.handle(packed, now).outputs + self._strands.poll(now)
        messages = tuple(element for tag, element in outputs if tag == MESSAGES)
        with of("journey"):
            if messages:
                self._journeys.handle(wire.pack(StrandMessages(messages)), now)
            self._journeys.poll(now)


def _event(person: int, number: int, at: int) -> Event:
    name = ("product_view", "search", "pricing_view", "home_view")[number % 4]
    return Event(
        f"event-{number:012d}", name, at, at, "web", "web", (Identifier("anonymous_id", f"{person:032x}"),),
        context=Context(url="https://shop.example/products/42", path="/products/42"), device_class="mobile",
        properties={"price": 9.5},
    )  # fmt: skip


def _go_on(visits: list[tuple[int, int]], chosen: random.Random, seen: int) -> list[int]:
    """Whose events come next, of the visits under way; whoever has no event left is followed by somebody else."""
    persons = []
    for place in chosen.sample(range(len(visits)), _BATCH):
        person, left = visits[place]
        persons.append(person)
        visits[place] = (person, left - 1) if left > 1 else (chosen.randrange(seen), _OF_EVENTS)
    return persons


class Population:
    """A stream and those it has seen."""

    def __init__(self, folder: Path, shards: int) -> None:
        self.stream = Stream(folder, shards)
        self._chosen = random.Random(7)
        self._visits: list[tuple[int, int]] = []
        self.seen = 0

    def grow(self, size: int, warm_up: int) -> None:
        """Let persons come; then let so many events of visits go by, unmeasured."""
        while self.seen < size:
            self.stream.take(range(self.seen, min(self.seen + _GROWN, size)))
            self.seen = min(self.seen + _GROWN, size)
        chosen = self._chosen
        self._visits = [(chosen.randrange(size), chosen.randrange(1, _OF_EVENTS + 1)) for _ in range(_VISITS)]
        for _ in range(warm_up // _BATCH):
            self.go_on()

    def go_on(self) -> None:
        """One batch of the visits under way."""
        self.stream.take(_go_on(self._visits, self._chosen, self.seen))

    def report(self) -> float:
        """Print what an event cost since the last growth, and return it in microseconds."""
        parts = {stage: cost / _MEASURED * 1e6 for stage, cost in sorted(self.stream.costs.seconds.items())}
        collector = parts.pop("collector", 0.0)
        stages = ", ".join(f"{stage} {cost:.1f}" for stage, cost in parts.items())
        whole = sum(parts.values())
        print(
            f"{self.seen:>9,} persons: {whole:6.1f} us of CPU an event ({stages}; collector {collector:.1f} of it)",
            flush=True,
        )
        return whole


def _measure(populations: Sequence[Population]) -> list[float]:
    """Cost of an event of each, measured in turns of a batch: what else the machine does meets all alike."""
    for population in populations:
        population.stream.costs.seconds.clear()
    for _ in range(_MEASURED // _BATCH):
        for population in populations:
            population.go_on()
    return [population.report() for population in populations]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--persons", default="10000,100000,1000000")
    parser.add_argument("--shards", type=int, default=1, help="shards a stage, of which one is here; see above")
    arguments = parser.parse_args()
    first, *others = [int(size) for size in arguments.persons.split(",")]
    relax_collector()
    with tempfile.TemporaryDirectory() as folder:
        small = Population(Path(folder) / "small", arguments.shards)
        small.grow(first, _WARM_UP)
        large = Population(Path(folder) / "large", arguments.shards)
        for size in others:
            large.grow(size, max(_WARM_UP, _FILLED // arguments.shards))
            before, after = _measure((small, large))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{size:,} to {first:,} persons: {after / before:.2f}; {peak:,.0f} MB at most", flush=True)


if __name__ == "__main__":
    main()
