"""What a mapping says that identity or the ontology does not know: found before a row is read. Pure.

Neither is an error of the mapping itself: an identifier of an unknown namespace does not count, and an event of an
unknown name is kept and shows nothing. But mostly they are misspelt.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from sources.importer.mapping import Mapping
from sources.importer.values import Cases, Coalesce, Constant, Value
from transforms.validate import CHANNELS

_PAGES = "/"


class Advice(NamedTuple):
    """Something to look at. ``counts``: without it being mended, what the mapping says is lost in part."""

    line: int
    text: str
    hint: str
    counts: bool


def advise(
    mapping: Mapping, namespaces: Iterable[str], is_known: Callable[[str, str | None], bool], names: Iterable[str]
) -> list[Advice]:
    """Everything to look at, by line.

    Args:
        namespaces: those of the identity rules.
        is_known: whether the ontology knows an event of this name and path.
        names: event names of the ontology, for suggestions.
    """
    found = {*_namespaces(mapping, list(namespaces)), *_names(mapping, is_known, list(names)), *_channels(mapping)}
    return sorted(found)


def _namespaces(mapping: Mapping, known: list[str]) -> Iterator[Advice]:
    for rule in mapping.rules:
        for identifier in rule.identifiers:
            if identifier.namespace not in known:
                text = f"identity knows no namespace {identifier.namespace!r}: such an identifier does not count"
                yield Advice(identifier.value.line, text, _near(identifier.namespace, known), True)


def _names(mapping: Mapping, is_known: Callable[[str, str | None], bool], known: list[str]) -> Iterator[Advice]:
    for rule in mapping.rules:
        for name in rule.names:
            for text in _constants(name.value):
                if not is_known(text, _PAGES):
                    said = f"the ontology knows no event {text!r}: it is kept, and shows no behaviour"
                    yield Advice(name.value.line, said, _near(text, known), False)


def _channels(mapping: Mapping) -> Iterator[Advice]:
    for rule in mapping.rules:
        for text in _constants(rule.channel):
            if text not in CHANNELS:
                said = f"{text!r} is no channel: the event is kept, and flagged"
                yield Advice(rule.channel.line, said, _near(text, sorted(CHANNELS)), False)


def _constants(value: Value) -> Iterator[str]:
    """The texts that a value can become whatever the row says."""
    origin = value.origin
    for constant in (*(value.lookup or {}).values(), value.otherwise, value.default):
        if isinstance(constant, str) and constant:
            yield constant
    if value.lookup is not None:
        return
    if isinstance(origin, Constant) and isinstance(origin.value, str):
        yield origin.value
    elif isinstance(origin, Coalesce):
        for part in origin.values:
            yield from _constants(part)
    elif isinstance(origin, Cases):
        for _, part in origin.cases:
            yield from _constants(part)


def _near(text: str, known: list[str]) -> str:
    near = difflib.get_close_matches(text, known, n=1)
    return f"did you mean {near[0]!r}?" if near else ""
