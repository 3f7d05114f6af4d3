"""An audit for the terminal, and for machines.

Input: ``Audit``. Output: rich renderables; a dictionary for JSON. Errors, state: none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from reports.audit.parts import Part, parts, summary
from reports.audit.result import Audit
from reports.audit.sample import Number
from reports.rendering import clean, grid, heading, indented, text

_NAMES = 8


def tell_audit(audit: Audit) -> Iterator[RenderableType]:
    """Every table that has rows, then the sum of it."""
    for part in parts(audit, _NAMES):
        if not part.rows:
            continue
        yield from heading(part.title)
        if part.words:
            yield indented(text(part.words, "dim"))
        if part.name == "missing":
            yield from _to_mend(part)
            continue
        rows = [[Text(f"{cell:,}") if isinstance(cell, int) else text(cell) for cell in row] for row in part.rows]
        yield indented(grid(part.headers, rows))
    yield from heading("In short")
    for sentence in summary(audit):
        yield indented(text(sentence))


def _to_mend(part: Part) -> Iterator[RenderableType]:
    """What is to be mended, and how: two sentences, for which a table on a terminal has no room."""
    for severity, rule, what, mending in part.rows:
        yield indented(Text.assemble((f"{severity} ", "bold"), f"{rule}: ", text(what)))
        yield indented(Text.assemble(("fix: ", "dim"), text(mending)), by=4)


def audit_values(audit: Audit) -> dict[str, Any]:
    """The same for machines; a number that is estimated says so."""
    found = _plain(audit)
    assert isinstance(found, dict)
    for told, one in zip(found["sources"], audit.sources, strict=True):
        told["never_filled"] = list(one.never_filled)
    return found


def _plain(value: object) -> Any:
    if isinstance(value, Number):
        return {"value": value.value, "exact": value.exact}
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {clean(key): _plain(one) for key, one in value.items()}
    return clean(value) if isinstance(value, str) else value
