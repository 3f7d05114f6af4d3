"""Parity: the same events on every way that Wayline can take give the same tables.

``python -m benchmarks.parity [--worlds NAMES] [--ways NAMES] [--events DIR] [--out DIR]``. Each world goes through
``wayline run``, which is the measure, and through each way; tables are compared row by row, as ``wayline diff`` does,
and the ledger's totals with them. Decisions, actions and labels depend on what was known when: those of each way are
made again from their records. The exit code is 9 if anything differs.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.parity_model import a_third_in, registry_of_a_model
from benchmarks.parity_worlds import KEYS, SCORED, WORLDS, read_arrivals, write_arrivals
from contracts.event import Event
from pipelines import telemetry
from pipelines.definitions import load_definitions
from pipelines.run import run
from pipelines.run_options import RunOptions
from pipelines.stream import stream
from pipelines.stream_plan import StreamOptions
from pipelines.table_sink import DIRECT
from reports.record_replays import RecordReplays, replay_records
from reports.table_diff import Difference, chosen_tables, compare
from transforms.ledger import LedgerRow


@dataclass(frozen=True)
class Setting:
    """Where a world's ways run: their folder, the configuration, and a registry, if a model is in force."""

    root: Path
    config: Path | None = None
    registry: Path | None = None


@dataclass
class Walk:
    """One way being gone: events in, into one OUT, by one or several jobs."""

    setting: Setting
    name: str
    totals: list[LedgerRow]

    @property
    def out(self) -> Path:
        """Its output folder."""
        return self.setting.root / self.name

    def prepare(self) -> None:
        """An OUT that holds nothing but the keys."""
        shutil.rmtree(self.out, ignore_errors=True)
        (self.out / "keys").mkdir(parents=True)
        for name, key in KEYS.items():
            (self.out / "keys" / name).write_text(key, encoding="ascii")

    def bounded(self, events: Sequence[Event]) -> None:
        """``wayline run``."""
        options = RunOptions(
            (str(self._input(events)),),
            self.out,
            workers=1,
            config=self.setting.config,
            registry=self.setting.registry,
        )
        self.totals.append(run(options).total)

    def streamed(self, events: Sequence[Event], **options: Any) -> None:
        """``wayline stream``."""
        given = StreamOptions(
            self.out,
            inputs=(str(self._input(events)),),
            config=self.setting.config,
            registry=self.setting.registry,
            **options,
        )
        self.totals.append(stream(given).total)

    def _input(self, events: Sequence[Event]) -> Path:
        return write_arrivals(self.setting.root / "inputs" / f"{self.name}-{len(self.totals)}" / "events.avro", events)


Way = Callable[[Walk, Sequence[Event]], None]


