"""A dry run: rows as the mapping sees them beside the events they become, for people to look at. Pure.

Personal data is hidden unless it is asked for: fields whose names say so, identifiers that are an address or a phone
number, and addresses and phone numbers inside texts. Whatever a terminal would obey is written out as an escape.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from contracts.event import EMPTY_CONTEXT, Event
from sources.importer.filling import NOTHING, Filling
from sources.importer.mapping import Mapping
from sources.importer.rows import Numbered, Row, RowError, as_text, flatten, is_nested
from transforms.minimise import is_personal_name, scrubbed

HIDDEN = "(hidden)"
MAX_TEXT = 100
"""Longer texts are cut."""
MAX_VALUES = 10_000
"""Of a row no more values are looked at."""
_PERSONAL_NAMESPACES = frozenset({"email", "phone", "msisdn", "mail"})
_PLAIN = ("schema_version", "mapping_version")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Line = tuple[str, str]
"""A name and what is shown of its value."""


@dataclass(frozen=True)
class Shown:
    """A row of a file and what became of it.

    Attributes:
        source: the fields that the mapping reads and the row has.
        unread: how many single values of the row the mapping does not read.
        events: an entry for each event.
        reason: why the row is dead, empty when it is not; ``detail`` says it in words.
    """

    number: int
    source: tuple[Line, ...]
    unread: int
    events: tuple[tuple[Line, ...], ...]
    reason: str = ""
    detail: str = ""

    @property
    def left_out(self) -> bool:
        return not self.events and not self.reason


def preview(
    rows: Iterable[Numbered], mapping: Mapping, *, personal: bool, filling: Filling = NOTHING
) -> Iterator[Shown]:
    """Each filled row with its events. ``personal`` shows what is hidden otherwise. Total, and lazy."""
    names = frozenset(_without_places(name) for names, _ in mapping.reads() for name in names)
    for number, given in rows:
        if isinstance(given, RowError):
            yield Shown(number, (), 0, (), given.reason, str(given))
            continue
        row = filling.row(given)
        source, unread = _source(row, mapping, names, personal)
        made: list[tuple[Line, ...]] = []
        reason = detail = ""
        try:
            for item in mapping.rows(row):
                made += [tuple(event_lines(found.event, personal=personal)) for found in mapping.events(item)]
        except RowError as error:
            reason, detail = error.reason, str(error)
        yield Shown(number, source, unread, tuple(made), reason, detail)


def _source(row: Row, mapping: Mapping, names: frozenset[str], personal: bool) -> tuple[tuple[Line, ...], int]:
    """The fields that the mapping reads, as they stand in the row, and how many others there are."""
    arrays = [mapping.unnest, *(rule.unnest for rule in mapping.rules)]
    under = tuple(f"{unnest.path.text}[" for unnest in arrays if unnest is not None)
    wanted, unread = [], 0
    for path, value in islice(flatten(row), MAX_VALUES):
        bare = _without_places(path)
        read = path.startswith(under) or any(bare[:end] in names for end in _ends(bare))
        if read and value is not None and value != "":
            wanted.append((clean(path), text_shown(path, value, personal=personal)))
        else:
            unread += 1
    return tuple(wanted), unread


def _ends(path: str) -> Iterator[int]:
    """Where each step of a path ends, the whole path first."""
    end = len(path)
    while end > 0:
        yield end
        end = path.rfind(".", 0, end)


def _without_places(path: str) -> str:
    """A path without what stands in brackets, so that a place in a list and a search in it compare equal."""
    out, depth = [], 0
    for character in path:
        depth += (character == "[") - (character == "]")
        if depth == 0 and character != "]":
            out.append(character)
    return "".join(out)


def event_lines(event: Event, *, personal: bool) -> Iterator[Line]:
    """What an event says, part by part."""
    for field in dataclasses.fields(event):
        value: Any = getattr(event, field.name)
        if field.name in _PLAIN or value in (None, {}, EMPTY_CONTEXT):
            continue
        if field.name in ("event_time", "received_time"):
            if field.name == "event_time" or value != event.event_time:
                yield field.name, _instant(value)
        elif field.name == "identifiers":
            for namespace, text in value:
                hidden = not personal and namespace in _PERSONAL_NAMESPACES
                yield clean(namespace), _masked(text) if hidden else text_shown(namespace, text, personal=personal)
        elif field.name == "context":
            for name, text in dataclasses.asdict(value).items():
                if text is not None:
                    yield name, text_shown("", text, personal=personal)
        elif isinstance(value, dict):
            for name, scalar in value.items():
                yield f"{field.name}.{clean(name)}", text_shown(name, scalar, personal=personal)
        else:
            yield field.name, text_shown("", value, personal=personal)


def _instant(micros: int) -> str:
    try:
        return (_EPOCH + timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return f"{micros} us since 1970"


def text_shown(path: str, value: object, *, personal: bool) -> str:
    """A value as it may be shown: cut, free of control characters, and without personal data unless asked for."""
    if is_nested(value):
        return "[]" if isinstance(value, (list, tuple)) else "{}"
    try:
        text = as_text(value)
    except RowError:
        return "(bytes)"
    if not personal:
        last = path.rsplit(".", 1)[-1]
        if is_personal_name(last):
            return _masked(text)
        # what is far longer than shown is cut first: a pattern needs no look at megabytes
        text = scrubbed(text[: 4 * MAX_TEXT]) if text else text
    return clean(text)


def _masked(text: str) -> str:
    """Nothing of the text, but the same for the same text, so that rows of one person are seen to be so."""
    mark = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=2).hexdigest()
    return f"{HIDDEN} #{mark}"


def clean(text: str) -> str:
    """The text on one line, cut, with escapes for what a terminal would obey."""
    short = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
    if short.isprintable():
        return short
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in short)
