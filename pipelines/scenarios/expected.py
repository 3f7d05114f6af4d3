"""What a scenario expects of a person. A list is the whole list: what it does not name may not come.

Input: nodes, the world. Output: ``Expected``. Times: event time, UTC microseconds. Errors: ConfigurationError with file
and line, and the nearest known word for a misspelt one. State: none.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from contracts.documents import Node
from features.journey_features import FEATURE_NAMES
from pipelines.scenarios.play import World
from pipelines.scenarios.when import HOW, WHEN, When, read_when
from transforms.journey.facts import FACTS

PERSON_KEYS = ("stages", "sessions", "conversions", "decisions", "withheld", "checks")
ANY = "any"
REASONS = ("not_eligible", "consent", "suppressed", "cooldown", "cap", "holdout", "outranked")
"""Why a candidate is dropped, in the words of decisions."""
_ENTRY = re.compile(rf"(\S+?)(?: by (\w+))?(?:,? (?:at )?({WHEN}))?")
_CHECK = re.compile(rf"({WHEN})[:,]? (.+?) (is|at least|at most|above|below) (\S+)")


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing expected: a stage, a decision, or a candidate withheld for the reason ``by``."""

    name: str
    when: When | None
    by: str | None
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Check:
    """What is expected of a stage, its confidence, an intent, a signal, a fact or a feature at an instant."""

    at: int
    kind: str
    name: str
    compare: str
    value: str
    text: str
    line: int


@dataclass(frozen=True)
class Expected:
    """What is expected of one person; None for what is not looked at."""

    line: int
    stages: tuple[Entry, ...]
    sessions: int | None
    conversions: int | None
    decisions: tuple[Entry, ...] | None
    withheld: tuple[Entry, ...]
    checks: tuple[Check, ...]


def read_expected(node: Node, world: World, begin: int, last: int, until: int) -> Expected:
    """The expectations below ``node``.

    Args:
        begin: midnight of day 1.
        last: the time of the last event, from which silence counts.
        until: the horizon.
    """
    stages = world.ontology.stage_names
    sessions, conversions, decided = node.get("sessions"), node.get("conversions"), node.get("decisions")
    withheld, checks = node.get("withheld"), node.get("checks")
    decisions: tuple[Entry, ...] | None = ()
    if decided is not None:
        decisions = None if decided.value == ANY else _entries(decided, world.actions, "decision", begin)
    return Expected(
        node.line,
        _entries(node.need("stages"), stages, "stage", begin),
        sessions.integer(minimum=0) if sessions else None,
        conversions.integer(minimum=0) if conversions else None,
        decisions,
        () if withheld is None else _entries(withheld, world.actions, "decision", begin),
        () if checks is None else tuple(_check(child, world, begin, last, until) for child in checks.list()),
    )


def _entries(node: Node, known: Iterable[str], kind: str, begin: int) -> tuple[Entry, ...]:
    made: list[Entry] = []
    before: int | None = None
    for child in node.list():
        match = _ENTRY.fullmatch(child.string())
        if match is None:
            child.fail(
                f"{child.value!r} is no {kind}", hint=f"write its name and its time: 'name at day 2 10:00'; {HOW}"
            )
        name, by, text = match.groups()
        Node(name, child.path, child.line, f"the {kind}").choice(sorted(known))
        if by is not None:
            Node(by, child.path, child.line, "what withheld it").choice(REASONS)
        when: When | None = None
        if text is not None:
            try:
                when = read_when(text, begin, before)
            except ValueError as error:
                child.fail(str(error))
            before = when.at
        made.append(Entry(name, when, by, child.string(), child.line))
    return tuple(made)


def _check(node: Node, world: World, begin: int, last: int, until: int) -> Check:
    match = _CHECK.fullmatch(node.string())
    if match is None:
        node.fail(
            f"{node.value!r} is no check",
            hint="write 'day 3 10:00 asking_price below 0.1' or 'day 3 10:00 stage is decision'",
        )
    text, what, compare, value = match.groups()
    try:
        at = read_when(text, begin, last).at
    except ValueError as error:
        node.fail(str(error))
    if at > until:
        node.fail("the check is after 'until'")
    stages = world.ontology.stage_names
    kind, name = _kind(what, node, world)
    if kind == "stage":
        Node(value, node.path, node.line, "the stage").choice(stages)
    elif compare != "is" and not re.fullmatch(r"-?\d+(?:\.\d+)?", value):
        node.fail(f"{value!r} is no number")
    if kind == "stage" and compare != "is":
        node.fail("a stage is or is not", hint=f"write 'stage is {value}'")
    return Check(at, kind, name, compare, value, node.string(), node.line)


def _kind(what: str, node: Node, world: World) -> tuple[str, str]:
    if what == "stage":
        return "stage", ""
    if what == "confidence":
        return "confidence", ""
    if what.startswith("intent for "):
        stage = what.removeprefix("intent for ")
        Node(stage, node.path, node.line, "the stage").choice(world.ontology.stage_names)
        return "intent", stage
    signals = {signal.name for signal in world.ontology.signals}
    if what in signals:
        return "signal", what
    if what in FACTS:
        return "fact", what
    if what not in FEATURE_NAMES:
        _unknown(what, node, signals)
    return "feature", what


def _unknown(what: str, node: Node, signals: Iterable[str]) -> NoReturn:
    near = difflib.get_close_matches(what, [*signals, *FACTS, *FEATURE_NAMES, "stage", "confidence"], n=1)
    node.fail(
        f"{what!r} is no signal, fact or feature",
        hint=f"did you mean {near[0]!r}?" if near else "or write 'stage', 'confidence' or 'intent for STAGE'",
    )
