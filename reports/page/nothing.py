"""What a section says where there is nothing to show. Pure. Errors, state: none."""

from __future__ import annotations

from html import escape


def nothing(said: str) -> str:
    """A sentence in place of an empty chart."""
    return f'<p class="soft nothing">{escape(said)}</p>'
