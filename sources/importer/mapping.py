"""The mapping file: what it may say, and how it makes an event of a row. Pure.

``load_mapping`` reads and checks it, with file and line, before any row is touched. ``Mapping.events`` maps a row: to
events, to nothing (filtered), or to a ``RowError``. ``docs/mappings.md`` teaches the language.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath

from contracts import documents
from contracts.documents import Node
from contracts.errors import ConfigurationError
from contracts.event import EMPTY_CONTEXT, Context, Event, Identifier
from sources.importer.values import Path, Row, RowError, Value, as_text, parse_path, parse_value

FORMATS = ("csv", "tsv", "jsonl", "json", "parquet")
_ROOT = ("name", "format", "delimiter", "nulls", "unnest", "filter", "event")
_CONTEXT = (
    "url",
    "path",
    "title",
    "referrer",
    "campaign_source",
    "campaign_medium",
    "campaign_name",
    "campaign_term",
    "campaign_content",
)
_TEXTS = (
    "tracker_session_id",
    "action_id",
    "device_class",
    "locale",
    "time_zone",
    "country",
    "correlation_id",
    "traceparent",
)
_EVENT = (
    "event_id",
    "name",
    "event_time",
    "received_time",
    "source",
    "channel",
    "identifiers",
    "context",
    "consent",
    "properties",
    *_TEXTS,
)
_TESTS = ("equals", "not_equals", "in", "not_in", "matches", "present")


@dataclass(frozen=True)
class Test:
    """A condition on one field; a field that is absent passes only ``present: false`` and the negated tests."""

    line: int
    path: Path
    kind: str
    values: frozenset[str]
    pattern: re.Pattern[str] | None
    nulls: frozenset[str]

    def holds(self, row: Row) -> bool:
        found = self.path.find(row)
        text = None if found is None or (isinstance(found, str) and found in self.nulls) else as_text(found)
        if self.kind == "present":
            return (text is not None) == ("true" in self.values)
        if self.kind == "matches":
            assert self.pattern is not None
            return text is not None and self.pattern.search(text) is not None
        inside = text is not None and text in self.values
        return inside if self.kind in ("equals", "in") else not inside


@dataclass(frozen=True)
class NameRule:
    """All of ``tests`` hold: the event's name is ``value``."""

    tests: tuple[Test, ...]
    value: Value


