"""What the streaming strand stage costs an event, in one process: events in order, late ones, one busy device.

``python -m benchmarks.strand_core [--events N]`` prints microseconds of CPU an event. The identity store is a SQLite
file with the links of all devices in it; batches are unpacked as they come from the link stage, entries are made and
committed. ``person``: one event in turn from each of many devices. ``kiosk``: all from one device, whose older events
are archived as it goes on; the figures of its first and last quarter show whether a batch costs more where there are
more behind it. ``late``: every event comes before the one before it, so each folds its device again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from contracts import wire
from contracts.event import HOUR, SECOND, Context, Event, Identifier
from contracts.exchange import ShardInput, StrandEvent
from transforms.collector import relax_collector
from transforms.dead_letter import DeadLetterBox
from transforms.identity.ids import shard_of
from transforms.identity.live_shard import StrandCore
from transforms.identity.live_step import Bounds
from transforms.identity.rules_file import load_rules
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.identity import open_identity
from transforms.stores.records import open_records

_NOON = 1_750_000_000_000_000
_BATCH = 100
_RULES = Path(__file__).parents[1] / "ontology" / "identity.yaml"


def an_event(device: Identifier, number: int, at: int) -> StrandEvent:
    event = Event(
        f"event-{number:012d}", "product_view", at, at + 500_000, "web", "web", (device,),
        context=Context(url="https://shop.example/products/42", path="/products/42"), device_class="mobile",
        consent={"email": True}, properties={"price": 9.5, "sku": "sku-42"},
    )  # fmt: skip
    return StrandEvent(event.event_id, at, at + 500_000, "web", device, None, wire.pack(event))


def batches(events: Iterator[StrandEvent]) -> Iterator[bytes]:
    held: list[StrandEvent] = []
    for event in events:
        held.append(event)
        if len(held) == _BATCH:
            yield wire.pack_compressed(ShardInput(tuple(held)))
            held = []


def run(shape: str, count: int, folder: Path) -> list[float]:
    """Microseconds of CPU an event, of each quarter."""
    rules = load_rules(_RULES)
    address = StoreAddress(folder / shape / STORE_FILE)
    devices = [Identifier("anonymous_id", f"{n:032x}") for n in range(1 if shape == "kiosk" else count // 20)]
    identity, records = open_identity(address, rules, 1), open_records(address)
    for start in range(0, len(devices), 5_000):
        some = devices[start : start + 5_000]
        identity.link(link for n, d in enumerate(some) for link in rules.links((d,), "view", f"{n}", _NOON, _NOON))
    assert shard_of(devices[0], 1) == b"\0\0"
    step = -1 if shape == "late" else 1
    packed = list(
        batches(an_event(devices[n % len(devices)], n, _NOON + step * n * SECOND // 100) for n in range(count))
    )
    core = StrandCore(0, identity, records, DeadLetterBox(b"k" * 32), rules, bounds=Bounds(idle=50 * HOUR))
    now = _NOON
    taken: list[float] = []
    quarter = max(1, len(packed) // 4)
    for start in range(0, quarter * 4, quarter):
        before = time.process_time()
        for batch in packed[start : start + quarter]:
            now += 50_000
            core.commit(core.handle([batch], now))
        taken.append((time.process_time() - before) / (quarter * _BATCH) * 1e6)
    identity.close()
    records.close()
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=40_000)
    arguments = parser.parse_args()
    relax_collector()  # as workers do
    with tempfile.TemporaryDirectory() as folder:
        for shape in ("person", "kiosk", "late"):
            quarters = run(shape, arguments.events, Path(folder))
            print(
                f"{shape:8} {sum(quarters) / 4:6.1f} us an event; by quarter {', '.join(f'{q:.1f}' for q in quarters)}"
            )


if __name__ == "__main__":
    main()
