"""Text that cannot command a terminal: names and events come from strangers. Pure, total."""

from __future__ import annotations


def printable(text: str, *, lines: bool = False) -> str:
    """The text with a mark in the place of what a terminal would obey; ``lines``: line breaks may stay."""
    return "".join(c if c.isprintable() or (lines and c == "\n") else "\N{REPLACEMENT CHARACTER}" for c in text)
