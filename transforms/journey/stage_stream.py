"""The journey stage, streaming host: messages about strands in, everything that follows from them out, as it happens.

Contract: (person shard or person, packed ``StrandMessages``) in; rows, decisions, online features and what the core
could not take out. The core is ``transforms.journey.live.core``, hosted by ``transforms.actor``; ``stage`` is the
bounded host. Key: a shard of persons, or with 0 shards one person. State, bounds, expiry and timers as the core and the
host say. Time domain: event time; polls, and ``revision`` of rows, in processing time. Activations of ontologies and
models are looked for between two batches (``models.in_force``), and followed as ``live.following`` says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.utils.shared import Shared

from contracts import wire
from contracts.exchange import Decision, OnlineFeatures, RejectedElement, StatedRows, StrandMessages
from models.in_force import Registries
from transforms.actor.batch import BatchByShard
from transforms.actor.core import ActorCore
from transforms.actor.counted import Counted
from transforms.actor.host import ShardActor
from transforms.actor.turn import REJECTED
from transforms.actor.wake import WakeAll
from transforms.drain import DrainFlag
from transforms.journey.dated import Activated
from transforms.journey.live.core import DECISIONS, METRICS, ONLINE, STATED, Bounds, JourneyCore
from transforms.journey.live.journeys import LiveJourneys
from transforms.journey.live.stored import STAGE
from transforms.journey.worker import JourneySettings
from transforms.link_stream import GREATEST_EVENT_TIME
from transforms.read import typed
from transforms.stores.database import StoreAddress
from transforms.stores.effects import EffectStore, open_effects
from transforms.stores.progress import Progress, open_progress
from transforms.stores.records import RecordStore, open_records

FOLDED_TO = "folded_to"
"""The name under which it is noted how far those folded whom the stream took over from, microseconds of event time."""
FOLDED_BY = "folded_by_ontologies", "folded_by_models"
"""The names under which it is noted by how many records of activations runs folded; with ``:SHARD``, a shard."""
ROWS_SHARD = b"journey"
"""Writer shard of the rows of journeys."""


class JourneyCores:
    """Makes the journey cores of a worker; a ``CoreFactory``.

    Args:
        settings: ontology, policies and bounds in force.
        registry: folder of the model registry.
        stores: the database of effects, records and progress.
        window: maturity of labels, microseconds of event time.
        shards: of persons; 0: a core holds one person, and nothing leaves it.
        drain: the file that says that the stream comes to its end (``transforms.drain``).
        bounds: what a shard holds at most; by default its share of what all may.
    """

    _effects: EffectStore | None = None
    _records: RecordStore | None = None
    _progress: Progress | None = None
    _in_force: Registries | None = None

    def __init__(
        self,
        settings: JourneySettings,
        registry: str,
        stores: StoreAddress,
        window: int,
        *,
        shards: int,
        drain: str | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._stores = stores
        self._window = window
        self._by_person = shards == 0
        self._drain = drain
        self._bounds = bounds or Bounds.of_one_of(shards)
        self._shared = Shared()

    def setup(self) -> None:
        """Open the stores and load what is in force."""
        self._effects = open_effects(self._stores)
        self._records = open_records(self._stores)
        self._progress = open_progress(self._stores)
        self._flag = DrainFlag(self._drain, or_ended=True)
        # an engine sets up a new instance for most bundles, and a model is large and slow to load
        ontology, begun = self._settings.ontology, self._settings.activated
        self._in_force = self._shared.acquire(lambda: Registries(Path(self._registry), ontology, begun=begun))

    def core(self, shard: bytes) -> JourneyCore:
        """The core of a shard, empty."""
        assert self._effects is not None, "setup() comes first"
        assert self._progress is not None, "setup() comes first"
        assert self._in_force is not None, "setup() comes first"
        journeys = LiveJourneys(self._settings, None, self._effects, self._window)
        # what they stated of the time up to there is known to be stated, so that it is taken back when it changes
        folded = self._progress.value(FOLDED_TO)
        journeys.watermark = journeys.watermark if folded is None else folded
        records = None if self._by_person else self._records
        number = 0 if self._by_person else int.from_bytes(shard, "big")
        by = self._in_force.known() if self._by_person else self._folded_by(self._progress, self._in_force, number)
        journeys.fold_by(self._in_force.force(by))
        return JourneyCore(
            journeys,
            self._horizon,
            number,
            records,
            self._bounds,
            self._is_ending,
            folded,
            self._in_force,
            self._noting(number),
        )

    def adopt(self, core: ActorCore) -> None:
        """Give a core what this instance opened."""
        assert isinstance(core, JourneyCore)
        assert self._effects is not None, "setup() comes first"
        records = None if self._by_person else self._records
        noting = self._noting(core.shard)
        core.adopt(self._effects, records, self._horizon, self._is_ending, self._in_force, noting)

    @staticmethod
    def _folded_by(progress: Progress, in_force: Registries, shard: int) -> Activated:
        """By what the rows of a shard that nobody has begun were folded; noted, since whoever begins it may die."""
        found = progress.values([*FOLDED_BY, *(f"{name}:{shard}" for name in FOLDED_BY)])
        by = [max((n for n in pair if n is not None), default=None) for pair in zip(found[:2], found[2:], strict=True)]
        if by[0] is not None and by[1] is not None:
            return Activated(by[0], by[1])
        known = in_force.known()
        _note(progress, shard, known)
        return known

    def _noting(self, shard: int) -> Callable[[Activated], None]:
        progress = self._progress
        if self._by_person or progress is None:
            return lambda _: None
        return lambda by: _note(progress, shard, by)

    def split(self, element: bytes) -> list[bytes]:
        """Each message by itself. Raises MsgspecError for what is no ``StrandMessages``."""
        return [wire.pack(StrandMessages((one,))) for one in wire.unpack(StrandMessages, element).messages]

    def teardown(self) -> None:
        """Close the stores."""
        for store in (self._effects, self._records, self._progress):
            if store is not None:
                store.close()
        self._effects = self._records = self._progress = None

    def _horizon(self) -> int:
        """The greatest accepted event time of the stream."""
        assert self._progress is not None, "setup() comes first"
        return self._progress.value(GREATEST_EVENT_TIME) or 0

    def _is_ending(self) -> bool:
        # the watermark may jump right after the source said so
        return self._flag.look()


def _note(progress: Progress, shard: int, by: Activated) -> None:
    for name, number in zip(FOLDED_BY, by, strict=True):
        progress.note(f"{name}:{shard}", number)


class StreamJourneys(NamedTuple):
    """What the stage gives; ``rows`` are keyed by writer shard."""

    rows: beam.PCollection[tuple[bytes, StatedRows]]
    decisions: beam.PCollection[Decision]
    online: beam.PCollection[OnlineFeatures]
    rejected: beam.PCollection[RejectedElement]


class StreamJourney(beam.PTransform):  # type: ignore[misc]  # Beam's base class is untyped
    """Folds, scores, stages and decides, as messages come and as time goes by.

    Args:
        cores: makes the cores.
        clock: processing time in microseconds.
        shards: of persons; 0: keyed by person.
        hints: resource hints of what works on journeys: batches are made where their messages come from.
    """

    def __init__(
        self,
        cores: JourneyCores,
        clock: Callable[[], int],
        shards: int = 0,
        hints: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self._cores = cores
        self._clock = clock
        self._shards = shards
        self._hints = dict(hints or {})

    def expand(self, messages: beam.PCollection[tuple[bytes, bytes]]) -> StreamJourneys:
        outputs = {STATED: StatedRows, DECISIONS: Decision, ONLINE: OnlineFeatures, METRICS: tuple[str, int]}
        hints = self._hints
        fold = ShardActor(STAGE, self._cores, outputs, self._clock, depth=1).with_resource_hints(**hints)
        batches = messages | "ByShard" >> BatchByShard() | "Wake" >> WakeAll(self._shards, self._clock)
        given = batches | "Fold" >> fold
        _ = given[METRICS] | "Metrics" >> beam.ParDo(Counted(STAGE)).with_resource_hints(**hints)
        rows = given[STATED] | "ToWriter" >> beam.ParDo(_ToWriter()).with_resource_hints(**hints)
        return StreamJourneys(typed(rows, tuple[bytes, StatedRows]), given[DECISIONS], given[ONLINE], given[REJECTED])


class _ToWriter(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    def process(self, element: StatedRows) -> Iterator[tuple[bytes, StatedRows]]:
        yield ROWS_SHARD, element
