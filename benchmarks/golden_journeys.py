"""The journey tests of ``tests/journeys`` as events of one world: for parity of the hosts.

No Beam. Each scenario has devices and people of its own. Times are event time in UTC microseconds; day 1 of each begins
at the ``start`` that is given. Errors: ConfigurationError, with file and line, for what is told wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from contracts.event import SECOND, Event, Identifier
from pipelines.config import load_config
from pipelines.scenarios.scenario import Scenario, cached_worlds, read_scenarios, scenario_files

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "journeys"


def scenarios() -> Iterator[Scenario]:
    """All of them, in the order of their files."""
    config, worlds = load_config(None), cached_worlds()
    for path in scenario_files([FOLDER]):
        yield from read_scenarios(path, config, worlds)


def golden(start: int) -> list[Event]:
    """All of them at once, in the order in which they were received."""
    found: list[Event] = []
    for number, scenario in enumerate(scenarios()):
        shift = start - scenario.begin
        for event in scenario.events:
            found.append(
                replace(
                    event,
                    event_id=f"golden-{number:02d}-{event.event_id}",
                    event_time=event.event_time + shift,
                    received_time=event.received_time + shift + SECOND,
                    source="web",
                    identifiers=tuple(_own(identifier, number) for identifier in event.identifiers),
                )
            )
    return sorted(found, key=lambda event: (event.received_time, event.event_id))


def _own(identifier: Identifier, number: int) -> Identifier:
    return Identifier(identifier.namespace, f"{number:02d}-{identifier.value}")
