"""The golden journeys of ``tests/journeys``, told in plain words, as events: for the tests of stages, and for parity.

No Beam. Times are event time in UTC microseconds; day 1 begins at the ``start`` that is given. Errors:
ConfigurationError, with file and line, for what is told wrongly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from contracts import documents
from contracts.documents import Node
from contracts.event import DAY, HOUR, MINUTE, SECOND, Context, Event, Identifier

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "journeys"
WHEN = r"day (\d+) (\d\d):(\d\d)"
_EVENT = re.compile(rf"^{WHEN} ([^/]+?)(?: (/\S*))?$")

T = TypeVar("T")
Make = Callable[[str, int, str | None, str], T]
"""An event of a name, a time, a path and an id."""


def scenarios() -> Iterator[tuple[str, Node]]:
    """Each with the name of its file."""
    for path in sorted(FOLDER.glob("*.yaml")):
        for node in documents.load(path).list():
            node.mapping(("scenario", "events", "until", "stages", "sessions", "conversions"))
            yield path.stem, node


def moment(day: str, hour: str, minute: str, start: int) -> int:
    """``day 2 10:30`` as a time."""
    return start + (int(day) - 1) * DAY + int(hour) * HOUR + int(minute) * MINUTE


def told(node: Node, make: Make[T], start: int) -> list[T]:
    """The events of a scenario."""
    events = []
    for number, child in enumerate(node.need("events").list()):
        match = _EVENT.match(child.string())
        if match is None:
            child.fail("an event is written 'day 1 10:00 name' or 'day 1 10:00 name /path'")
        at = moment(match[1], match[2], match[3], start)
        events.append(make(match[4], at, match[5], f"{number:04d}"))
    return events


def golden(start: int) -> list[Event]:
    """All of them at once, each on a device of its own, in the order in which they were received."""
    found: list[Event] = []
    for number, (_, node) in enumerate(scenarios()):
        device = Identifier("anonymous_id", f"golden-{number:02d}")

        def make(name: str, at: int, path: str | None, event_id: str, device: Identifier = device) -> Event:
            properties: dict[str, str | int | float | bool] = {"amount": "20.0"} if name == "purchase" else {}
            return Event(
                f"{device.value}-{event_id}", name, at, at + SECOND, "web", "web", (device,),
                context=Context(path=path), properties=dict(properties),
            )  # fmt: skip

        found += told(node, make, start)
    return sorted(found, key=lambda event: (event.received_time, event.event_id))
