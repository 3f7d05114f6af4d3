"""The act stage in a graph: decisions in, the actions they became out. The rules stand in ``transforms.actions``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import AsSingleton
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from contracts.event import SECOND
from contracts.exchange import Action, Decision, LearnInput, LedgerCount
from transforms.actions import ERASED, ActRules, Performer, decision_ledger
from transforms.channels.config import ChannelsConfig
from transforms.identity.ids import DEFAULT_SHARDS, person_shard
from transforms.labels import done_by_person
from transforms.ledger import DECISIONS
from transforms.read import typed
from transforms.stores.database import DEFAULT_TIMEOUT, StoreAddress
from transforms.stores.effects import EffectStore, open_effects

BATCH = 2_000
"""Decisions a transaction: enough to make its commit cheap, few enough to let other writers in."""

WAIT = 0.05
"""Seconds of the clock that decisions of a stream wait for others of their bundle; a busy one lasts many times that."""

LEDGER, LEARN = "ledger", "learn"


class Acted(NamedTuple):
    """What the act stage gives.

    One action a decision, but for what was erased meanwhile; the counts of actions by status, one set a batch, for the
    decision ledger, to which the journey stage gives the number of decisions; and by person shard what was really done,
    for the learn stage.
    """

    actions: beam.PCollection[Action]
    ledger: beam.PCollection[LedgerCount]
    learn: beam.PCollection[tuple[bytes, LearnInput]]


class Act(beam.PTransform[beam.PCollection[Decision], Acted]):  # type: ignore[misc]  # Beam is untyped
    """Carry decisions out. Global window; input in any order; a decision may come again in any run.

    Args:
        stores: the database of the effect store.
        folder: where file channels write.
        channels: how each channel is reached.
        rules: mode and bounds; its horizon is taken from ``horizon``.
        horizon: PCollection of the one instant up to which is known; a decision is stale by its distance from it. None
            in a stream: there it is the latest instant that the worker has seen decided.
        shards: person shards of the learn stage.
        store_timeout: seconds to wait for another process that writes, or for a server that is away.

    State: none in the graph; the effect store remembers. It does not decide, and it does not read events.
    """

    def __init__(
        self,
        stores: StoreAddress,
        folder: Path,
        channels: ChannelsConfig,
        rules: ActRules,
        horizon: beam.PCollection[int] | None,
        shards: int = DEFAULT_SHARDS,
        store_timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        super().__init__()
        wait = WAIT if horizon is None else math.inf
        self._do = _ActFn(stores, folder, channels, rules, shards, store_timeout, wait)
        self._horizon = horizon

    def expand(self, decisions: beam.PCollection[Decision]) -> Acted:
        known = {} if self._horizon is None else {"horizon": AsSingleton(self._horizon)}
        perform = beam.ParDo(self._do, **known).with_output_types(Action)
        done = decisions | "Perform" >> perform.with_outputs(LEDGER, LEARN, main="actions")
        return Acted(done["actions"], typed(done[LEDGER], LedgerCount), typed(done[LEARN], tuple[bytes, LearnInput]))


class _ActFn(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    """Collects a bundle's decisions into batches and performs them; the tail in ``finish_bundle``.

    A bundle of a busy stream lasts a second, and what was decided at its beginning is not to wait for its end: the next
    decision that comes after ``wait`` seconds sends those before it.
    """

    _store: EffectStore
    _performer: Performer

    def __init__(
        self,
        stores: StoreAddress,
        folder: Path,
        channels: ChannelsConfig,
        rules: ActRules,
        shards: int,
        store_timeout: float,
        wait: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._wait = wait
        self._clock = clock
        self._since = 0.0
        self._stores = stores
        self._folder = folder
        self._channels = channels
        self._rules = rules
        self._shards = shards
        self._timeout = store_timeout
        self._known = rules.horizon
        self._waiting: list[Decision] = []

    def setup(self) -> None:
        self._store = open_effects(self._stores, self._timeout)
        self._performer = Performer(
            self._store,
            self._channels,
            self._folder,
            self._rules,
            now=_now,
            clock=self._clock,
            sleep=time.sleep,
        )

    def start_bundle(self) -> None:
        # A bundle that failed may have left some; its retry brings them again.
        self._waiting = []
        self._performer.start_bundle()

    def process(self, element: Decision, horizon: int | None = None) -> Iterator[Any]:
        self._known = max(self._known, element.at if horizon is None else horizon)
        now = self._clock()
        if self._waiting and now - self._since >= self._wait:
            yield from self._flush()
        if not self._waiting:
            self._since = now
        self._waiting.append(element)
        if len(self._waiting) >= BATCH:
            yield from self._flush()

    def finish_bundle(self) -> Iterator[Any]:
        for output in self._flush():
            if isinstance(output, beam.pvalue.TaggedOutput):
                yield beam.pvalue.TaggedOutput(output.tag, _globally(output.value))
            else:
                yield _globally(output)

    def teardown(self) -> None:
        if hasattr(self, "_store"):
            self._performer.close()
            self._store.close()

    def _flush(self) -> Iterator[Any]:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        self._performer.see(self._known)
        actions = self._performer.perform(waiting)
        kept = [(decision, a) for decision, a in zip(waiting, actions, strict=True) if a.reason != ERASED]
        yield from (action for _, action in kept)
        for done in done_by_person([d for d, _ in kept], [a for _, a in kept], self._known):
            yield beam.pvalue.TaggedOutput(LEARN, (person_shard(done.person_id, self._shards), done))
        for status, n in decision_ledger(actions).items():
            if n:
                yield beam.pvalue.TaggedOutput(LEDGER, LedgerCount(DECISIONS, status, n))


def _globally(value: Any) -> WindowedValue:
    window = GlobalWindow()
    return WindowedValue(value, window.max_timestamp(), [window])


def _now() -> int:
    """The present in UTC microseconds: the only clock of this stage, and only for what is really sent."""
    return time.time_ns() * SECOND // 1_000_000_000
