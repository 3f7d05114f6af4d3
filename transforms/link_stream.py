"""Link: protected events and their links, the links stored before the events go on. The streaming host.

Contract: valid ``Received`` in; (strand shard, packed ``ShardInput``), ``DeadLetter`` and ``LedgerCount`` (dead
lettered) out. It protects as ``intake.Protect`` does, in the same step: until the store has taken the links of a bundle
its events are kept as they were received, so that they can be dead letters that replay. Whoever reads the mailbox for
an event finds its links there, since they were committed before the event was sent on.

``StoredLinks`` is the part without Beam: one a worker process, it tells the identity store what it has not been told by
this process, and notes the greatest event time that was accepted. State: what was reported (``identity.reported``), and
a bundle's events, at most ``MANY`` of them. Time: event time in microseconds; patience is in seconds of a monotonic
clock.

Errors: a store that is away (``LockedError``) is asked again, after pauses that double, for ``patience`` seconds; then
the events at hand are dead letters (``identity_store_unavailable``) and the next ones are tried. A store that refuses
(``OutputError``: other rules, other shards) ends the bundle.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam import pvalue
from apache_beam.transforms.window import GlobalWindows, TimestampedValue
from apache_beam.utils.shared import Shared
from apache_beam.utils.timestamp import Timestamp

from contracts import coders as _coders  # noqa: F401  # registers the coders of what goes in and out
from contracts import wire
from contracts.errors import LockedError
from contracts.exchange import DeadLetter, LedgerCount, Link, Received, ShardInput, StrandEvent
from transforms.dead_letter import DeadLetterBox
from transforms.identity.evidence import LinkBook
from transforms.identity.ids import shard_of
from transforms.identity.reported import ReportedLinks
from transforms.identity.rules import IdentityRules
from transforms.intake import DEAD, no_identifier
from transforms.minimise import FieldFilter
from transforms.protect import Protector, Pseudonymiser
from transforms.read import LEDGER, typed
from transforms.stores.database import StoreAddress
from transforms.stores.identity import IdentityStore, open_identity
from transforms.stores.progress import Progress, open_progress
from transforms.validate import without_reserved

GREATEST_EVENT_TIME = "greatest_event_time"
"""The name under which progress is noted."""

UNAVAILABLE = "identity_store_unavailable"
STAGE = "link"
MANY = 5_000
"""Events of a bundle after which its links are stored without waiting for its end."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_ATTEMPT = 5.0
"""Seconds that one attempt waits by itself for another process, or for a server that does not answer."""


@dataclass(frozen=True)
class LinkStore:
    """Where links are stored, and how long to wait for it.

    Args:
        address: the database of the stores.
        rules: the identity rules in force.
        shards: strand shards.
        patience: seconds for which a store that is away is asked again.
    """

    address: StoreAddress
    rules: IdentityRules
    shards: int
    patience: float = 60.0


class StoreAwayError(Exception):
    """The store was away for all of the patience; ``attempts`` says how often it was asked."""

    def __init__(self, attempts: int, last: LockedError) -> None:
        super().__init__(last.message)
        self.attempts = attempts


