"""Times of a row: formats and zones as a mapping states them, to UTC microseconds. Pure."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from contracts.documents import Node
from sources.importer.rows import LONG, RowError

EPOCHS = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}
"""Format to microseconds a unit."""
MAX_TEXT = 100
"""No text of a time is longer."""

_OFFSET = re.compile(r"^([+-])(\d{2}):?(\d{2})$")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_format(node: Node) -> str | None:
    """A time's format as the mapping writes it: None stands for ISO 8601."""
    text = node.string()
    if text == "iso8601":
        return None
    if text not in EPOCHS and "%" not in text:
        node.fail(f"{node.where} must be iso8601, {', '.join(EPOCHS)}, or a pattern such as %Y-%m-%d")
    return text


def parse_zone(node: Node) -> tzinfo:
    """An IANA zone name, ``UTC``, or an offset such as ``-05:00``."""
    text = node.string()
    if (match := _OFFSET.match(text)) and int(match[2]) < 24 and int(match[3]) < 60:
        minutes = int(match[2]) * 60 + int(match[3])
        return timezone(timedelta(minutes=minutes if match[1] == "+" else -minutes))
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        node.fail(
            f"{node.where}: {text!r} is no time zone",
            hint="write an IANA name such as Europe/Berlin, or an offset: -05:00",
        )


def micros_of(found: Any, pattern: str | None, zone: tzinfo, name: str, line: int | None = None) -> int:
    """A value of a row as UTC microseconds. Raises RowError ``bad_time``."""
    try:
        if isinstance(found, datetime):
            moment = found
        elif pattern in EPOCHS:
            if isinstance(found, bool):
                raise ValueError("a truth is no time")
            text = str(found).strip()
            if len(text) > MAX_TEXT or "_" in text:
                raise ValueError("no number of any source")
            return _in_range(_rounded(Decimal(text) * EPOCHS[pattern]))
        else:
            moment = _moment(found, pattern)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        # through timedelta: a float of seconds would lose microseconds
        delta = moment - _EPOCH
        return _in_range((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds)
    except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
        raise RowError("bad_time", f"{name} is no time in the stated format", line=line) from error


def _moment(found: Any, pattern: str | None) -> datetime:
    if isinstance(found, date):
        return datetime(found.year, found.month, found.day)
    if not isinstance(found, str) and (pattern is None or not isinstance(found, int)):
        raise TypeError("no text")
    text = str(found).strip()
    if len(text) > MAX_TEXT:
        raise ValueError("too long")
    if pattern is None:
        return datetime.fromisoformat(text.replace(" UTC", "+00:00"))
    return datetime.strptime(text, pattern)


def _rounded(micros: Decimal) -> int:
    if not micros.is_finite() or abs(micros) >= LONG:
        raise ValueError("out of range")
    return round(micros)


def _in_range(micros: int) -> int:
    if not -LONG <= micros < LONG:
        raise ValueError("out of range")
    return micros
