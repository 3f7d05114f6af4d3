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
from collections import Counter
from pathlib import Path
from typing import Any

import click

from contracts.event import DAY, HOUR, Identifier
from contracts.exchange import APPEND, StrandMessage
from contracts.tables import feature_tables
from features.journey_features import feature_columns
from pipelines.definitions import load_definitions
from transforms.actions import ActRules, plan_action
from transforms.collector import relax_collector
from transforms.identity.ids import canonical_id, strand_id
from transforms.journey.live.journeys import LiveJourneys, Work
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
        live = LiveJourneys(settings, _score(registry, definitions.ontology), store)
        half = len(messages) // 2
        first = _drive(live, store, messages[:half], batch)
        profiler = cProfile.Profile()
        if profile:
            profiler.enable()
        second = _drive(live, store, messages[half:], batch)
        profiler.disable()
        store.close()
    print(f"{len(messages)} events, {len(live.records)} persons, {batch} events a batch")
    for name, (spent, counts) in (("first half", first), ("second half", second)):
        print(f"{name}: {spent * 1e6 / half:.0f} us of CPU an event; {dict(counts)}")
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
        while (due := live.next_due()) is not None and due <= watermark:
            done(live.advance(watermark, now))
            counts["timers"] += 1
    return time.process_time() - begun - acting, counts


if __name__ == "__main__":
    main()
