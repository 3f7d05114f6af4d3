"""What the core of a streaming stage could not take, as dead letters: whole, with the reason, counted.

Contract: ``RejectedElement`` in; ``DeadLetter`` and ``LedgerCount`` (dead lettered) out. An element of the strand stage
holds events that no stage has counted yet, one of the journey stage events that are accepted already: of those only the
letters are made. A step of time alone has no bytes: it is logged by the host and tried again. Stateless and total.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import msgspec
from apache_beam import pvalue

from contracts import wire
from contracts.event import Event
from contracts.event_codec import encode_event
from contracts.exchange import DeadLetter, LedgerCount, RejectedElement, ShardInput, StrandMessages
from transforms.dead_letter import DeadLetterBox
from transforms.identity.strands import PROTECTED_PAYLOAD
from transforms.read import LEDGER, typed

_log = logging.getLogger(__name__)
REASON = "failed_fold"
STRAND = "strand"


class RejectedOutputs(NamedTuple):
    """What ``Rejected`` gives."""

    dead_letters: beam.PCollection[DeadLetter]
    ledger: beam.PCollection[LedgerCount]


class Rejected(beam.PTransform):  # type: ignore[misc]  # Beam's base class is untyped
    """Makes the letters.

    Args:
        box: makes dead letters.
        schema_id: of the event schema.
    """

    def __init__(self, box: DeadLetterBox, schema_id: str) -> None:
        super().__init__()
        self._fn = _RejectedFn(box, schema_id)

    def expand(self, rejected: beam.PCollection[RejectedElement]) -> RejectedOutputs:
        outputs = rejected | "Letters" >> beam.ParDo(self._fn).with_outputs(LEDGER, main="letters")
        return RejectedOutputs(typed(outputs["letters"], DeadLetter), typed(outputs[LEDGER], LedgerCount))


class _Lost(NamedTuple):
    source: str
    received_time: int
    event: Event
    is_new: bool
    """Whether this run has not counted it yet."""


def events_of(element: RejectedElement) -> list[_Lost]:
    """The events in what was rejected.

    Raises:
        msgspec.MsgspecError: its bytes are no element of that stage.
    """
    if not element.data:
        return []
    if element.stage == STRAND:
        content = wire.unpack_compressed(ShardInput, element.data)
        return [
            _Lost(one.source, one.received_time, wire.unpack(Event, one.event), not one.stored)
            for one in content.events
        ]
    messages = wire.unpack(StrandMessages, element.data).messages
    found = (wire.unpack(Event, packed) for message in messages for packed in message.events)
    return [_Lost(event.source, event.received_time, event, False) for event in found]


class _RejectedFn(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    def __init__(self, box: DeadLetterBox, schema_id: str) -> None:
        self._box = box
        self._schema_id = schema_id

    def process(self, element: RejectedElement) -> Iterator[Any]:
        if not element.data:
            # no event to keep, and nothing lost: but whoever looks for why something is late finds it
            _log.error(
                "%s, shard %s: %s failed and is tried again: %s: %s",
                element.stage, element.shard.hex(), element.during, element.reason, element.detail,
            )  # fmt: skip
            return
        counts: Counter[str] = Counter()
        detail = f"{element.reason} while it was taken ({element.during})"
        try:
            events = events_of(element)
        except msgspec.MsgspecError:
            yield self._box.reject(element.stage, REASON, detail, "(unknown)", "", 0, "raw", element.data)
            return
        for source, received, event, is_new in events:
            payload = encode_event(event)
            yield self._box.reject(
                element.stage, REASON, detail, source, self._schema_id, received, PROTECTED_PAYLOAD, payload
            )
            counts[source] += is_new
        for source, n in sorted(counts.items()):
            if n:
                yield pvalue.TaggedOutput(LEDGER, LedgerCount(source, "dead_lettered", n))
