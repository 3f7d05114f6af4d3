"""What a live journey costs an event: a run's events in order, in small batches, through one shard's journeys.

``python -m benchmarks.live OUT [--registry DIR] [--batch 25] [--events 60000] [--profile]``, with an ``OUT`` that a run
has filled. CPU time of this process, everything included: messages, fold, features, score, stages, decisions, rows, a
real effect store. The second half is told apart from the first, so that a cost that grows with the journey would show.
"""

from __future__ import annotations

import cProfile
import pstats
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import click

from contracts.event import DAY, HOUR, Identifier
from contracts.exchange import APPEND, StrandMessage
from contracts.tables import feature_tables
from features.journey_features import feature_columns
from pipelines.definitions import load_definitions
from transforms.actions import ActRules, plan_action
from transforms.collector import relax_collector
from transforms.identity.ids import canonical_id, strand_id
from transforms.journey.live.journeys import LiveJourneys
from transforms.journey.live.work import Work
from transforms.journey.ontology import Ontology
from transforms.journey.worker import JourneySettings, Score
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.effects import EffectStore, Guards, open_effects
from transforms.tables.log import read_log

_SECOND = 1_000_000


@click.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True))
@click.option("--registry", type=click.Path(path_type=Path), help="Score with its models. Default: rules alone.")
@click.option("--batch", default=25, show_default=True, help="Events that come at once.")
@click.option("--events", default=60_000, show_default=True, help="How many, of those in the log.")
@click.option("--profile", is_flag=True, help="Show where the time goes.")
def main(out: Path, registry: Path | None, batch: int, events: int, profile: bool) -> None:
    """Measure."""
    messages = _messages(out, events)
    definitions = load_definitions(None)
    features, scores = feature_tables(feature_columns(), definitions.ontology.stage_names)
    settings = JourneySettings(
        definitions.ontology, definitions.policies, 48 * HOUR, 1, "dry-run", DAY, features, scores
    )
    relax_collector()
    with tempfile.TemporaryDirectory() as folder:
        store = open_effects(StoreAddress(Path(folder) / STORE_FILE))
        timed = _Timed(store)
        scored = _timed_score(registry, definitions.ontology, timed)
        live = LiveJourneys(settings, scored, cast(EffectStore, timed))
        half = len(messages) // 2
        first = _drive(live, store, messages[:half], batch)
        parts = [dict(timed.spent)]
        profiler = cProfile.Profile(time.process_time)
        if profile:
            profiler.enable()
        second = _drive(live, store, messages[half:], batch)
        profiler.disable()
        parts.append({name: spent - parts[0].get(name, 0.0) for name, spent in timed.spent.items()})
        store.close()
    print(f"{len(messages)} events, {len(live.records)} persons, {batch} events a batch")
    for name, (spent, counts), part in zip(("first half", "second half"), (first, second), parts, strict=True):
        told = {what: round(seconds * 1e6 / half, 1) for what, seconds in part.items()}
        print(f"{name}: {spent * 1e6 / half:.0f} us of CPU an event, of which {told}")
        print(f"  { ({what: n for what, n in counts.items() if n}) }")
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(45)


def _messages(out: Path, events: int) -> list[StrandMessage]:
    found: list[tuple[int, str, Any]] = []
    for part in sorted((out / "log").glob("*.parquet")):
        found += [(stored.event_time, stored.event_id, stored) for stored in read_log(part)]
    found.sort(key=lambda item: item[:2])
    last: dict[str, int] = {}
    names: dict[tuple[Identifier, Identifier | None], tuple[str, str]] = {}
    messages = []
    for number, (at, _, stored) in enumerate(found[:events]):
        key = (stored.primary, stored.login)
        if key not in names:
            names[key] = (strand_id(*key), canonical_id(stored.login or stored.primary))
        strand, person = names[key]
        version = at + number
        messages.append(StrandMessage(strand, *key, person, APPEND, 1, version, last.get(strand, 0), (stored.event,)))
        last[strand] = version
    return messages


class _Timed:
    """A store whose calls are timed; what it spends is CPU seconds by method."""

    def __init__(self, store: EffectStore) -> None:
        self._store = store
        self.spent: dict[str, float] = defaultdict(float)

    def __getattr__(self, name: str) -> Any:
        return self.timed(name, getattr(self._store, name))

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            begun = time.process_time()
            try:
                return call(*arguments, **named)
            finally:
                self.spent[name] += time.process_time() - begun

        return run


def _timed_score(registry: Path | None, ontology: Ontology, timed: _Timed) -> Score | None:
    score = _score(registry, ontology)
    return None if score is None else timed.timed("score", score)


def _score(registry: Path | None, ontology: Ontology) -> Score | None:
    if registry is None:
        return None
    from models.handler import PointBatch, StageModelHandler

    handler = StageModelHandler(str(registry), ontology.stage_names)
    model = handler.load_model()

    def score(times: Any, matrix: Any) -> Any:
        (scored,) = handler.run_inference([PointBatch(times, matrix)], model)
        return scored.versions, scored.probabilities

    return score


def _drive(
    live: LiveJourneys, store: EffectStore, messages: list[StrandMessage], batch: int
) -> tuple[float, Counter[str]]:
    """CPU seconds, without those of acting, and what happened."""
    counts: Counter[str] = Counter()
    acting = 0.0

    def done(work: Work) -> None:
        nonlocal acting
        live.commit(work)
        counts.update(work.counts)
        counts["decisions"] += len(work.decisions)
        acted = time.process_time()
        rules = ActRules("dry-run", live.watermark)
        store.claim_actions([plan_action(decision, rules) for decision in work.decisions], Guards())
        acting += time.process_time() - acted

    begun = time.process_time()
    for start in range(0, len(messages), batch):
        some = messages[start : start + batch]
        now = some[-1].version
        done(live.apply(some, now))
        watermark = now - 2 * _SECOND
        while (due := live.dues.first()) is not None and due <= watermark:
            done(live.advance(watermark, now))
            counts["timers"] += 1
    return time.process_time() - begun - acting, counts


if __name__ == "__main__":
    main()
