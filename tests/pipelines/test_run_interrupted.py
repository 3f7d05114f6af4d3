"""A run that is interrupted at any moment leaves OUT as it was or whole, and the next one gives the same tables."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest
from run_world import Runs, assert_same, letters_of
from simulated import World

from benchmarks.interrupted import differences, run_command, struck

_MOMENTS = 3


@pytest.mark.long
def test_runs_interrupted_at_random_moments_leave_tables_that_answer_and_the_next_run_completes_them(
    runs: Runs, dirty_run: Runs, dirty_world: World, config_file: Path
) -> None:
    half = len(dirty_world.records) // 2
    began = time.monotonic()
    runs.run(dirty_world.records[:half])
    # a process has to load the engine too
    seconds = 2 * (time.monotonic() - began) + 3
    before, after = runs.views(), dirty_run.views()
    command = run_command([dirty_world.events], runs.out, config_file)
    chance, cut = random.Random(20), 0
    for n in range(_MOMENTS):
        kind = (signal.SIGKILL, signal.SIGINT)[n % 2]
        blow = struck(command, chance.uniform(0.2, 0.8) * seconds, kind)
        # Python itself ends by the signal where it hears it before the command begins, or after its end
        assert blow.code in ((0, 130, -signal.SIGINT) if kind == signal.SIGINT else (0, -signal.SIGKILL))
        cut += blow.code != 0
        found = runs.views()
        if found != before:
            assert_same(found, after)
            before = after
    assert cut, "no run was cut off"
    runs.run_files(dirty_world.events)
    assert_same(runs.views(), after)
    # who asks for erasure in the second half leaves letters of the first, which one run over all of it takes back
    differing = {one.table for one in differences(dirty_run.out, runs.out, config_file)}
    assert differing <= {"dead_letters", "expired_late"}
    assert letters_of(dirty_run) <= letters_of(runs)
