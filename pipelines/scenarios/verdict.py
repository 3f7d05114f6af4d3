"""Whether a scenario came out as expected: plays it and compares.

Input: a ``Scenario``. Output: ``Verdict``, with one ``Failure`` for each expectation that was not met. Time domain:
event time, UTC microseconds. Errors: none. State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.exchange import Decision
from pipelines.scenarios.expected import Check, Entry, Expected
from pipelines.scenarios.play import Played, PlayedPerson
from pipelines.scenarios.scenario import Scenario
from pipelines.scenarios.when import shown
from transforms.decide.rules import NOTHING


@dataclass(frozen=True, slots=True)
class Failure:
    """What was expected and what came; ``line`` is the expectation's, ``who`` the person, if there are several."""

    line: int
    what: str
    expected: str
    came: str
    who: str | None = None


@dataclass(frozen=True)
class Verdict:
    """What came of a scenario; it passed when there is no failure."""

    scenario: Scenario
    played: Played
    failures: tuple[Failure, ...]


def judge(scenario: Scenario) -> Verdict:
    """Play a scenario and compare."""
    played = scenario.world.play(scenario.events, scenario.until, scenario.model)
    failures: list[Failure] = []
    if len(played.rejected) != scenario.rejected:
        came = ", ".join(f"{event_id}: {reason}" for event_id, reason in played.rejected) or "none"
        failures.append(Failure(scenario.line, "events turned away", str(scenario.rejected), came))
    found = _found(scenario, played, failures)
    for label, expected in scenario.people:
        person = found.get(label)
        if person is not None:
            failures += _Comparing(scenario, label, person).all(expected)
    return Verdict(scenario, played, tuple(failures))


def names_of(scenario: Scenario, person: PlayedPerson) -> str:
    """What a person is called by the scenario: the labels of all identifiers that it has."""
    world = scenario.world
    owned = {identifier for name in person.names for identifier in name if identifier is not None}
    for event, _ in person.events:
        owned.update(event.identifiers)
    labels = [
        label
        for label, identifiers in scenario.who.labels.items()
        if any(world.pseudonym(identifier) in owned for identifier in identifiers)
    ]
    return " + ".join(labels) or person.person_id


def _found(scenario: Scenario, played: Played, failures: list[Failure]) -> dict[str | None, PlayedPerson]:
    """Who is meant by each name; persons that nobody expected, or that are missing, are failures."""
    came = "; ".join(names_of(scenario, person) for person in played.persons) or "nobody"
    if scenario.people[0][0] is None:
        if len(played.persons) != 1:
            failures.append(Failure(scenario.line, "persons", "one person", came))
            return {}
        return {None: played.persons[0]}
    found: dict[str | None, PlayedPerson] = {}
    for label, expected in scenario.people:
        assert label is not None
        meant = [person for person in played.persons if _is_meant(scenario, person, label)]
        if len(meant) != 1:
            many = "nobody of that name" if not meant else f"{len(meant)} persons have it: {came}"
            failures.append(Failure(expected.line, "persons", f"one person called {label}", many))
        elif meant[0] in found.values():
            other = next(name for name, person in found.items() if person is meant[0])
            failures.append(Failure(expected.line, "persons", f"{label} and {other} are two", f"they are one: {came}"))
        else:
            found[label] = meant[0]
    if not failures and len(found) < len(played.persons):
        names = ", ".join(str(label) for label in found)
        failures.append(Failure(scenario.line, "persons", f"{names}, and nobody else", came))
    return found


def _is_meant(scenario: Scenario, person: PlayedPerson, label: str) -> bool:
    """A login is whoever bears it; a device is who owns what it did without a login."""
    own = {scenario.world.pseudonym(identifier) for identifier in scenario.who.labels[label]}
    return any(login in own if login is not None else primary in own for primary, login in person.names)


