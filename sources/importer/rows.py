"""A row and where a value stands in it; the reasons for which a row does not map. Pure.

A row is what a reader gives: names to values, which may be nested. ``Path.find`` is total. Whatever is wrong with a
row ends in a ``RowError`` with a reason of ``REASONS``; no message holds a value of the row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from contracts.documents import Node

Row = Mapping[str, Any]

MAX_DEPTH = 100
"""How deeply a row may be nested."""
MAX_ROW = 64 * 1024 * 1024
"""Characters of a row of CSV, bytes of a row of Parquet."""
LONG = 2**63
BAD_BYTES = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    MemoryError,
)
"""What decoders of binary formats raise on bytes that are not what they should be; a length may be any number."""

REASONS = {
    "bad_row": "the row cannot be read: not JSON, not an object, or a number of columns other than the header's",
    "bad_value": "a single text was expected: a nested value, bytes, or text that is no Unicode",
    "missing_field": "a field that the event needs is absent or empty",
    "bad_number": "a number was expected",
    "bad_boolean": "true or false was expected",
    "bad_time": "a time was expected, in the format that the mapping states",
    "no_name": "no rule of the mapping gives the row an event name",
    "no_event": "the row is for none of the events of the mapping",
    "no_identifier": "the row has none of the identifiers that the mapping names",
    "not_in_lookup": "a lookup has no entry for the value and no else",
}
"""Why a row becomes a dead letter: the closed list of the importer."""


class RowError(Exception):
    """A row that does not map. ``reason`` is a key of ``REASONS``; the message holds no value of the row.

    ``raw`` is the text of a row that could not be read, as it stands in the file; None where the row itself is known.
    ``line`` is the line of the mapping that could not be followed, None where the row itself is at fault.
    """

    def __init__(self, reason: str, message: str, raw: str | None = None, line: int | None = None) -> None:
        super().__init__(message if line is None else f"{message} (line {line} of the mapping)")
        self.reason = reason
        self.raw = raw
        self.line = line


class Matching(NamedTuple):
    """A step to the first object of a list whose ``key`` is ``text``: ``[key=text]``."""

    key: str
    text: str


Numbered = tuple[int, Row | RowError]
"""What a reader gives: the number of a row in its file, and the row, or why it cannot be read."""

Step = str | int | Matching

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(-?\d{1,9})\]|\[([^=\[\]]+)=([^\[\]]*)\]")


@dataclass(frozen=True)
class Path:
    """Where a value stands in a row: a column of that very name, else steps through nested objects and lists."""

    text: str
    steps: tuple[Step, ...]

    def find(self, row: Row) -> Any:
        """The value, or None when any step of the way is absent."""
        if self.text in row:
            return row[self.text]
        if not self.steps:
            return None
        first = self.steps[0]
        here: Any = row.get(first) if isinstance(first, str) else None
        for step in self.steps[1:]:
            if here is None:
                return None
            if isinstance(step, str):
                here = here.get(step) if isinstance(here, dict) else None
            elif not isinstance(here, list):
                return None
            elif isinstance(step, int):
                here = here[step] if -len(here) <= step < len(here) else None
            else:
                here = next((i for i in here if isinstance(i, dict) and _is(i.get(step.key), step.text)), None)
        return here


def parse_path(node: Node) -> Path:
    """A path as the mapping writes it; a leading ``$.`` is allowed. What is no way is the name of a column."""
    text = node.string().removeprefix("$.")
    steps: list[Step] = []
    at = 0
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None or (match[1] is not None and (text[at] == ".") == (at == 0)):
            return Path(text, ())
        if match[1] is not None:
            steps.append(match[1])
        else:
            steps.append(int(match[2]) if match[2] is not None else Matching(match[3], match[4]))
        at = match.end()
    if not steps:
        node.fail(f"{node.where}: {text!r} names no field")
    return Path(text, tuple(steps))


def _is(found: Any, text: str) -> bool:
    return found is not None and not is_nested(found) and as_text(found) == text


def is_nested(found: Any) -> bool:
    """The value is an object or a list, so it is no single text."""
    return isinstance(found, (dict, list, tuple))


def as_text(found: Any) -> str:
    """A value as text, as CSV would have it: true, 7, 7.5. Raises RowError where it has none."""
    if isinstance(found, str):
        return found
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, float) and found.is_integer() and abs(found) < LONG:
        return str(int(found))
    if isinstance(found, (bytes, bytearray)):
        raise RowError("bad_value", "bytes where a text was expected")
    try:
        return str(found)
    except (RecursionError, ValueError) as error:
        raise RowError("bad_value", "a value that cannot be written as text") from error


def is_deeper(value: Any, depth: int = MAX_DEPTH) -> bool:
    """The value is nested more deeply than ``depth``; found without recursion, layer by layer."""
    layer = [value]
    for _ in range(depth + 1):
        layer = [
            item
            for found in layer
            if isinstance(found, (dict, list))
            for item in (found.values() if isinstance(found, dict) else found)
            if isinstance(item, (dict, list))
        ]
        if not layer:
            return False
    return True


def flatten(row: Row) -> Iterator[tuple[str, Any]]:
    """Every single value of a row with its path, in order; empty objects and lists too. Needs no recursion."""
    waiting: list[tuple[str, Any]] = [("", row)]
    while waiting:
        path, found = waiting.pop()
        if isinstance(found, Mapping) and (found or not path):
            below = [(f"{path}.{key}" if path else str(key), value) for key, value in found.items()]
        elif isinstance(found, (list, tuple)) and found:
            below = [(f"{path}[{number}]", value) for number, value in enumerate(found)]
        else:
            yield path, found
            continue
        waiting.extend(reversed(below))
