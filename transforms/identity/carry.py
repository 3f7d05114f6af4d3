"""Carrying: what a device did without a login belongs to one of the logins seen on it, each in its turn.

Pure. Input: what is known of one device, its events in order and the person of each of its logins. Output: a step
function of event time, (from, person), ascending, the first from ``MIN_TIME``. Times: UTC microseconds of event time.

Between two logins on the device, its other events are

- under ``carry_forward`` those of the login before;
- under ``carry_visit`` likewise, but a visit (a run of the device's events without a gap of ``visit_gap``) in which
  somebody logs in is the first such login's from its beginning;
- under ``carry_back`` those of the login after.

What came before the first login is the first login's. A logout ends it: from the next microsecond on, the events are
those of the next login, as if there had been none before; of the device's own person if none follows. A login that an
unlink keeps from the device takes nothing and ends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple, Protocol

from contracts.event import Identifier
from contracts.exchange import MAX_TIME, MIN_TIME
from transforms.identity.rules import CARRY_BACK, CARRY_FORWARD, CARRY_VISIT, Carry


class Mark(Protocol):
    """What an event says of in whose hands its device is."""

    @property
    def event_time(self) -> int: ...

    @property
    def login(self) -> Identifier | None: ...

    @property
    def logout(self) -> bool: ...


class Step(NamedTuple):
    """From a time on the device is in the hands of ``login``; of nobody known when it is None."""

    at: int
    login: Identifier | None


_FORWARD = Carry(CARRY_FORWARD, 0)


def hands(events: Iterable[Mark], carry: Carry = _FORWARD, barred: Collection[Identifier] = ()) -> list[Step]:
    """In whose hands a device was.

    Args:
        events: all of one primary identifier, in order of (event time, event_id).
        carry: how it is carried.
        barred: logins that an unlink keeps from the device; their events count as others of the device, which name no
            login and end none.
    """
    steps: list[Step] = []
    left: int | None = None
    """When the last login was ended, if nobody logged in since."""
    last_login = last_event = MIN_TIME
    visit, visited = MIN_TIME, False
    """When the visit began, and whether somebody logged in or out in it."""
    for event in events:
        at = event.event_time
        if at - last_event >= carry.visit_gap:
            visit, visited = at, False
        last_event = at
        if event.login in barred:
            continue
        if event.login is not None:
            if not steps:
                start = MIN_TIME
            elif left is not None:
                start = left + 1
            elif carry.policy == CARRY_BACK:
                start = last_login + 1
            elif carry.policy == CARRY_VISIT and not visited:
                start = visit
            else:
                start = at
            _put(steps, min(start, at), event.login)
            last_login, left, visited = at, None, True
        if event.logout:
            # of several logouts one after the other the first is the end
            left, visited = at if left is None else left, True
    if not steps:
        return [Step(MIN_TIME, None)]
    if left is not None:
        _put(steps, left + 1, None)
    return steps


def _put(steps: list[Step], at: int, login: Identifier | None) -> None:
    while steps and steps[-1].at >= at:
        steps.pop()
    if not steps or steps[-1].login != login:
        steps.append(Step(at, login))


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
