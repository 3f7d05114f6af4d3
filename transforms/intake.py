"""The Beam hosts of validate and protect.

``Validate``: ``Received`` in; ``Received`` that hold a valid event, ``DeadLetter`` and ``LedgerCount`` (dead_lettered,
expired_late) out. ``Protect``: valid ``Received`` in; (strand shard, packed ``ShardInput``), ``LinkBatch``,
``DeadLetter`` and ``LedgerCount`` (dead_lettered) out. Both are stateless but for what they gather within a bundle, and
total: whatever comes in goes out as one thing or the other, and is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam import pvalue
from apache_beam.transforms.window import GlobalWindows

from contracts import coders as _coders  # noqa: F401  # registers the coders of what goes in and out
from contracts.event import SECOND, Event
from contracts.exchange import DeadLetter, LedgerCount, LinkBatch, Received
from transforms.dead_letter import RAW_PAYLOAD, UNDATED, DeadLetterBox
from transforms.identity.evidence import LinkBook, link_batches
from transforms.identity.rules import IdentityRules
from transforms.minimise import FieldFilter, scrubbed
from transforms.protect import Protector, Pseudonymiser, ShardBatcher
from transforms.read import LEDGER, typed
from transforms.validate import ValidationRules, Validator, flagged, without_reserved

DEAD, LINKS = "dead_letters", "links"
_VALIDATE, _PROTECT, _READ = "validate", "protect", "read"
_LINKS_IN_MEMORY = 50_000
_MANY = 10_000
_NO_SUCH_EVENT = ("undecodable", "neither an event nor a reason")


def _in_global_window(tag: str | None, value: object) -> Any:
    windowed = GlobalWindows.windowed_value(value)
    return windowed if tag is None else pvalue.TaggedOutput(tag, windowed)


class _Counting(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    """Counts fates within a bundle and states them at its end."""

    def start_bundle(self) -> None:
        self._fates: Counter[tuple[str, str]] = Counter()

    def _tell(self) -> Iterator[Any]:
        for (source, kind), number in sorted(self._fates.items()):
            yield _in_global_window(LEDGER, LedgerCount(source, kind, number))
        self._fates.clear()

    def _dead(self, letter: DeadLetter) -> pvalue.TaggedOutput:
        self._fates[letter.source, "expired_late" if letter.expired else "dead_lettered"] += 1
        return pvalue.TaggedOutput(DEAD, letter)


# --- validate ------------------------------------------------------------------------------------------------------


class _Validate(_Counting):
    def __init__(self, rules: ValidationRules, box: DeadLetterBox, clock: Callable[[], int] | None) -> None:
        self._rules = rules
        self._validator = Validator(rules)
        self._box = box
        self._clock = clock
        self._looked = 0

    def start_bundle(self) -> None:
        super().start_bundle()
        if self._clock is not None and (now := self._clock()) >= self._looked + SECOND:
            self._validator = Validator(replace(self._rules, not_after=now + self._rules.clock_skew))
            self._looked = now

    def process(self, element: Received) -> Iterator[Received | pvalue.TaggedOutput]:
        event = element.event
        if event is None:
            reason, detail = (element.reason, element.detail) if element.reason else _NO_SUCH_EVENT
            yield self._dead(
                self._box.reject(
                    _READ,
                    reason,
                    detail,
                    element.source,
                    element.schema_id,
                    UNDATED,
                    RAW_PAYLOAD,
                    element.payload,
                )
            )
            return
        verdict = self._validator.check(event)
        if verdict.reason is not None:
            yield self._dead(
                self._box.reject_event(
                    _VALIDATE, verdict.reason, verdict.detail, event, element.schema_id, source=element.source
                )
            )
            return
        clean = flagged(without_reserved(event), verdict.flags)
        yield element if clean is event else Received(element.source, element.schema_id, clean)

    def finish_bundle(self) -> Iterator[Any]:
        yield from self._tell()


class ValidateOutputs(NamedTuple):
    """What ``Validate`` gives."""

    valid: beam.PCollection[Received]
    dead_letters: beam.PCollection[DeadLetter]
    ledger: beam.PCollection[LedgerCount]


class Validate(beam.PTransform):  # type: ignore[misc]
    """Rejects what is no valid event, with reason and whole payload.

    Args:
        rules: the bounds.
        box: makes the dead letters.
        clock: in a stream, which does not end: microseconds of the present. No event may be later than that and the
            bound of clock skew; without a clock ``rules.not_after`` counts.
    """

    def __init__(self, rules: ValidationRules, box: DeadLetterBox, clock: Callable[[], int] | None = None) -> None:
        super().__init__()
        self._fn = _Validate(rules, box, clock)

    def expand(self, received: beam.PCollection[Received]) -> ValidateOutputs:
        outputs = received | "CheckEvents" >> beam.ParDo(self._fn).with_output_types(Received).with_outputs(
            DEAD, LEDGER, main="valid"
        )
        return ValidateOutputs(outputs["valid"], typed(outputs[DEAD], DeadLetter), typed(outputs[LEDGER], LedgerCount))


# --- protect -------------------------------------------------------------------------------------------------------


def no_identifier(box: DeadLetterBox, event: Event, element: Received) -> DeadLetter:
    """The dead letter of an event of which no identifier is usable."""
    kinds = ", ".join(sorted({scrubbed(i.namespace)[:64] for i in event.identifiers})[:10])
    return box.reject_event(
        _PROTECT,
        "no_usable_identifier",
        f"namespaces: {kinds}",
        without_reserved(event),
        element.schema_id,
        source=element.source,
    )


class _Protect(_Counting):
    def __init__(
        self, rules: IdentityRules, key: bytes, box: DeadLetterBox, properties: tuple[str, ...], shards: int
    ) -> None:
        self._rules = rules
        self._key = key
        self._box = box
        self._properties = properties
        self._shards = shards

    def setup(self) -> None:
        self._protector = Protector(
            self._rules, Pseudonymiser(self._key), FieldFilter(self._properties), shards=self._shards
        )

    def start_bundle(self) -> None:
        super().start_bundle()
        self._batches = ShardBatcher()
        self._links = LinkBook(self._rules)
        self._known = self._protector.remembered

    def process(self, element: Received) -> Iterator[tuple[bytes, bytes] | pvalue.TaggedOutput]:
        event = element.event
        assert event is not None  # Validate lets nothing else through
        protected = self._protector.protect(event, element.source)
        if protected is None:
            yield self._dead(no_identifier(self._box, event, element))
            return
        place, strand_event = protected
        self._links.observe(place.identifiers, event.name, strand_event.event_id, event.event_time, event.received_time)
        if len(self._links) >= _LINKS_IN_MEMORY:
            for links in link_batches(self._links.drain()):
                yield pvalue.TaggedOutput(LINKS, links)
        yield from self._batches.add(place.shard, strand_event)

    def finish_bundle(self) -> Iterator[Any]:
        for batch in self._batches.drain():
            yield _in_global_window(None, batch)
        for links in link_batches(self._links.drain()):
            yield _in_global_window(LINKS, links)
        yield from self._tell()
        self._links = LinkBook(self._rules)
        if self._protector.remembered - self._known > _MANY:
            # so long a bundle is a worker's whole share of a bounded run: later stages need the memory
            self._protector.forget()


class ProtectOutputs(NamedTuple):
    """What ``Protect`` gives; ``strand_inputs`` are (strand shard, packed ``ShardInput``)."""

    strand_inputs: beam.PCollection[tuple[bytes, bytes]]
    links: beam.PCollection[LinkBatch]
    dead_letters: beam.PCollection[DeadLetter]
    ledger: beam.PCollection[LedgerCount]


class Protect(beam.PTransform):  # type: ignore[misc]
    """Pseudonymises and minimises events, batches them by strand shard, and reports the links they show.

    Args:
        rules: the rules of identity.
        key: the pseudonym key; see ``transforms.keys``.
        box: makes the dead letters.
        properties: allow-list of properties; see ``transforms.minimise.FieldFilter``.
        shards: number of strand shards.
    """

    def __init__(
        self,
        rules: IdentityRules,
        key: bytes,
        box: DeadLetterBox,
        properties: tuple[str, ...] = ("*",),
        shards: int = 64,
    ) -> None:
        super().__init__()
        self._fn = _Protect(rules, key, box, properties, shards)

    def expand(self, valid: beam.PCollection[Received]) -> ProtectOutputs:
        outputs = valid | "ProtectEvents" >> beam.ParDo(self._fn).with_output_types(tuple[bytes, bytes]).with_outputs(
            LINKS, DEAD, LEDGER, main="strand_inputs"
        )
        return ProtectOutputs(
            outputs["strand_inputs"],
            typed(outputs[LINKS], LinkBatch),
            typed(outputs[DEAD], DeadLetter),
            typed(outputs[LEDGER], LedgerCount),
        )
