"""The worlds that parity is shown on: small, each with its own kind of trouble, the same each time.

No Beam. A world is a list of events in the order in which they were received.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import fastavro

from benchmarks.golden_journeys import golden
from benchmarks.real_data import SHOP_LOG
from contracts import codec
from contracts.errors import InputError
from contracts.event import DAY, HOUR, MINUTE, SECOND, Event, Identifier
from contracts.event_codec import event_to_record
from pipelines.config import SHIPPED
from sources.importer.convert import import_files
from sources.importer.mapping_file import load_mapping
from sources.ordered import Ordered
from sources.simulator.config import WorldConfig
from sources.simulator.world import simulate
from transforms.dead_letter import DeadLetterBox
from transforms.inputs import list_inputs

START = 1_736_164_800_000_000
"""2025-01-06T12:00Z."""

KEYS = {"pseudonym.key": "0b" * 32, "dead_letter.key": "b0" * 32}
"""The same for all, so that the same person has the same pseudonym."""

CLEAN = {
    "late_share": 0.0, "expired_share": 0.0, "offline_share": 0.0, "duplicate_share": 0.0, "conflict_share": 0.0,
    "malformed_share": 0.0, "skew_share": 0.0, "dirty_share": 0.0, "kiosk_share": 0.0, "erasure_share": 0.0,
}  # fmt: skip
DIRTY = {
    "late_share": 0.06, "expired_share": 0.03, "offline_share": 0.1, "duplicate_share": 0.05, "conflict_share": 0.03,
    "malformed_share": 0.03, "skew_share": 0.1, "dirty_share": 0.04, "kiosk_share": 0.06, "shared_share": 0.5,
    "opt_out_share": 0.2, "erasure_share": 0.12,
}  # fmt: skip


def read_arrivals(inputs: Sequence[str]) -> list[Event]:
    """The events of files or folders, in the order of received time. Raises InputError for a damaged file."""
    ordered = Ordered(list_inputs(inputs))
    ordered.sort()
    found: list[Event] = []
    try:
        for placed in ordered.units():
            if placed.received.event is None:
                raise InputError(f"{inputs[0]} is damaged: {placed.received}", hint="parity is shown on whole files")
            found.append(placed.received.event)
    finally:
        ordered.close()
    return found


def write_arrivals(path: Path, events: Iterable[Event]) -> Path:
    """An event file; returns its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = codec.without_logical_types(codec.raw_schema("event"))
    with path.open("wb") as file:
        fastavro.writer(file, schema, map(event_to_record, events), codec="null")
    return path.parent


def simulated(customers: int, days: int, seed: int, shares: Mapping[str, float]) -> list[Event]:
    """A world of the simulator."""
    with tempfile.TemporaryDirectory(prefix="wayline-parity-") as folder:
        simulate(WorldConfig(customers=customers, days=days, seed=seed, **shares), Path(folder))  # type: ignore[arg-type]
        return read_arrivals([str(Path(folder) / "events")])


_NAMES = (
    "home_view", "product_view", "comparison_view", "pricing_view", "search", "add_to_cart", "remove_from_cart",
    "checkout_start", "purchase", "email_open", "ad_click", "login", "blog_view",
)  # fmt: skip


def tangle(seed: int, events: int = 150) -> list[Event]:
    """Few identifiers and many links between them: merges, splits by request, merges by request, erasures, late,
    repeated and conflicting events, whole gaps and gaps that are exactly a session's."""
    chance = random.Random(seed)
    devices = [("anonymous_id", f"a{n}") for n in range(8)]
    users = [("user_id", f"u{n}") for n in range(6)]
    others = [("email", f"m{n}@example.org") for n in range(5)] + [("crm_id", f"c{n}") for n in range(3)]
    at, found = START, []
    for number in range(events):
        at += chance.choice((SECOND, MINUTE, 7 * MINUTE, 30 * MINUTE, 30 * MINUTE + 1, 3 * HOUR, 3 * HOUR))
        ids = {chance.choice(devices)} if chance.random() < 0.8 else {chance.choice(others)}
        name = chance.choice(_NAMES)
        if chance.random() < 0.25:
            ids.add(chance.choice(users))
        if chance.random() < 0.12:
            ids.add(chance.choice(others))
        source = "web"
        if (kind := chance.random()) < 0.05:
            pair = chance.sample(users + others, 2)
            name, ids, source = chance.choice(("identity_unlink", "identity_merge")), set(pair), "wayline identity"
        elif kind < 0.06:
            name, ids = "erasure_requested", {chance.choice(users)}
        late = chance.choice((0, 0, 0, 0, 20 * MINUTE, 5 * HOUR, 47 * HOUR, 3 * DAY))
        properties: dict[str, str] = {"amount": "20.0"} if name == "purchase" else {}
        event = Event(
            f"t{seed}-{number:04d}", name, at, at + SECOND + late, source, "web",
            tuple(Identifier(*one) for one in sorted(ids)), properties=dict(properties),
        )  # fmt: skip
        found.append(event)
        if chance.random() < 0.06:
            again = at + chance.choice((2 * SECOND, HOUR, 30 * HOUR))
            changed = {**properties, "page": "other"} if chance.random() < 0.4 else dict(properties)
            found.append(_copy(event, again, changed))
    return sorted(found, key=lambda event: event.received_time)


def _copy(event: Event, received: int, properties: Mapping[str, str]) -> Event:
    return Event(
        event.event_id, event.name, event.event_time, received, event.source, event.channel, event.identifiers,
        properties=dict(properties),
    )  # fmt: skip


def ecom(most: int | None = None) -> list[Event]:
    """The electronics store's log, or its first events; nothing where it is not there."""
    if not SHOP_LOG.exists():
        return []
    with tempfile.TemporaryDirectory(prefix="wayline-ecom-") as folder:
        mapping = load_mapping("retentioneering", SHIPPED / "mappings")
        box = DeadLetterBox(bytes(32))
        import_files([SHOP_LOG], mapping, Path(folder), box, lambda _: None)
        return read_arrivals([str(Path(folder) / "events")])[:most]


SCORED = "scored"
"""The world in which a model is in force from a third of it on."""

WORLDS: dict[str, Callable[[], list[Event]]] = {
    "clean": lambda: simulated(30, 8, 21, CLEAN),
    "dirty-1": lambda: simulated(40, 8, 31, DIRTY),
    "dirty-2": lambda: simulated(40, 8, 32, DIRTY),
    "dirty-3": lambda: simulated(40, 8, 33, DIRTY),
    "tangle-1": lambda: tangle(1),
    "tangle-2": lambda: tangle(2),
    "tangle-3": lambda: tangle(3),
    "tangle-4": lambda: tangle(4),
    SCORED: lambda: simulated(40, 8, 34, DIRTY),
    "golden": lambda: golden(START),
    "ecom": ecom,
    "tiny": lambda: tangle(5, 12),
}
"""Name to the events, in the order of their arrival; no events: what they come from is not here."""
