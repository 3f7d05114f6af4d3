"""The mapping: how events are made of a row. Pure.

``Mapping.rows`` gives the rows within a row of a file, ``Mapping.events`` the events of each: none where the filter
leaves it out, or a ``RowError``. ``sources.importer.mapping_file`` reads and checks one; ``docs/mappings.md`` teaches
the language.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from contracts.event import EMPTY_CONTEXT, Context, Event, Identifier
from sources.importer.conditions import Condition, Reads
from sources.importer.rows import Path, Row, RowError
from sources.importer.values import Spread, Value


class Made(NamedTuple):
    """An event of a row. ``numbered``: equal ids of a file are told apart by counting them."""

    event: Event
    numbered: bool


class NameRule(NamedTuple):
    """The condition holds: the event's name is ``value``."""

    condition: Condition
    value: Value


class IdentifierRule(NamedTuple):
    """An identifier of the namespace, where the condition holds and the value is there."""

    namespace: str
    condition: Condition
    value: Value


Named = tuple[tuple[str, Value], ...]


@dataclass(frozen=True)
class Unnest:
    """An array whose items are rows. With ``name`` an item stands under that name, else its fields beside the row's."""

    path: Path
    name: str | None
    line: int

    def rows(self, row: Row, *, required: bool) -> Iterator[Row]:
        """One row an item; the outer fields stay reachable. Raises RowError."""
        items = self.path.find(row)
        if items is None and not required:
            return
        if not isinstance(items, list):
            reason = "missing_field" if items is None else "bad_value"
            raise RowError(reason, "the array to unnest is absent, or no array", line=self.line)
        for item in items:
            if self.name is not None:
                yield {**row, self.name: item}
            elif isinstance(item, dict):
                yield {**row, **item}
            else:
                raise RowError("bad_value", "an item of the array to unnest is no object", line=self.line)


@dataclass(frozen=True)
class EventRule:
    """How one event is made of a row.

    Attributes:
        label: sets the events of one row apart; None where there is one only.
        shares_id: its ``event_id`` is that of all events of the row, so the label stands behind it.
        condition: rows for which the event is made.
        unnest: an array of which each item makes an event.
    """

    label: str | None
    shares_id: bool
    condition: Condition
    unnest: Unnest | None
    event_id: Value | None
    names: tuple[NameRule, ...]
    event_time: Value
    received_time: Value | None
    source: Value
    channel: Value
    identifiers: tuple[IdentifierRule, ...]
    texts: Named
    context: Named
    consent: Named
    properties: Named
    spread: Spread | None

    def reads(self) -> Reads:
        """Every field that the rule reads, with its line."""
        yield from self.condition.reads()
        yield from self.event_time.reads()
        for value in (self.event_id, self.received_time, self.source, self.channel):
            if value is not None:
                yield from value.reads()
        for condition, value in (*((r.condition, r.value) for r in self.names), *(r[1:] for r in self.identifiers)):
            yield from condition.reads()
            yield from value.reads()
        for named in (self.texts, self.context, self.consent, self.properties):
            for _, value in named:
                yield from value.reads()
        if self.spread is not None:
            yield from self.spread.reads()

    def events(self, row: Row, mapping: Mapping) -> Iterator[Made]:
        """The events of a row for which the condition holds. Raises RowError."""
        numbered = self.event_id is not None and self.event_id.repeats_are_distinct
        if self.unnest is None:
            yield Made(self._event(row, mapping, ""), numbered)
            return
        for number, item in enumerate(self.unnest.rows(row, required=False)):
            yield Made(self._event(item, mapping, f":{number}"), numbered)

    def _event(self, row: Row, mapping: Mapping, place: str) -> Event:
        time = self.event_time.micros(row, "event_time")
        if time is None:
            raise RowError("missing_field", "event_time is absent", line=self.event_time.line)
        received = self.received_time.micros(row, "received_time") if self.received_time else None
        identifiers = tuple(
            Identifier(rule.namespace, text)
            for rule in self.identifiers
            if rule.condition.holds(row) and (text := rule.value.text(row, rule.namespace))
        )
        if not identifiers:
            raise RowError("no_identifier", "none of the identifiers of the mapping is present")
        context = {name: value.text(row, name) for name, value in self.context}
        consent = {name: value.scalar(row, name) for name, value in self.consent}
        properties = dict(self.spread.properties(row)) if self.spread is not None else {}
        for name, value in self.properties:
            found = value.scalar(row, name)
            if found is not None:
                properties[name] = found
        name = self._name(row)
        event_id = self.event_id.text(row, "event_id") if self.event_id else None
        if event_id is not None and self.shares_id:
            event_id = f"{event_id}:{self.label}{place}"
        return Event(
            event_id if event_id is not None else _derived_id(name, time, identifiers, self.label),
            name,
            time,
            time if received is None else received,
            self.source.text(row, "source") or mapping.name,
            self.channel.text(row, "channel") or "other",
            identifiers,
            context=Context(**context) if any(context.values()) else EMPTY_CONTEXT,
            consent={name: bool(granted) for name, granted in consent.items() if granted is not None},
            properties=properties,
            mapping_version=mapping.version,
            **{name: value.text(row, name) for name, value in self.texts},  # type: ignore[arg-type]  # names checked
        )

    def _name(self, row: Row) -> str:
        for rule in self.names:
            if rule.condition.holds(row):
                name = rule.value.text(row, "name")
                if name:
                    return name
        raise RowError("no_name", "no rule gives the row an event name")


