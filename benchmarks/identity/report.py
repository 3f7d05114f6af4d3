"""The figures as tables for a terminal, and as the generated part of ``docs/accuracy.md``."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from benchmarks.identity.causes import CAUSES
from benchmarks.identity.compare import KNOWABLE, NAIVE, Column, Comparison
from benchmarks.page_part import marked

COMMAND = "make accuracy"
_TITLES = {NAIVE: "naive union", KNOWABLE: "all that can be known"}


@dataclass(frozen=True)
class WorldFigures:
    """One world with what was measured on it. ``about`` says in a few words what kind of world it is."""

    name: str
    about: str
    command: str
    figures: Comparison


def share(value: float) -> str:
    """Four decimals, rounded down: only what is right without exception is 1.0000."""
    return f"{math.floor(value * 10_000 + 1e-9) / 10_000 if value < 1 else 1.0:.4f}"


def measures(columns: Sequence[Column]) -> list[tuple[str, list[str]]]:
    """The rows of measures: what each is called, and its value for each column."""
    rows: list[tuple[str, list[str]]] = []
    for name, field in (("events", "events"), ("pairs", "pairs"), ("B-cubed", "b_cubed")):
        for part, attribute in (("precision", "precision"), ("recall", "recall"), ("F1", "f1")):
            values = [share(getattr(getattr(column, field), attribute)) for column in columns]
            rows.append((f"{name}: {part}", values))
    rows.append(("persons found", [f"{column.persons:,}" for column in columns]))
    return rows


def errors(columns: Sequence[Column]) -> list[tuple[str, bool, list[str]]]:
    """The rows of causes that occur: name, whether unavoidable, and the events of each column."""
    rows = [
        (cause.name, cause.unavoidable, [f"{column.causes[number]:,}" for column in columns])
        for number, cause in enumerate(CAUSES)
        if any(column.causes[number] for column in columns)
    ]
    return sorted(rows, key=lambda row: row[1])


def summary(figures: Comparison) -> str:
    """What the world holds, as one sentence."""
    copies = figures.rejected["duplicate"]
    late = figures.rejected["expired_late"]
    other = sum(figures.rejected.values()) - copies - late
    text = (
        f"{figures.events:,} events of {figures.persons:,} people on {figures.devices:,} cookies and apps, "
        f"{figures.shared:,} of them used by several; received {figures.received:,} records, of which {copies:,} were "
        f"copies, {late:,} too late, {other:,} broken"
    )
    return text + (f"; {figures.erased:,} events were erased on request" if figures.erased else "")


def title(column: Column) -> str:
    return _TITLES.get(column.name, column.name)


def terminal(world: WorldFigures) -> list[Table]:
    """Two tables: measures, and errors by cause."""
    columns = world.figures.columns
    quality = Table(title=f"{world.name}: {world.about}", title_justify="left", caption_justify="left")
    quality.caption = summary(world.figures)
    quality.add_column("")
    causes = Table(title=f"{world.name}: events not with their person, by cause", title_justify="left")
    causes.add_column("cause")
    causes.add_column("avoidable")
    for column in columns:
        quality.add_column(title(column), justify="right")
        causes.add_column(title(column), justify="right")
    for number, (name, values) in enumerate(measures(columns)):
        if number and number % 3 == 0:
            quality.add_section()
        quality.add_row(name, *values)
    for name, unavoidable, values in errors(columns):
        causes.add_row(name, "no" if unavoidable else "yes", *values)
    causes.add_section()
    causes.add_row("all", "", *(f"{column.errors:,}" for column in columns))
    return [quality, causes]


def block(worlds: Sequence[WorldFigures], command: str, versions: Sequence[str]) -> str:
    """The generated part of the page, with its markers."""
    lines = ["```", command, "```", ""]
    rules = f"Rules: {', '.join(f'`{version}`' for version in versions)}."
    lines += [*textwrap.wrap(rules, 120, break_on_hyphens=False), ""]
    for world in worlds:
        columns = world.figures.columns
        heads = " | ".join(title(column) for column in columns)
        lines += [f"### World {world.name}: {world.about}", "", "```", world.command, "```", ""]
        lines += [*_wrapped(summary(world.figures) + "."), ""]
        lines += [f"| | {heads} |", "|---|" + "---:|" * len(columns)]
        lines += [f"| {name} | {' | '.join(values)} |" for name, values in measures(columns)]
        rows = errors(columns)
        if rows:
            lines += ["", f"| not with their person, because | avoidable | {heads} |"]
            lines += ["|---|---|" + "---:|" * len(columns)]
            lines += [f"| `{n}` | {'no' if u else 'yes'} | {' | '.join(values)} |" for n, u, values in rows]
            lines.append(f"| all | | {' | '.join(f'{column.errors:,}' for column in columns)} |")
        else:
            lines += ["", "No event is with another person than its own."]
        lines.append("")
    return marked(COMMAND, lines[:-1])


def _wrapped(text: str) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > 120:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]
