"""How a mapping file writes values and conditions, checked with file and line. Pure.

Every parser raises ``ConfigurationError``; what people know from other tools and this language leaves out on purpose
ends in ``UnsupportedMappingError``, which says what to do instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC

from contracts.documents import Node
from contracts.errors import UnsupportedMappingError
from contracts.event import Scalar
from sources.importer.conditions import ALWAYS, TESTS, All, Any, Condition, FieldSubject, Not, Subject, Test
from sources.importer.lookups import Table, scalar_of
from sources.importer.patterns import BadPatternError, Pattern
from sources.importer.rows import RowError, as_text, parse_path
from sources.importer.times import parse_format, parse_zone
from sources.importer.values import (
    STEPS,
    TYPES,
    Cases,
    Change,
    Coalesce,
    Concat,
    Constant,
    Field,
    Hashed,
    Origin,
    Spread,
    Value,
    ValueSubject,
    convert,
)

ORIGINS = ("field", "constant", "hash", "coalesce", "concat", "cases", "record")
GOES_WITH = {"repeats": "hash", "separator": "concat", "sequence": "record", "also": "record", "else": "lookup"}
KEYS = (*ORIGINS, *GOES_WITH, "apply", "lookup", "type", "divide", "default", "required", "format", "zone")
CONDITION_KEYS = ("field", "value", "all", "any", "not", *TESTS)

_BEFORE = "do it before the import, in the query or the script that makes the file"
_LEFT_OUT = {
    **dict.fromkeys(
        ("expression", "expr", "eval", "formula", "template", "jinja", "python", "script", "code", "exec", "function"),
        f"a mapping runs no code and has no expressions; use coalesce, concat, cases, lookup and apply, or {_BEFORE}",
    ),
    **dict.fromkeys(("sql", "query", "join", "merge_with"), f"a row is mapped by itself, without others; {_BEFORE}"),
    **dict.fromkeys(
        ("group_by", "aggregate", "sum", "count", "max", "min", "window", "previous", "lag"),
        f"a row is mapped by itself; what needs several rows is for signals and metrics, or {_BEFORE}",
    ),
    **dict.fromkeys(("now", "random", "uuid"), "importing again must give the same events; take it from the row"),
    **dict.fromkeys(("replace", "extract", "regex_replace", "split", "substring"), f"texts are not cut up; {_BEFORE}"),
}
"""Wishes that the language does not grant, and what to do instead."""


@dataclass(frozen=True)
class Scope:
    """What a value may refer to: the texts that mean nothing, and the tables of the mapping."""

    nulls: frozenset[str]
    tables: Mapping[str, Table]


def known_keys(node: Node, keys: Sequence[str]) -> None:
    """Like ``Node.mapping``, but says of a wish the language leaves out what to do instead."""
    for key, child in node.mapping().items():
        if key not in keys and key in _LEFT_OUT:
            raise UnsupportedMappingError(
                child.path, child.line, f"the language of mappings has no {key!r}", hint=_LEFT_OUT[key]
            )
    node.mapping(keys)


def parse_value(node: Node, scope: Scope, *, time: bool = False, required: bool = False) -> Value:
    """One value of a mapping file, checked.

    Args:
        time: the value is a time; ``format`` and ``zone`` are allowed.
        required: its absence makes the row a dead letter.
    """
    if isinstance(node.value, str):
        return Value(node.line, Field(parse_path(node), scope.nulls, node.line), required=required, nulls=scope.nulls)
    known_keys(node, KEYS if time else [key for key in KEYS if key not in ("format", "zone")])
    kinds = [key for key in ORIGINS if node.get(key)]
    if len(kinds) != 1:
        node.fail(f"{node.where} needs exactly one of {', '.join(ORIGINS)}")
    for key, partner in GOES_WITH.items():
        if (odd := node.get(key)) and not node.get(partner):
            odd.fail(f"{odd.where} goes with {partner}")
    must = node.get("required")
    required = must.boolean() if must else required
    if time:
        return _time(node, scope, kinds[0], required)
    origin = _origin(node, scope, kinds[0])
    kind_node, default = node.get("type"), node.get("default")
    kind = kind_node.choice(TYPES) if kind_node else ("string" if kinds[0] == "field" else None)
    divide = node.get("divide")
    if divide is not None and (kind != "double" or divide.number() == 0):
        divide.fail(f"{divide.where} goes with type: double, and is not 0")
    value = Value(
        node.line,
        origin,
        kind,
        steps=_steps(node.get("apply")),
        default=None if default is None else _default_of(default, kind),
        divide=divide.number() if divide else None,
        required=required,
        nulls=scope.nulls,
    )
    return _with_lookup(value, node, scope)


def _with_lookup(value: Value, node: Node, scope: Scope) -> Value:
    lookup, otherwise = node.get("lookup"), node.get("else")
    if lookup is None:
        return value
    if isinstance(lookup.value, str):
        table = scope.tables.get(lookup.choice(tuple(scope.tables)) if scope.tables else "")
        if table is None:
            lookup.fail(
                f"{lookup.where}: the mapping has no table {lookup.string()!r}",
                hint="write the lookup here as {text of the row: text of the event}, or a table under tables",
            )
        entries = table.entries
    else:
        entries = {key: scalar_of(item) for key, item in lookup.items()}
    found = scalar_of(otherwise) if otherwise else None
    return replace(value, lookup=entries, otherwise=None if found == "keep" else found, keep=found == "keep")


def _origin(node: Node, scope: Scope, kind: str) -> Origin:
    item = node.need(kind)
    if kind == "field":
        return Field(parse_path(item), scope.nulls, item.line)
    if kind == "constant":
        return Constant(scalar_of(item))
    if kind == "hash":
        repeats = node.get("repeats")
        return replace(
            _hashed(item, scope),
            repeats_are_distinct=repeats is not None and repeats.choice(("same", "distinct")) == "distinct",
        )
    if kind == "coalesce":
        return Coalesce(tuple(parse_value(entry, scope) for entry in _several(item)), item.line)
    if kind == "concat":
        separator = node.get("separator")
        if separator is not None and not isinstance(separator.value, str):
            separator.fail(f"{separator.where} must be a text")
        return Concat(
            tuple(parse_value(entry, scope) for entry in _several(item)), separator.value if separator else ""
        )
    if kind == "cases":
        return Cases(tuple(_case(entry, scope, time=False) for entry in _several(item)))
    also = node.get("also")
    return Change(
        _hashed(item, scope),
        tuple(_number(entry, scope) for entry in _several(node.need("sequence"))),
        _hashed(also, scope) if also else None,
        node.need("sequence").line,
    )


def _number(node: Node, scope: Scope) -> Value:
    """A place in an order: a whole number unless the mapping says otherwise."""
    value = parse_value(node, scope)
    if value.kind not in ("string", None):
        return value
    default = node.get("default") if isinstance(node.value, dict) else None
    return replace(value, kind="long", default=None if default is None else _default_of(default, "long"))


def _several(node: Node) -> list[Node]:
    items = node.list() if isinstance(node.value, list) else [node]
    if not items:
        node.fail(f"{node.where} needs at least one")
    return items


def _hashed(node: Node, scope: Scope) -> Hashed:
    parts = tuple(
        parse_path(item) if isinstance(item.value, str) else parse_value(item, scope) for item in _several(node)
    )
    return Hashed(parts, node.line)


def _case(node: Node, scope: Scope, *, time: bool) -> tuple[Condition, Value]:
    known_keys(node, ("when", "value"))
    when = node.get("when")
    condition = parse_condition(when, scope) if when else ALWAYS
    return condition, parse_value(node.need("value"), scope, time=time)


def _time(node: Node, scope: Scope, kind: str, required: bool) -> Value:
    for key in ("lookup", "default", "type", "apply", "divide"):
        if odd := node.get(key):
            odd.fail(f"{odd.where} has no meaning for a time", hint="a time has field, format and zone")
    if kind not in ("field", "coalesce", "cases"):
        node.fail(
            f"{node.where} must come from the row: a constant time would order nothing",
            hint="write field, coalesce or cases",
        )
    item = node.need(kind)
    written, zone = node.get("format"), node.get("zone")
    if kind == "field":
        return Value(
            node.line,
            Field(parse_path(item), scope.nulls, item.line),
            time_format=parse_format(written) if written else None,
            zone=parse_zone(zone) if zone else UTC,
            required=required,
            nulls=scope.nulls,
        )
    if odd := written or zone:
        odd.fail(f"{odd.where} stands with each field of {kind}", hint=f"write {kind}: [{{field: …, format: …}}]")
    origin: Origin
    if kind == "coalesce":
        origin = Coalesce(tuple(parse_value(entry, scope, time=True) for entry in _several(item)), item.line)
    else:
        origin = Cases(tuple(_case(entry, scope, time=True) for entry in _several(item)))
    return Value(node.line, origin, required=required, nulls=scope.nulls)


def _steps(node: Node | None) -> tuple[str, ...]:
    if node is None:
        return ()
    return tuple(item.choice(tuple(STEPS)) for item in _several(node))


def _default_of(node: Node, kind: str | None) -> Scalar:
    """A default, which must be of the value's type."""
    scalar = scalar_of(node)
    if kind is None:
        return scalar
    try:
        return convert(scalar, kind, node.where)
    except RowError as error:
        node.fail(f"{node.where}: {error}")


