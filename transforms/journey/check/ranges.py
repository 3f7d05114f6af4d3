"""Conditions as sets of values: whether one can ever hold, and whether one implies another.

Purpose: find contradictions and overlaps in conditions without a single event. Input: conditions as text, and what
values each name can have. Output: ``Answer``, with an example where one can hold. Errors, state: none.

Understood are comparisons of a name with a number, text or truth value, ``in`` a list of them, names of truth values,
and ``&&``, ``||``, ``!`` and brackets around them. Anything else (arithmetic, functions, two names compared) is a part
of which nothing is known but that it holds or does not. So ``NEVER`` is certain. ``CAN`` says that the values are
possible one by one and keep the order of names that was stated; that a journey has them is not proved. ``CANNOT_TELL``
says that it hangs on a part that is not understood, or that the condition is too large.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import count

Literal = bool | int | float | str

_MOST_CLAUSES = 400
_NUMBER = r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_LITERAL = rf"{_NUMBER}|true|false|\"[^\"\\]*\"|'[^'\\]*'"
_COMPARED = re.compile(rf"([A-Za-z_]\w*)\s*(==|!=|<=|>=|<|>)\s*({_LITERAL})")
_TURNED = re.compile(rf"({_LITERAL})\s*(==|!=|<=|>=|<|>)\s*([A-Za-z_]\w*)")
_LISTED = re.compile(rf"([A-Za-z_]\w*)\s+in\s+\[\s*((?:{_LITERAL})(?:\s*,\s*(?:{_LITERAL}))*)\s*\]")
_NAME = re.compile(r"[A-Za-z_]\w*")
_MIRROR = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "==": "==", "!=": "!="}
_OPPOSITE = {"<": ">=", ">": "<=", "<=": ">", ">=": "<", "==": "!=", "!=": "=="}


class Answer(Enum):
    """Whether a condition can hold."""

    NEVER = "never"
    CAN = "can"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True, slots=True)
class Domain:
    """What values a name can have: numbers from ``low`` to ``high``, ``whole`` or not, or one of ``options``."""

    low: float = float("-inf")
    high: float = float("inf")
    whole: bool = False
    options: frozenset[Literal] | None = None
    text: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """An answer; ``example`` names values under which the condition holds, where it can."""

    answer: Answer
    example: Mapping[str, Literal] = field(default_factory=dict)

    def __str__(self) -> str:
        return ", ".join(f"{name} = {_shown(value)}" for name, value in sorted(self.example.items()))


# --- formulas -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Atom:
    """A comparison, or with ``operator`` None a part that is not understood. ``negated`` concerns the latter alone."""

    name: str
    operator: str | None = None
    values: tuple[Literal, ...] = ()
    negated: bool = False

    @property
    def lasts(self) -> bool:
        """Whether it holds for ever once it does, if its name never falls, or stays true once it is."""
        return self.operator in (">", ">=") or (self.operator == "==" and self.values[0] is True)


Clause = tuple[Atom, ...]
Formula = tuple[Clause, ...]
"""Alternatives, in each of which all atoms hold. No alternative: never; an empty one: always."""

ALWAYS: Formula = ((),)


class _TooLargeError(Exception):
    """More alternatives than are looked at."""


def _both(one: Formula, other: Formula) -> Formula:
    if len(one) * len(other) > _MOST_CLAUSES:
        raise _TooLargeError
    return tuple((*a, *b) for a in one for b in other)


def _either(one: Formula, other: Formula) -> Formula:
    if len(one) + len(other) > _MOST_CLAUSES:
        raise _TooLargeError
    return (*one, *other)


def _formula(text: str, wanted: bool) -> Formula:
    """The alternatives under which ``text`` is ``wanted``."""
    text = _unwrapped(text)
    if not _has(text, "?"):
        for sign, joined in (("||", wanted), ("&&", not wanted)):
            parts = _split(text, sign)
            if len(parts) > 1:
                made = _formula(parts[0], wanted)
                for part in parts[1:]:
                    made = (_either if joined else _both)(made, _formula(part, wanted))
                return made
        if text.startswith("!"):
            rest = text[1:].strip()
            if _NAME.fullmatch(rest) or rest.startswith("!") or (rest.startswith("(") and _unwrapped(rest) != rest):
                return _formula(rest, not wanted)
    if text in ("true", "false"):
        return ALWAYS if (text == "true") == wanted else ()
    return ((_atom(text, wanted),),)


def _atom(text: str, wanted: bool) -> Atom:
    if found := _COMPARED.fullmatch(text):
        name, operator, value = found.groups()
        return Atom(name, operator if wanted else _OPPOSITE[operator], (_literal(value),))
    if found := _TURNED.fullmatch(text):
        value, operator, name = found.groups()
        operator = _MIRROR[operator]
        return Atom(name, operator if wanted else _OPPOSITE[operator], (_literal(value),))
    if found := _LISTED.fullmatch(text):
        values = tuple(_literal(one) for one in re.findall(_LITERAL, found[2]))
        return Atom(found[1], "in" if wanted else "out", values)
    if _NAME.fullmatch(text):
        return Atom(text, "==", (wanted,))
    return Atom(" ".join(text.split()), None, (), not wanted)


def _literal(text: str) -> Literal:
    if text in ("true", "false"):
        return text == "true"
    if text[0] in "\"'":
        return text[1:-1]
    return float(text) if re.search(r"[.eE]", text) else int(text)


def _levels(text: str) -> Iterable[tuple[int, str, bool]]:
    """Each character's place, the character, and whether it stands outside of brackets and quotes."""
    depth, quote = 0, ""
    for place, char in enumerate(text):
        if quote:
            quote = "" if char == quote and text[place - 1] != "\\" else quote
            yield place, char, False
            continue
        if char in "\"'":
            quote = char
            yield place, char, False
            continue
        depth -= char in ")]}"
        yield place, char, depth == 0 and char not in ")]}"
        depth += char in "([{"


