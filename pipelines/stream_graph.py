"""The graph of a stream, read top to bottom: the way of an event, live. Composition only; each line is one stage.

``build`` takes a ``StreamPlan``, in which every file is read and every check has passed. It is the graph of
``pipelines.graph`` with the streaming host of each stage that remembers; docs/adr/0015 says how both stay equal.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apache_beam as beam

from contracts import coders
from contracts.codec import schema_id
from contracts.exchange import DeadLetter, StatedRows
from contracts.tables import ACTIONS, DEAD_LETTERS, EXPIRED_LATE
from features.push import PushFeatures
from pipelines.clock import now
from pipelines.stream_plan import StreamPlan
from pipelines.table_sink import DATAFLOW, BigQueryTables
from sources.files_player import FilesSettings
from sources.files_stream import ReadFilesStream
from sources.pubsub import read as source
from sources.pubsub.read import DIRECT, ID_ATTRIBUTE, PORTABLE, TIME_ATTRIBUTE, ReadPubSub
from transforms.act import Act
from transforms.dead_letter import DeadLetterBox
from transforms.finish import Finish
from transforms.identity.live_step import Bounds as StrandBounds
from transforms.intake import Validate
from transforms.journey.live.keeping import Bounds as JourneyBounds
from transforms.journey.stage_stream import JourneyCores, StreamJourney
from transforms.ledger_live import LedgerCores
from transforms.ledger_stream import CountLedger
from transforms.link_stream import LinkStore, ProtectAndLink
from transforms.purge import PurgeStores
from transforms.read import ReadOutputs
from transforms.rejected import Rejected
from transforms.strand_stream import StrandCores, StreamStrand
from transforms.tables import rows
from transforms.tables.bundle_rows import StateRows
from transforms.tables.stream import WriteStated

_APART = {"cpu_count": "1"}
"""Resource hints of the journey stage on Flink, which gives transforms of other hints another worker process.

