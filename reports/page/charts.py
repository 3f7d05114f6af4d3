"""Charts as inline SVG with the table of their numbers behind. Pure: data in, HTML out; every text is escaped.

Colours are those of Okabe and Ito, which people of any colour vision tell apart; words, dashes and marks say the same
once more. They are classes, not attributes, so that light and dark are chosen by the style sheet. Errors, state: none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

_ROW = 30
_WIDTH = 660
_LETTER = 7.6
"""Width of a letter of 14 px, rather too wide than too narrow."""
_BAR = 120
_CHART = 300.0
_GAP = 34.0
_UNITS = (
    *((1.0, "1 s"), (10.0, "10 s"), (60.0, "1 min"), (600.0, "10 min"), (3600.0, "1 h"), (6 * 3600.0, "6 h")),
    *((86_400.0, "1 d"), (7 * 86_400.0, "1 wk"), (30 * 86_400.0, "30 d"), (365 * 86_400.0, "1 y")),
)
HUES = 7
"""Classes ``hue0`` to ``hue6``."""


def wide(label: str, content: str) -> str:
    """Content that may be wider than the page: it scrolls by itself, also by the keyboard."""
    return f'<div class="wide" tabindex="0" role="region" aria-label="{escape(label)}">{content}</div>'


def table(caption: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows as a table with a caption and column headings; numbers stand right."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return wide(
        caption,
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>",
    )


def numbers(caption: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """The table behind a chart, folded away."""
    return f"<details><summary>The numbers</summary>{table(caption, names, rows)}</details>"


def bars(title: str, counted: Sequence[tuple[str, float, str]]) -> str:
    """Horizontal bars, one a name: its length by the number, the words beside it. The words carry what colour would."""
    most = max((number for _, number, _ in counted), default=0) or 1
    named = [name if len(name) <= 40 else name[:39] + "…" for name, _, _ in counted]
    label = 16 + _LETTER * max(map(len, named), default=0)
    width = label + _BAR + 16 + _LETTER * max((len(words) for _, _, words in counted), default=0)
    parts = []
    for place, (name, (_, number, words)) in enumerate(zip(named, counted, strict=True)):
        y, long = place * _ROW, _BAR * number / most
        parts.append(
            f'<text x="{label - 8:.0f}" y="{y + 19}" text-anchor="end">{escape(name)}</text>'
            f'<rect class="bar" x="{label:.0f}" y="{y + 4}" width="{long:.1f}" height="22"/>'
            f'<text x="{label + long + 8:.1f}" y="{y + 19}">{escape(words)}</text>'
        )
    return _drawn(title, max(len(counted), 1) * _ROW, parts, width)


def lines(title: str, drawn: Sequence[tuple[str, Sequence[tuple[float, float]]]], across: str) -> str:
    """Curves of shares, each by its hue, its dashes and a number at its points, named in words beside.

    Args:
        title: what they show.
        drawn: name and points of each curve, at most ``HUES``: a place at or above 0, a share from 0 to 1.
        across: what the places count.
    """
    left, right, top, height = 48.0, 390.0, 16.0, 220.0
    most = max((x for _, points in drawn for x, _ in points), default=0.0) or 1.0
    parts = []
    for tenths in range(0, 11, 2):
        y = top + height * (1 - tenths / 10)
        parts.append(
            f'<path class="rule" d="M{left} {y:.1f}H{right}"/>'
            f'<text x="{left - 8}" y="{y + 5:.1f}" text-anchor="end">{tenths * 10}%</text>'
        )
    for x in range(int(most) + 1):
        if most <= 12 or x % (int(most) // 8) == 0:
            at = left + (right - left) * x / most
            parts.append(f'<text x="{at:.1f}" y="{top + height + 20}" text-anchor="middle">{x}</text>')
    parts.append(f'<text x="{(left + right) / 2}" y="{top + height + 40}" text-anchor="middle">{escape(across)}</text>')
    for place, (name, points) in enumerate(drawn[:HUES]):
        spots = [(left + (right - left) * x / most, top + height * (1 - y)) for x, y in points]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in spots)
        y = top + 12 + place * 28
        parts.append(
            f'<path class="line hue{place} dash{place}" d="{path}"><title>{escape(name)}</title></path>'
            + "".join(
                f'<text class="mark" x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">{place + 1}</text>'
                for x, y in spots
            )
            + f'<path class="line hue{place} dash{place}" d="M{right + 14} {y}H{right + 54}"/>'
            f'<text x="{right + 62}" y="{y + 5}">{place + 1}: {escape(name)}</text>'
        )
    return _drawn(title, top + height + 48, parts)


def spans(title: str, drawn: Sequence[tuple[str, float, float, float, str]]) -> str:
    """Lengths of time on a scale on which each step is a larger unit: from low to high, with a mark between.

    Args:
        title: what they show.
        drawn: name, low, middle and high in seconds, and the words that say the same.
    """
    left = 16 + _LETTER * max((len(name) for name, *_ in drawn), default=0)
    width, right = left + 236.0, left + 254.0
    # the units about the lengths that there are
    low_end, high_end = min((one[1] for one in drawn), default=0.0), max((one[3] for one in drawn), default=0.0)
    shown = [(seconds, unit) for seconds, unit in _UNITS if low_end / 12 <= seconds <= high_end * 2]
    units = shown or [_UNITS[0]]
    least = math.log(min(units[0][0], *(max(one[1], 0.001) for one in drawn))) if drawn else 0.0
    most = max(math.log(units[-1][0]), *(math.log(max(one[3], 0.001)) for one in drawn)) if drawn else 1.0
    bottom = len(drawn) * _ROW + 6.0

    def at(seconds: float) -> float:
        return left + (width - left) * (math.log(max(seconds, 0.001)) - least) / ((most - least) or 1.0)

    parts, free = [], 0.0
    for seconds, unit in units:
        parts.append(f'<path class="rule" d="M{at(seconds):.1f} 0V{bottom}"/>')
        if at(seconds) >= free:
            parts.append(f'<text x="{at(seconds):.1f}" y="{bottom + 16}" text-anchor="middle">{unit}</text>')
            free = at(seconds) + _LETTER * 5
    for place, (name, low, middle, high, words) in enumerate(drawn):
        y = place * _ROW
        parts.append(
            f'<text x="{left - 8:.0f}" y="{y + 19}" text-anchor="end">{escape(name)}</text>'
            f'<rect class="bar" x="{at(low):.1f}" y="{y + 9}" width="{max(at(high) - at(low), 2):.1f}" height="12"/>'
            f'<rect class="middle" x="{at(middle) - 2:.1f}" y="{y + 3}" width="4" height="24"/>'
            f'<text x="{right:.0f}" y="{y + 19}">{escape(words)}</text>'
        )
    whole = right + 8 + _LETTER * max((len(words) for *_, words in drawn), default=0)
    return _drawn(title, bottom + 22, parts, whole)


def calibration(title: str, drawn: Sequence[tuple[str, Sequence[tuple[float, float, int]]]]) -> str:
    """How often what was foreseen came true: on the diagonal a probability says what it means.

    Args:
        title: what was foreseen.
        drawn: name and points of each curve, at most two: the probability said, the share that came true, of how many.
            A bar at a point is where the true share lies with 95%, as far as so many can tell (Wilson's interval).
    """
    left, size, top = 48.0, 250.0, 10.0
    parts = [f'<path class="rule diagonal" d="M{left} {top + size}L{left + size} {top}"/>']
    for fifth in range(6):
        share, y = fifth * 20, top + size * (1 - fifth / 5)
        x = left + size * fifth / 5
        parts.append(
            f'<path class="rule" d="M{left} {y:.1f}H{left + size}"/>'
            f'<text x="{left - 6}" y="{y + 5:.1f}" text-anchor="end">{share}%</text>'
            f'<text x="{x:.1f}" y="{top + size + 20}" text-anchor="middle">{share}%</text>'
        )
    parts.append(f'<text x="{left + size / 2}" y="{top + size + 40}" text-anchor="middle">said by the model</text>')
    for place, (name, points) in enumerate(drawn[:2]):
        hue = place + 1
        spots = []
        for said, happened, rows in points:
            # two curves at one place stand beside each other
            x, y = left + size * said + place * 3, top + size * (1 - happened)
            low, high = wilson(happened, rows)
            spots.append(f"{x:.1f} {y:.1f}")
            mark = (
                f'<circle class="fill{hue}" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
                if not place
                else f'<rect class="fill{hue}" x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"/>'
            )
            parts.append(
                f"<g><title>{escape(f'{name}: said {said:.0%}, came true {happened:.0%} of {rows:,}')}</title>"
                f'<path class="line hue{hue}" d="M{x:.1f} {top + size * (1 - high):.1f}V{top + size * (1 - low):.1f}"/>'
                f"{mark}</g>"
            )
        y = top + size + 64 + place * 24
        parts.append(
            f'<path class="line hue{hue} dash{place}" d="M{"L".join(spots)}"/>'
            f'<path class="line hue{hue} dash{place}" d="M8 {y}H40"/>'
            + (
                f'<circle class="fill{hue}" cx="24" cy="{y}" r="4.5"/>'
                if not place
                else f'<rect class="fill{hue}" x="20" y="{y - 4}" width="8" height="8"/>'
            )
            + f'<text x="46" y="{y + 5}">{escape(name)}</text>'
        )
    words = 46 + _LETTER * max((len(name) for name, _ in drawn), default=0)
    return _drawn(title, top + size + 54 + 24 * len(drawn[:2]), parts, max(left + size + 24, words))


def wilson(share: float, rows: int) -> tuple[float, float]:
    """Where the true share lies with 95%, when ``share`` of so many rows was seen."""
    z = 1.96
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def flow(title: str, order: Sequence[str], moves: Sequence[tuple[str, str, int]]) -> str:
    """Who goes where: a column of what was left, one of what was entered, and bands as thick as the moves are many.

    Args:
        title: what moves.
        order: every name, in the order in which the columns show them.
        moves: from, to, how often; each pair once.
    """
    everything = sum(count for _, _, count in moves) or 1
    place = {name: n for n, name in enumerate(order)}
    ranked = sorted(moves, key=lambda move: (place[move[0]], place[move[1]]))
    left = _column(order, {n: sum(c for a, _, c in moves if a == n) for n in order}, everything)
    right = _column(order, {n: sum(c for _, b, c in moves if b == n) for n in order}, everything)
    x0, x1 = 190.0, 450.0
    parts = []
    used = {**{("a", n): top for n, (_, top, _) in left.items()}, **{("b", n): top for n, (_, top, _) in right.items()}}
    for a, b, count in ranked:
        thick = _CHART * count / everything
        y0, y1 = used["a", a], used["b", b]
        used["a", a] += thick
        used["b", b] += thick
        back = " back" if place[b] < place[a] else ""
        parts.append(
            f'<path class="band fill{place[a] % HUES}{back}" d="{band((x0, y0, thick), (x1, y1, thick))}">'
            f"<title>{escape(f'{a} to {b}: {count:,}')}</title></path>"
        )
    bottom = 0.0
    for column, x, text_x, anchor in ((left, x0 - 14, x0 - 22, "end"), (right, x1, x1 + 22, "start")):
        for name, (count, top, height) in column.items():
            parts.append(
                f'<rect class="fill{place[name] % HUES}" x="{x}" y="{top:.1f}" width="14" height="{height:.1f}"/>'
                f'<text x="{text_x}" y="{top + max(height / 2, 4) + 5:.1f}" text-anchor="{anchor}">'
                f"{escape(f'{name[:16]} {count:,}')}</text>"
            )
            bottom = max(bottom, top + height)
    return _drawn(title, bottom + 24, parts)


def band(begin: tuple[float, float, float], end: tuple[float, float, float]) -> str:
    """The outline of a band between two columns, as an SVG path.

    Args:
        begin, end: where it leaves a column and meets the other: x, top and thickness.
    """
    x0, y0, thick0 = begin
    x1, y1, thick1 = end
    half = (x0 + x1) / 2
    return (
        f"M{x0} {y0:.1f} C{half} {y0:.1f} {half} {y1:.1f} {x1} {y1:.1f} L{x1} {y1 + thick1:.1f} "
        f"C{half} {y1 + thick1:.1f} {half} {y0 + thick0:.1f} {x0} {y0 + thick0:.1f} Z"
    )


def _column(order: Sequence[str], counts: dict[str, int], everything: int) -> dict[str, tuple[int, float, float]]:
    """Name to its count, and where its bar begins and how high it is; a name without any is left out."""
    found, top = {}, 8.0
    for name in order:
        if counts[name]:
            height = _CHART * counts[name] / everything
            found[name] = (counts[name], top, height)
            top += height + _GAP
    return found


def _drawn(title: str, height: float, parts: Sequence[str], width: float = 0) -> str:
    """Shrinks somewhat where there is little room, then scrolls; one of a width of its own keeps it."""
    across = width or _WIDTH
    size = f'viewBox="0 0 {across:.0f} {height:.0f}" width="{across:.0f}"' + (' class="own"' if width else "")
    return wide(f"{title}, drawn", f'<svg {size} role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>')


_LONG = 40
"""A longer text keeps to a width at which it can be read, however narrow the window."""


def _cell(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f'<td class="number">{_shown(value)}</td>'
    text = _shown(value)
    kind = ' class="long"' if len(text) > _LONG else ""
    return f"<td{kind}>{escape(text)}</td>"


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
