"""Regular expressions of a mapping, matched by RE2: in time that grows with the text alone, whatever the expression.

Python's own engine backtracks: an expression such as ``(a+)+$`` would hold an import for ever on one hostile row, and
it cannot be interrupted. RE2 has no such expressions; in return it knows no look-around and no back-references, which
are refused with file and line.
"""

from __future__ import annotations

from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

_MAX_CACHED = 256
"""Texts no longer than this are remembered with their answer: names and types come again and again."""


class BadPatternError(ValueError):
    """The expression is none, or none that RE2 knows."""


class Pattern:
    """One compiled-by-RE2 expression. ``found_in`` answers whether a text contains a match."""

    def __init__(self, text: str) -> None:
        """Raises BadPatternError."""
        self.text = text
        self._options = pc.MatchSubstringOptions(text)
        self._short = lru_cache(maxsize=8_192)(self._match)
        try:
            self._match("")
        except pa.ArrowInvalid as error:
            raise BadPatternError(str(error).split("\n")[0].removeprefix("Invalid regular expression: ")) from error
        except UnicodeEncodeError as error:
            raise BadPatternError("it is no Unicode text") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def found_in(self, text: str) -> bool:
        """Whether the text contains a match. Total."""
        return self._short(text) if len(text) <= _MAX_CACHED else self._match(text)

    def _match(self, text: str) -> bool:
        # half a surrogate pair can stand in JSON, but in no UTF-8; it becomes a question mark
        scalar = pa.scalar(text.encode("utf-8", "replace").decode("utf-8"))
        return bool(pc.call_function("match_substring_regex", [scalar], self._options).as_py())