The stage takes half of the CPU of Python, and an interpreter is one core. Which of several workers of one kind an
engine gives a stage changes from start to start, so that a heavy stage may get the one that has the others.
"""


def build(pipeline: beam.Pipeline, plan: StreamPlan) -> None:
    """Build the streaming graph into ``pipeline``."""
    coders.register()
    run = plan.run
    apart = _APART if plan.apart else {}
    box = DeadLetterBox(run.dead_letter_key)
    event_schema = schema_id("event")

    read = pipeline | "Read" >> _Read(plan)
    validated = read.received | "Validate" >> Validate(run.validation, box, now)
    store = LinkStore(run.stores, run.identity, run.strand_shards)
    linked = validated.valid | "Link" >> ProtectAndLink(store, run.pseudonym_key, box, run.properties)

    strand_cores = StrandCores(
        run.stores, run.identity, run.strand_shards, box, event_schema,
        StrandBounds.of_one_of(run.strand_shards, plan.state_bytes),
    )  # fmt: skip
    person_shards = 0 if plan.by_person else run.journey_shards
    strands = linked.strand_inputs | "Strand" >> StreamStrand(strand_cores, person_shards, now)

    journey_cores = JourneyCores(
        run.journey,
        run.registry,
        run.stores,
        run.maturity,
        shards=person_shards,
        drain=plan.drain,
        bounds=JourneyBounds.of_one_of(person_shards, plan.state_bytes),
    )
    journeys = strands.messages | "Journey" >> StreamJourney(journey_cores, now, person_shards, apart)
    acted = journeys.decisions | "Act" >> Act(
        run.stores, Path(run.actions), run.channels, run.act, None, run.journey_shards
    ).with_resource_hints(**apart)
    actions = acted.actions | "ActionRows" >> StateRows(ACTIONS, rows.action_row, now).with_resource_hints(**apart)
    online = journeys.online | "Online" >> beam.ParDo(PushFeatures(run.online)).with_output_types(
        bytes
    ).with_resource_hints(**apart)

    rejected = (strands.rejected, journeys.rejected) | "AllRejected" >> beam.Flatten()
    poisoned = rejected | "Rejected" >> Rejected(box, event_schema)
    dead = (
        validated.dead_letters,
        linked.dead_letters,
        strands.dead_letters,
        poisoned.dead_letters,
    ) | "AllDeadLetters" >> beam.Flatten()
    counts = (read.ledger, validated.ledger, linked.ledger, strands.ledger, poisoned.ledger)
    ledger = counts | "AllCounts" >> beam.Flatten() | "Ledger" >> CountLedger(LedgerCores(plan.run_id), now)

    stated = (
        strands.log,
        ledger,
        dead
        | "Letters" >> beam.Filter(_is_dead).with_output_types(DeadLetter)
        | "DeadLetterRows" >> StateRows(DEAD_LETTERS, rows.dead_letter_row, now),
        strands.withdrawn | "WithdrawnRows" >> StateRows(DEAD_LETTERS, rows.withdrawn_row, now, deleted=True),
        dead
        | "Late" >> beam.Filter(_is_expired).with_output_types(DeadLetter)
        | "ExpiredRows" >> StateRows(EXPIRED_LATE, rows.dead_letter_row, now),
    )
    together = {
        "Journey": (journeys.rows, actions)
        | "JourneyRows" >> beam.Flatten().with_output_types(tuple[bytes, StatedRows]),
        "Other": stated | "OtherRows" >> beam.Flatten().with_output_types(tuple[bytes, StatedRows]),
    }
    written: list[beam.PCollection] = []
    if plan.runner != DATAFLOW:  # its workers have no OUT
        parts = WriteStated(
            plan.out, plan.tables, plan.number, every=plan.pane, direct=not plan.retried, hints={"Journey": apart}
        )
        written.append(together | "Tables" >> parts)
    if plan.bigquery is not None:
        all_rows = tuple(together.values()) | "AllRows" >> beam.Flatten().with_output_types(tuple[bytes, StatedRows])
        written.append(all_rows | "BigQuery" >> _ToBigQuery(plan.bigquery, plan))
    purged = strands.purges | "Purge" >> PurgeStores(run.stores, plan.purges, run.decided_notes)
    if plan.retried:
        (*written, online, purged) | "Finish" >> Finish(plan.finished)


class _Read(beam.PTransform):  # type: ignore[misc]  # Beam's base class is untyped
    """The source of a plan, whichever it is."""

    def __init__(self, plan: StreamPlan) -> None:
        super().__init__()
        self._plan = plan

    def expand(self, begin: beam.pvalue.PBegin) -> ReadOutputs:
        asked = self._plan.source
        engine = PORTABLE if self._plan.retried else DIRECT
        if isinstance(asked, FilesSettings):
            return _read_outputs(begin | "Files" >> ReadFilesStream(asked, engine))
        engine = source.DATAFLOW if self._plan.runner == DATAFLOW else engine
        own = ReadPubSub(asked, engine, id_attribute=ID_ATTRIBUTE, timestamp_attribute=TIME_ATTRIBUTE)
        return _read_outputs(begin | "PubSub" >> own)


class _ToBigQuery(beam.PTransform):  # type: ignore[misc]
    """Stated rows as upserts. Gives a PCollection in which nothing comes: its watermark does."""

    def __init__(self, to: BigQueryTables, plan: StreamPlan) -> None:
        super().__init__()
        self._to = to
        self._plan = plan

    def expand(self, stated: beam.PCollection[tuple[bytes, StatedRows]]) -> beam.PCollection[bytes]:
        # Beam's connector takes seconds to load, so whoever does without it does not wait for it
        from transforms.tables.bigquery import CountRefused, WriteStatedToBigQuery

        to = self._to
        refused = stated | "Upserts" >> WriteStatedToBigQuery(
            to.project, to.dataset, self._plan.tables, every=self._plan.pane, expansion_service=to.connector
        )
        return refused | "Refused" >> CountRefused()


def _read_outputs(outputs: Any) -> ReadOutputs:
    """What a source gave; Beam's operators are untyped."""
    assert isinstance(outputs, ReadOutputs)
    return outputs


def _is_expired(letter: DeadLetter) -> bool:
    return letter.expired


def _is_dead(letter: DeadLetter) -> bool:
    return not letter.expired
