"""Values of a mapping: how one part of an event is made of a row. Pure.

A ``Value`` has an origin (a field, a constant, a hash, the first that is there, texts joined, cases, a place in the
order of a record) and goes on through steps, a lookup, a type and a default, in this order. ``docs/mappings.md`` shows
how each is written. Errors of a row are ``RowError``s with a reason code and the line of the mapping.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Any, Protocol

from contracts.event import Scalar
from sources.importer.conditions import Condition, Reads
from sources.importer.rows import LONG, Path, Row, RowError, as_text, is_nested
from sources.importer.times import micros_of

TYPES = ("string", "long", "double", "boolean")
_TRUE, _FALSE = frozenset({"true", "1", "yes", "t", "y"}), frozenset({"false", "0", "no", "f", "n"})
_MAX_NUMBER = 400
"""No text of a number is longer."""


def _digest(text: str, size: int = 16) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _whole(found: Any) -> str:
    """A value as text, also a nested one. Raises RowError."""
    if not is_nested(found):
        return as_text(found)
    try:
        return json.dumps(found, sort_keys=True, default=str)
    except (RecursionError, ValueError, TypeError) as error:
        raise RowError("bad_value", "a value that cannot be written as text") from error


def _url_path(text: str) -> str:
    place = text.split("#", 1)[0].split("?", 1)[0]
    if "://" not in place:
        return place
    return "/" + place.split("://", 1)[1].partition("/")[2]


STEPS: dict[str, Callable[[str], str]] = {
    "trim": str.strip,
    "lower": str.lower,
    "upper": str.upper,
    "digits": lambda text: "".join(c for c in text if c in "0123456789"),
    "sha256": _sha256,
    "url_path": _url_path,
}
"""What ``apply`` may name; each is total."""


class Origin(Protocol):
    """Where a value comes from. ``find`` gives what stands there, None when absent."""

    def find(self, row: Row, name: str) -> Any: ...

    def reads(self) -> Reads: ...


@dataclass(frozen=True)
class Field:
    """What stands in a field; the mapping's words for nothing are nothing."""

    path: Path
    nulls: frozenset[str]
    line: int

    def find(self, row: Row, name: str) -> Any:
        found = self.path.find(row)
        return None if isinstance(found, str) and found in self.nulls else found

    def reads(self) -> Reads:
        yield (self.path.text,), self.line


@dataclass(frozen=True)
class Constant:
    """The same for every row."""

    value: Scalar

    def find(self, row: Row, name: str) -> Any:
        return self.value

    def reads(self) -> Reads:
        yield from ()


@dataclass(frozen=True)
class Hashed:
    """A stable id of 32 hexadecimal digits of some parts; one that is absent counts as the empty text.

    An object or a list counts whole, whatever the order of its keys.
    """

    parts: tuple[Path | Value, ...]
    line: int
    repeats_are_distinct: bool = False

    def find(self, row: Row, name: str) -> str:
        texts = []
        for part in self.parts:
            found = part.find(row) if isinstance(part, Path) else part.scalar(row, name)
            texts.append("" if found is None else _whole(found))
        # each part with its length, so that no two rows can agree by shifting text between fields
        return _digest("".join(f"{len(text)}:{text}" for text in texts))

    def reads(self) -> Reads:
        for part in self.parts:
            if isinstance(part, Path):
                yield (part.text,), self.line
            else:
                yield from part.reads()


@dataclass(frozen=True)
class Coalesce:
    """The first that is there."""

    values: tuple[Value, ...]
    line: int

    def find(self, row: Row, name: str) -> Any:
        for value in self.values:
            found = value.scalar(row, name)
            if found is not None:
                return found
        return None

    def reads(self) -> Reads:
        yield tuple(n for value in self.values for names, _ in value.reads() for n in names), self.line


