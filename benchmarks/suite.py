"""``make bench``: all parts at several sizes, as one JSON document and as the tables of a page.

``python -m benchmarks.suite --sizes 100000,1000000 --json bench-out/bench.json --write docs/performance.md``. The
pipeline is measured by ``benchmarks.pipeline``, on worlds that are simulated once; the views and data tests on what its
runs left; all others in a process of their own for each size, whose memory is that of the system (``ru_maxrss``).
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from benchmarks import pipeline
from benchmarks.figures import Part, Run, document, page_lines
from benchmarks.page_part import marked, renewed

if TYPE_CHECKING:
    from benchmarks.identity_store import Cost

MAKE = "make bench"
PIPELINE = "pipeline"
_FEW = 10
"""One in so many of the asked size shares what is poisoned."""


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _resolution(size: int) -> Run:
    """Links of an ordinary world, resolved at once."""
    return _resolved("world", size, size)


def _poisoned(size: int) -> Run:
    """An address with many logins, and a cookie with many addresses."""
    return _resolved("poison", size, max(1, size // _FEW))


def _resolved(kind: str, asked: int, count: int) -> Run:
    from benchmarks.resolution import measure

    found = measure(kind, count)
    links = int(found["links"])
    steps = {"resolve": found["resolve_cpu"], "rows": found["cpu"] - found["resolve_cpu"]}
    each = {name: spent / links * 1e6 for name, spent in steps.items()}
    return Run(asked, links, found["seconds"], found["cpu"], _peak(), each)


def _link_stage(size: int) -> Run:
    return _link_steps(size, with_store=False)


def _link_stage_with_store(size: int) -> Run:
    return _link_steps(size, with_store=True)


def _link_steps(size: int, *, with_store: bool) -> Run:
    from benchmarks.identity_scale import measure

    found = measure(size, with_store=with_store)
    links, steps = found["links"], found["steps"]
    seconds, cpu = sum(step.clock for step in steps), sum(step.cpu for step in steps)
    return Run(size, links, seconds, cpu, _peak(), {step.name: step.cpu / links * 1e6 for step in steps})


def _store_filled(size: int) -> Run:
    """The identity store: what fills it, as a run does and in one piece."""
    from benchmarks.identity_store import RULES, loads
    from transforms.identity.rules_file import load_rules

    return _of_costs(size, loads(size, load_rules(RULES)))


def _store_linked(size: int) -> Run:
    """The identity store, so full: some thousand links more, in batches."""
    from benchmarks.identity_store import RULES, linking
    from transforms.identity.rules_file import load_rules

    return _of_costs(size, {"link": linking(size, load_rules(RULES))})


def _of_costs(size: int, found: Mapping[str, Cost]) -> Run:
    links = sum(cost.links for cost in found.values())
    each = {name: cost.cpu / cost.links * 1e6 for name, cost in found.items()}
    seconds, cpu = sum(cost.clock for cost in found.values()), sum(cost.cpu for cost in found.values())
    return Run(size, links, seconds, cpu, _peak(), each)


def _views(size: int) -> Run:
    """Each view whole, and the data tests, on what the run of this size left."""
    from benchmarks.views import costs

    out = pipeline.FOLDER / f"run-{size}"
    if not (out / "tables").is_dir():
        raise click.ClickException(f"there is no {out}: views are measured on what the part {PIPELINE} leaves")
    events, found = costs(out)
    seconds, cpu = sum(cost.seconds for cost in found), sum(cost.cpu for cost in found)
    return Run(size, events, seconds, cpu, _peak(), {cost.name: cost.cpu / events * 1e6 for cost in found})


PARTS: dict[str, tuple[str, Callable[[int], Run] | None]] = {
    PIPELINE: ("events", None),
    "views": ("events", _views),
    "resolution": ("links", _resolution),
    "poison": ("links", _poisoned),
    "link stage": ("links", _link_stage),
    "link stage with store": ("links", _link_stage_with_store),
    "identity store, filled": ("links", _store_filled),
    "identity store, link by link": ("links", _store_linked),
}
"""Name to unit and measure; the pipeline starts processes of its own."""


@click.command()
@click.option("--sizes", default="100000,1000000", show_default=True, help="Events, links, identifiers; by commas.")
@click.option("--parts", default="; ".join(PARTS), show_default=True, help="What to measure, separated by semicolons.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the document there.")
@click.option("--write", "page", type=click.Path(path_type=Path), help="Renew the tables of this page.")
@click.option("--one", hidden=True, help="Measure PART:SIZE in this process and print it as JSON.")
def main(sizes: str, parts: str, json_file: Path | None, page: Path | None, one: str | None) -> None:
    """Measure every part at several sizes."""
    if one:
        name, _, size = one.partition(":")
        print(json.dumps(asdict(_measured_here(name, int(size)))))
        return
    console = Console()
    asked, names = sorted(int(size) for size in sizes.split(",")), [name.strip() for name in parts.split(";")]
    if unknown := [name for name in names if name not in PARTS]:
        raise click.BadParameter(f"no part is called {unknown[0]!r}; there are {'; '.join(PARTS)}")
    whole = pipeline.measure(console, asked, None, model=True) if PIPELINE in names else []
    done = [Part(name, PARTS[name][0], _runs(console, name, asked, whole)) for name in names]
    command = f"python -m benchmarks.suite --sizes {sizes}"
    command += "" if names == list(PARTS) else f" --parts '{parts}'"
    about = (command, os.cpu_count(), platform.python_version())
    lines = page_lines(done, *about)
    console.print("\n".join(lines), markup=False, soft_wrap=True)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(document(done, *about), indent=2) + "\n", encoding="utf-8")
    if page is not None:
        text = renewed(page.read_text(encoding="utf-8"), marked(MAKE, lines))
        if whole:
            text = renewed(text, marked(pipeline.MAKE, pipeline.page_lines(whole, command, os.cpu_count())))
        page.write_text(text, encoding="utf-8")


def _measured_here(name: str, size: int) -> Run:
    """A part in this process, as a worker would have it."""
    from transforms.collector import relax_collector

    measure = PARTS[name][1]
    if measure is None:
        raise click.ClickException(f"{name} starts processes of its own")
    relax_collector()
    return measure(size)


def _runs(console: Console, name: str, sizes: Sequence[int], whole: Sequence[pipeline.Result]) -> tuple[Run, ...]:
    if name == PIPELINE:
        return tuple(_of_pipeline(size, result) for size, result in zip(sizes, whole, strict=True))
    found = []
    for size in sizes:
        console.print(f"{name}: {size:,}")
        command = [sys.executable, "-m", "benchmarks.suite", "--one", f"{name}:{size}"]
        with tempfile.TemporaryFile("w+") as noise:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=noise, text=True)
            noise.seek(0)
            if done.returncode:
                raise click.ClickException(f"{name} at {size:,} ended with {done.returncode}:\n{noise.read()}")
        found.append(Run(**json.loads(done.stdout.splitlines()[-1])))
    return tuple(found)


def _of_pipeline(asked: int, result: pipeline.Result) -> Run:
    used = result.usage
    steps = {name: result.of(name) for name in result.profile}
    return Run(asked, result.received, used.seconds, used.cpu, used.peak, steps)


if __name__ == "__main__":
    main()
