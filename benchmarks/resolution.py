"""Resolving identity in bulk: seconds, memory and the cost of a link at several sizes, and a poisoned identifier.

``python -m benchmarks.resolution --links 100000,1000000``. Each size is resolved in a process of its own, from links as
the bounded host has them to assignments and rows written out.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from contracts.event import SECOND, Identifier
from contracts.exchange import Link
from transforms.identity.resolve import resolve
from transforms.identity.rules_file import load_rules

RULES = Path(__file__).resolve().parent.parent / "ontology" / "identity.yaml"
START = 1_736_121_600_000_000


def links(count: int, seed: int = 7) -> Iterator[Link]:
    """About ``count`` links of people with devices, an address, some a record; one device in twenty is shared."""
    draw = random.Random(seed)
    made, person, shared = 0, 0, ""
    while made < count:
        person += 1
        user = Identifier("user_id", f"{person:032x}")
        ends = [Identifier("email_sha256", f"{person:x}e".rjust(32, "0"))]
        if draw.random() < 0.5:
            ends.append(Identifier("crm_id", f"{person:x}c".rjust(32, "0")))
        for device in range(draw.randint(1, 4)):
            name = f"{person:x}d{device}".rjust(32, "0")
            if draw.random() < 0.05 and shared:
                name = shared
            shared = name
            ends.append(Identifier("anonymous_id", name))
        for end in ends:
            at = START + draw.randrange(30 * 86_400) * SECOND
            yield Link(user, end, at, f"e{made}", at + SECOND, f"f{made}", at)
            made += 1


def poisoned(count: int) -> Iterator[Link]:
    """One address that ``count`` logins have, and one cookie that as many addresses have."""
    for n in range(count):
        at = START + n * SECOND
        user, mail = Identifier("user_id", f"{n:032x}"), Identifier("email_sha256", f"{n:032x}")
        yield Link(user, Identifier("email_sha256", "f" * 32), at, f"p{n}", at, f"p{n}", at)
        yield Link(mail, Identifier("anonymous_id", "f" * 32), at, f"q{n}", at, f"q{n}", at)


def measure(kind: str, count: int) -> dict[str, float]:
    """Resolve in this process; seconds of the clock and of CPU without the making of the links, and the peak."""
    rules = load_rules(RULES)
    given = list(poisoned(count) if kind == "poison" else links(count))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    clock, cpu = time.perf_counter(), time.process_time()
    resolution = resolve(given, rules)
    resolved, resolved_cpu = time.perf_counter() - clock, time.process_time() - cpu
    rows = sum(1 for _ in resolution.assignments()) + sum(1 for _ in resolution.identifiers())
    rows += sum(1 for _ in resolution.persons()) + sum(1 for _ in resolution.edges())
    return {
        "links": len(given),
        "rows": rows,
        "resolve": resolved,
        "resolve_cpu": resolved_cpu,
        "seconds": time.perf_counter() - clock,
        "cpu": time.process_time() - cpu,
        "peak_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 1e6,
    }


@click.command()
@click.option("--links", "sizes", default="100000,1000000", show_default=True, help="Sizes, separated by commas.")
@click.option("--poison", default=100_000, show_default=True, help="Others that share the poisoned identifiers.")
@click.option("--one", hidden=True, help="Measure one size in this process and print it as JSON: KIND:COUNT.")
def main(sizes: str, poison: int, one: str | None) -> None:
    """Measure the resolution of identity."""
    if one:
        what, _, number = one.partition(":")
        print(json.dumps(measure(what, int(number))))
        return
    asked = [("world", int(size)) for size in sizes.split(",")] + [("poison", poison)]
    found = []
    for kind, count in asked:
        command = [sys.executable, "-m", "benchmarks.resolution", "--one", f"{kind}:{count}"]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found.append((kind, json.loads(output)))
    table = Table("", *(f"{kind} {result['links']:,.0f} links" for kind, result in found))
    for key, words in (("resolve", "resolved, s"), ("seconds", "with all rows, s"), ("cpu", "CPU, s"),
                        ("peak_mb", "memory beyond the links, MB")):  # fmt: skip
        table.add_row(words, *(f"{result[key]:,.1f}" for _, result in found))
    table.add_row("CPU us a link", *(f"{result['cpu'] / result['links'] * 1e6:,.1f}" for _, result in found))
    Console().print(table)


if __name__ == "__main__":
    main()