@dataclass(frozen=True)
class Mapping:
    """A checked mapping. ``version`` is ``name@hash`` of its content and stands in every event it made."""

    name: str
    version: str
    path: str
    formats: tuple[str, ...]
    delimiter: str
    nulls: frozenset[str]
    unnest: Unnest | None
    filter: Condition
    rules: tuple[EventRule, ...]
    columns_may_be_absent: bool

    def reads(self) -> Reads:
        """Every field that the mapping reads, with its line."""
        yield from self.filter.reads()
        for rule in self.rules:
            yield from rule.reads()

    def columns(self) -> Reads:
        """Fields that a file must have, with their lines: to be compared with a header before the first row.

        Of what stands in an array to unnest a header says nothing.
        """
        parts = [(self.unnest, self.filter.reads()), *((rule.unnest, rule.reads()) for rule in self.rules)]
        for unnest, reads in parts:
            arrays = [array for array in (self.unnest, unnest) if array is not None]
            for array in arrays:
                yield (array.path.text,), array.line
            if any(array.name is None for array in arrays):
                continue
            inside = tuple(f"{array.name}{mark}" for array in arrays for mark in (".", "["))
            names = {array.name for array in arrays}
            for columns, line in reads:
                outside = tuple(c for c in columns if c not in names and not c.startswith(inside))
                if outside == columns:
                    yield columns, line

    def rows(self, row: Row) -> Iterator[Row]:
        """The row itself, or one row for each item of the array to unnest. Raises RowError."""
        if self.unnest is None:
            yield row
        else:
            yield from self.unnest.rows(row, required=True)

    def events(self, row: Row) -> Iterator[Made]:
        """The events of a row; none when the filter leaves it out. Raises RowError, also after some events."""
        if not self.filter.holds(row):
            return
        fits = False
        for rule in self.rules:
            if rule.condition.holds(row):
                fits = True
                yield from rule.events(row, self)
        if not fits:
            raise RowError("no_event", "the row is for none of the events of the mapping")


def _derived_id(name: str, time: int, identifiers: tuple[Identifier, ...], label: str | None) -> str:
    """Without an event_id of its own, an event is known by its name, time and identifiers."""
    parts = [name, str(time), *(part for identifier in identifiers for part in identifier)]
    if label is not None:
        parts.append(label)
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
