"""An audit as one HTML page that is whole in itself: style inside, no script, nothing from elsewhere. Pure.

Input: ``Audit``. Output: HTML; every text is escaped. Errors, state: none.
"""

from __future__ import annotations

from html import escape

from reports.audit.parts import Part, parts, summary
from reports.audit.result import Audit
from reports.page.board import STYLE
from reports.page.charts import bars, wide
from reports.rendering import clean

_NAMES = 300
_SHORT = 20
_MORE = "th.number{text-align:right}.number,.short{white-space:nowrap}.wide td:not([class]){min-width:12rem}"
"""Beside the style of the board: numbers and short words stay on one line where there is little room, and what is long
keeps to a width at which it can be read, since a table scrolls by itself."""


def audit_page(audit: Audit) -> str:
    """The whole page."""
    told = parts(audit, _NAMES)
    links = "".join(f'<li><a href="#{one.name}">{escape(one.title.partition(":")[0])}</a></li>' for one in told)
    sentences = "".join(f"<p>{escape(clean(one))}</p>" for one in summary(audit))
    content = "".join(_section(one, _chart(one.name, audit)) for one in told)
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Audit of sources</title>
<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">
<style>{STYLE}{_MORE}</style></head><body><a class="skip" href="#content">Skip to content</a>
<header><h1>Audit of sources</h1></header><nav aria-label="Sections"><ul>{links}</ul></nav>
<main id="content" class="story" tabindex="-1">{sentences}{content}</main></body></html>
"""


def _chart(name: str, audit: Audit) -> str:
    """The picture above a table, where one says more than numbers."""
    if name == "sources":
        return bars("Events of each source", [(one.source, one.events, f"{one.events:,}") for one in audit.sources])
    if name == "signals":
        fed = [(f"{one.stage}: {one.signal}", sum(one.sources.values())) for one in audit.signals]
        return bars(
            "Events that feed each signal",
            [(label, events, f"{events:,}" if events else "no source") for label, events in fed],
        )
    return ""


def _section(part: Part, chart: str) -> str:
    words = f'<p class="soft">{escape(clean(part.words))}</p>' if part.words else ""
    shown = wide(part.title, _table(part)) if part.rows else "<p>None.</p>"
    return (
        f'<section id="{part.name}" aria-labelledby="{part.name}-title">'
        f'<h2 id="{part.name}-title">{escape(part.title)}</h2>{words}{chart}{shown}</section>'
    )


def _table(part: Part) -> str:
    numbers = [header.startswith(">") for header in part.headers]
    head = "".join(
        f'<th scope="col"{_class(header, number)}>{escape(header.lstrip(">"))}</th>'
        for header, number in zip(part.headers, numbers, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{_class(cell, number)}>{escape(clean(cell if isinstance(cell, str) else f'{cell:,}'))}</td>"
            for cell, number in zip(row, numbers, strict=True)
        )
        + "</tr>"
        for row in part.rows
    )
    return f'<table aria-labelledby="{part.name}-title"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _class(cell: str | int, number: bool) -> str:
    if number:
        return ' class="number"'
    return ' class="short"' if len(str(cell)) <= _SHORT else ""
