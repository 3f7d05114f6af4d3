"""What ``make bench`` tells of its parts: one JSON document for machines, and the tables of a page. Pure.

Input: ``Part``s with their runs, smallest first. Output: a dictionary for JSON, lines of Markdown. Costs are CPU
microseconds of one unit of the part (an event, a link), memory is bytes. Errors, state: none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MOST = 8
"""Steps of a part that the page tells, dearest first; the document has all."""
_ELSEWHERE = frozenset({"pipeline"})
"""Parts whose steps have a table of their own on the page."""


@dataclass(frozen=True)
class Run:
    """A part at one size.

    Attributes:
        asked: the size that was asked for; ``count`` how many units there were.
        seconds: of the clock; ``cpu`` of all processes together.
        peak: most memory that all processes held together.
        steps: CPU microseconds a unit of each step.
    """

    asked: int
    count: int
    seconds: float
    cpu: float
    peak: int
    steps: Mapping[str, float]

    @property
    def cost(self) -> float:
        """CPU microseconds a unit, everything included."""
        return self.cpu / self.count * 1e6


@dataclass(frozen=True)
class Part:
    """What was measured: its name, what one unit is, and its runs."""

    name: str
    unit: str
    runs: tuple[Run, ...]


def document(parts: Sequence[Part], command: str, cores: int | None, python: str) -> dict[str, Any]:
    """Everything, for machines. ``of_the_first`` are ratios to the run of the smallest size."""
    return {
        "command": command,
        "cores": cores,
        "python": python,
        "parts": [
            {"part": part.name, "unit": part.unit, "runs": [_run(run, part.runs[0]) for run in part.runs]}
            for part in parts
        ],
    }


def _run(run: Run, first: Run) -> dict[str, Any]:
    return {
        "asked": run.asked,
        "count": run.count,
        "seconds": run.seconds,
        "a_second": run.count / run.seconds,
        "cpu_seconds": run.cpu,
        "cpu_us_each": run.cost,
        "peak_bytes": run.peak,
        "of_the_first": {
            "count": run.count / first.count,
            "seconds": run.seconds / first.seconds,
            "cpu_us_each": run.cost / first.cost,
            "peak_bytes": run.peak / first.peak,
        },
        "steps_us_each": dict(run.steps),
    }


def page_lines(parts: Sequence[Part], command: str, cores: int | None, python: str) -> list[str]:
    """The same for people: a table of the parts and one of their steps, as the lines of a page."""
    lines = ["```", command, "```", "", f"{cores} cores, Python {python}. In brackets: as against the smallest.", ""]
    lines += ["| part | size | how many | seconds | a second | CPU, µs each | peak, MB |", f"|---|{'---:|' * 6}"]
    for part in parts:
        for run in part.runs:
            lines.append(f"| {' | '.join(_row(part, run))} |")
    sizes = sorted({run.asked for part in parts for run in part.runs})
    if stepped := [part for part in parts if part.name not in _ELSEWHERE]:
        heads = " | ".join(f"{size:,}" for size in sizes)
        lines += ["", f"| µs of CPU each | {heads} |", f"|---|{'---:|' * len(sizes)}"]
        for part in stepped:
            for name, told in _steps(part, sizes):
                lines.append(f"| {part.name}: {name} | {' | '.join(told)} |")
    return lines


def _row(part: Part, run: Run) -> tuple[str, ...]:
    first = part.runs[0]

    def beside(told: str, now: float, then: float) -> str:
        return told if run is first else f"{told} ({now / then:.2f})"

    return (
        part.name,
        f"{run.asked:,}",
        f"{run.count:,} {part.unit}",
        f"{run.seconds:,.1f}",
        f"{run.count / run.seconds:,.0f}",
        beside(f"{run.cost:,.1f}", run.cost, first.cost),
        beside(f"{run.peak / 1e6:,.0f}", run.peak, first.peak),
    )


def _steps(part: Part, sizes: Sequence[int]) -> list[tuple[str, list[str]]]:
    """The dearest steps of the largest run, and what the others cost together."""
    by_size = {run.asked: run.steps for run in part.runs}
    last = part.runs[-1].steps
    names = sorted(last, key=lambda name: -last[name])
    shown, left = names[:_MOST], names[_MOST:]
    rows = [(name, [_told(by_size.get(size), (name,)) for size in sizes]) for name in shown]
    if left:
        rows.append((f"{len(left)} others together", [_told(by_size.get(size), left) for size in sizes]))
    return rows


def _told(steps: Mapping[str, float] | None, names: Sequence[str]) -> str:
    return "" if steps is None else f"{sum(steps.get(name, 0.0) for name in names):,.2f}"
