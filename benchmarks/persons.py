"""What an event costs a stream by how many persons it has seen: the stages that remember, in one process.

``python -m benchmarks.persons --persons 10000,100000,1000000`` goes through one life of a stream: persons come, each
with a device and an event, until the first number is reached; then visits are measured, of ten events each, 500 at a
time, by persons picked at random among all there are; then more persons come, and so on. In it are the links into the
identity store (SQLite), the strand core and the journey core with the effect store, as their hosts call them, in
batches of 50 events; persons long untouched are in the record store. CPU microseconds an event, and the ratio of the
largest to the smallest.
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from contracts import wire
from contracts.event import DAY, HOUR, SECOND, Context, Event, Identifier
from contracts.exchange import ShardInput, StrandEvent, StrandMessages
from contracts.tables import feature_tables
from features.journey_features import feature_columns
from pipelines.definitions import load_definitions
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
_BATCH = 50
_MEASURED = 20_000
_VISITS, _OF_EVENTS = 500, 10


class Stream:
    """The stages that remember, one shard of each."""

    def __init__(self, folder: Path) -> None:
        definitions = load_definitions(None)
        self.rules = load_rules(definitions.config.identity)
        address = StoreAddress(folder / STORE_FILE)
        self._links = StoredLinks(LinkStore(address, self.rules, 1))
        features, scores = feature_tables(feature_columns(), definitions.ontology.stage_names)
        settings = JourneySettings(
            definitions.ontology, definitions.policies, 48 * HOUR, 1, "dry-run", DAY, features, scores
        )
        records = open_records(address)
        self._strands = StrandCore(
            0, open_identity(address, self.rules, 1), records, DeadLetterBox(b"k" * 32),
            self.rules, bounds=StrandBounds(),
        )  # fmt: skip
        journeys = LiveJourneys(settings, None, open_effects(address))
        self._journeys = JourneyCore(
            journeys, lambda: 0, 0, records,
            JourneyBounds(settled=0, look_every=5 * SECOND),
        )  # fmt: skip
        self._at = _NOON
        self._number = 0
        self._polled = 0

    def take(self, persons: Sequence[int]) -> None:
        """One event of each of these persons, in one batch."""
        book = LinkBook(self.rules)
        events = []
        for person in persons:
            self._number += 1
            self._at += SECOND // 1_000
            event = _event(person, self._number, self._at)
            book.observe(event.identifiers, event.name, event.event_id, event.event_time, event.received_time)
            device, login = event.identifiers[0], None
            events.append(StrandEvent(event.event_id, self._at, self._at, "web", device, login, wire.pack(event)))
        _, later = self._links.tell(book.drain(), self._at)
        packed = wire.pack_compressed(ShardInput(tuple(events), sightings=tuple(later)))
        now = self._at
        step = self._strands.handle([packed], now)
        self._strands.commit(step)
        messages = tuple(element for tag, element in step.outputs if tag == MESSAGES)
        if messages:
            self._journeys.commit(self._journeys.handle([wire.pack(StrandMessages(messages))], now))
        if now - self._polled > SECOND:
            self._polled = now
            self._strands.commit(self._strands.poll(now))
            self._journeys.commit(self._journeys.poll(now))


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
                stream.take(range(seen, min(seen + _BATCH, size)))
                seen = min(seen + _BATCH, size)
            visits = [(chosen.randrange(seen), chosen.randrange(1, _OF_EVENTS + 1)) for _ in range(_VISITS)]
            before = time.process_time()
            for _ in range(_MEASURED // _BATCH):
                stream.take(_go_on(visits, chosen, seen))
            cost = (time.process_time() - before) / _MEASURED * 1e6
            costs.append(cost)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{size:>9,} persons: {cost:6.1f} us of CPU an event; {peak:,.0f} MB at most", flush=True)
    print(f"largest to smallest: {costs[-1] / costs[0]:.2f}")


if __name__ == "__main__":
    main()