class _Comparing:
    """One person of a scenario."""

    def __init__(self, scenario: Scenario, label: str | None, person: PlayedPerson) -> None:
        self._scenario, self._label, self._person = scenario, label, person
        self._failures: list[Failure] = []

    def all(self, expected: Expected) -> list[Failure]:
        """Everything that is not as expected."""
        person = self._person
        moves = [(move.to_stage, frozenset({move.to_stage}), move.at) for move in person.path.transitions]
        self._list("stages", expected.stages, moves, expected.line)
        if expected.sessions is not None and len(person.trace.sessions) != expected.sessions:
            came = "; ".join(self._at(s.started_at) for s in person.trace.sessions)
            self._fail(expected.line, "sessions", str(expected.sessions), f"{len(person.trace.sessions)}, from {came}")
        conversions = sum(session.conversions for session in person.trace.sessions)
        if expected.conversions is not None and conversions != expected.conversions:
            self._fail(expected.line, "conversions", str(expected.conversions), str(conversions))
        if expected.decisions is not None:
            done = [d for d in person.decisions if d.chosen != NOTHING]
            made = [(d.template or d.chosen, frozenset({d.template or "", d.chosen}), d.at) for d in done]
            self._list("decisions", expected.decisions, made, expected.line)
        for entry in expected.withheld:
            self._withheld(entry, person.decisions)
        for check in expected.checks:
            self._check(check)
        return self._failures

    def _fail(self, line: int, what: str, expected: str, came: str) -> None:
        self._failures.append(Failure(line, what, expected, came, self._label))

    def _at(self, moment: int) -> str:
        return shown(moment, self._scenario.begin)

    def _list(
        self, what: str, expected: Sequence[Entry], came: Sequence[tuple[str, frozenset[str], int]], line: int
    ) -> None:
        same = len(expected) == len(came) and all(
            entry.name in names and (entry.when is None or entry.when.holds(at))
            for entry, (_, names, at) in zip(expected, came, strict=True)
        )
        if not same:
            wrong = (
                entry.line
                for entry, (_, names, at) in zip(expected, came, strict=False)
                if entry.name not in names or not (entry.when is None or entry.when.holds(at))
            )
            line = next(wrong, expected[-1].line if expected else line)
            shown_came = ", ".join(f"{name} at {self._at(at)}" for name, _, at in came) or "nothing"
            self._fail(line, what, ", ".join(self._said(entry) for entry in expected) or "nothing", shown_came)

    def _said(self, entry: Entry) -> str:
        return entry.name if entry.when is None else f"{entry.name} at {self._at(entry.when.at)}"

    def _withheld(self, entry: Entry, decisions: Sequence[Decision]) -> None:
        seen: list[str] = []
        for decision in decisions:
            for candidate in decision.candidates:
                if entry.name not in (candidate.name, candidate.action) or candidate.dropped_by is None:
                    continue
                seen.append(f"by {candidate.dropped_by} at {self._at(decision.at)} ({candidate.reason})")
                by_it = entry.by is None or candidate.dropped_by == entry.by
                if by_it and (entry.when is None or entry.when.holds(decision.at)):
                    return
        self._fail(entry.line, "withheld", entry.text, "; ".join(seen) or "it was never withheld")

    def _check(self, check: Check) -> None:
        try:
            came = self._measure(check)
        except LookupError as error:
            came = str(error)
        if not _met(check, came):
            shown_came = f"{came:.4g}" if isinstance(came, float) else str(came)
            self._fail(check.line, f"check at {self._at(check.at)}", check.text, shown_came)

    def _measure(self, check: Check) -> object:
        _, path, seen = self._scenario.world.as_of(self._person, check.at)
        if check.kind == "stage":
            return seen.stage
        if check.kind == "confidence":
            return seen.confidence
        if check.kind == "intent":
            return path.intents[check.name]
        if check.kind == "signal":
            return next((s.value for s in path.signals if s.signal == check.name), 0.0)
        return seen.facts[check.name] if check.kind == "fact" else seen.features[check.name]


def _met(check: Check, came: object) -> bool:
    if isinstance(came, bool):
        return check.compare == "is" and check.value == str(came).lower()
    if not isinstance(came, int | float):
        return check.compare == "is" and check.value == came
    try:
        wanted = float(check.value)
    except ValueError:
        return False
    return {
        "is": abs(came - wanted) <= 1e-9 * max(1.0, abs(wanted)),
        "at least": came >= wanted,
        "at most": came <= wanted,
        "above": came > wanted,
        "below": came < wanted,
    }[check.compare]
