"""How far the link stage of a bounded run reaches: its steps over links of N identifiers, and the memory they need.

``python -m benchmarks.identity_scale --identifiers 1000000``. The DoFns of ``transforms.link`` run one after the other
in one process, as one worker would run them; what goes from one to the next lies on the disk in batches, as a runner
would have it. Once without the identity store and once with it, each in a process of its own, whose peak is that of
the system (``ru_maxrss``). Making the links is a step of its own and costs what it costs.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
from apache_beam import pvalue
from apache_beam.utils.windowed_value import WindowedValue
from rich.console import Console
from rich.table import Table

from benchmarks.identity_store import Stream
from contracts import wire
from contracts.exchange import LinkBatch
from transforms.collector import relax_collector
from transforms.identity.ids import DEFAULT_SHARDS
from transforms.identity.rules import IdentityRules
from transforms.identity.rules_file import load_rules
from transforms.link import CROWD, PAIRS, ROWS, FindComponents, MergeLinks, ResolveLinks, RouteLinks
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.identity import open_identity

RULES = Path(__file__).resolve().parent.parent / "ontology" / "identity.yaml"
_CHUNK = 50_000
"""Links in a bundle."""


class Step(NamedTuple):
    """One step: seconds of CPU and of the clock, and the peak of the process until its end, MB."""

    name: str
    cpu: float
    clock: float
    peak_mb: float


class Spool:
    """Elements by key on the disk: what a runner keeps of a shuffle."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self.bytes = 0

    def put(self, key: bytes, content: bytes) -> None:
        with self._path(key).open("ab") as file:
            file.write(len(content).to_bytes(4, "big") + content)
        self.bytes += len(content)

    def held(self) -> list[bytes]:
        return [bytes.fromhex(path.name[1:]) for path in sorted(self._folder.iterdir())]

    def of(self, key: bytes) -> Iterator[bytes]:
        with self._path(key).open("rb") as file:
            while head := file.read(4):
                yield file.read(int.from_bytes(head, "big"))

    def _path(self, key: bytes) -> Path:
        return self._folder / f"k{key.hex()}"

    def clear(self, key: bytes) -> None:
        self._path(key).unlink()


