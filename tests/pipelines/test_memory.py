"""The settings of the C library's memory."""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.memory import SETTINGS, share_memory

IMAGES = Path(__file__).resolve().parents[2] / "infra" / "flink" / "Dockerfile"


def test_workers_are_told_through_the_environment_and_the_user_has_the_last_word() -> None:
    environment = {"MALLOC_ARENA_MAX": "7"}
    share_memory(environment)
    assert environment["MALLOC_ARENA_MAX"] == "7"
    assert set(environment) == set(SETTINGS)


def test_workers_of_a_cluster_are_told_the_same_by_their_image() -> None:
    told = dict(re.findall(r"(MALLOC_\w+)=(\d+)", IMAGES.read_text(encoding="utf-8")))
    assert told == {name: str(value) for name, (_, value) in SETTINGS.items()}
