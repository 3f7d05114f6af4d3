"""The report: one page with everything in it, that asks nothing of any place. Input: HTML of sections. Output: HTML.

Its style stands in it, and its policy allows that and nothing else: no script, no picture, no request. Pure. Errors,
state: none.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape

from reports.page.board import STYLE, contents, document, part
from reports.page.sections import Section

_STYLE = (
    STYLE
    + """.report{align-items:stretch}.brief{margin:.2rem 0 .8rem}.brief dd{font-variant-numeric:tabular-nums}
.report #model,.report #metrics,.report #quality,.report #ledger,.report #checks{grid-column:1/-1}
@media print{nav,.skip{display:none}.report{display:block}section{break-inside:avoid;margin:.5rem 0}}
"""
)


def report_html(name: str, brief: Sequence[tuple[str, str]], made: Sequence[tuple[Section, str]]) -> str:
    """The whole page.

    Args:
        name: what the output folder is called.
        brief: what there is, as pairs of words.
        made: the sections with their HTML.
    """
    told = "".join(f"<dt>{escape(what)}</dt><dd>{escape(value)}</dd>" for what, value in brief)
    header = f"<header><h1>Wayline report: {escape(name)}</h1></header>"
    if made:
        header += contents([section for section, _ in made], page="")
    content = f'<section id="brief" aria-labelledby="brief-title"><h2 id="brief-title">In brief</h2><dl>{told}</dl>'
    content += "</section>" + "".join(part(section, html, _version(html)) for section, html in made)
    return document(f"Wayline report: {name}", _head(), header, content, "board report")


def _head() -> str:
    allowed = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{allowed}'; img-src data:; base-uri 'none'; form-action 'none'"
    return (
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="referrer" content="no-referrer"><style>{_STYLE}</style>'
    )


def _version(html: str) -> str:
    return hashlib.sha256(html.encode()).hexdigest()[:16]
