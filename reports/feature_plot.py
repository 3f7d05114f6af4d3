"""A feature over event time, as lines of text for a terminal and as a picture.

Input: (instant, value) pairs, oldest first. Output: text. Between two points the value of the earlier is drawn on,
because that is what a reader of the tables is given. Every number that matters is written too. Errors: ``ValueError``
when there is no point. State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from html import escape

from reports.picture import framed
from reports.rendering import day, number

Point = tuple[datetime, float]

MARK, HOLD = "\N{BLACK CIRCLE}", "\N{BOX DRAWINGS LIGHT HORIZONTAL}"
_WIDTH, _HEIGHT = 960, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 90.0, 930.0, 92.0, 290.0


def text_plot(points: Sequence[Point], width: int = 64, height: int = 10) -> list[str]:
    """Lines of a plot: a circle where a column has points, a dash where the value before stands on.

    Args:
        points: oldest first.
        width, height: columns and rows of the drawing, beside the scale; at least two each.
    """
    low, high = _range(points)
    first, last = points[0][0], points[-1][0]
    cells = [[" "] * width for _ in range(height)]
    columns: dict[int, list[float]] = {}
    for at, value in points:
        columns.setdefault(round(_share(at - first, last - first) * (width - 1)), []).append(value)
    held = points[0][1]
    for column in range(max(columns) + 1):
        values = columns.get(column)
        for value in values or [held]:
            place = height - 1 - round((value - low) / (high - low) * (height - 1))
            cells[place][column] = MARK if values else HOLD
        held = values[-1] if values else held
    scale = {0: number(high), height - 1: number(low)}
    edge = max(map(len, scale.values()))
    bar = "\N{BOX DRAWINGS LIGHT VERTICAL}"
    lines = [f"{scale.get(place, ''):>{edge}} {bar}{''.join(row)}".rstrip() for place, row in enumerate(cells)]
    begin, end = day(first), day(last)
    lines.append(" " * (edge + 2) + begin + (f"{end:>{max(width - len(begin), len(end) + 1)}}" if end != begin else ""))
    return lines


def picture(points: Sequence[Point], title: str, description: str) -> str:
    """The plot as the text of an SVG file that needs nothing else, readable in light and in dark.

    Args:
        points: oldest first.
        title: what is drawn, and of whom.
        description: what the feature says, with its unit.
    """
    low, high = _range(points)
    first, last = points[0][0], points[-1][0]

    def x(at: datetime) -> float:
        return _LEFT + _share(at - first, last - first) * (_RIGHT - _LEFT)

    def y(value: float) -> float:
        return _BOTTOM - (value - low) / (high - low) * (_BOTTOM - _TOP)

    path = f"M{x(first):.1f} {y(points[0][1]):.1f}"
    path += "".join(f" H{x(at):.1f} V{y(value):.1f}" for at, value in points[1:])
    values = [value for _, value in points]
    said = (
        f"{len(points):,} values from {day(first)} to {day(last)} UTC; least {number(min(values))}, "
        f"greatest {number(max(values))}, last {number(values[-1])}"
    )
    parts: list[str] = []
    for value in (low, (low + high) / 2, high):
        parts.append(f'<path class="rule" d="M{_LEFT} {y(value):.1f} H{_RIGHT}"/>')
        parts.append(
            f'<text class="soft" x="{_LEFT - 10}" y="{y(value) + 4:.1f}" text-anchor="end">{number(value)}</text>'
        )
    parts.append(f'<path class="line" d="{path}"/>')
    for at, value in points:
        told = escape(f"{day(at)}: {number(value)}")
        parts.append(f'<circle class="point" cx="{x(at):.1f}" cy="{y(value):.1f}" r="3"><title>{told}</title></circle>')
    parts.append(f'<text class="soft" x="{_LEFT}" y="{_BOTTOM + 24}">{day(first)}</text>')
    parts.append(f'<text class="soft" x="{_RIGHT}" y="{_BOTTOM + 24}" text-anchor="end">{day(last)}</text>')
    parts.append(f'<text class="soft" x="24" y="{_HEIGHT - 14}">{escape(said)}</text>')
    return framed(title, f"{description} {said}.", parts, size=(_WIDTH, _HEIGHT), line=description)


def _range(points: Sequence[Point]) -> tuple[float, float]:
    """Least and greatest of the scale, which holds zero and is never empty."""
    if not points:
        raise ValueError("there is no point to draw")
    values = [0.0, *(value for _, value in points)]
    low, high = min(values), max(values)
    return low, high if high > low else low + 1.0


def _share(part: timedelta, whole: timedelta) -> float:
    return part / whole if whole else 0.0
