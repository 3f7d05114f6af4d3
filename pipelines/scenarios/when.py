"""Times as people say them: ``day 3 at 10:00``, ``2024-02-29 09:30``, ``+2d 10:00``, ``after 40 days of silence``.

Pure. Input: text, the first day, and the moment that a relative time counts from. Output: ``When``. Units: UTC
microseconds, event time. Errors: ValueError, with how it is written. State: none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from contracts.event import DAY, HOUR, MINUTE, SECOND

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CLOCK = r"\d{1,2}:\d\d(?::\d\d)?"
_PART = r"\d+(?:\.\d+)? ?(?:weeks?|w|days?|d|hours?|h|minutes?|min|m|seconds?|s)(?![a-z])"
_LENGTH = rf"{_PART}(?: ?{_PART})*"
WHEN = (
    rf"(?:(?:day \d+|\d{{4}}-\d\d-\d\d)(?: (?:at )?{_CLOCK})?|\+ ?{_LENGTH}(?: (?:at )?{_CLOCK})?"
    rf"|after {_LENGTH}(?: of silence)?)"
)
"""A pattern without groups, for sentences that begin or end with a time."""

HOW = "write 'day 3 10:00', '2024-02-29 10:00', '+5m', '+2d 10:00' or 'after 40 days of silence'"

_FIXED = re.compile(rf"(?:day (\d+)|(\d{{4}}-\d\d-\d\d))(?: (?:at )?({_CLOCK}))?")
_LATER = re.compile(rf"(?:\+ ?|after )({_LENGTH})(?: of silence| (?:at )?({_CLOCK}))?")
_ONE = re.compile(r"(\d+(?:\.\d+)?) ?([a-z])[a-z]*")
_UNITS = {"w": 7 * DAY, "d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND}


@dataclass(frozen=True, slots=True)
class When:
    """A moment, and how exactly it was said: something happened then if it did within ``span`` from ``at`` on."""

    at: int
    span: int

    def holds(self, moment: int) -> bool:
        """Whether ``moment`` is what was meant."""
        return self.at <= moment < self.at + self.span


def read_when(text: str, begin: int, before: int | None) -> When:
    """A time as it was said.

    Args:
        begin: midnight of day 1.
        before: what ``+5m`` and ``after`` count from; None where there is nothing.

    Raises:
        ValueError: it is no time, or counts from nothing.
    """
    if match := _FIXED.fullmatch(text):
        number, date, clock = match.groups()
        if date is not None:
            day = (datetime.fromisoformat(date).replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
        elif int(number) < 1:
            raise ValueError("days are counted from 1")
        else:
            day = begin + (int(number) - 1) * DAY
        return When(day, DAY) if clock is None else _at_clock(day, clock)
    if match := _LATER.fullmatch(text):
        if before is None:
            raise ValueError(f"{text!r} counts from what stands before it, and there is nothing with a time")
        length, clock = match.groups()
        moment = before + read_length(length)
        if clock is None:
            return When(moment, SECOND if "s" in re.findall(r"[a-z]+", length)[-1][:1] else MINUTE)
        when = _at_clock((moment - begin) // DAY * DAY + begin, clock)
        if when.at < before:
            raise ValueError(f"{text!r} would be before what it counts from")
        return when
    raise ValueError(f"{text!r} is no time; {HOW}")


def read_length(text: str) -> int:
    """``1h30m`` or ``2 days`` in microseconds."""
    return sum(round(float(number) * _UNITS[unit]) for number, unit in _ONE.findall(text))


def _at_clock(day: int, clock: str) -> When:
    hours, minutes, *seconds = (int(part) for part in clock.split(":"))
    if hours > 23 or minutes > 59 or any(second > 59 for second in seconds):
        raise ValueError(f"{clock!r} is no time of a day")
    at = day + hours * HOUR + minutes * MINUTE + sum(seconds) * SECOND
    return When(at, SECOND if seconds else MINUTE)


def shown(moment: int, begin: int) -> str:
    """A moment for a reader, to the second: ``day 3 10:00:05``."""
    day, rest = divmod(moment - begin, DAY)
    hours, rest = divmod(rest, HOUR)
    minutes, rest = divmod(rest, MINUTE)
    seconds = f":{rest // SECOND:02d}" if rest >= SECOND else ""
    return f"day {day + 1} {hours:02d}:{minutes:02d}{seconds}"
