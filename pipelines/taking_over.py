"""Taking over: a stream begins with what OUT knows. The log is handed over to both keyed stages through their stores.

``handover`` reads the log and writes the records of strands; here the strands become the records of persons too, in
the form in which the journey stage evicts them, so that it reads them back like anybody it had put aside, and what it
then states of them it states whole. Repeating it changes nothing. Errors: those of the stores and the log.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from contracts.exchange import StrandMessage
from pipelines.handover import Handover, hand_over
from pipelines.stream_plan import StreamPlan
from transforms.dead_letter import DeadLetterBox
from transforms.identity.ids import person_shard
from transforms.journey.live.stored import delete_unused, store_messages
from transforms.journey.stage_stream import FOLDED_TO
from transforms.link_stream import GREATEST_EVENT_TIME
from transforms.purge import Shards, forget_copies
from transforms.stores.identity import open_identity
from transforms.stores.progress import open_progress
from transforms.stores.records import RecordStore, open_records
from transforms.tables.output import OutputFolder

HANDED_OVER = "handed_over_at"
"""The name under which progress is noted: microseconds of the clock at which the last handover began."""


def take_over(folder: OutputFolder, plan: StreamPlan, now: int) -> int:
    """Hand over what the log got since the last time; returns how many events were read.

    Args:
        folder: OUT, held for writing.
        plan: of the stream that begins.
        now: UTC microseconds.
    """
    run = plan.run
    progress = open_progress(run.stores)
    identity = open_identity(run.stores, run.identity, run.strand_shards)
    records = open_records(run.stores)
    try:
        # no engine goes back to before this stream, and its handover must not read what was erased
        forget_copies(folder.purges, records, Shards(run.strand_shards, run.journey_shards), math.inf)
        how = Handover(identity, records, run.identity, run.strand_shards, DeadLetterBox(run.dead_letter_key))
        persons = _Persons(records, run.journey_shards, now)
        done = hand_over(how, folder, progress.value(HANDED_OVER), now, persons.give, folder.staging / "handover")
        for shard in range(run.journey_shards):
            delete_unused(records, shard)
        if done.latest is not None:
            progress.note(GREATEST_EVENT_TIME, done.latest)
        if (folded := progress.value(GREATEST_EVENT_TIME)) is not None:
            progress.note(FOLDED_TO, folded)
        progress.note(HANDED_OVER, now)
    finally:
        records.close()
        identity.close()
        progress.close()
    return done.events


class _Persons:
    """Writes the strands that a handover tells of into the records of their persons."""

    def __init__(self, records: RecordStore, shards: int, now: int) -> None:
        self._records = records
        self._shards = shards
        self._now = now

    def give(self, _strand_shard: int, messages: Sequence[StrandMessage]) -> None:
        """Take the messages of a strand shard."""
        by_shard: defaultdict[int, defaultdict[str, list[StrandMessage]]] = defaultdict(lambda: defaultdict(list))
        for message in messages:
            shard = int.from_bytes(person_shard(message.person_id, self._shards), "big")
            by_shard[shard][message.person_id].append(message)
        for shard, persons in sorted(by_shard.items()):
            store_messages(self._records, shard, persons, self._now)
