"""Values of a mapping: how one field of an event is found in a row and converted. Pure.

A value is written in the mapping as a column name, or as a mapping with one of ``field`` (a column, or a path such as
``context.page.url`` or ``items[0].sku`` in JSON), ``constant`` or ``hash`` (a list of fields; ``repeats: distinct``
tells rows that agree in all of them apart by counting them), and optionally ``type``, ``lookup``, ``else``,
``default``, ``format`` and ``zone``. Errors of a row are ``RowError``s with a reason code.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from contracts.documents import Node
from contracts.event import Scalar

Row = Mapping[str, Any]

TYPES = ("string", "long", "double", "boolean")
_KEYS = ("field", "constant", "hash", "repeats", "type", "lookup", "else", "default", "format", "zone", "required")
_TRUE, _FALSE = frozenset({"true", "1", "yes", "t", "y"}), frozenset({"false", "0", "no", "f", "n"})
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_OFFSET = re.compile(r"^([+-])(\d{2}):?(\d{2})$")
_EPOCHS = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONG = 2**63

REASONS = {
    "bad_row": "the row cannot be read: not JSON, not an object, or a number of columns other than the header's",
    "missing_field": "a field that the event needs is absent or empty",
    "bad_number": "a number was expected",
    "bad_boolean": "true or false was expected",
    "bad_time": "a time was expected, in the format that the mapping states",
    "no_name": "no rule of the mapping gives the row an event name",
    "no_identifier": "the row has none of the identifiers that the mapping names",
    "not_in_lookup": "a lookup has no entry for the value and no else",
}
"""Why a row becomes a dead letter: the closed list of the importer."""


class RowError(Exception):
    """A row that does not map. ``reason`` is a key of ``REASONS``; the message holds no value of the row.

    ``raw`` is the text of a row that could not be read, as it stands in the file; None where the row itself is known.
    """

    def __init__(self, reason: str, message: str, raw: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.raw = raw


@dataclass(frozen=True)
class Path:
    """Where a value stands in a row: a column of that very name, else steps through nested objects and lists."""

    text: str
    steps: tuple[str | int, ...]

    def find(self, row: Row) -> Any:
        """The value, or None when any step of the way is absent."""
        if self.text in row:
            return row[self.text]
        here: Any = row
        for step in self.steps:
            if isinstance(step, int):
                if not isinstance(here, list) or step >= len(here):
                    return None
                here = here[step]
            elif isinstance(here, Mapping) and step in here:
                here = here[step]
            else:
                return None
        return here


def parse_path(node: Node) -> Path:
    """A path as the mapping writes it; a leading ``$.`` is allowed."""
    text = node.string().removeprefix("$.")
    steps = tuple(match[1] if match[1] is not None else int(match[2]) for match in _STEP.finditer(text))
    if not steps:
        node.fail(f"{node.where}: {text!r} names no field")
    return Path(text, steps)


def parse_zone(node: Node) -> tzinfo:
    """An IANA zone name, ``UTC``, or an offset such as ``-05:00``."""
    text = node.string()
    if match := _OFFSET.match(text):
        minutes = int(match[2]) * 60 + int(match[3])
        return timezone(timedelta(minutes=minutes if match[1] == "+" else -minutes))
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError):
        node.fail(
            f"{node.where}: {text!r} is no time zone",
            hint="write an IANA name such as Europe/Berlin, or an offset: -05:00",
        )


@dataclass(frozen=True)
class Value:
    """One value of a mapping. ``line`` is where it stands, for complaints about columns."""

    line: int
    path: Path | None = None
    constant: Scalar = None
    hashed: tuple[Path, ...] = ()
    kind: str = "string"
    lookup: Mapping[str, Scalar] | None = None
    otherwise: Scalar = None
    keep: bool = False
    default: Scalar = None
    time_format: str | None = None
    zone: tzinfo = UTC
    required: bool = False
    repeats_are_distinct: bool = False
    nulls: frozenset[str] = field(default=frozenset({""}))

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.path,) if self.path is not None else self.hashed

    def raw(self, row: Row) -> Any:
        """What stands in the row: None where absent or one of the mapping's words for nothing."""
        found = self.path.find(row) if self.path is not None else None
        return None if isinstance(found, str) and found in self.nulls else found

    def scalar(self, row: Row, name: str) -> Scalar:
        """The value as a typed scalar, or None when absent and without default. Raises RowError."""
        if self.hashed:
            return self._hash(row)
        if self.path is None:
            return self.constant
        found = self.raw(row)
        if self.lookup is not None and found is not None:
            found = self._look_up(found, name)
        if found is None:
            if self.default is None and self.required:
                raise RowError("missing_field", f"{name} is absent")
            return self.default
        return _convert(found, self.kind, name)

    def text(self, row: Row, name: str) -> str | None:
        """``scalar`` as text."""
        found = self.scalar(row, name)
        return None if found is None else as_text(found)

    def micros(self, row: Row, name: str) -> int | None:
        """The value as a time: UTC microseconds. Raises RowError."""
        found = self.raw(row)
        if found is None:
            if self.required:
                raise RowError("missing_field", f"{name} is absent")
            return None
        return _time(found, self.time_format, self.zone, name)

    def _hash(self, row: Row) -> str:
        parts = [as_text(found) if (found := path.find(row)) is not None else "" for path in self.hashed]
        # each part with its length, so that no two rows can agree by shifting text between fields
        text = "".join(f"{len(part)}:{part}" for part in parts)
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    def _look_up(self, found: Any, name: str) -> Scalar:
        assert self.lookup is not None
        key = as_text(found)
        if key in self.lookup:
            return self.lookup[key]
        if self.keep:
            return key
        if self.otherwise is None:
            raise RowError("not_in_lookup", f"{name} has a value that the lookup does not list")
        return self.otherwise


