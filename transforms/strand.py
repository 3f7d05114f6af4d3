"""Strand: deduplicate, say which person each event belongs to, and erase what must go. The bounded host.

Contract: (strand shard, packed ``ShardInput``) in; (person shard, ``StrandBatch``) out, and beside it dead letters,
ledger counts, the log for the next run and purges. The fold itself is ``transforms.identity.strands.fold_shard``, which
knows no Beam. State: none outside a bundle; all that reaches a shard is there at once. Time: microseconds of event
time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import apache_beam as beam
from apache_beam import pvalue, typehints

from contracts import coders, wire
from contracts.exchange import DeadLetter, ErasedMark, LedgerCount, Purge, ShardInput, StrandBatch, StrandRecord
from transforms.identity.ids import DEFAULT_SHARDS, person_shard, shard_of, strand_id
from transforms.identity.rules import Carry
from transforms.identity.strands import Rejects, fold_shard
from transforms.worker_process import prepare_worker

__all__ = ["DEFAULT_SHARDS", "Strand", "StrandFold", "Strands", "person_shard", "shard_of", "strand_id"]

DEAD_LETTERS, WITHDRAWN, LEDGER = "dead_letters", "withdrawn", "ledger"
LOG, PURGES, ERASED, MARKS = "log", "purges", "erased", "marks"
_BESIDE = (DEAD_LETTERS, WITHDRAWN, LEDGER, LOG, PURGES, ERASED, MARKS)
"""Outputs beside the records, in the order of ``Strands``."""
_LOG_BATCH = 5_000
_RECORD_EVENTS = 2_000
"""Events at which a batch of records is closed, so that no element of a shuffle grows large."""


class Strands(NamedTuple):
    """What the stage gives: ``records`` are (person shard, StrandBatch), ``log`` holds this run's accepted events.

    ``erased`` holds events of earlier runs that must leave the log; ``marks`` what stays of erased events, for every
    later run; ``withdrawn`` are dead letters of before that no longer hold.
    """

    records: beam.PCollection[tuple[bytes, StrandBatch]]
    dead_letters: beam.PCollection[DeadLetter]
    withdrawn: beam.PCollection[DeadLetter]
    ledger: beam.PCollection[LedgerCount]
    log: beam.PCollection[ShardInput]
    purges: beam.PCollection[Purge]
    erased: beam.PCollection[ShardInput]
    marks: beam.PCollection[ErasedMark]


class StrandFold(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    """One strand shard of packed ``ShardInput``s at a time through ``fold_shard``.

    Outputs are tagged with the constants of this module.

    Args:
        box: makes dead letters.
        schema_id: of the event schema, for dead letters.
        person_shards: shards of the journey stage.
        carries: how devices are carried (``IdentityRules.carries``).
    """

    def __init__(
        self,
        box: Rejects,
        schema_id: str = "",
        person_shards: int = DEFAULT_SHARDS,
        carries: Mapping[str, Carry] | None = None,
    ) -> None:
        self._box = box
        self._schema_id = schema_id
        self._person_shards = person_shards
        self._carries = dict(carries or {})

    def setup(self) -> None:
        prepare_worker()

    def process(
        self, element: tuple[bytes, Iterable[bytes]]
    ) -> Iterator[tuple[bytes, StrandBatch] | pvalue.TaggedOutput]:
        _, packed = element
        inputs = (wire.unpack_compressed(ShardInput, content) for content in packed)
        result = fold_shard(inputs, self._box, self._schema_id, carries=self._carries)
        for letter in result.dead_letters:
            yield pvalue.TaggedOutput(DEAD_LETTERS, letter)
        for letter in result.withdrawn:
            yield pvalue.TaggedOutput(WITHDRAWN, letter)
        for (source, kind), n in sorted(result.counts.items()):
            yield pvalue.TaggedOutput(LEDGER, LedgerCount(source, kind, n))
        for tag, events in ((LOG, result.log), (ERASED, result.erased)):
            for start in range(0, len(events), _LOG_BATCH):
                yield pvalue.TaggedOutput(tag, ShardInput(events=tuple(events[start : start + _LOG_BATCH])))
        for purge in result.purges:
            yield pvalue.TaggedOutput(PURGES, purge)
        for mark in result.marks:
            yield pvalue.TaggedOutput(MARKS, mark)
        yield from batch_by_person(result.records, self._person_shards)


def batch_by_person(records: Iterable[StrandRecord], shards: int) -> Iterator[tuple[bytes, StrandBatch]]:
    """Records in batches per person shard; the same records give the same batches."""
    open_batches: dict[bytes, list[StrandRecord]] = {}
    sizes: dict[bytes, int] = {}
    for record in records:
        shard = person_shard(record.person_id, shards)
        batch = open_batches.setdefault(shard, [])
        batch.append(record)
        sizes[shard] = sizes.get(shard, 0) + len(record.events)
        if sizes[shard] >= _RECORD_EVENTS:
            yield shard, StrandBatch(tuple(open_batches.pop(shard)))
            del sizes[shard]
    for shard, batch in sorted(open_batches.items()):
        yield shard, StrandBatch(tuple(batch))


class Strand(beam.PTransform):  # type: ignore[misc]  # Beam's base class is untyped
    """Events and assignments, all keyed by strand shard, to the records of strands.

    Input: a tuple of PCollections of (strand shard, packed ShardInput): new events, stored ones, assignments, marks.
    Output: ``Strands``. It does not decide who a person is (``transforms.link``) nor fold journeys.
    """

    def __init__(
        self,
        box: Rejects,
        schema_id: str = "",
        person_shards: int = DEFAULT_SHARDS,
        carries: Mapping[str, Carry] | None = None,
    ) -> None:
        super().__init__()
        self._fold = StrandFold(box, schema_id, person_shards, carries)

    def expand(self, inputs: tuple[beam.PCollection[tuple[bytes, bytes]], ...]) -> Strands:
        coders.register()
        folded = (
            inputs
            | "Together" >> beam.Flatten()
            | "ByStrandShard" >> beam.GroupByKey()
            | "FoldStrands" >> beam.ParDo(self._fold).with_outputs(*_BESIDE, main="records")
        )
        folded.records.element_type = typehints.KV[bytes, StrandBatch]
        folded[DEAD_LETTERS].element_type = DeadLetter
        folded[WITHDRAWN].element_type = DeadLetter
        folded[LEDGER].element_type = LedgerCount
        folded[LOG].element_type = ShardInput
        folded[PURGES].element_type = Purge
        folded[ERASED].element_type = ShardInput
        folded[MARKS].element_type = ErasedMark
        beside = (folded[tag] for tag in _BESIDE)
        return Strands(folded.records, *beside)
