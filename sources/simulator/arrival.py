"""How events reach the collector: late, twice, out of order, broken, by wrong clocks. From drafts to Avro columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.event import DAY, HOUR, MINUTE, SECOND
from sources.simulator import avro, catalogue, elsewhere, randomness
from sources.simulator.avro import EventColumns, Ints, Lookup, Table
from sources.simulator.config import Segment, WorldConfig
from sources.simulator.life import Life

ON_TIME, LATE, EXPIRED = range(3)
ARRIVALS = ("on_time", "late", "expired")
"""Relative to the default lateness of 48 hours: in time, hours late, later than that."""

_DIRTY = ("null", "undefined", "anonymous", "0000", "guest")
_OVERSIZE = 300 * 1024
_MALFORMED = ("empty_name", "no_identifiers", "far_future", "ancient", "oversize")
_MALFORMED_SHARE = (0.30, 0.30, 0.20, 0.18, 0.02)
_FAR_FUTURE = 3_650 * DAY
_ANCIENT = 500_000_000_000_000  # November 1985


@dataclass(frozen=True, slots=True)
class Arrived:
    """What the collector stored. Rows up to ``originals`` are the well-formed events, once each, in draft order."""

    columns: EventColumns
    originals: int
    arrival: Ints
    duplicates: int
    conflicts: int
    malformed: int


def arrive(config: WorldConfig, chunk: int, number: int, segment: Segment, life: Life) -> Arrived:
    """Give drafted events ids and arrival times, and add duplicates, conflicting copies and malformed records."""
    rng = randomness.generator(config.seed, randomness.ARRIVAL, chunk, number)
    columns, arrival = _originals(config, rng, chunk, number, segment, life)
    n = len(columns.event_id)
    again = np.flatnonzero(rng.random(n) < config.duplicate_share)
    # Only where nothing is lost by it: which of the two copies the pipeline keeps is not the sender's choice.
    changed = np.flatnonzero((rng.random(n) < config.conflict_share) & (life.draft.properties == 0))
    broken = np.flatnonzero(rng.random(n) < config.malformed_share)
    copies = _take(columns, np.concatenate([np.arange(n), again, changed, broken]))

    received, event_time = copies.received_time.copy(), copies.event_time.copy()
    repeated = slice(n, n + len(again) + len(changed))
    delay = (SECOND + rng.exponential(10 * MINUTE, len(again) + len(changed))).astype(np.int64)
    received[repeated] = _before_the_end(received[repeated] + delay, received[repeated], segment)

    name, properties = copies.name.codes.copy(), copies.properties.codes.copy()
    ids = copies.event_id.copy()
    table = copies.properties.table
    filler = len(table.values) - 2
    properties[n + len(again) : n + len(again) + len(changed)] = filler
    start = n + len(again) + len(changed)
    kind = rng.choice(len(_MALFORMED), len(broken), p=_MALFORMED_SHARE)
    bad = np.arange(start, start + len(broken))
    # A malformed record is a thing of its own, never a spoilt copy of an event that the truth knows.
    ids[bad] = ~ids[bad]
    name[bad[kind == 0]] = catalogue.EMPTY_NAME
    nameless = bad[kind == 1]
    event_time[bad[kind == 2]] += _FAR_FUTURE
    event_time[bad[kind == 3]] = _ANCIENT
    properties[bad[kind == 4]] = filler + 1
    identifiers = tuple((space, _absent(lookup, nameless)) for space, lookup in copies.identifiers)
    columns = replace(
        copies,
        event_id=ids,
        name=Lookup(copies.name.table, name),
        event_time=event_time,
        received_time=received,
        identifiers=identifiers,
        properties=Lookup(table, properties),
    )
    return Arrived(columns, n, arrival, len(again), len(changed), len(broken))


def _originals(
    config: WorldConfig, rng: np.random.Generator, chunk: int, number: int, segment: Segment, life: Life
) -> tuple[EventColumns, Ints]:
    draft, people = life.draft, life.people
    n = len(draft)
    devices = people.devices
    on_device = draft.device >= 0
    device = np.where(on_device, draft.device, 0)
    app = on_device & devices.is_app[device]
    kiosk = on_device & (devices.device_class[device] == catalogue.DEVICE_CLASSES.index("kiosk"))

    transport, arrival = _transport(config, rng, app)
    received = _before_the_end(draft.at + transport, draft.at, segment)
    arrival = np.where(received == draft.at + transport, arrival, ON_TIME)
    event_time = draft.at + np.where(on_device, devices.skew[device], 0)

    screen = np.select([kiosk, app], [catalogue.SOURCES.index("kiosk"), catalogue.SOURCES.index("app")], 0)
    source = np.where(catalogue.FIXED_SOURCE[draft.name] >= 0, catalogue.FIXED_SOURCE[draft.name], screen)
    channel = np.where(catalogue.FIXED_CHANNEL[draft.name] >= 0, catalogue.FIXED_CHANNEL[draft.name], app)
    orders, order_codes = np.unique(np.append(draft.order, 0), return_inverse=True)
    n_sessions = int(draft.session.max(initial=-1)) + 1
    session_keys = ((np.int64(chunk) << 32) + (number << 24) * 64 + np.arange(n_sessions)).astype(np.int64)
    session_ids = [f"s{value:016x}" for value in randomness.mix(session_keys, config.seed + 1).tolist()]
    properties = catalogue.properties_table(
        [*life.properties.values, {"retry": True}, {"note": "x" * _OVERSIZE}],
    )
    columns = EventColumns(
        event_id=rng.integers(0, 2**64, n, dtype=np.uint64),
        name=Lookup(catalogue.NAME_TABLE, draft.name),
        event_time=event_time,
        received_time=received,
        source=Lookup(catalogue.SOURCE_TABLE, source),
        channel=Lookup(catalogue.CHANNEL_TABLE, channel.astype(np.int64)),
        identifiers=_identifiers(config, rng, life, device, on_device, app),
        tracker_session=Lookup(Table([None, *session_ids], avro.optional_text), draft.session + 1),
        action=Lookup(Table([None, *(a.action_id for a in life.actions)], avro.optional_text), draft.action + 1),
        context=Lookup(catalogue.CONTEXT_TABLE, draft.context),
        device_class=Lookup(
            catalogue.DEVICE_TABLE, np.where(on_device, devices.device_class[device], catalogue.NO_DEVICE)
        ),
        place=Lookup(catalogue.PLACE_TABLE, people.place[draft.person]),
        consent=Lookup(catalogue.CONSENT_TABLE, draft.consent),
        correlation=Lookup(
            Table([elsewhere.order_name(order) for order in orders.tolist()], avro.optional_text),
            order_codes.reshape(-1)[:-1].astype(np.int64),
        ),
        properties=Lookup(properties, draft.properties),
    )
    return columns, arrival


def _transport(config: WorldConfig, rng: np.random.Generator, app: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """How long each event was under way, and which kind of arrival that is."""
    n = len(app)
    usual = 0.15 * SECOND + rng.exponential(2 * SECOND, n)
    offline = rng.random(n) < config.offline_share * np.where(app, 3.0, 0.7)
    usual = np.where(offline, rng.uniform(2 * MINUTE, 5 * HOUR, n), usual)
    u = rng.random(n)
    late = u < config.late_share
    expired = ~late & (u < config.late_share + config.expired_share)
    delay = np.where(late, rng.uniform(6 * HOUR, 40 * HOUR, n), usual)
    delay = np.where(expired, rng.uniform(3 * DAY, 9 * DAY, n), delay)
    return delay.astype(np.int64), np.select([expired, late], [EXPIRED, LATE], ON_TIME).astype(np.int64)


def _before_the_end(received: Ints, sent: Ints, segment: Segment) -> Ints:
    """What would arrive after the segment arrives at once: a segment's files hold all of its events."""
    return np.where(received < segment.end, received, np.minimum(sent + SECOND, segment.end + SECOND))


