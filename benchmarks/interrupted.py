"""``python -m benchmarks.interrupted``: a run that is interrupted again and again, then left to end.

A world is run once undisturbed. Into another folder, which holds the first half of it, the whole is run again and again
and each time interrupted at a random moment: by turns SIGINT to its process group, as Ctrl-C gives it, and ``kill -9``
of the group. After each, every view must answer. What was committed all the same, and the last, is run to the end, must
then show the same tables as the undisturbed run, and begins again from the half. Input: none. Output: a line a
blow, printed; exit code 1 when something differs. Time domain: the wall clock. State: a folder of its own, removed in
the end.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.definitions import load_definitions
from reports.table_diff import Difference, chosen_tables, compare
from transforms.tables.views import fetch, open_views

_PATIENCE = 120.0
_SMALL = "shards: {strand: 4, journey: 4}\n"
KEY = "5c" * 32


@dataclass(frozen=True, slots=True)
class Blow:
    """What was done to a run and how it ended; ``code`` as ``subprocess`` has it, 0 where it had ended before."""

    after: float
    kind: signal.Signals
    code: int


def run_command(events: Sequence[Path], out: Path, config: Path) -> list[str]:
    """The run, in two worker processes, so that there is more than one to be killed."""
    command = [sys.executable, "-m", "pipelines.cli", "run", "--out", str(out), "--config", str(config)]
    return [*command, "--workers", "2", *(part for path in events for part in ("--input", str(path)))]


def struck(command: Sequence[str], after: float, kind: signal.Signals) -> Blow:
    """Start a command in a group of its own and give the group a signal after so many seconds, if it still runs."""
    # a shell starts what runs in its background deaf to Ctrl-C, and a process hands that on to those it starts
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            command,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )
    finally:
        signal.signal(signal.SIGINT, heard)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, kind)
    try:
        return Blow(after, kind, process.wait(_PATIENCE))
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def counts(out: Path, config: Path) -> dict[str, int]:
    """Rows of every view that refolding makes; each is asked, so each must answer."""
    tables = load_definitions(config).tables
    connection = open_views(out, tables)
    try:
        return {table.name: fetch(connection, f"SELECT count(*) FROM {table.name}")[1][0][0] for table in tables}
    finally:
        connection.close()


def differences(a: Path, b: Path, config: Path) -> list[Difference]:
    """What ``wayline diff`` finds between two folders."""
    tables = chosen_tables(load_definitions(config).tables, (), False)
    return [one for one in compare(a, b, tables) if not one.equal]


def make_keys(out: Path) -> None:
    """The same keys for both folders, so that their tables can be compared."""
    (out / "keys").mkdir(parents=True)
    for name in ("pseudonym", "dead_letter"):
        (out / "keys" / f"{name}.key").write_text(KEY, encoding="ascii")


def main() -> None:
    """Interrupt, compare, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--customers", type=int, default=40)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--within", type=float, help="Seconds in which to strike; else those of a run undisturbed.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        sys.exit(_trial(Path(work), given.times, given.customers, random.Random(given.seed), given.within))


def _trial(work: Path, times: int, customers: int, chance: random.Random, within: float | None) -> int:
    from sources.simulator.config import WorldConfig
    from sources.simulator.world import simulate

    config = work / "wayline.yaml"
    config.write_text(_SMALL, encoding="utf-8")
    simulate(WorldConfig(customers=customers, days=10, seed=4, malformed_share=0.02), work / "world")
    parts = sorted((work / "world" / "events").glob("*.avro"))
    whole, half, struck_at = work / "whole", work / "half", work / "struck"
    for out in (whole, half):
        make_keys(out)
    subprocess.run(run_command(parts, whole, config), check=True, stdout=subprocess.DEVNULL)
    subprocess.run(run_command(parts[: max(len(parts) // 2, 1)], half, config), check=True, stdout=subprocess.DEVNULL)
    shutil.copytree(half, struck_at)
    before, cut, found = counts(half, config), 0, 0
    seconds = _complete(parts, whole, struck_at, config)[0]
    shutil.rmtree(struck_at)
    shutil.copytree(half, struck_at)
    print(f"undisturbed: {seconds:.1f} s", flush=True)
    # on a machine with much else to do one run is no measure of the next
    seconds = within or seconds
    for n in range(times):
        kind = (signal.SIGINT, signal.SIGKILL)[n % 2]
        blow = struck(run_command(parts, struck_at, config), chance.uniform(0.05, 1.0) * seconds, kind)
        cut += blow.code != 0
        committed = counts(struck_at, config) != before
        state = "whole" if committed else "as before"
        if committed or n == times - 1:
            _, differing = _complete(parts, whole, struck_at, config)
            found += differing
            state += ", and after the next run " + ("NOT the same" if differing else "the same")
            shutil.rmtree(struck_at)
            shutil.copytree(half, struck_at)
        print(f"{n + 1}: {kind.name} after {blow.after:.1f} s, exit {blow.code}, tables {state}", flush=True)
    print(f"{cut} of {times} runs were cut off; {'the tables differ' if found else 'the tables are the same'}")
    return 1 if found else 0


def _complete(parts: Sequence[Path], whole: Path, out: Path, config: Path) -> tuple[float, int]:
    """Run to the end: seconds, and how many tables differ from those of the undisturbed run."""
    began = time.monotonic()
    subprocess.run(run_command(parts, out, config), check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    differing = differences(whole, out, config)
    for one in differing:
        print(f"differs: {one}")
    return seconds, len(differing)


if __name__ == "__main__":
    main()
