"""Measuring a command from outside: time, CPU of it and its children, and the most memory they held together.

Linux only: memory is read from ``/proc``. A page that several processes share is counted once, in parts (PSS).
"""

from __future__ import annotations

import os
import resource
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_EVERY = 1.0
"""Seconds between two looks at the memory; a look costs some milliseconds a process."""


@dataclass(frozen=True)
class Usage:
    """What a command used. ``seconds`` of the clock, ``cpu`` seconds, ``peak`` bytes."""

    seconds: float
    cpu: float
    peak: int
    output: str
    code: int


def measured(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Usage:
    """Run a command to its end. Its standard error passes through; a failure shows in ``code``."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    process = subprocess.Popen(
        list(command), stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
    )
    watch = _Watch(process.pid)
    watch.start()
    output, _ = process.communicate()
    watch.stop()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Usage(time.monotonic() - started, cpu, watch.peak, output, process.returncode)


class _Watch(threading.Thread):
    """Looks at the memory of a process and all below it until told to stop."""

    def __init__(self, pid: int) -> None:
        super().__init__(name="memory watch", daemon=True)
        self.peak = 0
        self._pid = pid
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(_EVERY):
            self.peak = max(self.peak, sum(map(memory_of, family(self._pid))))

    def stop(self) -> None:
        self._done.set()
        self.join()


def family(pid: int) -> list[int]:
    """A process and all its descendants that live now."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in children:
            found += family(int(child))
    return found


def memory_of(pid: int) -> int:
    """Bytes of memory that a process holds, shared pages in parts; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
