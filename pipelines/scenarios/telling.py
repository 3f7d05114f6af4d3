"""Verdicts in words, and as JUnit XML.

Input: ``Verdict``s. Output: text. A failure says what was expected, what came, and the whole story with its evidence:
each event, each move with the rule that spoke and the signals with what they were worth, each decision. Errors, state:
none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from contracts.exchange import Decision, Transition
from pipelines.scenarios.play import PlayedPerson
from pipelines.scenarios.scenario import Scenario
from pipelines.scenarios.verdict import Verdict, names_of
from pipelines.scenarios.when import shown
from transforms.decide.rules import NOTHING

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Timed:
    """A verdict, and how many seconds it took."""

    verdict: Verdict
    seconds: float


def failure_text(verdict: Verdict) -> str:
    """Why a scenario failed, for a reader."""
    scenario = verdict.scenario
    lines = [f"FAILED {scenario.path}:{scenario.line}: {scenario.name}"]
    for failure in verdict.failures:
        of = f" of {failure.who}" if failure.who else ""
        lines += [
            f"  {failure.what}{of} (line {failure.line})",
            f"    expected: {failure.expected}",
            f"    came:     {failure.came}",
        ]
    for person in verdict.played.persons:
        lines += ["", f"  The story of {names_of(scenario, person)}:"]
        lines += [f"    {line}" for line in _story(scenario, person)]
    return "\n".join(lines)


def _story(scenario: Scenario, person: PlayedPerson) -> Iterator[str]:
    asked = frozenset(entry.name for _, who in scenario.people for entry in (*(who.decisions or ()), *who.withheld))
    told: list[tuple[int, int, list[str]]] = []
    for step in person.trace.steps:
        event = step.event
        means = ", ".join(step.meaning.behaviours) or "nothing"
        path = f" {event.context.path}" if event.context.path else ""
        begins = ", begins a session" if step.began else ""
        told.append((event.event_time, 0, [f"{event.name}{path}: shows {means}{begins}"]))
    told += [(move.at, 1, _move(scenario, move)) for move in person.path.transitions]
    told += [(decision.at, 2, _decision(decision, asked)) for decision in person.decisions]
    for at, _, lines in sorted((item for item in told if item[2]), key=lambda item: item[:2]):
        when = f"{shown(at, scenario.begin):<17}"
        yield f"{when} {lines[0]}"
        yield from (f"{'':<17}   {line}" for line in lines[1:])
    standing = scenario.world.ontology.stage_names[person.path.standing.stage]
    intents = ", ".join(f"{stage} {intent:.2f}" for stage, intent in person.path.intents.items())
    yield f"{shown(scenario.until, scenario.begin):<17} the end, in {standing}; intent: {intents}"


def _move(scenario: Scenario, move: Transition) -> list[str]:
    lines = [f"> {move.to_stage}, said by {move.decided_by}: {move.reason}"]
    for signal in move.signals:
        times = "once" if signal.count == 1 else f"{signal.count} times"
        last = shown(signal.last_time, scenario.begin)
        lines.append(f"{signal.stage}.{signal.signal} {signal.value:.3f}, fed {times}, last at {last}")
    return lines


def _decision(decision: Decision, asked: frozenset[str]) -> list[str]:
    """A decision; nothing of one that chose nothing from what nobody asks about and what no condition let in."""
    lines = [
        f"not {candidate.name}, {candidate.dropped_by}: {candidate.reason}"
        for candidate in decision.candidates
        if candidate.dropped_by is not None
        and (candidate.dropped_by != "not_eligible" or not asked.isdisjoint((candidate.name, candidate.action)))
    ]
    if decision.chosen == NOTHING:
        return [f"= {decision.slot}: nothing", *lines] if lines else []
    return [f"= {decision.slot}: {decision.template} by {decision.channel}: {decision.reason}", *lines]


def summary(results: Sequence[Timed], seconds: float) -> str:
    """One line for all."""
    failed = sum(bool(result.verdict.failures) for result in results)
    total = "1 scenario" if len(results) == 1 else f"{len(results)} scenarios"
    return f"{total}, {failed} failed, {seconds:.2f} s" if failed else f"{total}, all as expected, {seconds:.2f} s"


def junit(results: Sequence[Timed]) -> str:
    """The results as JUnit XML: a suite a file, a case a scenario."""
    root = ElementTree.Element("testsuites")
    by_file: dict[str, list[Timed]] = {}
    for result in results:
        by_file.setdefault(result.verdict.scenario.path, []).append(result)
    for path, some in by_file.items():
        failed = sum(bool(result.verdict.failures) for result in some)
        suite = ElementTree.SubElement(
            root, "testsuite", name=path, tests=str(len(some)), failures=str(failed), errors="0", skipped="0",
            time=f"{sum(result.seconds for result in some):.3f}",
        )  # fmt: skip
        for result in some:
            scenario = result.verdict.scenario
            case = ElementTree.SubElement(
                suite, "testcase", classname=path, name=_legal(scenario.name), file=path, line=str(scenario.line),
                time=f"{result.seconds:.3f}",
            )  # fmt: skip
            if result.verdict.failures:
                first = result.verdict.failures[0]
                message = f"{first.what}: expected {first.expected}; came {first.came}"
                failure = ElementTree.SubElement(case, "failure", message=_legal(message), type="expectation")
                failure.text = _legal(failure_text(result.verdict))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _legal(text: str) -> str:
    """XML has no control characters, not even escaped."""
    return _NO_XML.sub("?", text)
