"""The wall clock: the one place where pipelines read it. Everything below takes a time, or a function like this one."""

from __future__ import annotations

import time


def now() -> int:
    """UTC microseconds."""
    return time.time_ns() // 1_000
