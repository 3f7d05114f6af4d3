"""Figures about stages as text of a page, as tables for a terminal and as a picture of calibration."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from html import escape

from benchmarks.page_part import marked
from benchmarks.stages.answers import WAYS
from benchmarks.stages.figures import Bin, Share, StageFigures
from reports.picture import framed

COMMAND = "make stage-accuracy"
TITLES = {
    "together": "rules and model",
    "rules": "rules alone",
    "model": "model alone",
    "last event": "last event",
}
_PLOT, _LEFT, _TOP = 420.0, 90.0, 80.0
_WIDTH, _HEIGHT = 760, 580
_FEW = 500
"""A tenth of confidence with so many times fewer events than the largest is not joined to the others."""

_LIGHT = """  .even { stroke: #5a5a5a; stroke-dasharray: 5 5; fill: none } .ring { fill: none; stroke: #0072B2 }
  .span { stroke: #0072B2; stroke-width: 1.5 } .bar { fill: #E69F00 }
"""
_DARK = "    .even { stroke: #b4b4b4 } .span, .ring { stroke: #56B4E9 }\n"


def said(share: Share) -> str:
    """A share with its interval, as it stands in the page."""
    return "none" if not share.of else f"{share.value:.3f} ({share.low:.3f} to {share.high:.3f})"


def block(figures: Mapping[str, StageFigures], stages: Sequence[str], command: str, notes: Sequence[str]) -> str:
    """The generated part of the page, with its markers. ``figures``: how the events came to their figures."""
    first = next(iter(figures.values()))
    lines = ["```", command, "```", ""]
    for note in notes:
        lines += [*textwrap.wrap(note, 120, break_on_hyphens=False, break_long_words=False), ""]
    ways = [way for way in WAYS if way in first.ways]
    lines += ["### Overall", "", f"| events came | events | {' | '.join(TITLES[way] for way in ways)} |"]
    lines += ["|---|---:|" + "---:|" * len(ways)]
    for name, each in figures.items():
        lines.append(f"| {name} | {each.events:,} | {' | '.join(said(each.ways[way]) for way in ways)} |")
    lines += ["", "### By stage", "", f"| recall | events | {' | '.join(TITLES[way] for way in ways)} |"]
    lines += ["|---|---:|" + "---:|" * len(ways)]
    for number, stage in enumerate(stages):
        values = " | ".join(said(first.recall[way][number]) for way in ways)
        lines.append(f"| {stage} | {first.recall[ways[0]][number].of:,} | {values} |")
    lines += ["", f"| precision | {' | '.join(TITLES[way] for way in ways)} |", "|---|" + "---:|" * len(ways)]
    for number, stage in enumerate(stages):
        lines.append(f"| {stage} | {' | '.join(said(first.precision[way][number]) for way in ways)} |")
    lines += ["", "Events by true stage (row) and by the answer of rules and model together (column):", ""]
    lines += [f"| | {' | '.join(stages)} |", "|---|" + "---:|" * len(stages)]
    for number, stage in enumerate(stages):
        lines.append(f"| {stage} | {' | '.join(f'{count:,}' for count in first.confusion[number].tolist())} |")
    lines += ["", "### By confidence", "", "| confidence, mean | events | right |", "|---:|---:|---:|"]
    lines += [f"| {one.confidence:.3f} | {one.right.of:,} | {said(one.right)} |" for one in first.bins]
    lines += ["", f"Mean distance of confidence and being right: {first.error:.3f}.", ""]
    lines += ["### By who spoke", "", "| | events | right |", "|---|---:|---:|"]
    lines += [f"| {name} | {share.of:,} | {said(share)} |" for name, share in first.speakers.items()]
    return marked(COMMAND, lines)


def calibration_picture(bins: Sequence[Bin], title: str) -> str:
    """Confidence against being right as an SVG that needs nothing else, readable in light and in dark.

    The dashed line is where confidence would be exactly right; upright strokes are 95 % intervals; bars below say how
    many events each point is of.
    """
    most = max(one.right.of for one in bins)
    bottom = _TOP + _PLOT

    def x(value: float) -> float:
        return _LEFT + value * _PLOT

    def y(value: float) -> float:
        return bottom - value * _PLOT

    words = "; ".join(f"confidence {b.confidence:.2f}: right {b.right.value:.2f} of {b.right.of:,}" for b in bins)
    parts: list[str] = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<path class="rule" d="M{_LEFT} {y(tick):.1f} H{_LEFT + _PLOT}"/>')
        parts.append(f'<text class="soft" x="{_LEFT - 10}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
        parts.append(f'<text class="soft" x="{x(tick):.1f}" y="{bottom + 22:.1f}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<path class="even" d="M{x(0):.1f} {y(0):.1f} L{x(1):.1f} {y(1):.1f}"/>')
    # a handful of events is no place on the curve; it is drawn as a ring beside it
    many = [one for one in bins if one.right.of * _FEW >= most]
    joined = " L".join(f"{x(one.confidence):.1f} {y(one.right.value):.1f}" for one in many)
    parts.append(f'<path class="line" d="M{joined}"/>')
    for one in bins:
        told = f"confidence {one.confidence:.2f}: right {said(one.right)} of {one.right.of:,} events"
        parts.append(
            f'<path class="span" d="M{x(one.confidence):.1f} {y(one.right.low):.1f} V{y(one.right.high):.1f}"/>'
            f'<circle class="{"point" if one in many else "ring"}" cx="{x(one.confidence):.1f}" '
            f'cy="{y(one.right.value):.1f}" r="5">'
            f"<title>{escape(told)}</title></circle>"
        )
    for number, one in enumerate(bins):
        top = _TOP + 24 + number * 30
        parts.append(f'<text class="ink" x="540" y="{top:.1f}">{one.confidence:.2f}: {one.right.of:,} events</text>')
        parts.append(
            f'<rect class="bar" x="540" y="{top + 6:.1f}" width="{180 * one.right.of / most:.1f}" height="8"/>'
        )
    parts.append(
        f'<text class="soft" x="{_LEFT + _PLOT / 2}" y="{bottom + 46:.1f}" text-anchor="middle">confidence</text>'
    )
    line = "share of answers that are right, by how sure they were"
    return framed(title, words, parts, size=(_WIDTH, _HEIGHT), line=line, light=_LIGHT, dark=_DARK)
