"""The mapping file: what it may say, read and checked with file and line before any row is touched. Pure.

``load_mapping`` takes the name of a shipped mapping or a file. Errors: ``ConfigurationError`` with file and line.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path as FilePath

from contracts import documents
from contracts.documents import Node
from contracts.errors import ConfigurationError
from contracts.event import CONTEXT_FIELDS, SOURCE_TEXTS
from sources.importer.conditions import ALWAYS
from sources.importer.lookups import parse_tables
from sources.importer.mapping import EventRule, IdentifierRule, Mapping, Named, NameRule, Unnest
from sources.importer.rows import parse_path
from sources.importer.value_file import KEYS, Scope, known_keys, parse_condition, parse_spread, parse_value
from sources.importer.values import Constant, Value

FORMATS = ("csv", "tsv", "jsonl", "json", "parquet", "avro")
ROOT_KEYS = (
    "name",
    "about",
    "format",
    "delimiter",
    "nulls",
    "absent_columns",
    "tables",
    "unnest",
    "filter",
    "event",
    "events",
)
EVENT_KEYS = (
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
    "spread",
    *SOURCE_TEXTS,
)
RULE_KEYS = ("label", "when", "unnest")
_ADDED = ("context", "consent", "properties")
"""Parts of which an item of ``events`` adds to those of ``event``; the others replace."""


def load_mapping(name_or_path: str, *folders: FilePath) -> Mapping:
    """A mapping by path, or by its name in the first of ``folders`` that has it: the shipped ones come last.

    Raises:
        ConfigurationError: with file and line.
    """
    return parse_mapping(documents.load(mapping_path(name_or_path, *folders)))


def mapping_path(name_or_path: str, *folders: FilePath) -> FilePath:
    """The file of a mapping. Raises ConfigurationError, which names those that there are."""
    path = FilePath(name_or_path)
    if path.suffix or path.exists():
        return path
    files = [folder / f"{name_or_path}.yaml" for folder in folders]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        names = sorted({file.stem for folder in folders for file in folder.glob("*.yaml")})
        near = difflib.get_close_matches(name_or_path, names, n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigurationError(
            name_or_path,
            None,
            "is neither a mapping file nor the name of a mapping",
            hint=f"{meant}there are: {', '.join(names)}",
        )
    return found


def parse_mapping(root: Node) -> Mapping:
    """Like ``load_mapping``, from a parsed document."""
    known_keys(root, ROOT_KEYS)
    name = root.need("name").string()
    if about := root.get("about"):
        about.string()
    tables = parse_tables(root.get("tables"))
    nulls_node = root.get("nulls")
    scope = Scope(frozenset({"", *(nulls_node.strings() if nulls_node else ())}), tables)
    formats = _formats(root.need("format"))
    delimiter = root.get("delimiter")
    if delimiter is not None and (not {"csv", "tsv"} & set(formats) or len(delimiter.string()) != 1):
        delimiter.fail("delimiter is one character and goes with csv or tsv")
    absent = root.get("absent_columns")
    unnest, filters = root.get("unnest"), root.get("filter")
    rules = tuple(_rules(root, scope))
    digest = hashlib.blake2b(repr(root.plain()).encode("utf-8", "surrogatepass"), digest_size=4)
    for table in tables.values():
        digest.update(table.content)
    return Mapping(
        name=name,
        version=f"{name}@{digest.hexdigest()}",
        path=root.path,
        formats=formats,
        delimiter=delimiter.string() if delimiter else ",",
        nulls=scope.nulls,
        unnest=_unnest(unnest) if unnest else None,
        filter=parse_condition(filters, scope) if filters else ALWAYS,
        rules=rules,
        columns_may_be_absent=absent is not None and absent.choice(("refused", "allowed")) == "allowed",
    )


def _formats(node: Node) -> tuple[str, ...]:
    if not isinstance(node.value, list):
        return (node.choice(FORMATS),)
    formats = tuple(item.choice(FORMATS) for item in node.list())
    if not formats or len(set(formats)) != len(formats):
        node.fail(f"{node.where} names at least one format, each once")
    return formats


def _rules(root: Node, scope: Scope) -> Iterator[EventRule]:
    listed = root.get("events")
    if listed is None:
        event = root.need("event")
        known_keys(event, EVENT_KEYS)
        yield _rule(event, scope, shares_id=False)
        return
    base = root.get("event")
    if base is not None:
        known_keys(base, EVENT_KEYS)
    labels: set[str] = set()
    for item in listed.list():
        known_keys(item, (*RULE_KEYS, *EVENT_KEYS))
        label = item.need("label")
        if label.string() in labels:
            label.fail(f"{label.where}: {label.string()!r} stands twice", hint="labels tell the events of a row apart")
        labels.add(label.string())
        yield _rule(_merged(base, item), scope, shares_id=item.get("event_id") is None)
    if not labels:
        listed.fail("events needs at least one")


def _merged(base: Node | None, item: Node) -> Node:
    """An item of ``events`` with what ``event`` says of all."""
    out = dict(base.mapping()) if base is not None else {}
    for key, child in item.items():
        common = out.get(key)
        if key in _ADDED and common is not None and isinstance(common.value, dict) and isinstance(child.value, dict):
            child = Node({**common.value, **child.value}, child.path, child.line, child.where)
        out[key] = child
    return Node(out, item.path, item.line, item.where)


def _rule(event: Node, scope: Scope, *, shares_id: bool) -> EventRule:
    label, when, unnest = (event.get(key) for key in RULE_KEYS)
    received, event_id, spread = event.get("received_time"), event.get("event_id"), event.get("spread")
    return EventRule(
        label=label.string() if label else None,
        shares_id=shares_id,
        condition=parse_condition(when, scope) if when else ALWAYS,
        unnest=_unnest(unnest) if unnest else None,
        event_id=parse_value(event_id, scope, required=True) if event_id else None,
        names=_name_rules(event.need("name"), scope),
        event_time=parse_value(event.need("event_time"), scope, time=True, required=True),
        received_time=parse_value(received, scope, time=True) if received else None,
        source=parse_value(event.need("source"), scope),
        channel=parse_value(event.need("channel"), scope),
        identifiers=_identifiers(event.need("identifiers"), scope),
        texts=tuple((key, parse_value(node, scope)) for key in SOURCE_TEXTS if (node := event.get(key))),
        context=_named(event.get("context"), scope, CONTEXT_FIELDS),
        consent=_named(event.get("consent"), scope, None, kind="boolean"),
        properties=_named(event.get("properties"), scope, None),
        spread=parse_spread(spread, scope) if spread else None,
    )


def _unnest(node: Node) -> Unnest:
    if not isinstance(node.value, dict):
        return Unnest(parse_path(node), None, node.line)
    known_keys(node, ("field", "as"))
    return Unnest(parse_path(node.need("field")), node.need("as").string(), node.line)


def _named(node: Node | None, scope: Scope, known: Sequence[str] | None, *, kind: str | None = None) -> Named:
    if node is None:
        return ()
    node.mapping(known)
    out = []
    for name, item in node.items():
        if item.value is None:
            # `name:` without a value takes back what `event` says of all events
            continue
        value = parse_value(item, scope)
        if kind == "boolean":
            _check_consent(item, value)
        out.append((name, value))
    return tuple(out)


def _check_consent(node: Node, value: Value) -> None:
    if isinstance(value.origin, Constant):
        if not isinstance(value.origin.value, bool):
            node.fail(f"{node.where} must be true or false, without quotes")
    elif value.kind != "boolean":
        node.fail(f"{node.where} must be of type boolean", hint="write {field: …, type: boolean}")


def _identifiers(node: Node, scope: Scope) -> tuple[IdentifierRule, ...]:
    out = []
    for item in node.list():
        known_keys(item, ("namespace", "when", *(key for key in KEYS if key not in ("format", "zone"))))
        when = item.get("when")
        rest = {key: child for key, child in item.items() if key not in ("namespace", "when")}
        value = parse_value(Node(rest, item.path, item.line, item.where), scope)
        condition = parse_condition(when, scope) if when else ALWAYS
        out.append(IdentifierRule(item.need("namespace").string(), condition, value))
    if not out:
        node.fail("identifiers must name at least one")
    return tuple(out)


def _name_rules(node: Node, scope: Scope) -> tuple[NameRule, ...]:
    if not isinstance(node.value, list):
        return (NameRule(ALWAYS, parse_value(node, scope, required=True)),)
    out = []
    for item in node.list():
        known_keys(item, ("when", "name"))
        when, target = item.get("when"), item.need("name")
        value = Value(target.line, Constant(target.string()), None) if isinstance(target.value, str) else None
        condition = parse_condition(when, scope) if when else ALWAYS
        out.append(NameRule(condition, value or parse_value(target, scope)))
    if not out:
        node.fail("name needs at least one rule")
    return tuple(out)
