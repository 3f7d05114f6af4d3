"""The journey stage, bounded host: strand records of a shard in, everything that follows from them out.

Contract: ``(person shard, StrandBatch)`` in; table batches, decisions and their number, ``LearnInput``s and online
features out. Key: person shard, a hash chunk of persons; a ``GroupByKey`` brings all strands of a person together.
State: none in the graph; what was decided before stands in the effect store. Time domain: event time, up to
``horizon``, a side input. The logic stands in ``worker``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import AsSingleton, TaggedOutput

from contracts import coders as _coders  # noqa: F401  # registers the coders of what goes in and out
from contracts.exchange import Decision, LearnInput, LedgerCount, OnlineFeatures, StrandBatch, TableFile
from models.handler import PointBatch, StageModelHandler
from transforms import ledger
from transforms.identity.ids import person_shard
from transforms.journey.worker import STEPS, JourneySettings, JourneyWorker
from transforms.read import typed
from transforms.stores.database import StoreAddress
from transforms.stores.effects import EffectStore, open_effects
from transforms.worker_process import prepare_worker

PROFILE, ELAPSED = "wayline.journey", "elapsed"
"""Beam counters of this stage: microseconds of CPU by step (``worker.STEPS``), and the time that went by meanwhile."""

DECISIONS, LEARN, ONLINE, LEDGER = "decisions", "learn", "online", "ledger"


class JourneyOutputs(NamedTuple):
    """What the journey stage gives; ``learn`` is keyed by person shard.

    ``ledger`` says how many decisions left, once a shard: the act stage must account for each of them.
    """

    tables: beam.PCollection[TableFile]
    decisions: beam.PCollection[Decision]
    learn: beam.PCollection[tuple[bytes, LearnInput]]
    online: beam.PCollection[OnlineFeatures]
    ledger: beam.PCollection[LedgerCount]


class _JourneyFn(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    _store: EffectStore
    _worker: JourneyWorker

    def __init__(self, settings: JourneySettings, registry: str, stores: StoreAddress, shards: int) -> None:
        super().__init__()
        self._settings = settings
        self._registry = registry
        self._stores = stores
        self._shards = shards
        self._elapsed = Metrics.counter(PROFILE, ELAPSED)
        self._spent = {step: Metrics.counter(PROFILE, step) for step in STEPS}

    def setup(self) -> None:
        prepare_worker()
        handler = StageModelHandler(self._registry, self._settings.ontology.stage_names)
        model = handler.load_model()

        def score(times: Any, matrix: Any) -> Any:
            (scored,) = handler.run_inference([PointBatch(times, matrix)], model)
            return scored.versions, scored.probabilities

        self._store = open_effects(self._stores)
        self._worker = JourneyWorker(self._settings, score if model else None, self._store, time.thread_time_ns)

    def process(
        self, element: tuple[bytes, Iterable[StrandBatch]], horizon: int = 0
    ) -> Iterator[TableFile | TaggedOutput]:
        shard, batches = element
        begun = time.perf_counter_ns()
        for result in self._worker.fold_shard(f"j{shard.hex()}", batches, horizon):
            self._elapsed.inc((time.perf_counter_ns() - begun) // 1_000)
            for step, spent in result.spent.items():
                self._spent[step].inc(spent // 1_000)
            yield from result.batches
            for decision in result.decisions:
                yield TaggedOutput(DECISIONS, decision)
            if result.decisions:
                yield TaggedOutput(LEDGER, LedgerCount(ledger.DECISIONS, ledger.DECISIONS, len(result.decisions)))
            for item in result.learn:
                yield TaggedOutput(LEARN, (person_shard(item.person_id, self._shards), item))
            if result.online is not None:
                yield TaggedOutput(ONLINE, result.online)
            begun = time.perf_counter_ns()

    def teardown(self) -> None:
        if hasattr(self, "_store"):
            self._store.close()


class Journey(beam.PTransform):  # type: ignore[misc]
    """Folds, scores, stages and decides, one shard of persons at a time.

    Args:
        settings: ontology, policies and bounds in force.
        registry: folder of the model registry; a registry without activations means rules alone.
        stores: the database of the effect store.
        horizon: PCollection of the one instant up to which journeys are folded.
        shards: number of person shards.
    """

    def __init__(
        self, settings: JourneySettings, registry: str, stores: StoreAddress, horizon: beam.PCollection, shards: int
    ) -> None:
        super().__init__()
        self._fn = _JourneyFn(settings, registry, stores, shards)
        self._horizon = horizon

    def expand(self, strands: beam.PCollection) -> JourneyOutputs:
        outputs = (
            strands
            | "GroupByPersonShard" >> beam.GroupByKey()
            | "FoldJourneys"
            >> beam.ParDo(self._fn, horizon=AsSingleton(self._horizon))
            .with_output_types(TableFile)
            .with_outputs(DECISIONS, LEARN, ONLINE, LEDGER, main="tables")
        )
        return JourneyOutputs(
            outputs["tables"],
            typed(outputs[DECISIONS], Decision),
            typed(outputs[LEARN], tuple[bytes, LearnInput]),
            typed(outputs[ONLINE], OnlineFeatures),
            typed(outputs[LEDGER], LedgerCount),
        )