def halves(events: Sequence[Event]) -> tuple[Sequence[Event], Sequence[Event]]:
    """The first and the second half of what was received, which overlap by a tenth of all."""
    return events[: len(events) * 55 // 100], events[len(events) * 45 // 100 :]


def _once(**options: Any) -> Way:
    return lambda walk, events: walk.streamed(events, **options)


def _run_stream(walk: Walk, events: Sequence[Event]) -> None:
    first, second = halves(events)
    walk.bounded(first)
    walk.streamed(second)


def _stream_stream(walk: Walk, events: Sequence[Event]) -> None:
    first, second = halves(events)
    walk.streamed(first)
    walk.streamed(second)


def _stream_run(walk: Walk, events: Sequence[Event]) -> None:
    first, second = halves(events)
    walk.streamed(first)
    walk.bounded(second)


WAYS: dict[str, Way] = {
    "flink": _once(),
    "flink-2": _once(parallelism=2),
    "by-person": _once(by_person=True),
    "sixteen-shards": _once(shards=16),
    "direct": _once(runner=DIRECT),
    "run-stream": _run_stream,
    "stream-stream": _stream_stream,
    "stream-run": _stream_run,
}
"""How else the events may come to the tables."""


@dataclass(frozen=True)
class Verdict:
    """What became of one world on one way: what differs, the ledger of the measure and of each job, what was decided
    and follows from its records."""

    differences: tuple[Difference, ...]
    measure: LedgerRow
    totals: tuple[LedgerRow, ...]
    replays: RecordReplays

    @property
    def is_equal(self) -> bool:
        """Tables and, of a way with one job, the ledger; and every decision, made again, is the same."""
        return not (self.differences or self.ledger_differs or self.replays.wrong or self.replays.impossible)

    @property
    def ledger_differs(self) -> bool:
        """Of one job all counts must agree. Of several each balances by itself, or it would have failed."""
        return len(self.totals) == 1 and replace(self.totals[0], source="") != replace(self.measure, source="")


def measure(setting: Setting, events: Sequence[Event]) -> Walk:
    """The bounded run of all events, which every way is compared with."""
    walk = Walk(setting, "bounded", [])
    walk.prepare()
    walk.bounded(events)
    return walk


def go(measured: Walk, name: str, events: Sequence[Event]) -> Verdict:
    """Take a way, and compare."""
    setting = measured.setting
    walk = Walk(setting, name, [])
    walk.prepare()
    WAYS[name](walk, events)
    return verdict_of(measured, walk)


def verdict_of(measured: Walk, walk: Walk) -> Verdict:
    """Compare a way that was gone with the measure."""
    definitions = load_definitions(measured.setting.config, None)
    found = compare(measured.out, walk.out, chosen_tables(definitions.tables, (), False), examples=3)
    replays = replay_records(walk.out, definitions.tables, definitions.policies)
    return Verdict(tuple(one for one in found if not one.equal), measured.totals[0], tuple(walk.totals), replays)


def told(verdict: Verdict) -> str:
    """What differs, in lines; nothing if it is equal."""
    lines = []
    for one in verdict.differences:
        lines.append(f"{one.table}: {one.rows_a}/{one.rows_b} rows, only measure {one.only_a}, only here {one.only_b}, "
                     f"differing {one.changed} {one.columns}")  # fmt: skip
        lines += [f"  {example.where} {example.key} {example.columns}" for example in one.examples]
    if verdict.ledger_differs:
        lines.append(f"ledger: {verdict.measure} is not {verdict.totals[0]}")
    lines += verdict.replays.wrong[:10]
    if verdict.replays.impossible:
        lines.append(f"{verdict.replays.impossible} decisions cannot be made again")
    return "\n".join(lines)


def main() -> int:
    """Go all the ways, and say what differed."""
    arguments = argparse.ArgumentParser(description="The same events on every way give the same tables.")
    arguments.add_argument("--worlds", default=",".join(name for name in WORLDS if name != "tiny"))
    arguments.add_argument("--ways", default=",".join(name for name in WAYS if name != "direct"))
    arguments.add_argument("--events", help="a folder of event files, in place of worlds")
    arguments.add_argument("--out", type=Path, default=Path("parity-out"))
    arguments.add_argument("--config", type=Path)
    arguments.add_argument("--registry", type=Path)
    asked = arguments.parse_args()
    telemetry.disable()
    worlds = {name: WORLDS[name] for name in asked.worlds.split(",")}
    if asked.events:
        worlds = {"given": lambda: read_arrivals([asked.events])}
    unequal = 0
    for name, make in worlds.items():
        events = make()
        if not events:
            print(f"{name}: skipped, its data is not here", flush=True)
            continue
        registry = asked.registry
        if registry is None and name == SCORED:
            shutil.rmtree(asked.out / "model", ignore_errors=True)
            registry = registry_of_a_model(asked.out / "model", a_third_in(events), asked.config)
        setting = Setting(asked.out / name, asked.config, registry)
        measured = measure(setting, events)
        print(f"{name}: {len(events)} events, {measured.totals[0]}", flush=True)
        for way in asked.ways.split(","):
            started = time.monotonic()
            verdict = go(measured, way, events)
            unequal += not verdict.is_equal
            word = "equal" if verdict.is_equal else "DIFFERS"
            made = verdict.replays
            print(
                f"  {way:14} {word:8} {time.monotonic() - started:6.1f} s   made again: {made.decisions} decisions, "
                f"{made.actions} actions, {made.labels} labels",
                flush=True,
            )
            if not verdict.is_equal:
                print(told(verdict), flush=True)
    return 9 if unequal else 0


if __name__ == "__main__":
    sys.exit(main())