def parse_condition(node: Node, scope: Scope) -> Condition:
    """One test, a combination of tests, or a list of which all must hold."""
    if isinstance(node.value, list):
        return All(tuple(parse_condition(item, scope) for item in node.list()))
    known_keys(node, CONDITION_KEYS)
    combined = [key for key in ("all", "any", "not") if node.get(key)]
    if combined:
        if len(node.mapping()) != 1:
            node.fail(f"{node.where}: {combined[0]} stands alone", hint="write the tests as a list under all: or any:")
        item = node.need(combined[0])
        if combined[0] == "not":
            return Not(parse_condition(item, scope))
        parts = tuple(parse_condition(entry, scope) for entry in _several(item))
        return All(parts) if combined[0] == "all" else Any(parts)
    return _tests(node, scope)


def _tests(node: Node, scope: Scope) -> Condition:
    subjects = [key for key in ("field", "value") if node.get(key)]
    if len(subjects) != 1:
        node.fail(f"{node.where} needs exactly one of field, value")
    item = node.need(subjects[0])
    subject: Subject
    if subjects[0] == "field":
        subject = FieldSubject(parse_path(item), scope.nulls, item.line)
    else:
        subject = ValueSubject(parse_value(item, scope))
    asked = [key for key in TESTS if node.get(key)]
    if not asked:
        node.fail(f"{node.where} needs one of {', '.join(TESTS)}")
    tests = tuple(_test(kind, node.need(kind), subject) for kind in asked)
    return tests[0] if len(tests) == 1 else All(tests)


def _test(kind: str, node: Node, subject: Subject) -> Test:
    if kind == "matches":
        try:
            return Test(subject, kind, pattern=Pattern(node.string()))
        except BadPatternError as error:
            node.fail(
                f"{node.where} is no regular expression: {error}",
                hint="the syntax is RE2's: without look-around and back-references",
            )
    if kind == "present":
        return Test(subject, kind, frozenset({"true" if node.boolean() else "false"}))
    if kind in ("at_least", "below"):
        return Test(subject, kind, bound=node.number())
    texts = tuple(as_text(scalar_of(item)) for item in (node.list() if isinstance(node.value, list) else [node]))
    if kind == "starts_with":
        return Test(subject, kind, prefixes=texts)
    return Test(subject, kind, frozenset(texts))


def parse_spread(node: Node, scope: Scope) -> Spread:
    """Objects whose single values become properties."""
    if isinstance(node.value, dict):
        known_keys(node, ("fields", "except"))
        fields, left_out = node.need("fields"), node.get("except")
        names = frozenset(left_out.strings()) if left_out else frozenset()
    else:
        fields, names = node, frozenset()
    return Spread(tuple(parse_path(item) for item in _several(fields)), names, scope.nulls, node.line)
