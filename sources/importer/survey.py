"""What stands in the fields of some rows: how often, how many values, of which type, whether it looks personal. Pure.

Memory is bounded: ``MAX_FIELDS`` fields, and of each ``MAX_DISTINCT`` values as hashes; no value itself is kept.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any

from contracts.documents import Node
from sources.importer.rows import Row, RowError, as_text, flatten, is_nested, parse_path
from sources.importer.times import micros_of
from transforms.minimise import is_personal, is_personal_name

MAX_FIELDS = 200
MAX_DISTINCT = 1_000
MAX_VALUES = 5_000
_LONGEST = 400

_YEAR_2000, _YEAR_2100 = 946_684_800_000_000, 4_102_444_800_000_000
TIME_FORMATS = (
    "iso8601", "epoch_s", "epoch_ms", "epoch_us", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y",
    "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M",
    "%d/%m/%Y", "%Y/%m/%d %H:%M:%S", "%Y%m%d",
)  # fmt: skip
"""Formats that are tried; where several fit all values, the first counts."""
NOTHING = frozenset({"NULL", "null", "N/A", "n/a", "None", "none", "NaN", "nan", "\\N", "(null)", "undefined", "-"})
"""Texts that exports write where there is nothing."""
_LONG = re.compile(r"-?\d{1,18}")
_DOUBLE = re.compile(r"-?\d{1,18}\.\d{1,18}|-?\d{1,18}")
_BOOLEANS = frozenset({"true", "false", "yes", "no", "t", "f", "y", "n"})
_ZONED = re.compile(r"\d(Z| UTC|[+-]\d\d:?\d\d)$")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,200}\.[A-Za-z]{2,24}")


def folded(text: str) -> str:
    """A name in lower case with underscores: ``userId``, ``User ID`` and ``user_id`` are one."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower()).strip("_")


@dataclass
class Field:
    """A field of the rows and what was seen in it."""

    path: str
    filled: int = 0
    longs: int = 0
    doubles: int = 0
    booleans: int = 0
    emails: int = 0
    personal: int = 0
    zoned: int = 0
    times: Counter[str] = field(default_factory=Counter)
    values: set[int] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The last step, in the form in which names are compared."""
        return folded(self.path.rsplit(".", 1)[-1])

    @property
    def full_name(self) -> str:
        """The whole path, in the same form: ``customer.id`` is ``customer_id``."""
        return folded(self.path)

    @property
    def type(self) -> str:
        """The type that fits every value."""
        if self.filled and self.booleans == self.filled:
            return "boolean"
        if self.filled and self.longs == self.filled:
            return "long"
        return "double" if self.filled and self.doubles == self.filled else "string"

    @property
    def time_format(self) -> str | None:
        """The first format that every value fits."""
        return next((f for f in TIME_FORMATS if self.filled and self.times[f] == self.filled), None)

    @property
    def looks_personal(self) -> bool:
        return self.personal > 0 or is_personal_name(self.path.rsplit(".", 1)[-1])

    def add(self, value: Any) -> None:
        """One value that is there."""
        try:
            text = as_text(value)[:_LONGEST].strip()
        except RowError:
            return
        self.filled += 1
        if len(self.values) <= MAX_DISTINCT:
            self.values.add(hash(text))
        self.longs += _LONG.fullmatch(text) is not None
        self.doubles += _DOUBLE.fullmatch(text) is not None
        self.booleans += text.lower() in _BOOLEANS
        self.emails += _EMAIL.fullmatch(text) is not None
        self.zoned += _ZONED.search(text) is not None or getattr(value, "tzinfo", None) is not None
        self.personal += bool(text) and is_personal(text)
        if any(c.isdigit() for c in text) or isinstance(value, date):
            self.times.update(_formats(value))


def _formats(value: Any) -> list[str]:
    """The formats in which a value is a time of this century."""
    found = []
    for name in TIME_FORMATS:
        try:
            micros = micros_of(value, None if name == "iso8601" else name, UTC, "")
        except RowError:
            continue
        if isinstance(value, (date, datetime)) and name != "iso8601":
            continue
        if name == "iso8601" and _LONG.fullmatch(str(value)):
            # 20240301 is a date by the standard, and mostly a number
            continue
        if _YEAR_2000 <= micros < _YEAR_2100:
            found.append(name)
    return found


@dataclass
class Survey:
    """Fields in the order in which they were met. Of ``arrays`` and ``objects`` no single value can be taken."""

    rows: int = 0
    fields: dict[str, Field] = field(default_factory=dict)
    arrays: set[str] = field(default_factory=set)
    objects: set[str] = field(default_factory=set)
    nulls: set[str] = field(default_factory=set)


def survey(rows: Iterable[Row]) -> Survey:
    """What stands in these rows. Fields inside arrays are not looked at: the arrays are named."""
    found = Survey()
    for row in rows:
        found.rows += 1
        for path, value in islice(flatten(row), MAX_VALUES):
            if "[" in path and path not in row:
                found.arrays.add(path.split("[", 1)[0])
            elif isinstance(value, (list, tuple)):
                found.arrays.add(path)
            elif isinstance(value, dict):
                found.objects.add(path)
            elif isinstance(value, str) and value in NOTHING:
                found.nulls.add(value)
            elif value is not None and value != "" and not is_nested(value) and _is_found(path, row):
                if path not in found.fields and len(found.fields) < MAX_FIELDS:
                    found.fields[path] = Field(path)
                if path in found.fields:
                    found.fields[path].add(value)
            if "." in path and path not in row:
                found.objects.update(path[:end] for end, c in enumerate(path) if c == ".")
    return found


def _is_found(path: str, row: Row) -> bool:
    """The path, as a mapping would write it, leads to a value; a key with a dot in nested JSON cannot be written."""
    if not path or not path.isprintable() or path.startswith("$."):
        return False
    return parse_path(Node(path, "", 0)).find(row) is not None
