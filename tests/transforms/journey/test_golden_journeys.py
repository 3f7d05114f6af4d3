"""The default ontology on journeys told in plain words: ``tests/journeys/*.yaml``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from contracts import documents
from contracts.documents import Node
from contracts.event import DAY, HOUR, MINUTE, Event

FOLDER = Path(__file__).parents[2] / "journeys"
_WHEN = r"day (\d+) (\d\d):(\d\d)"
_EVENT = re.compile(rf"^{_WHEN} ([^/]+?)(?: (/\S*))?$")
_MOVE = re.compile(rf"^(\w+)(?: at {_WHEN})?$")


def scenarios() -> list[Any]:
    found = []
    for path in sorted(FOLDER.glob("*.yaml")):
        for node in documents.load(path).list():
            node.mapping(("scenario", "events", "until", "stages", "sessions", "conversions"))
            found.append(pytest.param(node, id=f"{path.stem}: {node.need('scenario').string()}"))
    return found


def moment(day: str, hour: str, minute: str, start: int) -> int:
    return start + (int(day) - 1) * DAY + int(hour) * HOUR + int(minute) * MINUTE


def told(node: Node, make: Any, start: int) -> list[Event]:
    events = []
    for number, child in enumerate(node.need("events").list()):
        match = _EVENT.match(child.string())
        if match is None:
            child.fail("an event is written 'day 1 10:00 name' or 'day 1 10:00 name /path'")
        at = moment(match[1], match[2], match[3], start)
        events.append(make(match[4], at, path=match[5], event_id=f"{number:04d}"))
    return events


def test_there_are_scenarios() -> None:
    assert len(scenarios()) >= 15


@pytest.mark.parametrize("node", scenarios())
def test_journey(bench: Any, event: Any, start: int, node: Node) -> None:
    until = re.fullmatch(_WHEN, node.need("until").string())
    assert until is not None
    horizon = moment(until[1], until[2], until[3], start)
    trace = bench.trace(told(node, event, start), horizon)
    transitions = bench.paths.stage_path(trace).transitions
    expected = [_MOVE.match(text) for text in node.need("stages").strings()]
    assert all(expected)
    story = "\n".join(f"{(t.at - start) / DAY + 1:.3f} {t.to_stage}: {t.reason}" for t in transitions)
    assert [t.to_stage for t in transitions] == [match[1] for match in expected if match], story
    for transition, match in zip(transitions, expected, strict=True):
        if match is not None and match[2]:
            assert transition.at == moment(match[2], match[3], match[4], start), story
    sessions, conversions = node.get("sessions"), node.get("conversions")
    if sessions is not None:
        assert len(trace.sessions) == sessions.integer()
    if conversions is not None:
        assert sum(session.conversions for session in trace.sessions) == conversions.integer()
