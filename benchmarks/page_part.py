"""The figures of a page that a benchmark writes, between two markers (``reports.page_part``).

Pure. Input: lines, pages. Output: text. Errors: ``ValueError`` for a page without the markers. State: none.
"""

from __future__ import annotations

from collections.abc import Sequence

from reports import page_part

END = "<!-- end of figures -->"


def begin(command: str) -> str:
    """The marker before what ``command`` writes."""
    return f"<!-- figures: written by `{command}`, do not edit -->"


def marked(command: str, lines: Sequence[str]) -> str:
    """The lines between their markers."""
    return "\n".join([begin(command), "", *lines, "", END])


def renewed(page: str, new: str) -> str:
    """A page whose part is replaced by ``new``, which is from ``marked``.

    Raises:
        ValueError: the page does not have the two markers in their order.
    """
    marker = new.partition("\n")[0]
    return page_part.renewed(page, marker, END, new.removeprefix(marker).removesuffix(END))
