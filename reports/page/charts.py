"""Charts as inline SVG with the table of their numbers behind. Pure: data in, HTML out; every text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

_ROW = 30
_WIDTH = 780
_LABEL = 260
_SCROLLS = '<div class="wide" tabindex="0" role="region" aria-label="{}">'


def table(caption: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows as a table with a caption and column headings."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = "".join("<tr>" + "".join(f"<td>{escape(_shown(value))}</td>" for value in row) + "</tr>" for row in rows)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def bars(title: str, counted: Sequence[tuple[str, float, str]]) -> str:
    """Horizontal bars, one a name: its length by the number, the words beside it. The words carry what colour would."""
    most = max((number for _, number, _ in counted), default=0) or 1
    parts = []
    for place, (name, number, words) in enumerate(counted):
        y, width = place * _ROW, 120 * number / most
        short = name if len(name) <= 32 else name[:31] + "…"
        parts.append(
            f'<text x="{_LABEL - 8}" y="{y + 19}" text-anchor="end">{escape(short)}</text>'
            f'<rect class="bar" x="{_LABEL}" y="{y + 4}" width="{width:.1f}" height="22"/>'
            f'<text x="{_LABEL + width + 8:.1f}" y="{y + 19}">{escape(words)}</text>'
        )
    height = max(len(counted), 1) * _ROW
    return (
        f"{_SCROLLS.format(escape(title))}"
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg></div>'
    )


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
