"""Carry forward: what a device did without a login belongs to the login most recently seen on it.

Pure. Input: what is known of one device, its events in order and the person of each of its logins. Output: a step
function of event time, (from, person), ascending, the first from ``MIN_TIME``. Times: UTC microseconds of event time.

From an event that names a login on, the device's other events are that login's person's; what came before the first
login is the first login's. A logout ends it: from the next microsecond on, until a login, the events are those of the
device's own person. So is what came before a logout that no login came before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from contracts.event import Identifier
from contracts.exchange import MAX_TIME, MIN_TIME, StrandEvent


class Step(NamedTuple):
    """From a time on the device is in the hands of ``login``; of nobody known when it is None."""

    at: int
    login: Identifier | None


def hands(events: Iterable[StrandEvent]) -> list[Step]:
    """In whose hands a device was. ``events``: all of one primary identifier, in order of (event time, event_id)."""
    steps: list[Step] = []

    def put(at: int, login: Identifier | None) -> None:
        while steps and steps[-1].at >= at:
            steps.pop()
        if not steps or steps[-1].login != login:
            steps.append(Step(at, login))

    for event in events:
        if event.login is not None:
            put(event.event_time, event.login)
        if event.logout:
            put(event.event_time + 1, None)
    if not steps:
        return [Step(MIN_TIME, None)]
    return [Step(MIN_TIME, steps[0].login), *steps[1:]]


def carried_steps(
    steps: Iterable[Step], person_of: Callable[[Identifier], str], own: str
) -> tuple[tuple[int, str], ...]:
    """The assignment that the hands make: steps of one person after each other are one.

    Args:
        person_of: the person of a login of this device.
        own: the device's own person.
    """
    made: list[tuple[int, str]] = []
    for at, login in steps:
        person = own if login is None else person_of(login)
        if not made or made[-1][1] != person:
            made.append((at, person))
    return tuple(made)


def spans_of(steps: tuple[tuple[int, str], ...]) -> dict[str, tuple[tuple[int, int], ...]]:
    """For each person the stretches of time (from, before) that the steps give to it."""
    spans: dict[str, list[tuple[int, int]]] = {}
    for number, (at, person) in enumerate(steps):
        before = steps[number + 1][0] if number + 1 < len(steps) else MAX_TIME
        spans.setdefault(person, []).append((at, before))
    return {person: tuple(found) for person, found in spans.items()}