@dataclass(frozen=True)
class Concat:
    """Texts joined; absent when one of them is, so that no half id is made."""

    values: tuple[Value, ...]
    separator: str

    def find(self, row: Row, name: str) -> Any:
        texts = []
        for value in self.values:
            text = value.text(row, name)
            if text is None:
                return None
            texts.append(text)
        return self.separator.join(texts)

    def reads(self) -> Reads:
        for value in self.values:
            yield from value.reads()


@dataclass(frozen=True)
class Cases:
    """The value of the first case whose condition holds; absent when none does."""

    cases: tuple[tuple[Condition, Value], ...]

    def chosen(self, row: Row) -> Value | None:
        return next((value for condition, value in self.cases if condition.holds(row)), None)

    def find(self, row: Row, name: str) -> Any:
        value = self.chosen(row)
        return None if value is None else value.scalar(row, name)

    def reads(self) -> Reads:
        for condition, value in self.cases:
            yield from condition.reads()
            yield from value.reads()


@dataclass(frozen=True)
class Change:
    """The id of a change of a record, made so that ids of one record sort as its changes happened.

    Events are ordered by (event time, event_id). A record's changes may share a time; so the id begins with a hash of
    the record, goes on with the numbers of ``sequence``, padded with zeros, and ends with a hash of what else tells
    changes apart.
    """

    record: Hashed
    sequence: tuple[Value, ...]
    also: Hashed | None
    line: int

    def find(self, row: Row, name: str) -> str:
        parts = [self.record.find(row, name)[:16]]
        for value in self.sequence:
            number = value.scalar(row, name)
            if not isinstance(number, int) or isinstance(number, bool) or number < 0:
                kind = "missing_field" if number is None else "bad_number"
                raise RowError(kind, f"the sequence of {name} is no whole number from 0", line=self.line)
            parts.append(f"{number:019d}")
        if self.also is not None:
            parts.append(self.also.find(row, name)[:16])
        return "-".join(parts)

    def reads(self) -> Reads:
        yield from self.record.reads()
        for value in self.sequence:
            yield from value.reads()
        if self.also is not None:
            yield from self.also.reads()


@dataclass(frozen=True)
class Value:
    """One value of a mapping. ``line`` is where it stands; ``kind`` None takes what is found as it is."""

    line: int
    origin: Origin
    kind: str | None = "string"
    steps: tuple[str, ...] = ()
    lookup: Mapping[str, Scalar] | None = None
    otherwise: Scalar = None
    keep: bool = False
    divide: float | None = None
    default: Scalar = None
    time_format: str | None = None
    zone: tzinfo = UTC
    required: bool = False
    nulls: frozenset[str] = field(default=frozenset({""}))

    @property
    def repeats_are_distinct(self) -> bool:
        return isinstance(self.origin, Hashed) and self.origin.repeats_are_distinct

    def reads(self) -> Reads:
        """Columns of which one must be there, each group with its line."""
        yield from self.origin.reads()

    def scalar(self, row: Row, name: str) -> Scalar:
        """The value as a typed scalar, or None when absent and without default. Raises RowError."""
        found = self.origin.find(row, name)
        if found is not None and self.steps:
            found = self._applied(found, name)
        if found is not None and self.lookup is not None:
            found = self._look_up(found, name)
        if found is None:
            if self.default is None and self.required:
                raise RowError("missing_field", f"{name} is absent", line=self.line)
            return self.default
        if self.kind is None:
            return checked(found, name, self.line)
        scalar = convert(found, self.kind, name, self.line)
        if self.divide is not None and isinstance(scalar, float):
            return scalar / self.divide
        return scalar

    def text(self, row: Row, name: str) -> str | None:
        """``scalar`` as text."""
        found = self.scalar(row, name)
        return found if found is None or type(found) is str else as_text(found)

    def micros(self, row: Row, name: str) -> int | None:
        """The value as a time: UTC microseconds. Raises RowError."""
        found = self._micros(row, name)
        if found is None and self.required:
            raise RowError("missing_field", f"{name} is absent", line=self.line)
        return found

    def _micros(self, row: Row, name: str) -> int | None:
        if isinstance(self.origin, Coalesce):
            return next((m for value in self.origin.values if (m := value.micros(row, name)) is not None), None)
        if isinstance(self.origin, Cases):
            value = self.origin.chosen(row)
            return None if value is None else value.micros(row, name)
        found = self.origin.find(row, name)
        return None if found is None else micros_of(found, self.time_format, self.zone, name, self.line)

    def _applied(self, found: Any, name: str) -> str | None:
        text = _single(found, name, self.line)
        for step in self.steps:
            text = STEPS[step](text)
        return None if text in self.nulls else text

    def _look_up(self, found: Any, name: str) -> Scalar:
        assert self.lookup is not None
        if not is_nested(found):
            key = as_text(found)
            if key in self.lookup:
                return self.lookup[key]
            if self.keep:
                return key
        if self.otherwise is None:
            raise RowError("not_in_lookup", f"{name} has a value that the lookup does not list", line=self.line)
        return self.otherwise


