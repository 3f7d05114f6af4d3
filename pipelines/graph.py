"""The graph, read top to bottom: the way of an event. Composition only; each line is one stage.

``build`` takes a ``RunPlan``, in which every file is read and every check has passed, so that nothing here can fail for
a reason a user could mend.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apache_beam as beam

from contracts import coders, wire
from contracts.codec import schema_id
from contracts.exchange import (
    DeadLetter,
    ErasedMark,
    IdentityRows,
    LinkBatch,
    Purge,
    ShardInput,
    TableFile,
)
from contracts.tables import ACTIONS, DEAD_LETTERS, EDGES, EXPIRED_LATE, IDENTIFIERS, LABELS, PERSONS, Table
from features.online_address import OnlineAddress
from features.push import PushFeatures
from transforms.act import Act
from transforms.actions import ActRules
from transforms.channels.config import ChannelsConfig
from transforms.dead_letter import DeadLetterBox
from transforms.identity.erasing import in_order
from transforms.identity.ids import shard_of
from transforms.identity.resolve import Tombstones
from transforms.identity.rules import IdentityRules
from transforms.intake import Protect, Validate
from transforms.journey.stage import Journey
from transforms.journey.worker import JourneySettings
from transforms.learn import Learn
from transforms.ledger import DECISIONS_FILE, SumLedger
from transforms.link import ResolveIdentity
from transforms.purge import erase_decided
from transforms.read import ReadEvents
from transforms.stores.database import StoreAddress
from transforms.stores.identity import open_identity
from transforms.strand import Strand
from transforms.tables import rows
from transforms.tables.batches import columns_of, table_file
from transforms.tables.commit import PURGES
from transforms.tables.keyed import BatchRows, GatherRows
from transforms.tables.log import ERASED, LOG, write_log
from transforms.tables.output import MARKS, TOMBSTONES
from transforms.tables.parts import WriteParts
from transforms.tables.stored import ReadStored
from transforms.validate import ValidationRules


@dataclass(frozen=True)
class RunPlan:
    """Everything a bounded run needs, checked. Paths are text, since they travel to workers.

    ``as_of`` is the horizon if the user named one; otherwise it is the greatest event time of the run.
    ``models`` are those in force, each with the event time from which it scores. ``online_left``: where online features
    were before; the run that writes them all elsewhere removes them there.
    """

    files: tuple[str, ...]
    log_parts: tuple[str, ...]
    staging: str
    decided_notes: str
    registry: str
    stores: StoreAddress
    actions: str
    online: OnlineAddress
    as_of: int | None
    revision: int
    strand_shards: int
    journey_shards: int
    maturity: int
    identity: IdentityRules
    validation: ValidationRules
    properties: tuple[str, ...]
    pseudonym_key: bytes = field(repr=False)
    dead_letter_key: bytes = field(repr=False)
    journey: JourneySettings
    act: ActRules
    channels: ChannelsConfig
    tombstones: Tombstones
    marks: tuple[ErasedMark, ...] = ()
    models: tuple[tuple[str, int], ...] = ()
    online_left: tuple[OnlineAddress, ...] = ()


def build(pipeline: beam.Pipeline, plan: RunPlan) -> None:
    """Build the bounded graph of a run into ``pipeline``."""
    coders.register()
    box = DeadLetterBox(plan.dead_letter_key)

    read = pipeline | "Read" >> ReadEvents(plan.files, plan.as_of)
    validated = read.received | "Validate" >> Validate(plan.validation, box)
    protected = validated.valid | "Protect" >> Protect(
        plan.identity, plan.pseudonym_key, box, plan.properties, plan.strand_shards
    )
    stored = pipeline | "Stored" >> ReadStored(plan.log_parts, plan.identity, plan.strand_shards)

    links = (protected.links, stored.links) | "AllLinks" >> beam.Flatten()
    events = (protected.strand_inputs, stored.strand_inputs) | "AllEvents" >> beam.Flatten()
    resolved = links | "Link" >> ResolveIdentity(
        plan.identity, plan.strand_shards, plan.revision, plan.tombstones, plan.stores, plan.marks, events
    )
    kept = beam.Create(_by_shard(plan.marks, plan.strand_shards), reshuffle=False)
    marks = pipeline | "Marks" >> kept.with_output_types(tuple[bytes, bytes])
    inputs = (protected.strand_inputs, stored.strand_inputs, resolved.assignments, marks)
    strands = inputs | "Strand" >> Strand(box, schema_id("event"), plan.journey_shards, plan.identity.carries())

    erased_until = max((until for times in plan.tombstones.values() for until in times), default=0)
    horizon = links | "Horizon" >> _Horizon(plan.as_of, erased_until)
    journeys = strands.records | "Journey" >> Journey(
        plan.journey, plan.registry, plan.stores, horizon, plan.journey_shards
    )
    acted = journeys.decisions | "Act" >> Act(
        plan.stores, Path(plan.actions), plan.channels, plan.act, horizon, plan.journey_shards
    )
    labels = (journeys.learn, acted.learn) | "Learn" >> Learn(plan.maturity)

    dead = (validated.dead_letters, protected.dead_letters, strands.dead_letters) | "AllDeadLetters" >> beam.Flatten()
    tables = {
        "Journeys": journeys.tables,
        "Identity": resolved.rows
        | "IdentityRows" >> beam.ParDo(_IdentityTables(plan.revision)).with_output_types(TableFile),
        "Actions": acted.actions | "ActionRows" >> BatchRows(ACTIONS, rows.action_row, plan.revision, False),
        "Labels": labels | "LabelRows" >> beam.ParDo(_LabelTable(plan.revision)).with_output_types(TableFile),
        "DeadLetters": dead | "DeadLetterRows" >> _DeadLetterRows(DEAD_LETTERS, plan.revision, expired=False),
        "Withdrawn": strands.withdrawn
        | "WithdrawnRows" >> BatchRows(DEAD_LETTERS, rows.withdrawn_row, plan.revision, True, is_deleted=True),
        "Expired": dead | "ExpiredRows" >> _DeadLetterRows(EXPIRED_LATE, plan.revision, expired=True),
    }
    _ = tables | "Tables" >> WriteParts(plan.staging)
    _ = strands.log | "Log" >> beam.ParDo(_WriteLog(plan.staging, plan.strand_shards, LOG))
    _ = strands.erased | "Erased" >> beam.ParDo(_WriteLog(plan.staging, plan.strand_shards, ERASED))
    _ = journeys.online | "Online" >> beam.ParDo(PushFeatures(plan.online))
    _ = strands.purges | "Purge" >> beam.ParDo(_PurgeEffects(plan.stores, plan.staging, plan.decided_notes))
    _ = strands.marks | "KeepMarks" >> beam.ParDo(
        _KeepMarks(plan.stores, plan.staging, plan.identity, plan.strand_shards)
    )
    _ = resolved.rows | "Tombstones" >> beam.ParDo(_WriteTombstones(plan.staging))
    counts = (read.ledger, validated.ledger, protected.ledger, strands.ledger) | "AllCounts" >> beam.Flatten()
    _ = counts | "Ledger" >> SumLedger(plan.staging)
    effects = (journeys.ledger, acted.ledger) | "AllEffects" >> beam.Flatten()
    _ = effects | "DecisionLedger" >> SumLedger(plan.staging, DECISIONS_FILE)


def _by_shard(marks: Iterable[ErasedMark], shards: int) -> list[tuple[bytes, bytes]]:
    """What stays of erased events, packed, to the shards of their devices."""
    found: dict[bytes, list[ErasedMark]] = {}
    for mark in marks:
        found.setdefault(shard_of(mark.primary, shards), []).append(mark)
    return [
        (shard, wire.pack_compressed(ShardInput(marks=tuple(of_shard)))) for shard, of_shard in sorted(found.items())
    ]


def _letter_id(letter: DeadLetter) -> str:
    return letter.dead_letter_id


def _last_time(links: LinkBatch) -> int:
    return max(link.last_time for link in links.links)


def _is_expired(letter: DeadLetter) -> bool:
    return letter.expired


def _is_dead(letter: DeadLetter) -> bool:
    return not letter.expired


class _Latest(beam.CombineFn):  # type: ignore[misc]  # Beam's base class is untyped
    def __init__(self, floor: int) -> None:
        super().__init__()
        self._floor = floor

    def create_accumulator(self) -> int:
        return self._floor

    def add_input(self, accumulator: int, element: int) -> int:
        return max(accumulator, element)

    def merge_accumulators(self, accumulators: Iterable[int]) -> int:
        return max(accumulators, default=self._floor)

    def extract_output(self, accumulator: int) -> int:
        return accumulator


class _Horizon(beam.PTransform):  # type: ignore[misc]  # Beam's base class is untyped
    """The one instant up to which journeys are folded: ``as_of``, or the greatest event time among the links.

    Every accepted event leaves a link, so no second look at the events is needed. ``erased_until`` is the latest
    erasure of earlier runs: its request is in no log, and time does not go back because of it.
    """

    def __init__(self, as_of: int | None, erased_until: int) -> None:
        super().__init__()
        self._as_of = as_of
        self._latest = _Latest(erased_until)

    def expand(self, links: beam.PCollection[LinkBatch]) -> beam.PCollection[int]:
        if self._as_of is not None:
            return links.pipeline | "AsOf" >> beam.Create([self._as_of], reshuffle=False)
        return (
            links
            | "LastTime" >> beam.Map(_last_time).with_output_types(int)
            | "Latest" >> beam.CombineGlobally(self._latest).with_input_types(int).with_output_types(int)
        )


class _DeadLetterRows(beam.PTransform):  # type: ignore[misc]
    """Dead letters of one table to its batches."""

    def __init__(self, table: Table, revision: int, *, expired: bool) -> None:
        super().__init__()
        self._rows = GatherRows(table, DeadLetter, _letter_id, rows.dead_letter_row, revision, True)
        self._wanted = _is_expired if expired else _is_dead

    def expand(self, letters: beam.PCollection[DeadLetter]) -> beam.PCollection[TableFile]:
        return letters | "Wanted" >> beam.Filter(self._wanted).with_output_types(DeadLetter) | self._rows


class _IdentityTables(beam.DoFn):  # type: ignore[misc]
    """Rows of resolution to batches: ``identifiers``, ``edges``, and of ``persons`` what identity says of each id.

    Current persons come from their journeys, which know when they were first and last seen.
    """

    def __init__(self, revision: int) -> None:
        self._revision = revision

    def start_bundle(self) -> None:
        # a part is resolved at once, so numbering its batches is stable under a retry
        self._parts: dict[tuple[bytes, str], int] = {}

    def process(self, element: tuple[bytes, IdentityRows]) -> Iterator[TableFile]:
        part, rows = element
        for table, found in ((IDENTIFIERS, rows.identifiers), (PERSONS, rows.persons), (EDGES, rows.edges)):
            number = self._parts.get((part, table.name), 0)
            batch = table_file(
                table,
                f"i{part.hex()}-{number:04d}",
                columns_of(found, len(table.columns)),
                revision=self._revision,
                is_final=False,
            )
            if batch is not None:
                self._parts[part, table.name] = number + 1
                yield batch


class _LabelTable(beam.DoFn):  # type: ignore[misc]
    """Labels of one person shard to a batch of ``labels``."""

    def __init__(self, revision: int) -> None:
        self._revision = revision

    def process(self, element: tuple[bytes, list[Any]]) -> Iterator[TableFile]:
        shard, found = element
        columns = columns_of(map(rows.label_row, found), len(LABELS.columns))
        batch = table_file(LABELS, f"l{shard.hex()}", columns, revision=self._revision, is_final=False)
        if batch is not None:
            yield batch


class _WriteLog(beam.DoFn):  # type: ignore[misc]
    """Accepted events to the staged log, or erased ones beside it: a part a batch, named by shard and first event."""

    def __init__(self, staging: str, shards: int, folder: str) -> None:
        self._staging = Path(staging)
        self._shards = shards
        self._folder = folder

    def process(self, element: ShardInput) -> None:
        if element.events:
            first = element.events[0]
            shard = shard_of(first.primary, self._shards).hex()
            name = "\0".join((first.event_id, *first.primary)).encode("utf-8", "surrogatepass")
            digest = hashlib.blake2b(name, digest_size=6).hexdigest()
            write_log(self._staging, f"s{shard}-{digest}", element.events, self._folder)


class _PurgeEffects(beam.DoFn):  # type: ignore[misc]
    """Erased strands out of the effect store, before a journey reads it, and to the staging folder for the commit."""

    def __init__(self, stores: StoreAddress, staging: str, notes: str) -> None:
        self._stores = stores
        self._staging = Path(staging) / PURGES
        self._notes = Path(notes)

    def start_bundle(self) -> None:
        self._purges: list[tuple[str, int]] = []

    def process(self, element: Purge) -> None:
        self._purges.append((element.strand_id, element.until))

    def finish_bundle(self) -> None:
        if not self._purges:
            return
        erase_decided(self._stores, self._purges, self._notes)
        content = json.dumps(sorted(self._purges))
        self._staging.mkdir(exist_ok=True)
        name = hashlib.blake2b(content.encode(), digest_size=6).hexdigest()
        (self._staging / f"{name}.json").write_text(content, encoding="utf-8")


class _KeepMarks(beam.DoFn):  # type: ignore[misc]
    """What stays of erased events to the identity store, and to the staging folder for the next run.

    Either takes a mark again without harm.
    """

    def __init__(self, stores: StoreAddress, staging: str, rules: IdentityRules, shards: int) -> None:
        self._stores = stores
        self._staging = Path(staging)
        self._rules = rules
        self._shards = shards

    def start_bundle(self) -> None:
        self._marks: list[ErasedMark] = []

    def process(self, element: ErasedMark) -> None:
        self._marks.append(element)

    def finish_bundle(self) -> None:
        if not self._marks:
            return
        store = open_identity(self._stores, self._rules, self._shards)
        try:
            store.keep_marks(self._marks)
        finally:
            store.close()
        marks = in_order(self._marks)
        rows = [[*m.primary, *(m.login or (None, None)), m.event_time, m.logout, m.until] for m in marks]
        content = json.dumps(rows)
        name = hashlib.blake2b(content.encode(), digest_size=6).hexdigest()
        (self._staging / f"{name}-{MARKS}").write_text(content, encoding="utf-8")


class _WriteTombstones(beam.DoFn):  # type: ignore[misc]
    """Erased identifiers to the staged tombstones, for the next run."""

    def __init__(self, staging: str) -> None:
        self._staging = Path(staging)

    def process(self, element: tuple[bytes, IdentityRows]) -> None:
        erasures = element[1].erasures
        if erasures:
            digest = hashlib.blake2b(repr(erasures).encode(), digest_size=6).hexdigest()
            target = self._staging / f"{digest}-{TOMBSTONES}"
            target.write_text(json.dumps(erasures), encoding="utf-8")