class StoredLinks:
    """Tells the identity store the links of events; one a process, for all its threads.

    Args:
        store: where, and how patiently.
        sleep: waits, in seconds.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        store: LinkStore,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._sleep, self._clock = store, sleep, clock
        self._reported = ReportedLinks(store.rules)
        self._mutex = threading.Lock()
        self._turn = threading.Lock()
        self._identity: IdentityStore | None = None
        self._progress: Progress | None = None
        self._noted: int | None = None

    def tell(self, links: Iterable[Link], latest: int) -> tuple[int, list[Link]]:
        """Have links stored; they are committed when this returns.

        Returns how many the store was told, and those that it knows and that were only seen again, later.

        Args:
            links: of events, merged or not.
            latest: the greatest event time among these events.

        Raises:
            StoreAwayError: the store was away for too long; nothing is remembered of these links.
        """
        with self._mutex:
            news, later = self._reported.told_apart(links)
        is_later = self._noted is None or latest > self._noted
        if news or is_later:
            self._patiently(news, latest if is_later else None)
        return len(news), later

    def close(self) -> None:
        """Give up the connections. Safe to call again."""
        for opened in (self._identity, self._progress):
            if opened is not None:
                opened.close()
        self._identity = self._progress = None

    def _patiently(self, news: list[Link], latest: int | None) -> None:
        until = self._clock() + self._store.patience
        pause, attempts = _FIRST_PAUSE, 0
        while True:
            attempts += 1
            try:
                with self._turn:
                    self._once(news, latest)
                return
            except LockedError as error:
                left = until - self._clock()
                if left <= 0:
                    raise StoreAwayError(attempts, error) from error
                self._sleep(min(pause, left))
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _once(self, news: list[Link], latest: int | None) -> None:
        store = self._store
        attempt = min(_ATTEMPT, store.patience)
        if news:
            if self._identity is None:
                self._identity = open_identity(store.address, store.rules, store.shards, attempt)
            self._identity.link(news)
            with self._mutex:
                self._reported.confirm(news)
        if latest is not None:
            if self._progress is None:
                self._progress = open_progress(store.address, attempt)
            self._progress.note(GREATEST_EVENT_TIME, latest)
            self._noted = latest if self._noted is None else max(self._noted, latest)


class _ProtectAndLink(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    """Protects events, has the links of a bundle stored, then sends its events on, a batch a shard."""

    def __init__(self, store: LinkStore, key: bytes, box: DeadLetterBox, properties: tuple[str, ...]) -> None:
        self._store = store
        self._key = key
        self._box = box
        self._properties = properties
        self._shared = Shared()

    def setup(self) -> None:
        store = self._store
        self._protector = Protector(
            store.rules, Pseudonymiser(self._key), FieldFilter(self._properties), shards=store.shards
        )
        self._links: StoredLinks = self._shared.acquire(lambda: StoredLinks(store))

    def start_bundle(self) -> None:
        self._begin()
        self._dead: dict[str, int] = {}

    def _begin(self) -> None:
        self._received: list[Received] = []
        self._events: dict[bytes, list[StrandEvent]] = {}
        self._book = LinkBook(self._store.rules)

    def process(self, element: Received) -> Iterator[Any]:
        event = element.event
        assert event is not None  # Validate lets nothing else through
        protected = self._protector.protect(event, element.source)
        if protected is None:
            yield self._rejected(no_identifier(self._box, event, element))
            return
        place, made = protected
        self._book.observe(place.identifiers, event.name, made.event_id, event.event_time, event.received_time)
        self._events.setdefault(place.shard, []).append(made)
        self._received.append(element)
        if len(self._received) >= MANY:
            for tag, value, at in self._flush():
                out = value if at is None else TimestampedValue(value, Timestamp(micros=at))
                yield out if tag is None else pvalue.TaggedOutput(tag, out)

    def finish_bundle(self) -> Iterator[Any]:
        for tag, value, at in self._flush():
            windowed = GlobalWindows.windowed_value(value, Timestamp(micros=0 if at is None else at))
            yield windowed if tag is None else pvalue.TaggedOutput(tag, windowed)
        for source, n in sorted(self._dead.items()):
            count = GlobalWindows.windowed_value(LedgerCount(source, "dead_lettered", n))
            yield pvalue.TaggedOutput(LEDGER, count)

    def _flush(self) -> Iterator[tuple[str | None, Any, int | None]]:
        """What is at hand as (tag, element, event time)."""
        if not self._received:
            return
        latest = max(event.event_time for events in self._events.values() for event in events)
        try:
            _, later = self._links.tell(self._book.drain(), latest)
        except StoreAwayError as away:
            detail = f"it did not answer {away.attempts} times in {self._store.patience:g} s"
            for element in self._received:
                assert element.event is not None
                letter = self._box.reject_event(
                    STAGE,
                    UNAVAILABLE,
                    detail,
                    without_reserved(element.event),
                    element.schema_id,
                    source=element.source,
                )
                yield DEAD, self._rejected(letter).value, element.event.event_time
        else:
            sightings: dict[bytes, list[Link]] = {}
            for link in later:
                sightings.setdefault(shard_of(link.left, self._store.shards), []).append(link)
            earliest = min(event.event_time for events in self._events.values() for event in events)
            for shard in sorted(self._events.keys() | sightings.keys()):
                content = ShardInput(tuple(self._events.get(shard, ())), sightings=tuple(sightings.get(shard, ())))
                yield None, (shard, wire.pack_compressed(content)), earliest
        self._begin()

    def _rejected(self, letter: DeadLetter) -> pvalue.TaggedOutput:
        self._dead[letter.source] = self._dead.get(letter.source, 0) + 1
        return pvalue.TaggedOutput(DEAD, letter)


class LinkedEvents(NamedTuple):
    """What ``ProtectAndLink`` gives; ``strand_inputs`` are (strand shard, packed ``ShardInput``)."""

    strand_inputs: beam.PCollection[tuple[bytes, bytes]]
    dead_letters: beam.PCollection[DeadLetter]
    ledger: beam.PCollection[LedgerCount]


class ProtectAndLink(beam.PTransform):  # type: ignore[misc]  # Beam's base class is untyped
    """Valid events to protected ones whose links the identity store has.

    Args:
        store: where the links go.
        key: the pseudonym key.
        box: makes the dead letters.
        properties: allow-list of properties; see ``transforms.minimise.FieldFilter``.
    """

    def __init__(self, store: LinkStore, key: bytes, box: DeadLetterBox, properties: tuple[str, ...] = ("*",)) -> None:
        super().__init__()
        self._fn = _ProtectAndLink(store, key, box, properties)

    def expand(self, valid: beam.PCollection[Received]) -> LinkedEvents:
        outputs = valid | "ProtectAndLinkEvents" >> beam.ParDo(self._fn).with_output_types(
            tuple[bytes, bytes]
        ).with_outputs(DEAD, LEDGER, main="strand_inputs")
        return LinkedEvents(
            outputs["strand_inputs"], typed(outputs[DEAD], DeadLetter), typed(outputs[LEDGER], LedgerCount)
        )