def _identifiers(
    config: WorldConfig,
    rng: np.random.Generator,
    life: Life,
    device: Ints,
    on_device: NDArray[np.bool_],
    app: NDArray[np.bool_],
) -> tuple[tuple[str, Lookup], ...]:
    draft, people = life.draft, life.people
    held = people.devices.identifier_codes(device, draft.at) + 1
    device_ids = Table([None, *people.devices.identifiers(config.seed)], avro.identifier("anonymous_id"))
    app_ids = Table(device_ids.values, avro.identifier("device_id"))
    network = Table(
        [None, *(f"n{value}" for value in people.devices.number.tolist())], avro.identifier("tracker_network_id")
    )
    dirty = on_device & ~draft.login & (rng.random(len(draft)) < config.dirty_share)
    pick = len(people) + 1 + rng.integers(0, len(_DIRTY), len(draft))
    user = np.where(draft.login, draft.person + 1, np.where(dirty, pick, 0))

    def owned(space: str, values: list[str], carried: NDArray[np.bool_]) -> tuple[str, Lookup]:
        return space, Lookup(Table([None, *values], avro.identifier(space)), np.where(carried, draft.person + 1, 0))

    return (
        ("anonymous_id", Lookup(device_ids, np.where(on_device & ~app, held, 0))),
        ("device_id", Lookup(app_ids, np.where(app, held, 0))),
        ("tracker_network_id", Lookup(network, np.where(draft.network & on_device, device + 1, 0))),
        ("user_id", Lookup(Table([None, *people.user_ids(), *_DIRTY], avro.identifier("user_id")), user)),
        owned("crm_id", people.crm_ids(), draft.crm),
        owned("email_sha256", people.email_hashes(), draft.email),
        owned("phone", people.phones(), draft.phone),
    )


def held_identifiers(life: Life, columns: EventColumns, originals: int) -> list[tuple[str, str, int, int]]:
    """The truth about identifiers in the well-formed events: namespace, value, row of the person, first event time."""
    found: list[tuple[str, str, int, int]] = []
    person, at = life.draft.person, life.draft.at
    for space, lookup in columns.identifiers:
        codes = lookup.codes[:originals]
        rows = np.flatnonzero(codes > 0)
        if space == "user_id":
            rows = rows[codes[rows] <= len(life.people)]
        rows = rows[np.argsort(at[rows], kind="stable")]
        pairs, first = np.unique(codes[rows] * len(life.people) + person[rows], return_index=True)
        for pair, row in zip(pairs.tolist(), rows[first].tolist(), strict=True):
            value = lookup.table.values[pair // len(life.people)]
            found.append((space, str(value), pair % len(life.people), int(at[row])))
    return found


def _take(columns: EventColumns, rows: Ints) -> EventColumns:
    taken: dict[str, Any] = {
        name: value.take(rows) if isinstance(value, Lookup) else value[rows]
        for name, value in ((name, getattr(columns, name)) for name in EventColumns.__slots__)
        if name != "identifiers"
    }
    identifiers = tuple((space, lookup.take(rows)) for space, lookup in columns.identifiers)
    return EventColumns(identifiers=identifiers, **taken)


def _absent(lookup: Lookup, rows: Ints) -> Lookup:
    codes = lookup.codes.copy()
    codes[rows] = 0
    return Lookup(lookup.table, codes)