@dataclass(frozen=True)
class Mapping:
    """A checked mapping. ``version`` is ``name@hash`` of the file's content and stands in every event it made."""

    name: str
    version: str
    path: str
    format: str
    delimiter: str
    nulls: frozenset[str]
    unnest: Path | None
    filters: tuple[Test, ...]
    event_id: Value | None
    names: tuple[NameRule, ...]
    event_time: Value
    received_time: Value | None
    source: Value
    channel: Value
    identifiers: tuple[tuple[str, Value], ...]
    texts: tuple[tuple[str, Value], ...]
    context: tuple[tuple[str, Value], ...]
    consent: tuple[tuple[str, Value], ...]
    properties: tuple[tuple[str, Value], ...]

    def columns(self) -> Iterator[tuple[str, int]]:
        """Every field that the mapping reads, with its line: to be compared with a header before the first row."""
        values = [self.event_time, self.source, self.channel, *(rule.value for rule in self.names)]
        values += [v for v in (self.event_id, self.received_time) if v is not None]
        for named in (self.identifiers, self.texts, self.context, self.consent, self.properties):
            values += [value for _, value in named]
        for value in values:
            for path in value.paths:
                yield path.text, value.line
        for test in (*self.filters, *(test for rule in self.names for test in rule.tests)):
            yield test.path.text, test.line

    def rows(self, row: Row) -> Iterator[Row]:
        """The row itself, or one row for each item of the array to unnest; the outer fields stay reachable."""
        if self.unnest is None:
            yield row
            return
        items = self.unnest.find(row)
        if not isinstance(items, list):
            raise RowError("missing_field", "the array to unnest is absent")
        for item in items:
            if not isinstance(item, dict):
                raise RowError("bad_row", "an item of the array to unnest is no object")
            yield {**row, **item}

    def event(self, row: Row) -> Event | None:
        """The event of a row; None when a filter leaves it out. Raises RowError."""
        if not all(test.holds(row) for test in self.filters):
            return None
        time = self.event_time.micros(row, "event_time")
        assert time is not None
        received = self.received_time.micros(row, "received_time") if self.received_time else None
        identifiers = tuple(
            Identifier(namespace, text) for namespace, value in self.identifiers if (text := value.text(row, namespace))
        )
        if not identifiers:
            raise RowError("no_identifier", "none of the identifiers of the mapping is present")
        context = {name: value.text(row, name) for name, value in self.context}
        consent = {name: value.scalar(row, name) for name, value in self.consent}
        properties = {name: value.scalar(row, name) for name, value in self.properties}
        name = self._name(row)
        event_id = self.event_id.text(row, "event_id") if self.event_id else None
        return Event(
            event_id if event_id is not None else self._derived_id(row, name, time, identifiers),
            name,
            time,
            time if received is None else received,
            self.source.text(row, "source") or self.name,
            self.channel.text(row, "channel") or "other",
            identifiers,
            context=Context(**context) if any(context.values()) else EMPTY_CONTEXT,
            consent={name: bool(granted) for name, granted in consent.items() if granted is not None},
            properties={name: found for name, found in properties.items() if found is not None},
            mapping_version=self.version,
            **{name: value.text(row, name) for name, value in self.texts},  # type: ignore[arg-type]  # names checked
        )

    def _name(self, row: Row) -> str:
        for rule in self.names:
            if all(test.holds(row) for test in rule.tests):
                name = rule.value.text(row, "name")
                if name:
                    return name
        raise RowError("no_name", "no rule gives the row an event name")

    def _derived_id(self, row: Row, name: str, time: int, identifiers: tuple[Identifier, ...]) -> str:
        """Without an event_id of its own, an event is known by its name, time and identifiers."""
        parts = [name, str(time), *(part for identifier in identifiers for part in identifier)]
        text = "".join(f"{len(part)}:{part}" for part in parts)
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def load_mapping(name_or_path: str, shipped: FilePath) -> Mapping:
    """A mapping by the name of a shipped one, or by path.

    Raises:
        ConfigurationError: with file and line.
    """
    path = FilePath(name_or_path)
    if not path.suffix and not path.exists():
        path = shipped / f"{name_or_path}.yaml"
        if not path.is_file():
            names = ", ".join(sorted(p.stem for p in shipped.glob("*.yaml")))
            raise ConfigurationError(
                name_or_path, None, "is neither a mapping file nor a shipped mapping", hint=f"shipped: {names}"
            )
    return parse_mapping(documents.load(path))


