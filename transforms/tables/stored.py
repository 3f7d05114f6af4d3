"""The event log as a source: events accepted by earlier runs join the new ones on their way to the strand stage.

Contract: nothing in; (strand shard, packed ``ShardInput`` of stored events) and their ``LinkBatch``es out. They were
validated and protected when they first came, and the ledger does not count them again. State: none outside a bundle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam import pvalue

from contracts.exchange import LinkBatch
from transforms.identity.evidence import LinkBook, link_batches
from transforms.identity.ids import shard_of
from transforms.identity.rules import IdentityRules
from transforms.protect import ShardBatcher
from transforms.read import typed
from transforms.tables.log import placed, read_log

LINKS = "links"


class Stored(NamedTuple):
    """What the log gives."""

    strand_inputs: beam.PCollection[tuple[bytes, bytes]]
    links: beam.PCollection[LinkBatch]


class _ReadLog(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    def __init__(self, rules: IdentityRules, shards: int) -> None:
        self._rules = rules
        self._shards = shards

    def process(self, part: str) -> Iterator[Any]:
        batches = ShardBatcher()
        book = LinkBook(self._rules)
        for stored in read_log(Path(part)):
            # the number of shards, and what counts as primary, may have changed since it was stored
            found = placed(stored, self._rules)
            if found is None:
                continue
            event, stored = found
            book.observe(event.identifiers, event.name, event.event_id, event.event_time, event.received_time)
            yield from batches.add(shard_of(stored.primary, self._shards), stored)
        yield from batches.drain()
        for links in link_batches(book.drain()):
            yield pvalue.TaggedOutput(LINKS, links)


class ReadStored(beam.PTransform):  # type: ignore[misc]
    """Reads the log.

    Args:
        parts: the log's parts; may be none.
        rules: the rules of identity in force now.
        shards: number of strand shards.
    """

    def __init__(self, parts: Sequence[str], rules: IdentityRules, shards: int) -> None:
        super().__init__()
        self._parts = list(parts)
        self._fn = _ReadLog(rules, shards)

    def expand(self, pbegin: pvalue.PBegin) -> Stored:
        outputs = (
            pbegin
            | "Parts" >> beam.Create(self._parts, reshuffle=False).with_output_types(str)
            | "Spread" >> beam.Reshuffle()
            | "ReadLog"
            >> beam.ParDo(self._fn).with_output_types(tuple[bytes, bytes]).with_outputs(LINKS, main="strand_inputs")
        )
        return Stored(outputs["strand_inputs"], typed(outputs[LINKS], LinkBatch))
