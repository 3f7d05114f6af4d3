"""What an event costs a stream by how many persons it has seen: the stages that remember, in one process.

``python -m benchmarks.persons --persons 10000,100000,1000000`` goes through one life of a stream: persons come, each
with a device and an event, 500 a batch, until the first number is reached; then visits are measured, of ten events
each, 500 at a time, by persons picked at random among all there are; then more persons come, and so on. In it are the
links into the identity store (SQLite), the strand core and the journey core with the effect store, as their hosts call
them, in batches of 50 events: a stage is polled when it says so, and again as long as it says so, so that no backlog is
there when measuring begins. Persons long untouched are in the record store. Stated are CPU microseconds an event, of
all and by stage, the part of the cycle collector in it, and the ratio of the largest number of persons to the smallest.
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
_VISITS, _OF_EVENTS = 500, 10


class Costs:
    """CPU seconds by stage, and of the cycle collector, whichever stage it came in."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._collecting: float = 0.0
        gc.callbacks.append(self._collector)

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        before = time.process_time()
        yield
        self.seconds[stage] += time.process_time() - before

    def _collector(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._collecting = time.process_time()
        else:
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

    def __init__(self, folder: Path) -> None:
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
            self.rules, bounds=StrandBounds(),
        ))  # fmt: skip
        journeys = LiveJourneys(settings, None, open_effects(address))
        self._journeys = Stage(JourneyCore(
            journeys, lambda: 0, 0, records,
            JourneyBounds(settled=0, look_every=5 * SECOND),
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--persons", default="10000,100000,1000000")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.persons.split(",")]
    relax_collector()
    costs = []
    with tempfile.TemporaryDirectory() as folder:
        stream = Stream(Path(folder))
        chosen = random.Random(7)
        seen = 0
        for size in sizes:
            while seen < size:
                stream.take(range(seen, min(seen + _GROWN, size)))
                seen = min(seen + _GROWN, size)
            visits = [(chosen.randrange(seen), chosen.randrange(1, _OF_EVENTS + 1)) for _ in range(_VISITS)]
            for _ in range(_WARM_UP // _BATCH):
                stream.take(_go_on(visits, chosen, seen))
            seconds = stream.costs.seconds
            seconds.clear()
            for _ in range(_MEASURED // _BATCH):
                stream.take(_go_on(visits, chosen, seen))
            parts = {stage: cost / _MEASURED * 1e6 for stage, cost in sorted(seconds.items())}
            collector = parts.pop("collector", 0.0)
            costs.append(sum(parts.values()))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            stages = ", ".join(f"{stage} {cost:.1f}" for stage, cost in parts.items())
            print(
                f"{size:>9,} persons: {costs[-1]:6.1f} us of CPU an event ({stages}; collector {collector:.1f} of it);"
                f" {peak:,.0f} MB at most",
                flush=True,
            )
    print(f"largest to smallest: {costs[-1] / costs[0]:.2f}")


if __name__ == "__main__":
    main()
