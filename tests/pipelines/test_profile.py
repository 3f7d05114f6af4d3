"""The profile of a run knows every stage of the graph."""

from __future__ import annotations

from pathlib import Path

from pipelines.profile import STAGES, profile

BOOKKEEPING = {
    "AllCounts", "AllDeadLetters", "AllEffects", "DecisionLedger", "KeepMarks", "Ledger", "Marks", "Purge",
    "Tombstones",
}  # fmt: skip


def test_every_transform_is_counted_with_a_stage_or_is_bookkeeping() -> None:
    labels = Path(__file__).with_name("labels.txt").read_text(encoding="utf-8").split()
    counted = {word for words in STAGES.values() for word in words}
    assert {label.partition("/")[0] for label in labels} - counted - BOOKKEEPING == set()


def test_a_runner_that_samples_nothing_gives_an_empty_profile() -> None:
    assert profile(object()) == {}
