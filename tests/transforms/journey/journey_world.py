"""A strand stage in miniature: strands that get events, move between persons, and say so in numbered messages."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from contracts import wire
from contracts.event import DAY, HOUR, MINUTE, SECOND, Context, Event, Identifier
from contracts.exchange import APPEND, GONE, WHOLE, StatedRows, StrandBatch, StrandMessage, StrandRecord
from contracts.tables import FIXED_TABLES, META, Table, feature_tables
from features.journey_features import FEATURE_NAMES, feature_columns
from transforms.decide.policy import load_policies, policy_vocabulary
from transforms.journey.facts import FACTS
from transforms.journey.ontology import Ontology, load_ontology
from transforms.journey.ontology_file import parse_ontology
from transforms.journey.worker import JourneySettings, JourneyWorker, Score
from transforms.stores.effects import EffectStore

ROOT = Path(__file__).parents[3] / "ontology"
ONTOLOGY = load_ontology(ROOT / "journey.yaml")
POLICIES = load_policies(
    [ROOT / "policies" / "default.yaml"], policy_vocabulary(FEATURE_NAMES, FACTS), ONTOLOGY.stage_names
)
FEATURES, SCORES = feature_tables(feature_columns(), ONTOLOGY.stage_names)
SETTINGS = JourneySettings(ONTOLOGY, POLICIES, 48 * HOUR, 1, "live", DAY, FEATURES, SCORES)
_STRICT = (
    ("entry: {intent: 2.1}", "entry: {intent: 2.1, when: 'events_7d < 9.0 && known == 0.0'}"),
    ("weakened_by: {content_view: 0.8, category_view: 0.8, search: 0.8}\n", "weakened_by: {content_view: 0.3}\n"),
    ("        weight: 1.2\n", "        when: pricing_views_30d >= 2.0 && events_1d >= 2.0\n        weight: 1.2\n"),
    (
        "exit: {after: 180d, since: [conversion, usage, renewal, support, account], "
        "by: [checkout, sales_contact], rest: 2h}",
        "terminal: true\n    reentry: {by: [support], since: [conversion, renewal], after: 20d}",
    ),
)


def strict() -> JourneySettings:
    """Settings whose ontology looks at windows that fall by time, and has a terminal stage with a way out."""
    text = Path(ONTOLOGY.path).read_text(encoding="utf-8")
    for old, new in _STRICT:
        assert text.count(old) == 1
        text = text.replace(old, new)
    return replace(SETTINGS, ontology=parse_ontology(text, "strict.yaml"))


def without_consideration() -> Ontology:
    """The default ontology less its second stage."""
    text = Path(ONTOLOGY.path).read_text(encoding="utf-8")
    begin, end = text.index("  - name: consideration"), text.index("  - name: decision")
    return parse_ontology(text[:begin] + text[end:], "three.yaml")


TABLES: dict[str, Table] = {table.name: table for table in (*FIXED_TABLES, FEATURES, SCORES)}
COMPARED = (
    "events", "sessions", "device_sessions", "transitions", "outcomes", "features", "scores", "journeys", "persons",
)  # fmt: skip
T0 = 1_704_067_200_000_000
NAMES = (
    "home_view", "product_view", "comparison_view", "pricing_view", "add_to_cart", "checkout_start", "purchase",
    "login", "demo_request", "email_unsubscribed", "support_ticket", "email_delivered", "heartbeat",
)  # fmt: skip
GAPS = (0, 0, SECOND, MINUTE, 9 * MINUTE, 40 * MINUTE, 5 * HOUR, 2 * DAY, 9 * DAY)


def model(times: Any, matrix: Any) -> tuple[list[str | None], Any]:
    """A model that knows the time and the first feature, and is not in force at first."""
    versions: list[str | None] = [None if at < T0 + 3 * DAY else "m1" for at in times]
    found = np.full((len(times), len(ONTOLOGY.stages)), np.nan)
    for row, (at, version) in enumerate(zip(times, versions, strict=True)):
        if version:
            rng = random.Random(int(at) * 31 + int(matrix[row, 0]))
            drawn = np.array([rng.random() ** 4 for _ in ONTOLOGY.stages])
            found[row] = drawn / drawn.sum()
    return versions, found


class Strands:
    """What a strand stage knows, and the messages it sent, in order."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.sent: list[StrandMessage] = []
        self.version = 100
        self.now = T0
        self.number = 0
        self.events: dict[str, list[Event]] = defaultdict(list)
        self.owner: dict[str, str] = {}
        self.last: dict[tuple[str, str], int] = {}

    def send(self, strand: str, kind: str, events: tuple[bytes, ...] = (), erased: int | None = None) -> None:
        person = self.owner[strand]
        self.version += self.rng.choice((1, 1, 7))
        primary = Identifier("anonymous_id", strand)
        after = self.last.get((strand, person), 0)
        self.sent.append(StrandMessage(strand, primary, None, person, kind, 1, self.version, after, events, (), erased))
        self.last[strand, person] = self.version

    def packed(self, strand: str) -> tuple[bytes, ...]:
        return tuple(wire.pack(event) for event in self.events[strand])

    def event(self, at: int) -> Event:
        self.number += 1
        rng = self.rng
        consent = {"email": True, "ads": rng.random() < 0.7, "sales": True} if rng.random() < 0.2 else {}
        event_id = f"e{rng.randrange(10**6):06}-{self.number}"
        name = rng.choice(NAMES)
        properties: dict[str, Any] = {"value": 3.5} if name == "purchase" else {}
        action = "act" if name == "email_delivered" else None
        return Event(
            event_id, name, at, at, "t", "web", (Identifier("anonymous_id", "x"),), action_id=action,
            context=Context(path="/"), consent=consent, properties=properties,
        )  # fmt: skip

    def browse(self, strand: str) -> None:
        """More events at the end, or, of a new or moved strand, all of them."""
        fresh = []
        for _ in range(self.rng.randrange(1, 4)):
            self.now += self.rng.choice(GAPS)
            fresh.append(self.event(self.now))
        fresh.sort(key=lambda event: event.order)
        mine = self.events[strand]
        ends_before = not mine or mine[-1].order < fresh[0].order
        mine += fresh
        mine.sort(key=lambda event: event.order)
        if ends_before and (len(mine) > len(fresh) or self.rng.random() < 0.5):
            self.send(strand, APPEND, tuple(wire.pack(event) for event in fresh))
        else:
            self.send(strand, WHOLE, self.packed(strand))

    def late(self, strand: str) -> None:
        """An event somewhere in the past."""
        mine = self.events[strand]
        at = self.rng.randrange(T0, self.now + 1) if self.rng.random() < 0.5 else mine[-1].event_time
        mine.append(self.event(at))
        mine.sort(key=lambda event: event.order)
        self.send(strand, WHOLE, self.packed(strand))

    def move(self, strand: str, person: str) -> None:
        if person == self.owner[strand]:
            return
        self.send(strand, GONE)
        self.owner[strand] = person
        self.send(strand, WHOLE, self.packed(strand))

    def erase(self, strand: str) -> None:
        until = self.rng.randrange(T0, self.now + 1)
        self.events[strand] = [event for event in self.events[strand] if event.event_time > until]
        self.send(strand, WHOLE, self.packed(strand), until)

    def live(self, steps: int, *, erasing: bool = False) -> None:
        """Some random things happen."""
        strands = [f"s{n}" for n in range(4)]
        persons = [f"p{n}" for n in range(3)]
        for _ in range(steps):
            strand = self.rng.choice(strands)
            if strand not in self.owner:
                self.owner[strand] = self.rng.choice(persons)
                self.browse(strand)
                continue
            dice = self.rng.random()
            if dice < 0.15:
                self.move(strand, self.rng.choice(persons))
            elif dice < 0.25 and self.events[strand]:
                self.late(strand)
            elif dice < 0.3 and erasing:
                self.erase(strand)
            else:
                self.browse(strand)

    def records(self) -> list[StrandRecord]:
        return [
            StrandRecord(strand, Identifier("anonymous_id", strand), None, person, 1, 1, self.packed(strand))
            for strand, person in self.owner.items()
            if self.events[strand]
        ]