@dataclass(frozen=True)
class ValueSubject:
    """A value of the language as what a condition looks at."""

    value: Value

    def read(self, row: Row) -> str | None:
        return self.value.text(row, "a value that is tested")

    def reads(self) -> Reads:
        yield from self.value.reads()


@dataclass(frozen=True)
class Spread:
    """Objects whose single values become properties under their own names; nested ones are left where they are."""

    paths: tuple[Path, ...]
    left_out: frozenset[str]
    nulls: frozenset[str]
    line: int

    def properties(self, row: Row) -> Iterator[tuple[str, Scalar]]:
        """Names and values, later objects first, so that the first one counts. Raises RowError."""
        for path in reversed(self.paths):
            found = path.find(row)
            if not isinstance(found, Mapping):
                continue
            for name, value in found.items():
                absent = value is None or is_nested(value) or (isinstance(value, str) and value in self.nulls)
                if absent or name in self.left_out:
                    continue
                yield unicode(str(name), "a property's name", self.line), checked(value, "a property", self.line)

    def reads(self) -> Reads:
        for path in self.paths:
            yield (path.text,), self.line


def unicode(text: str, name: str, line: int | None = None) -> str:
    """The text, which must be such that UTF-8 can hold it. Raises RowError."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RowError("bad_value", f"{name} is no Unicode text", line=line) from error
    return text


def checked(found: Any, name: str, line: int | None = None) -> Scalar:
    """A single value of its own type, as far as an event can hold it; anything else as text. Raises RowError."""
    if type(found) is str:
        return unicode(found, name, line)
    if isinstance(found, bool):
        return found
    if isinstance(found, int):
        if not -LONG <= found < LONG:
            raise RowError("bad_number", f"{name} is out of range", line=line)
        return found
    if isinstance(found, float):
        if found != found or abs(found) == float("inf"):
            raise RowError("bad_number", f"{name} is no finite number", line=line)
        return found
    return unicode(_single(found, name, line), name, line)


def _single(found: Any, name: str, line: int | None) -> str:
    if is_nested(found):
        raise RowError("bad_value", f"{name} is a nested value where a single one was expected", line=line)
    return as_text(found)


def convert(found: Any, kind: str, name: str, line: int | None = None) -> Scalar:
    """A value of a row as one of ``TYPES``. Raises RowError."""
    text = found if type(found) is str else _single(found, name, line)
    if kind == "string":
        return unicode(text, name, line)
    text = text.strip()
    if kind == "boolean":
        if text.lower() in _TRUE:
            return True
        if text.lower() in _FALSE:
            return False
        raise RowError("bad_boolean", f"{name} is neither true nor false", line=line)
    try:
        if len(text) > _MAX_NUMBER or "_" in text:
            raise ValueError("no number of any source")
        number = int(text) if kind == "long" else float(text)
    except (ValueError, OverflowError) as error:
        raise RowError("bad_number", f"{name} is no {kind}", line=line) from error
    if number != number or abs(number) == float("inf") or (kind == "long" and not -LONG <= number < LONG):
        raise RowError("bad_number", f"{name} is out of range", line=line)
    return number