def parse_mapping(root: Node) -> Mapping:
    """Like ``load_mapping``, from a parsed document."""
    root.mapping(_ROOT)
    name = root.need("name").string()
    digest = hashlib.blake2b(repr(root.plain()).encode(), digest_size=4).hexdigest()
    nulls_node = root.get("nulls")
    nulls = frozenset({"", *(nulls_node.strings() if nulls_node else ())})
    kind = root.need("format").choice(FORMATS)
    delimiter = root.get("delimiter")
    if delimiter is not None and (kind not in ("csv", "tsv") or len(delimiter.string()) != 1):
        delimiter.fail("delimiter is one character and goes with csv or tsv")
    event = root.need("event")
    event.mapping(_EVENT)
    unnest = root.get("unnest")
    filters = root.get("filter")
    received = event.get("received_time")
    event_id = event.get("event_id")
    return Mapping(
        name=name,
        version=f"{name}@{digest}",
        path=root.path,
        format=kind,
        delimiter=delimiter.string() if delimiter else ("\t" if kind == "tsv" else ","),
        nulls=nulls,
        unnest=parse_path(unnest) if unnest else None,
        filters=tuple(test for item in filters.list() for test in _tests(item, nulls)) if filters else (),
        event_id=parse_value(event_id, nulls, required=True) if event_id else None,
        names=_name_rules(event.need("name"), nulls),
        event_time=parse_value(event.need("event_time"), nulls, time=True, required=True),
        received_time=parse_value(received, nulls, time=True) if received else None,
        source=parse_value(event.need("source"), nulls),
        channel=parse_value(event.need("channel"), nulls),
        identifiers=_identifiers(event.need("identifiers"), nulls),
        texts=tuple((key, parse_value(node, nulls)) for key in _TEXTS if (node := event.get(key))),
        context=_named(event.get("context"), nulls, _CONTEXT),
        consent=_named(event.get("consent"), nulls, None, kind="boolean"),
        properties=_named(event.get("properties"), nulls, None),
    )


def _named(
    node: Node | None, nulls: frozenset[str], known: Sequence[str] | None, *, kind: str | None = None
) -> tuple[tuple[str, Value], ...]:
    if node is None:
        return ()
    node.mapping(known)
    out = []
    for name, item in node.items():
        value = parse_value(item, nulls)
        if kind == "boolean" and value.constant is not None and not isinstance(value.constant, bool):
            item.fail(f"{item.where} must be true or false, without quotes")
        if kind is not None and value.constant is None and value.kind != kind:
            item.fail(f"{item.where} must be of type {kind}", hint=f"write {{field: …, type: {kind}}}")
        out.append((name, value))
    return tuple(out)


def _identifiers(node: Node, nulls: frozenset[str]) -> tuple[tuple[str, Value], ...]:
    out = []
    for item in node.list():
        item.mapping(("namespace", "field", "lookup", "else", "constant", "type"))
        namespace = item.need("namespace").string()
        rest = {key: child for key, child in item.items() if key != "namespace"}
        out.append((namespace, parse_value(Node(rest, item.path, item.line, item.where), nulls)))
    if not out:
        node.fail("identifiers must name at least one")
    return tuple(out)


def _name_rules(node: Node, nulls: frozenset[str]) -> tuple[NameRule, ...]:
    if not isinstance(node.value, list):
        return (NameRule((), parse_value(node, nulls, required=True)),)
    out = []
    for item in node.list():
        item.mapping(("when", "name"))
        when = item.get("when")
        tests: tuple[Test, ...] = ()
        if when is not None:
            listed = when.list() if isinstance(when.value, list) else [when]
            tests = tuple(test for entry in listed for test in _tests(entry, nulls))
        target = item.need("name")
        value = Value(target.line, constant=target.string()) if isinstance(target.value, str) else None
        out.append(NameRule(tests, value or parse_value(target, nulls)))
    if not out:
        node.fail("name needs at least one rule")
    return tuple(out)


def _tests(node: Node, nulls: frozenset[str]) -> Iterator[Test]:
    node.mapping(("field", *_TESTS))
    path = parse_path(node.need("field"))
    asked = [key for key in _TESTS if node.get(key)]
    if not asked:
        node.fail(f"{node.where} needs one of {', '.join(_TESTS)}")
    for kind in asked:
        item = node.need(kind)
        pattern = None
        values: frozenset[str] = frozenset()
        if kind == "matches":
            try:
                pattern = re.compile(item.string())
            except re.error as error:
                item.fail(f"{item.where} is no regular expression: {error}")
        elif kind == "present":
            values = frozenset({"true" if item.boolean() else "false"})
        else:
            listed = item.list() if isinstance(item.value, list) else [item]
            values = frozenset(as_text(entry.plain()) for entry in listed)
        yield Test(node.line, path, kind, values, pattern, nulls)
