"""The default ontology on journeys told in plain words: ``tests/journeys/*.yaml``."""

from __future__ import annotations

import re
from typing import Any

import pytest

from benchmarks.golden_journeys import WHEN, moment, scenarios, told
from contracts.documents import Node
from contracts.event import DAY, Event

_MOVE = re.compile(rf"^(\w+)(?: at {WHEN})?$")
SCENARIOS = [pytest.param(node, id=f"{name}: {node.need('scenario').string()}") for name, node in scenarios()]


def test_there_are_scenarios() -> None:
    assert len(SCENARIOS) >= 15


@pytest.mark.parametrize("node", SCENARIOS)
def test_journey(bench: Any, event: Any, start: int, node: Node) -> None:
    def make(name: str, at: int, path: str | None, event_id: str) -> Event:
        return event(name, at, path=path, event_id=event_id)

    until = re.fullmatch(WHEN, node.need("until").string())
    assert until is not None
    horizon = moment(until[1], until[2], until[3], start)
    trace = bench.trace(told(node, make, start), horizon)
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