class Run:
    """The stage over ``identifiers``, in ``folder``."""

    def __init__(self, identifiers: int, rules: IdentityRules, folder: Path, store: StoreAddress | None) -> None:
        self._rules, self._folder, self._store = rules, folder, store
        self._persons = identifiers // 4
        self.links = self.identifiers = 0
        self.steps: list[Step] = []
        self._pairs, self._merged = Spool(folder / "pairs"), Spool(folder / "merged")
        self._routed, self._written = Spool(folder / "routed"), Spool(folder / "written")
        self._crowd = b""

    def all(self) -> None:
        """All steps, in order."""
        self._merge()
        for name, step in (("components", self._find), ("route", self._route), ("resolve", self._resolve)):
            cpu, clock = time.process_time(), time.perf_counter()
            step()
            self._done(name, time.process_time() - cpu, time.perf_counter() - clock)

    def _done(self, name: str, cpu: float, clock: float) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        self.steps.append(Step(name, cpu, clock, peak))
        print(f"{name}: {cpu:.1f} s CPU, {clock:.1f} s, peak {peak:,.0f} MB", file=sys.stderr, flush=True)

    def _merge(self) -> None:
        """Links are made and merged in turn; only the merging counts."""
        stream, stage = Stream(self._rules), MergeLinks(self._rules, DEFAULT_SHARDS)
        cpu = clock = 0.0
        # a person has four identifiers, and somewhat more than three links
        left = self._persons * 305 // 100
        while left > 0:
            links = stream.take(min(_CHUNK, left))
            left -= len(links)
            self.links += len(links)
            began, started = time.process_time(), time.perf_counter()
            stage.start_bundle()
            self._take_merged(stage.process(LinkBatch(tuple(links))))
            self._take_merged(stage.finish_bundle())
            cpu, clock = cpu + time.process_time() - began, clock + time.perf_counter() - started
        self._done("merge", cpu, clock)

    def _take_merged(self, made: Iterable[Any]) -> None:
        for element in made:
            tag = element.tag if isinstance(element, pvalue.TaggedOutput) else None
            value = element.value if tag or isinstance(element, WindowedValue) else element
            key, content = value.value if isinstance(value, WindowedValue) else value
            (self._pairs if tag == PAIRS else self._merged).put(key, content)

    def _find(self) -> None:
        stage = FindComponents(self._rules, DEFAULT_SHARDS)
        (key,) = self._pairs.held()
        for made in stage.process((key, self._pairs.of(key)), []):
            if isinstance(made, pvalue.TaggedOutput):
                if made.tag == CROWD:
                    self._crowd = made.value
            else:
                self._merged.put(*made)

    def _route(self) -> None:
        stage = RouteLinks()
        for key in self._merged.held():
            for part, batch in stage.process((key, self._merged.of(key))):
                self._routed.put(part, wire.pack_compressed(batch))
            self._merged.clear(key)

    def _resolve(self) -> None:
        if self._store is not None:
            identity = open_identity(self._store, self._rules)
            identity.adopt()
            identity.close()
        stage = ResolveLinks(self._rules, DEFAULT_SHARDS, 1, self._store)
        stage.start_bundle()
        for part in self._routed.held():
            batches = (wire.unpack_compressed(LinkBatch, content) for content in self._routed.of(part))
            for made in stage.process((part, batches), self._crowd, []):
                if isinstance(made, pvalue.TaggedOutput):
                    assert made.tag == ROWS
                    key, rows = made.value
                    self.identifiers += len(rows.identifiers)
                    self._written.put(key, wire.pack_compressed(rows))
                else:
                    self._written.put(*made)
            self._routed.clear(part)
        stage.finish_bundle()


def measure(identifiers: int, *, with_store: bool) -> dict[str, Any]:
    """Run the stage in this process."""
    relax_collector()
    with tempfile.TemporaryDirectory() as folder:
        store = StoreAddress(Path(folder) / STORE_FILE) if with_store else None
        run = Run(identifiers, load_rules(RULES), Path(folder), store)
        run.all()
        size = 0 if store is None or store.path is None else store.path.stat().st_size
    return {"links": run.links, "identifiers": run.identifiers, "steps": run.steps, "store_mb": size / 1e6}


@click.command()
@click.option("--identifiers", default=1_000_000, show_default=True, help="How many there are, about.")
@click.option("--store", "modes", type=click.Choice(["without", "with", "both"]), default="both", show_default=True)
@click.option("--one", is_flag=True, hidden=True, help="Measure one mode in this process and print it as JSON.")
def main(identifiers: int, modes: str, one: bool) -> None:
    """Measure the link stage of a bounded run."""
    if one:
        print(json.dumps(measure(identifiers, with_store=modes == "with")))
        return
    for mode in ("without", "with") if modes == "both" else (modes,):
        command = [sys.executable, "-m", "benchmarks.identity_scale", "--one", "--store", mode]
        command += ["--identifiers", str(identifiers)]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        title = f"{found['identifiers']:,} identifiers, {found['links']:,} links, {mode} the store"
        table = Table("step", "CPU, s", "clock, s", "links/s of CPU", "peak until then, MB", title=title)
        steps = [Step(*step) for step in found["steps"]]
        total = Step("all", sum(s.cpu for s in steps), sum(s.clock for s in steps), steps[-1].peak_mb)
        for step in (*steps, total):
            rate = f"{found['links'] / step.cpu:,.0f}"
            table.add_row(step.name, f"{step.cpu:,.1f}", f"{step.clock:,.1f}", rate, f"{step.peak_mb:,.0f}")
        Console().print(table)
        if mode == "with":
            print(f"the store takes {found['store_mb']:,.0f} MB of disk")


if __name__ == "__main__":
    main()