def parse_value(node: Node, nulls: frozenset[str], *, time: bool = False, required: bool = False) -> Value:
    """One value of a mapping file, checked.

    Args:
        time: the value is a time; ``format`` and ``zone`` are allowed.
        required: its absence makes the row a dead letter.
    """
    if isinstance(node.value, str):
        return Value(node.line, parse_path(node), required=required, nulls=nulls)
    node.mapping(_KEYS if time else [key for key in _KEYS if key not in ("format", "zone")])
    origins = [key for key in ("field", "constant", "hash") if node.get(key)]
    if len(origins) != 1:
        node.fail(f"{node.where} needs exactly one of field, constant, hash")
    kind_node, default, must = node.get("type"), node.get("default"), node.get("required")
    required = must.boolean() if must else required
    kind = kind_node.choice(TYPES) if kind_node else "string"
    fallback = None if default is None else _default_of(default, kind)
    if time:
        for key in ("lookup", "else", "default", "type"):
            if odd := node.get(key):
                odd.fail(f"{odd.where} has no meaning for a time", hint="a time has field, format and zone")
    if constant := node.get("constant"):
        if time:
            node.fail(f"{node.where} must come from the row: a constant time would order nothing")
        return Value(node.line, constant=_scalar_of(constant))
    if listed := node.get("hash"):
        paths = tuple(parse_path(item) for item in listed.list())
        if not paths:
            listed.fail(f"{listed.where} needs at least one field")
        repeats = node.get("repeats")
        distinct = repeats is not None and repeats.choice(("same", "distinct")) == "distinct"
        return Value(node.line, hashed=paths, repeats_are_distinct=distinct, nulls=nulls)
    lookup_node, else_node = node.get("lookup"), node.get("else")
    lookup = {key: _scalar_of(item) for key, item in lookup_node.items()} if lookup_node else None
    if else_node is not None and lookup is None:
        else_node.fail(f"{else_node.where} goes with lookup")
    otherwise = _scalar_of(else_node) if else_node else None
    format_node, zone_node = node.get("format"), node.get("zone")
    time_format = format_node.string() if format_node else None
    if format_node and time_format not in _EPOCHS and time_format != "iso8601" and "%" not in (time_format or ""):
        format_node.fail(f"{format_node.where} must be iso8601, {', '.join(_EPOCHS)}, or a pattern such as %Y-%m-%d")
    return Value(
        node.line,
        parse_path(node.need("field")),
        kind=kind,
        lookup=lookup,
        otherwise=None if otherwise == "keep" else otherwise,
        keep=otherwise == "keep",
        default=fallback,
        time_format=None if time_format == "iso8601" else time_format,
        zone=parse_zone(zone_node) if zone_node else UTC,
        required=required,
        nulls=nulls,
    )


def _default_of(node: Node, kind: str) -> Scalar:
    """A default, which must be of the value's type."""
    try:
        return _convert(_scalar_of(node), kind, node.where)
    except RowError as error:
        node.fail(f"{node.where}: {error}")


def _scalar_of(node: Node) -> Scalar:
    if isinstance(node.value, (dict, list)):
        node.fail(f"{node.where} must be a single value, not {node.kind}")
    value: Scalar = node.value
    return value


def as_text(found: Any) -> str:
    """A value as text, as CSV would have it: true, 7, 7.5."""
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, float) and found.is_integer() and abs(found) < _LONG:
        return str(int(found))
    return str(found)


def _convert(found: Any, kind: str, name: str) -> Scalar:
    if isinstance(found, (dict, list)):
        raise RowError("bad_row", f"{name} is a nested value where a single one was expected")
    if kind == "string":
        return as_text(found)
    text = as_text(found).strip()
    if kind == "boolean":
        if text.lower() in _TRUE:
            return True
        if text.lower() in _FALSE:
            return False
        raise RowError("bad_boolean", f"{name} is neither true nor false")
    try:
        number = int(text) if kind == "long" else float(text)
    except (ValueError, OverflowError) as error:
        raise RowError("bad_number", f"{name} is no {kind}") from error
    if number != number or abs(number) == float("inf") or (kind == "long" and not -_LONG <= number < _LONG):
        raise RowError("bad_number", f"{name} is out of range")
    return number


def _time(found: Any, pattern: str | None, zone: tzinfo, name: str) -> int:
    try:
        if isinstance(found, datetime):
            moment = found
        elif pattern in _EPOCHS:
            return _in_range(round(float(found) * _EPOCHS[pattern]))
        elif pattern is None:
            moment = datetime.fromisoformat(str(found).strip().replace(" UTC", "+00:00"))
        else:
            moment = datetime.strptime(str(found).strip(), pattern)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        # through timedelta: a float of seconds would lose microseconds
        delta = moment - _EPOCH
        return _in_range((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds)
    except (ValueError, TypeError, OverflowError) as error:
        raise RowError("bad_time", f"{name} is no time in the stated format") from error


def _in_range(micros: int) -> int:
    if not -_LONG <= micros < _LONG:
        raise ValueError("out of range")
    return micros
