"""The part of a page that a command writes, between two markers; what people wrote around it stays.

Pure. Input: a page, its markers, the new part. Output: the page. Errors: ``ValueError`` for a page without the markers.
"""

from __future__ import annotations


def renewed(page: str, begin: str, end: str, part: str) -> str:
    """The page with ``part`` between its two markers.

    Raises:
        ValueError: the page does not have the two markers in their order.
    """
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"the page needs the lines {begin.strip()!r} and {end.strip()!r}, in this order")
    return before + begin + part + end + after
