"""How right identity is, on simulated worlds of known truth: what ``make accuracy`` runs.

``python -m benchmarks.accuracy --customers 100000``. Worlds are simulated once into ``accuracy-out/``; identity alone
is run on each (read, validate, protect, link, resolve, assign), under each owner policy of the shipped rules or under
the rule files given, beside a naive union of identifiers and the best that can be known. ``docs/accuracy.md`` explains
the measures.
"""

from __future__ import annotations

import resource
import time
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console

from benchmarks.identity.compare import compare, variants
from benchmarks.identity.report import WorldFigures, block, terminal
from benchmarks.page_part import renewed
from contracts.errors import InputError
from sources.simulator.config import WORLDS, WorldConfig, load_world
from sources.simulator.world import simulate
from transforms.identity.rules import IdentityRules
from transforms.identity.rules_file import load_rules

FOLDER = Path("accuracy-out")
SHIPPED = Path("ontology/identity.yaml")
_WIDTH = 120
ABOUT = {
    "clean": "every device logs in, none is shared",
    "shared": "as clean, but 5 % of the devices have two users",
    "quiet": "as shared, but most visits do not log in",
    "default": "households, kiosks, cleared cookies, people without accounts",
}


@click.command()
@click.option("--customers", type=click.IntRange(1), default=100_000, show_default=True)
@click.option("--days", type=click.IntRange(1), default=30, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=7, show_default=True)
@click.option("--worlds", default=",".join(ABOUT), show_default=True, help="Separated by commas.")
@click.option(
    "--rules",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A rule file to compare, as it is; may be repeated. Default: the shipped file under each owner policy.",
)
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Processes that read.")
@click.option("--write", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Page to renew.")
def main(
    customers: int, days: int, seed: int, worlds: str, files: tuple[Path, ...], workers: int, write: Path | None
) -> None:
    """Measure identity against the truth."""
    console = Console(width=max(Console().width, _WIDTH))
    names = worlds.split(",")
    for name in names:
        if name not in ABOUT:
            raise click.BadParameter(f"{name!r} is none of {', '.join(ABOUT)}", param_hint="--worlds")
    rules = _rules(files)
    made = f"python -m benchmarks.accuracy --customers {customers} --days {days} --seed {seed} --worlds {worlds}"
    made += "".join(f" --rules {path}" for path in files)
    results: list[WorldFigures] = []
    for name in names:
        config = WorldConfig(**{**WORLDS[name], "customers": customers, "days": days, "seed": seed, "codec": "null"})
        begun = time.monotonic()
        figures = compare(_world(console, name, config), rules, workers, lambda step: console.print(f"  {step}"))
        command = f"wayline simulate --world {name} --customers {customers} --days {days} --seed {seed} --out WORLD"
        results.append(WorldFigures(name, ABOUT[name], command, figures))
        for table in terminal(results[-1]):
            console.print(table)
        console.print(f"{time.monotonic() - begun:.0f} s, at most {_peak_mb(workers):,.0f} MB of memory\n")
        if write is not None:
            # after each world: a long run that is cut short leaves what it measured
            text = block(results, made, sorted({some.version for some in rules.values()}))
            write.write_text(renewed(write.read_text(encoding="utf-8"), text), encoding="utf-8")
            console.print(f"written to {write}")


def _rules(files: tuple[Path, ...]) -> dict[str, IdentityRules]:
    if not files:
        return variants(SHIPPED)
    rules: dict[str, IdentityRules] = {}
    for path in files:
        some = load_rules(path)
        if some.name in rules:
            raise click.BadParameter(f"two rule files are called {some.name!r}", param_hint="--rules")
        rules[some.name] = some
    return rules


def _world(console: Console, name: str, config: WorldConfig) -> Path:
    """The world, made now unless the folder holds the very same one."""
    world = FOLDER / f"{name}-{config.customers}"
    try:
        if asdict(load_world(world).config) == asdict(config):
            return world
    except InputError:
        console.print(f"simulating the {name} world of {config.customers:,} people")
    else:
        console.print(f"simulating the {name} world again, since other settings were asked for")
    simulate(config, world, overwrite=True)
    return world


def _peak_mb(workers: int) -> float:
    """An upper bound of memory: the peak of this process, and as much as the largest reader had for each of them."""
    own, reader = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return (own + workers * reader) / 1024


if __name__ == "__main__":
    main()
