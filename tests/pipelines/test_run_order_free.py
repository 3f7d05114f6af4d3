"""Promise 1: the tables are a pure function of the set of events, whatever their order, repetition and batches."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from run_world import Record, Runs, assert_same, letters_of, shuffled


def split(records: Sequence[Record], parts: int, seed: int) -> list[list[Record]]:
    """Records dealt out at random."""
    chance = random.Random(seed)
    dealt: list[list[Record]] = [[] for _ in range(parts)]
    for record in records:
        chance.choice(dealt).append(record)
    return dealt


def test_order_repetition_shards_and_workers_change_nothing(
    runs: Runs, dirty_run: Runs, dirty_world, tmp_path: Path
) -> None:
    config = tmp_path / "other.yaml"
    config.write_text("shards: {strand: 7, journey: 1}\n", encoding="utf-8")
    records = dirty_world.records
    runs.run(shuffled([*records, *records[::2]], seed=1), config=config, workers=2)
    assert_same(runs.views(), dirty_run.views())
    assert_same(runs.views(["dead_letters"]), dirty_run.views(["dead_letters"]))
    assert_same(runs.views(["expired_late"]), dirty_run.views(["expired_late"]))


def test_batches_in_any_order_into_one_folder_change_nothing(runs: Runs, dirty_run: Runs, dirty_world) -> None:
    for batch in split(dirty_world.records, 3, seed=2):
        runs.run(batch)
    assert_same(runs.views(), dirty_run.views())
    assert letters_of(dirty_run) <= letters_of(runs)


def test_the_newest_events_first_change_nothing(runs: Runs, dirty_run: Runs, dirty_world, tmp_path: Path) -> None:
    config = tmp_path / "other.yaml"
    config.write_text("shards: {strand: 2, journey: 3}\n", encoding="utf-8")
    ordered = sorted(dirty_world.records, key=lambda record: record["event_time"], reverse=True)
    half = len(ordered) // 2
    runs.run([*ordered[:half], *ordered[half - 40 : half]], config=config)
    runs.run(ordered[half - 40 :])
    assert_same(runs.views(), dirty_run.views())
