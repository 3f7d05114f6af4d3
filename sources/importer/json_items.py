"""A JSON document read item by item: of a document of any size no more than an item, and a piece ahead, is in memory.

Input: a text stream. Output: values of ``json``, each with its own text. Errors: ``ValueError`` (a
``json.JSONDecodeError`` where a place can be told), ``RecursionError``, and ``TooLongError``. State: the place.
"""

from __future__ import annotations

import json
import re
from typing import IO, Any

_PIECE = 1 << 20
"""Characters that are read at once, or as many as are ahead already where an item needs more."""
_TAIL = 64
"""A fault so near the end of what was read may be none: a word or an escape may be cut."""
_SPACE = re.compile(r"[ \t\n\r]*")


class TooLongError(ValueError):
    """An item is longer than may be."""


class LookAhead:
    """A document that is passed through once.

    Args:
        stream: its text.
        longest: characters that an item may have.
    """

    def __init__(self, stream: IO[str], longest: int) -> None:
        self._stream = stream
        self._longest = longest
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._at = 0
        self._passed = 0
        self._ended = False

    @property
    def place(self) -> int:
        """Characters passed so far."""
        return self._passed + self._at

    def next_is(self, sign: str) -> bool:
        """Whether a sign comes next, after space."""
        self._skip_space()
        return self._text.startswith(sign, self._at)

    def take(self, sign: str) -> bool:
        """Pass a sign, if it comes next."""
        found = self.next_is(sign)
        self._at += found
        return found

    def is_done(self) -> bool:
        """Whether nothing but space is left."""
        self._skip_space()
        return self._at == len(self._text)

    def fault(self, what: str) -> json.JSONDecodeError:
        """What is wrong here."""
        return json.JSONDecodeError(what, self._text, self._at)

    def item(self) -> tuple[Any, str]:
        """The value that comes next, and its text.

        Raises:
            TooLongError: it is longer than may be.
            ValueError, RecursionError: there is none.
        """
        self._skip_space()
        while True:
            try:
                found, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # a text without its end is said to be at fault where it begins
                cut = error.msg.startswith("Unterminated") or error.pos > len(self._text) - _TAIL
                if self._ended or not cut:
                    raise
            else:
                # a number near the end of what was read may go on: 0 of 0.5, 1 of 1e5
                if self._ended or type(found) not in (int, float) or end < len(self._text) - _TAIL:
                    written = self._text[self._at : end]
                    self._at = end
                    return found, written
            if len(self._text) - self._at > self._longest:
                raise TooLongError("an item is too long")
            self._more()

    def _skip_space(self) -> None:
        while True:
            match = _SPACE.match(self._text, self._at)
            self._at = self._at if match is None else match.end()
            if self._at < len(self._text) or self._ended:
                return
            self._more()

    def _more(self) -> None:
        """Forget what was passed, and read on: so much that an item is begun again a few times only."""
        ahead = self._text[self._at :]
        self._passed += self._at
        piece = self._stream.read(min(max(_PIECE, len(ahead)), self._longest + 1 - min(len(ahead), self._longest)))
        self._text, self._at, self._ended = ahead + piece, 0, not piece
