"""What the identity store costs: links a second in batches and in bulk, by the size of the graph, beside a kiosk.

Links are those of a made-up stream: persons with two devices, an address and a login, some of whom share a device. Time
is CPU time of the process, beside that of the clock, since the disk and other processes are not what is measured here.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from contracts.event import Identifier
from contracts.exchange import Link
from transforms.collector import relax_collector
from transforms.identity.components import hash_of, pack_pairs, pairs_of, place
from transforms.identity.graph import Links
from transforms.identity.ids import DEFAULT_SHARDS
from transforms.identity.resolve import resolve_collected
from transforms.identity.rules import IdentityRules
from transforms.identity.rules_file import load_rules
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.identity import IdentityStore, open_identity

RULES = Path(__file__).resolve().parent.parent / "ontology" / "identity.yaml"
_BATCH = 2_000
_POISONED = 100_000
_MEASURED = 20_000
"""Links by which a cost is measured."""


class Cost(NamedTuple):
    """Of some links: how many, seconds of CPU, seconds of the clock."""

    links: int
    cpu: float
    clock: float

    def __str__(self) -> str:
        rate = self.links / self.cpu
        return f"{self.links} links, {self.cpu:.2f} s CPU ({rate:,.0f}/s), {self.clock:.2f} s on the clock"


class Stream:
    """Links without end, the same each time: of persons one after the other, mixed within some thousands."""

    def __init__(self, rules: IdentityRules, seed: int = 7) -> None:
        known = [n.name for n in rules.namespaces.values() if rules.is_known(n.name) and n.target == n.name]
        devices = [n.name for n in rules.namespaces.values() if rules.links_at_all(n.name) and n.name not in known]
        known.sort(key=rules.priority)
        self.login, self.address, self.device = known[-1], known[0], min(devices, key=rules.priority)
        self._random = random.Random(seed)
        self._person = 0

    def take(self, count: int) -> list[Link]:
        """The next ``count`` links."""
        made: list[Link] = []
        while len(made) < count:
            made += self._of_person(self._person)
            self._person += 1
        self._random.shuffle(made)
        return made[:count]

    def kiosk(self, count: int, start: int = 0) -> list[Link]:
        """Links of one device with so many logins."""
        device = self._name(self.device, -1)
        return [_link(self._name(self.login, 10**9 + n), device, start + n) for n in range(count)]

    def _of_person(self, person: int) -> Iterator[Link]:
        at = person * 1_000_000
        login = self._name(self.login, person)
        yield _link(login, self._name(self.address, person), at)
        yield _link(login, self._name(self.device, 2 * person), at + 1)
        if person % 20 == 7:
            # the device of somebody else
            yield _link(login, self._name(self.device, 2 * self._random.randrange(person)), at + 2)
        if person % 2:
            yield _link(login, self._name(self.device, 2 * person + 1), at + 3)
        else:
            yield _link(self._name(self.device, 2 * person + 1), None, at + 3)

    def _name(self, namespace: str, number: int) -> Identifier:
        # as long, and as well mixed, as a pseudonym
        return Identifier(namespace, f"{crc32(f'{namespace}{number}'.encode()):08x}{number % 2**64:016x}")


def _link(left: Identifier, right: Identifier | None, at: int) -> Link:
    event = f"{at:012x}-{crc32(left.value.encode()):08x}"
    return Link(left, right, at, event, at, event, at + 5)


def in_batches(store: IdentityStore, links: Sequence[Link]) -> Cost:
    """Report links as a worker does."""
    cpu, clock = time.process_time(), time.perf_counter()
    some = iter(links)
    while batch := list(islice(some, _BATCH)):
        store.link(batch)
    return Cost(len(links), time.process_time() - cpu, time.perf_counter() - clock)


def in_bulk(store: IdentityStore, links: Iterable[Link], rules: IdentityRules) -> tuple[Cost, Cost]:
    """Resolve links and load them; what each costs."""
    cpu, clock = time.process_time(), time.perf_counter()
    everything = Links(rules)
    everything.add_all(links)
    resolution = resolve_collected(everything, rules)
    count = len(everything.left)
    resolved = Cost(count, time.process_time() - cpu, time.perf_counter() - clock)
    cpu, clock = time.process_time(), time.perf_counter()
    store.load(everything, resolution)
    return resolved, Cost(count, time.process_time() - cpu, time.perf_counter() - clock)


def in_parts(store: IdentityStore, links: Sequence[Link], rules: IdentityRules) -> tuple[int, Cost]:
    """Load links as a bounded run does, in parts that are whole components; how many there were, and what they cost."""
    left, right = list[int](), list[int]()
    for link in links:
        if link.right is not None:
            left.append(hash_of(link.left))
            right.append(hash_of(link.right))
    (placement,) = place(pairs_of([pack_pairs(left, right)]), rules.crowd, DEFAULT_SHARDS, 1)
    parts: dict[int, list[Link]] = {}
    for link in links:
        parts.setdefault(placement.part_of(hash_of(link.left)), []).append(link)
    count, cpu, clock = 0, 0.0, 0.0
    for _, some in sorted(parts.items()):
        part = Links(rules)
        part.add_all(some)
        resolution = resolve_collected(part, rules)
        count += len(part.left)
        began, started = time.process_time(), time.perf_counter()
        store.load(part, resolution)
        cpu, clock = cpu + time.process_time() - began, clock + time.perf_counter() - started
    return len(parts), Cost(count, cpu, clock)


def loads(size: int, rules: IdentityRules) -> dict[str, Cost]:
    """What it costs to fill a store with the links of ``size`` identifiers: as a run does, and in one piece."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_identity(StoreAddress(Path(folder) / STORE_FILE), rules)
        _, in_pieces = in_parts(store, Stream(rules).take(size * 4 // 5), rules)
        store.close()
    with tempfile.TemporaryDirectory() as folder:
        store = open_identity(StoreAddress(Path(folder) / STORE_FILE), rules)
        resolved, loaded = in_bulk(store, Stream(rules).take(size * 4 // 5), rules)
        store.close()
    return {"load, in parts": in_pieces, "resolve": resolved, "load, in one piece": loaded}


def linking(size: int, rules: IdentityRules) -> Cost:
    """What it costs to go on link by link in a store of ``size`` identifiers."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_identity(StoreAddress(Path(folder) / STORE_FILE), rules)
        stream = Stream(rules)
        in_bulk(store, stream.take(size * 4 // 5), rules)
        in_batches(store, stream.take(_BATCH))
        linked = in_batches(store, stream.take(_MEASURED))
        store.close()
    return linked


def measure(sizes: Sequence[int], rules: IdentityRules) -> None:
    """Print the figures."""
    links: list[Cost] = []
    for size in sizes:
        found = {**loads(size, rules), "link": linking(size, rules)}
        for name, cost in found.items():
            print(f"{size:>9} identifiers: {name:<18} {cost}")
        links.append(found["link"])
    first, last = links[0], links[-1]
    print(f"cost of a link, largest graph against smallest: {last.cpu / last.links / (first.cpu / first.links):.2f}")
    _measure_again(rules)
    _measure_kiosk(rules)


def _measure_again(rules: IdentityRules) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = open_identity(StoreAddress(Path(folder) / STORE_FILE), rules)
        links = Stream(rules).take(_MEASURED)
        print(f"empty store:      link {in_batches(store, links)}")
        print(f"the same again:   link {in_batches(store, links)}")
        store.close()


def _measure_kiosk(rules: IdentityRules) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = open_identity(StoreAddress(Path(folder) / STORE_FILE), rules)
        stream = Stream(rules)
        in_bulk(store, stream.take(100_000), rules)
        before = in_batches(store, stream.take(_MEASURED))
        slowest = 0.0
        links = stream.kiosk(_POISONED)
        clock = time.perf_counter()
        for start in range(0, len(links), _BATCH):
            slowest = max(slowest, in_batches(store, links[start : start + _BATCH]).clock)
        clock = time.perf_counter() - clock
        after = in_batches(store, stream.take(_MEASURED))
        print(f"a device shared by {_POISONED} logins: {clock:.2f} s, slowest batch {slowest:.2f} s")
        print(f"cost of another link beside it, after against before: {after.cpu / before.cpu:.2f}")
        store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="10000,100000,1000000", help="identifiers in the graph, smallest first")
    arguments = parser.parse_args()
    # as workers do
    relax_collector()
    measure([int(size) for size in arguments.sizes.split(",")], load_rules(RULES))


if __name__ == "__main__":
    main()