def _has(text: str, char: str) -> bool:
    return any(found == char and outside for _, found, outside in _levels(text))


def _split(text: str, sign: str) -> list[str]:
    parts, start = [], 0
    for place, _, outside in _levels(text):
        if outside and place >= start and text.startswith(sign, place):
            parts.append(text[start:place])
            start = place + len(sign)
    return [*parts, text[start:]]


def _unwrapped(text: str) -> str:
    """Without blanks and brackets around the whole."""
    text = text.strip()
    while text.startswith("("):
        outside = [place for place, _, at_top in _levels(text) if at_top]
        if not text.endswith(")") or len(outside) != 1:
            break
        text = text[1:-1].strip()
    return text


# --- values -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Values:
    """What is left of a domain."""

    low: float
    high: float
    low_open: bool = False
    high_open: bool = False
    whole: bool = False
    text: bool = False
    options: frozenset[Literal] | None = None
    out: frozenset[Literal] = frozenset()

    def narrow(self, operator: str, values: tuple[Literal, ...]) -> bool:
        """Keep what the comparison allows; False when it is not understood."""
        if operator in ("==", "in"):
            self.options = frozenset(values) if self.options is None else self.options & frozenset(values)
        elif operator in ("!=", "out"):
            self.out |= frozenset(values)
        else:
            (value,) = values
            if isinstance(value, (bool, str)):
                return False
            if operator in ("<", "<=") and (value, operator == "<=") < (self.high, not self.high_open):
                self.high, self.high_open = value, operator == "<"
            if operator in (">", ">=") and (-value, operator == ">=") < (-self.low, not self.low_open):
                self.low, self.low_open = value, operator == ">"
        return True

    def one(self) -> Literal | None:
        """A value that is left; None when there is none."""
        if self.options is not None:
            left = [value for value in self.options if value not in self.out and self._inside(value)]
            return min(left, key=lambda value: (str(type(value)), value)) if left else None
        if self.text:
            return next(text for n in count() if (text := "" if not n else f"other{n}") not in self.out)
        return self._number()

    def _inside(self, value: Literal) -> bool:
        if isinstance(value, (bool, str)):
            return True
        above = value > self.low or (value == self.low and not self.low_open)
        below = value < self.high or (value == self.high and not self.high_open)
        return above and below and (not self.whole or float(value).is_integer())

    def _number(self) -> Literal | None:
        start = self.low if self.low != float("-inf") else min(0.0, self.high - 1.0)
        if self.whole:
            first = int(-(-start // 1))
            tried: Iterable[float] = (first + step for step in range(len(self.out) + 2))
        else:
            end = self.high if self.high != float("inf") else start + 2.0
            steps = 2 * len(self.out) + 4
            tried = (start, *(start + (end - start) * n / steps for n in range(1, steps)), end)
        return next((value for value in tried if value not in self.out and self._inside(value)), None)


class Ranges:
    """Reasons about conditions.

    Args:
        domains: what values each name can have.
        at_most: pairs of names of which the first is never above the second.
    """

    def __init__(self, domains: Mapping[str, Domain], at_most: Iterable[tuple[str, str]] = ()) -> None:
        self._domains = domains
        self._at_most = tuple(at_most)

    def limited(self, highs: Mapping[str, float]) -> Ranges:
        """The same, where these names are never above the numbers given."""
        tighter = {name: replace(self._domains[name], high=high) for name, high in highs.items()}
        return Ranges({**self._domains, **tighter}, self._at_most)

    def can(self, *holding: str | None, unless: Iterable[str] = ()) -> Found:
        """Whether all of some conditions can hold at once while none of ``unless`` does; None always holds."""
        try:
            formula = ALWAYS
            for text in holding:
                if text is not None:
                    formula = _both(formula, _formula(_plain(text), True))
            for text in unless:
                formula = _both(formula, _formula(_plain(text), False))
        except _TooLargeError:
            return Found(Answer.CANNOT_TELL)
        unsure: Found | None = None
        for clause in formula:
            found = self._clause(clause)
            if found.answer is Answer.CAN:
                return found
            if found.answer is Answer.CANNOT_TELL:
                unsure = found
        return unsure or Found(Answer.NEVER)

    def implies(self, one: str | None, other: str | None) -> bool:
        """Whether ``other`` surely holds wherever ``one`` does."""
        return other is None or self.can(one, unless=(other,)).answer is Answer.NEVER

    def lasts(self, text: str, growing: Collection[str]) -> bool:
        """Whether a condition surely holds for ever once it does, where the names of ``growing`` never fall."""
        try:
            formula = _formula(_plain(text), True)
        except _TooLargeError:
            return False
        return all(atom.name in growing and atom.lasts for clause in formula for atom in clause)

    def _clause(self, clause: Clause) -> Found:
        values: dict[str, _Values] = {}
        unknown: dict[str, bool] = {}
        for atom in clause:
            domain = None if atom.operator is None else self._domains.get(atom.name)
            key = atom.name if atom.operator is None else f"{atom.name} {atom.operator} {atom.values}"
            if domain is not None and atom.operator is not None:
                left = values.setdefault(atom.name, _start(domain))
                if left.narrow(atom.operator, atom.values):
                    continue
            if unknown.setdefault(key, atom.negated) != atom.negated:
                return Found(Answer.NEVER)
        self._compare(values)
        example = {name: value for name, left in values.items() if (value := left.one()) is not None}
        if len(example) < len(values):
            return Found(Answer.NEVER)
        return Found(Answer.CANNOT_TELL if unknown else Answer.CAN, example)

    def _compare(self, values: dict[str, _Values]) -> None:
        """Bounds that follow from one name never being above another. Names that nobody asks of bound others too."""
        for _ in range(3):
            for small, large in self._at_most:
                if small not in values and large not in values:
                    continue
                below, above = (values.get(n) or _start(self._domains[n]) for n in (small, large))
                ceiling = above.high if above.options is None else _largest(above.options)
                floor = below.low if below.options is None else _smallest(below.options)
                if small in values and ceiling < below.high:
                    below.high, below.high_open = ceiling, above.options is None and above.high_open
                if large in values and floor > above.low:
                    above.low, above.low_open = floor, below.options is None and below.low_open


def _start(domain: Domain) -> _Values:
    return _Values(domain.low, domain.high, whole=domain.whole, text=domain.text, options=domain.options)


def _largest(options: frozenset[Literal]) -> float:
    return max((value for value in options if not isinstance(value, str)), default=float("-inf"))


def _smallest(options: frozenset[Literal]) -> float:
    return min((value for value in options if not isinstance(value, str)), default=float("inf"))


def _plain(text: str) -> str:
    """Without comments, which end with the line."""
    kept = []
    for line in text.splitlines():
        ends = [place for place, _, _ in _levels(line) if line.startswith("//", place) and not _quoted(line, place)]
        kept.append(line[: ends[0]] if ends else line)
    return "\n".join(kept)


def _quoted(line: str, place: int) -> bool:
    before = line[:place]
    return before.count('"') % 2 == 1 or before.count("'") % 2 == 1


def _shown(value: Literal) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, (int, float)) else repr(value)
