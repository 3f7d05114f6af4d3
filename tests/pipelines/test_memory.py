"""The settings of the C library's memory."""

from __future__ import annotations

from pipelines.memory import SETTINGS, share_memory


def test_workers_are_told_through_the_environment_and_the_user_has_the_last_word() -> None:
    environment = {"MALLOC_ARENA_MAX": "7"}
    share_memory(environment)
    assert environment["MALLOC_ARENA_MAX"] == "7"
    assert set(environment) == set(SETTINGS)
