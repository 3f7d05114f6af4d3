"""The act stage in a graph: decisions in, the actions they became out. The rules stand in ``transforms.actions``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from contracts.event import SECOND
from contracts.exchange import Action, Decision, LedgerCount
from transforms.actions import ActRules, Performer, decision_ledger
from transforms.channels.config import ChannelsConfig
from transforms.stores.effects import EffectStore, open_effects
from transforms.stores.sqlite import DEFAULT_TIMEOUT

BATCH = 500
"""Decisions a transaction: enough to make its commit cheap, few enough to let other writers in."""

LEDGER = "ledger"
LEDGER_SOURCE = "decisions"
"""The source of the counts of this stage; their kinds are ``decisions`` and the statuses of an action."""


class Acted(NamedTuple):
    """What the act stage gives: one action a decision, and the counts of its ledger, one set a bundle."""

    actions: beam.PCollection[Action]
    ledger: beam.PCollection[LedgerCount]


class Act(beam.PTransform[beam.PCollection[Decision], Acted]):  # type: ignore[misc]  # Beam is untyped
    """Carry decisions out. Global window; input in any order; a decision may come again in any run.

    Args:
        effects: the file of the effect store.
        folder: where file channels write.
        channels: how each channel is reached.
        rules: mode, horizon, bounds.
        store_timeout: seconds to wait for another process that writes to the store.

    State: none in the graph; the effect store remembers. It does not decide, and it does not read events.
    """

    def __init__(
        self,
        effects: Path,
        folder: Path,
        channels: ChannelsConfig,
        rules: ActRules,
        store_timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        super().__init__()
        self._do = _ActFn(effects, folder, channels, rules, store_timeout)

    def expand(self, decisions: beam.PCollection[Decision]) -> Acted:
        perform = beam.ParDo(self._do).with_output_types(Action, **{LEDGER: LedgerCount})
        done = decisions | "Perform" >> perform.with_outputs(LEDGER, main="actions")
        return Acted(done["actions"], done[LEDGER])


class _ActFn(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    """Collects a bundle's decisions into batches and performs them; the tail in ``finish_bundle``."""

    _store: EffectStore
    _performer: Performer

    def __init__(
        self, effects: Path, folder: Path, channels: ChannelsConfig, rules: ActRules, store_timeout: float
    ) -> None:
        super().__init__()
        self._effects = effects
        self._folder = folder
        self._channels = channels
        self._rules = rules
        self._timeout = store_timeout
        self._waiting: list[Decision] = []

    def setup(self) -> None:
        self._store = open_effects(self._effects, self._timeout)
        self._performer = Performer(
            self._store,
            self._channels,
            self._folder,
            self._rules,
            now=_now,
            clock=time.monotonic,
            sleep=time.sleep,
        )

    def start_bundle(self) -> None:
        # A bundle that failed may have left some; its retry brings them again.
        self._waiting = []

    def process(self, element: Decision) -> Iterator[Any]:
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
        if hasattr(self, "_performer"):
            self._performer.close()
            self._store.close()

    def _flush(self) -> Iterator[Any]:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        actions = self._performer.perform(waiting)
        yield from actions
        counts = {"decisions": len(waiting), **decision_ledger(actions)}
        for kind, n in counts.items():
            if n:
                yield beam.pvalue.TaggedOutput(LEDGER, LedgerCount(LEDGER_SOURCE, kind, n))


def _globally(value: Any) -> WindowedValue:
    window = GlobalWindow()
    return WindowedValue(value, window.max_timestamp(), [window])


def _now() -> int:
    """The present in UTC microseconds: the only clock of this stage, and only for what is really sent."""
    return time.time_ns() * SECOND // 1_000_000_000