class Tables:
    """What a reader sees: of each key the row of the greatest (sequence, revision)."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[tuple[Any, ...], tuple[int, int, bool, dict[str, Any]]]] = defaultdict(dict)
        self.stated = 0

    def take(self, stated: list[StatedRows]) -> None:
        for item in stated:
            table = TABLES[item.table]
            for sequence, deleted, *values in msgspec.msgpack.decode(item.rows):
                self.stated += 1
                row = dict(zip(table.column_names, values, strict=True))
                key = tuple(row[name] for name in table.key)
                assert None not in key
                held = self.rows[item.table].get(key)
                if held is None or (sequence, item.revision) >= held[:2]:
                    self.rows[item.table][key] = (sequence, item.revision, deleted, row)

    def shown(self, name: str) -> dict[tuple[Any, ...], dict[str, Any]]:
        return {key: row for key, (_, _, deleted, row) in self.rows[name].items() if not deleted}


def bounded(
    records: list[StrandRecord],
    horizon: int,
    store: EffectStore,
    score: Score | None,
    settings: JourneySettings = SETTINGS,
) -> dict[str, dict[Any, dict[str, Any]]]:
    """The tables of the bounded host."""
    found: dict[str, dict[Any, dict[str, Any]]] = {name: {} for name in COMPARED}
    worker = JourneyWorker(settings, score, store, lambda: 0)
    meta = {column.name for column in META}
    for result in worker.fold_shard("j", [StrandBatch(tuple(records))], horizon):
        for batch in result.batches:
            if batch.table in found:
                table = TABLES[batch.table]
                read = pq.read_table(pa.BufferReader(batch.parquet))
                columns = {
                    field.name: (
                        read[field.name].cast(pa.int64()) if pa.types.is_timestamp(field.type) else read[field.name]
                    ).to_pylist()
                    for field in read.schema
                    if field.name not in meta
                }
                for values in zip(*columns.values(), strict=True):
                    row = dict(zip(columns, values, strict=True))
                    found[batch.table][tuple(row[name] for name in table.key)] = row
    return found
