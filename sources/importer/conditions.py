"""Conditions of a mapping: what must hold of a row. Pure and total but for the RowErrors of values they read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from sources.importer.patterns import Pattern
from sources.importer.rows import Path, Row, RowError, as_text, is_nested

TESTS = ("equals", "not_equals", "in", "not_in", "matches", "starts_with", "at_least", "below", "present")

Reads = Iterator[tuple[tuple[str, ...], int]]
"""(columns of which one must be there, line of the mapping)."""


class Condition(Protocol):
    """Something that holds of a row or does not."""

    def holds(self, row: Row) -> bool: ...

    def reads(self) -> Reads: ...


class Subject(Protocol):
    """What a test looks at: a text, None when absent; ``NESTED`` for an object or a list."""

    def read(self, row: Row) -> str | None: ...

    def reads(self) -> Reads: ...


class _Nested(str):
    """There, but no text that could equal another."""


NESTED = _Nested()


@dataclass(frozen=True)
class FieldSubject:
    """A field as it stands."""

    path: Path
    nulls: frozenset[str]
    line: int

    def read(self, row: Row) -> str | None:
        found = self.path.find(row)
        if found is None or (isinstance(found, str) and found in self.nulls):
            return None
        if is_nested(found):
            return NESTED
        try:
            return as_text(found)
        except RowError:
            return NESTED

    def reads(self) -> Reads:
        yield (self.path.text,), self.line


@dataclass(frozen=True)
class Test:
    """A condition on one subject; one that is absent passes only ``present: false`` and the negated tests."""

    subject: Subject
    kind: str
    values: frozenset[str] = frozenset()
    pattern: Pattern | None = None
    prefixes: tuple[str, ...] = ()
    bound: float = 0.0

    def holds(self, row: Row) -> bool:
        text = self.subject.read(row)
        kind = self.kind
        if kind == "present":
            return (text is not None) == ("true" in self.values)
        single = None if text is NESTED else text
        if kind == "matches":
            return single is not None and self.pattern is not None and self.pattern.found_in(single)
        if kind == "starts_with":
            return single is not None and single.startswith(self.prefixes)
        if kind in ("at_least", "below"):
            return single is not None and _compares(single, kind, self.bound)
        inside = single is not None and single in self.values
        return inside if kind in ("equals", "in") else not inside

    def reads(self) -> Reads:
        yield from self.subject.reads()


def _compares(text: str, kind: str, bound: float) -> bool:
    try:
        number = float(text)
    except ValueError:
        return False
    return number >= bound if kind == "at_least" else number < bound


@dataclass(frozen=True)
class All:
    """Every part holds; of no parts, too."""

    parts: tuple[Condition, ...]

    def holds(self, row: Row) -> bool:
        return all(part.holds(row) for part in self.parts)

    def reads(self) -> Reads:
        for part in self.parts:
            yield from part.reads()


@dataclass(frozen=True)
class Any:
    """At least one part holds."""

    parts: tuple[Condition, ...]

    def holds(self, row: Row) -> bool:
        return any(part.holds(row) for part in self.parts)

    def reads(self) -> Reads:
        for part in self.parts:
            yield from part.reads()


@dataclass(frozen=True)
class Not:
    """The part does not hold."""

    part: Condition

    def holds(self, row: Row) -> bool:
        return not self.part.holds(row)

    def reads(self) -> Reads:
        yield from self.part.reads()


ALWAYS = All(())
