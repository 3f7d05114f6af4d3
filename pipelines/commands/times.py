"""Times as the command line takes them: ISO 8601, UTC where no zone is stated, as microseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """A click callback. Raises BadParameter for what is no time."""
    if value is None:
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no ISO 8601 time, such as 2025-02-01 or 2025-02-01T12:00Z") from error
    return micros(parsed)


def micros(moment: datetime) -> int:
    """UTC microseconds of a time; one without a zone counts as UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)


def shown(time: int) -> str:
    """UTC microseconds for a reader."""
    return (_EPOCH + timedelta(microseconds=time)).strftime("%Y-%m-%d %H:%M:%S.%f").rstrip("0").rstrip(".") + "Z"
