"""The journey stage, streaming host: messages about strands in, everything that follows from them out, as it happens.

Contract: (person shard or person, packed ``StrandMessages``) in; rows, decisions, online features and what the core
could not take out. The core is ``transforms.journey.live.core``, hosted by ``transforms.actor``; ``stage`` is the
bounded host. Key: a shard of persons, or with 0 shards one person. State, bounds, expiry and timers as the core and the
host say. Time domain: event time; polls, and ``revision`` of rows, in processing time. The model is looked for anew
every ``MODEL_EVERY`` seconds, between two batches: activations are dated, so a point is scored by the version in force
at its time whenever that was noticed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.utils.shared import Shared

from contracts import wire
from contracts.errors import ModelError
from contracts.exchange import Decision, OnlineFeatures, RejectedElement, StatedRows, StrandMessages
from models.handler import PointBatch, StageModelHandler
from models.scoring import POINTER
from transforms.actor.batch import BatchByShard
from transforms.actor.core import ActorCore
from transforms.actor.counted import Counted
from transforms.actor.host import ShardActor
from transforms.actor.turn import REJECTED
from transforms.actor.wake import WakeAll
from transforms.drain import DrainFlag
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

MODEL_EVERY = 2.0
FOLDED_TO = "folded_to"
"""The name under which it is noted how far those folded whom the stream took over from, microseconds of event time."""
ROWS_SHARD = b"journey"
"""Writer shard of the rows of journeys."""


class ActivatedScore:
    """The models of a registry as a port that scores; looks now and then whether others are in force.

    One a process, for all its threads.

    A registry that cannot be read, or a model that does not load, leaves the ones in force: whoever promotes is told by
    ``wayline model``, not by a stream that stops.

    Args:
        registry: its folder.
        stages: the ontology's stages.
        clock: seconds of a monotonic clock.
    """

    def __init__(self, registry: str, stages: tuple[str, ...], clock: Callable[[], float] = time.monotonic) -> None:
        self._pointer = Path(registry) / POINTER
        self._handler = StageModelHandler(registry, stages)
        self._clock = clock
        self._stamp = self._read_stamp()
        self._model = self._handler.load_model()
        self._next = clock() + MODEL_EVERY

    def __call__(self, times: Any, matrix: Any) -> Any:
        self._look()
        (scored,) = self._handler.run_inference([PointBatch(times, matrix)], self._model)
        return scored.versions, scored.probabilities

    def _look(self) -> None:
        now = self._clock()
        if now < self._next:
            return
        self._next = now + MODEL_EVERY
        stamp = self._read_stamp()
        if stamp == self._stamp:
            return
        try:
            self._model = self._handler.load_model()
        except ModelError:
            # half-written, or refused: the next look tries again
            return
        self._stamp = stamp

    def _read_stamp(self) -> tuple[int, int] | None:
        try:
            found = self._pointer.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size


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
    _score: ActivatedScore | None = None

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
        """Open the stores and load the models."""
        self._effects = open_effects(self._stores)
        self._records = open_records(self._stores)
        self._progress = open_progress(self._stores)
        self._flag = DrainFlag(self._drain, or_ended=True)
        # an engine sets up a new instance for most bundles, and a model is large and slow to load
        stages = self._settings.ontology.stage_names
        self._score = self._shared.acquire(lambda: ActivatedScore(self._registry, stages))

    def core(self, shard: bytes) -> JourneyCore:
        """The core of a shard, empty."""
        assert self._effects is not None, "setup() comes first"
        journeys = LiveJourneys(self._settings, self._score, self._effects, self._window)
        # what they stated of the time up to there is known to be stated, so that it is taken back when it changes
        folded = self._progress.value(FOLDED_TO) if self._progress is not None else None
        journeys.watermark = journeys.watermark if folded is None else folded
        records = None if self._by_person else self._records
        number = 0 if self._by_person else int.from_bytes(shard, "big")
        return JourneyCore(journeys, self._horizon, number, records, self._bounds, self._is_ending, folded)

    def adopt(self, core: ActorCore) -> None:
        """Give a core what this instance opened."""
        assert isinstance(core, JourneyCore)
        assert self._effects is not None, "setup() comes first"
        core.adopt(
            self._effects, None if self._by_person else self._records, self._score, self._horizon, self._is_ending
        )

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
    """

    def __init__(self, cores: JourneyCores, clock: Callable[[], int], shards: int = 0) -> None:
        super().__init__()
        self._cores = cores
        self._clock = clock
        self._shards = shards

    def expand(self, messages: beam.PCollection[tuple[bytes, bytes]]) -> StreamJourneys:
        outputs = {STATED: StatedRows, DECISIONS: Decision, ONLINE: OnlineFeatures, METRICS: tuple[str, int]}
        given = (
            messages
            | "ByShard" >> BatchByShard()
            | "Wake" >> WakeAll(self._shards, self._clock)
            | "Fold" >> ShardActor(STAGE, self._cores, outputs, self._clock, depth=1)
        )
        _ = given[METRICS] | "Metrics" >> beam.ParDo(Counted(STAGE))
        rows = given[STATED] | "ToWriter" >> beam.ParDo(_ToWriter())
        return StreamJourneys(typed(rows, tuple[bytes, StatedRows]), given[DECISIONS], given[ONLINE], given[REJECTED])


class _ToWriter(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    def process(self, element: StatedRows) -> Iterator[tuple[bytes, StatedRows]]:
        yield ROWS_SHARD, element
