"""Conditions: the small language (CEL) in which stage entries and policies say when something holds.

A condition is a text such as ``pricing_views >= 2 && !consent["email"]``. It is compiled against a ``Vocabulary``, so
that a misspelt name or a comparison of unlike types is refused with its file and line before anything runs, and it is
evaluated without side effects, clock or loops. Several conditions over the same values are evaluated in one call
(``ConditionSet``): most of the price of an evaluation is handing over the values.

Input: names and their values, no time domain of its own. Output: booleans. State: none; compiled programs are a cache
that is rebuilt after unpickling, since the library's objects cannot travel to a worker.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import PurePath
from typing import Any, NoReturn

from cel_expr_python import cel

from contracts.documents import Node
from contracts.errors import WaylineError

Value = bool | int | float | str | Mapping[str, bool]

BOOL, INT, DOUBLE, STRING, FLAGS = "bool", "int", "double", "string", "map<string,bool>"
KINDS = (BOOL, INT, DOUBLE, STRING, FLAGS)

_MAX_TEXT = 4_000
# One program holds at most so many conditions, and so many characters: the library refuses very long expressions.
_CHUNK = 40
_CHUNK_TEXT = 60_000
# Nested, they run for ever over lists that fit a line; one after the other, they double a text forty times.
_LOOPS = ("all", "exists", "exists_one", "map", "filter")
_WITHOUT_LOOPS = f"stdlib: {{exclude_macros: [{', '.join(_LOOPS)}]}}"
_LOOP = re.compile(rf"\.\s*({'|'.join(_LOOPS)})\s*\(")
_PLACE = re.compile(r"ERROR: <input>:(\d+):(\d+): ([^\n]*)")
_UNDECLARED = re.compile(r"undeclared reference to '([^']+)'")
_LITERAL = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")
_WORD = re.compile(r"(?<![\w.])[A-Za-z_]\w*")
_BLANKS: dict[str, Value] = {BOOL: False, INT: 0, DOUBLE: 0.0, STRING: "", FLAGS: {}}


class ConditionError(WaylineError):
    """A condition could not be evaluated on the values it got: a missing name, a wrong type, a division by zero."""

    exit_code = 3


class Vocabulary:
    """The names a condition may use, with their kinds (``KINDS``).

    Args:
        variables: name to kind.

    Raises:
        ValueError: a kind is none of ``KINDS``.
    """

    __slots__ = ("_items",)

    def __init__(self, variables: Mapping[str, str]) -> None:
        for name, kind in variables.items():
            if kind not in KINDS:
                raise ValueError(f"variable {name!r} is of kind {kind!r}, which is none of {', '.join(KINDS)}")
        self._items = tuple(sorted(variables.items()))

    @property
    def variables(self) -> dict[str, str]:
        """Name to kind, by name."""
        return dict(self._items)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self._items)

    def program(self, text: str) -> Any:
        """The library's compiled expression. Raises RuntimeError with the place of a fault."""
        return _environment(self._items).compile(text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self._items == other._items

    def __hash__(self) -> int:
        return hash(self._items)


@cache
def _environment(items: tuple[tuple[str, str], ...]) -> Any:
    types = {
        BOOL: cel.Type.BOOL,
        INT: cel.Type.INT,
        DOUBLE: cel.Type.DOUBLE,
        STRING: cel.Type.STRING,
        FLAGS: cel.Type.Map(cel.Type.STRING, cel.Type.BOOL),
    }
    return cel.NewEnv(
        config=cel.NewEnvConfigFromYaml(_WITHOUT_LOOPS), variables={name: types[kind] for name, kind in items}
    )


@dataclass(frozen=True, slots=True)
class Condition:
    """A checked condition. ``where`` is file name and line; ``names`` are the variables it uses, sorted."""

    text: str
    where: str = field(compare=False)
    vocabulary: Vocabulary
    names: tuple[str, ...]


def compile(node: Node, vocabulary: Vocabulary) -> Condition:
    """Check a condition of a document against a vocabulary.

    Args:
        node: a text, or ``true`` or ``false``.
        vocabulary: the names it may use.

    Raises:
        ConfigurationError: with file, line and column in the text, when it does not parse, uses an unknown name,
            compares unlike types, or gives something else than true or false.
    """
    text = ("true" if node.value else "false") if isinstance(node.value, bool) else node.string().strip()
    if len(text) > _MAX_TEXT:
        node.fail(f"{node.where} is {len(text)} characters long; a condition has at most {_MAX_TEXT}")
    try:
        program = vocabulary.program(text)
    except RuntimeError as error:
        _explain(node, vocabulary, text, str(error))
    gives = program.return_type().name()
    if gives != "BOOL":
        node.fail(f"{node.where}: {text!r} gives {gives.lower()}, not true or false", hint="compare it with something")
    words = set(_WORD.findall(_LITERAL.sub(" ", text)))
    names = tuple(name for name in vocabulary.names if name in words)
    # A broken pattern shows only when evaluated; other complaints about these blank values mean nothing.
    kinds = vocabulary.variables
    blank = program.eval(data={name: _BLANKS[kinds[name]] for name in names}).plain_value()
    if isinstance(blank, str) and "invalid regular expression" in blank:
        node.fail(f"{node.where}: {blank.split(': ', 1)[1]}")
    # The file's name alone: decisions record it, and they do not depend on where a checkout lies.
    return Condition(text, f"{PurePath(node.path).name}:{node.line}", vocabulary, names)


def _explain(node: Node, vocabulary: Vocabulary, text: str, complaint: str) -> NoReturn:
    place = _PLACE.search(complaint)
    if place is None:
        node.fail(f"{node.where}: {complaint.splitlines()[0]}")
    line, column, what = int(place[1]), int(place[2]), place[3].split(" (in container")[0].split(" [INVALID")[0]
    if loop := _LOOP.search(_LITERAL.sub(" ", text)):
        node.fail(
            f"{node.where}: a condition has no loops, and so no {loop[1]}()",
            hint='name what is asked for, as in consent["email"] or "email" in consent',
        )
    at = f"column {column}" if "\n" not in text else f"line {line}, column {column} of the condition"
    hint = ""
    unknown = _UNDECLARED.search(what)
    if unknown:
        near = difflib.get_close_matches(unknown[1], vocabulary.names, n=1)
        known = ", ".join(vocabulary.names)
        hint = f"did you mean {near[0]!r}?" if near else f"known names: {known}"
        what = f"unknown name {unknown[1]!r}"
    elif "(double, int)" in what or "(int, double)" in what:
        hint = "a double is compared with a number that has a point: write 3.0 rather than 3; an int without: 3"
    node.fail(f"{node.where}, {at}: {what}", hint=hint)


class ConditionSet:
    """Conditions over one vocabulary, evaluated together.

    ``names`` are the variables that ``evaluate`` needs; values under other names are ignored and cost nothing.
    """

    def __init__(self, conditions: Sequence[Condition]) -> None:
        if len({condition.vocabulary for condition in conditions}) > 1:
            raise ValueError("conditions evaluated together must share one vocabulary")
        self.conditions = tuple(conditions)
        self.names = tuple(sorted({name for condition in conditions for name in condition.names}))
        self._programs: tuple[Any, ...] | None = None

    def __getstate__(self) -> tuple[Condition, ...]:
        return self.conditions

    def __setstate__(self, state: tuple[Condition, ...]) -> None:
        self.__init__(state)  # type: ignore[misc]

    def __len__(self) -> int:
        return len(self.conditions)

    def evaluate(self, values: Mapping[str, object]) -> list[bool]:
        """Whether each condition holds, in their order.

        Raises:
            ConditionError: one of them cannot be evaluated; the message names it and its place.
        """
        fast = self._evaluate_all(values)
        if fast is not None:
            return fast
        verdicts = self.verdicts(values)
        for verdict in verdicts:
            if isinstance(verdict, ConditionError):
                raise verdict
        return [verdict for verdict in verdicts if isinstance(verdict, bool)]

    def verdicts(self, values: Mapping[str, object]) -> list[bool | ConditionError]:
        """Like ``evaluate``, but a condition that fails does not silence the others: its error is its verdict."""
        fast = self._evaluate_all(values)
        if fast is not None:
            return [*fast]
        return [_evaluate_one(condition, values) for condition in self.conditions]

    def _evaluate_all(self, values: Mapping[str, object]) -> list[bool] | None:
        """All at once; None when any of them, or handing over a value, failed."""
        if self._programs is None:
            self._programs = tuple(map(_joined, _chunks(self.conditions)))
        try:
            data = {name: values[name] for name in self.names}
        except KeyError:
            return None
        held: list[bool] = []
        for program in self._programs:
            # An error comes back as a text, not as an exception; only a list is an answer.
            answer = program.eval(data=data).plain_value()
            if type(answer) is not list:
                return None
            held += answer
        return held


def _chunks(conditions: Sequence[Condition]) -> Iterator[Sequence[Condition]]:
    """The conditions in their order, so many at a time as one program may hold."""
    begin = size = 0
    for place, condition in enumerate(conditions):
        size += len(condition.text)
        if place > begin and (place - begin == _CHUNK or size > _CHUNK_TEXT):
            yield conditions[begin:place]
            begin, size = place, len(condition.text)
    if begin < len(conditions):
        yield conditions[begin:]


def _joined(conditions: Sequence[Condition]) -> Any:
    # The line break ends a comment in which a condition may end.
    return conditions[0].vocabulary.program("[" + ",".join(f"({condition.text}\n)" for condition in conditions) + "]")


def _evaluate_one(condition: Condition, values: Mapping[str, object]) -> bool | ConditionError:
    """As the joined evaluation does it, a value matters only where the condition looks at it."""
    kinds = condition.vocabulary.variables
    data: dict[str, Value] = {}
    faults: list[str] = []
    for name in condition.names:
        value = _coerced(values[name], kinds[name]) if name in values else None
        if value is not None:
            data[name] = value
        elif name in values:
            faults.append(f"{name!r} is a {type(values[name]).__name__}, not {kinds[name]}")
        else:
            faults.append(f"{name!r} has no value")
    answer = _program(condition.vocabulary, condition.text).eval(data=data).plain_value()
    if isinstance(answer, bool):
        return answer
    why = "; ".join(faults) or str(answer)
    return ConditionError(f"{condition.where}: condition {condition.text!r} cannot be evaluated: {why}")


@cache
def _program(vocabulary: Vocabulary, text: str) -> Any:
    return vocabulary.program(text)


def _coerced(value: object, kind: str) -> Value | None:
    """A value as the library wants it (numpy scalars become Python's); None when it is of another kind."""
    if kind == FLAGS:
        return {str(k): bool(v) for k, v in value.items()} if isinstance(value, Mapping) else None
    if not isinstance(value, (bool, int, float, str)) and hasattr(value, "item"):
        value = value.item()
    if kind == BOOL:
        return value if isinstance(value, bool) else None
    if kind == STRING:
        return value if isinstance(value, str) else None
    if not isinstance(value, (int, float)):
        return None
    if kind == DOUBLE:
        return float(value)
    return int(value) if isinstance(value, int) or value.is_integer() else None
