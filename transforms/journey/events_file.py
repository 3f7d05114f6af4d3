"""The ``events`` of an ontology file: which event names and page paths show which behaviour.

Input: the node under ``events``. Output: ``BehaviourTable``. Errors: ``ConfigurationError`` with file and line. State:
none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from contracts.documents import Node
from transforms.journey.behaviours import OUTCOME_KINDS, BehaviourTable, fold_name

_NAME = re.compile(r"^[a-z][a-z0-9_]{0,39}$")
_EVENTS = ("behaviours", "pages", "neutral", "records", "receipts", "revokes", "logged_actions")


def check_name(node: Node, name: str, what: str) -> None:
    """Refuse what is no name. Raises ConfigurationError."""
    if not _NAME.match(name):
        node.fail(f"{what} is {name!r}", hint="use lower-case letters, digits and underscores, starting with a letter")


def read_table(node: Node) -> BehaviourTable:
    """The ``events`` of an ontology. Raises ConfigurationError with file and line."""
    node.mapping(_EVENTS)
    names: dict[str, tuple[str, ...]] = {}
    for behaviour, child in node.need("behaviours").items():
        check_name(child, behaviour, "a behaviour")
        for name in _folded(child):
            if behaviour in names.get(name, ()):
                child.fail(f"event {name!r} is listed twice under {behaviour!r}")
            names[name] = (*names.get(name, ()), behaviour)
    receipts = node.get("receipts")
    revokes = node.get("revokes")
    page_names, page_default, page_paths = _pages(node.get("pages"))
    return BehaviourTable(
        names=names,
        page_names=page_names,
        page_default=page_default,
        page_paths=page_paths,
        neutral=_folded_at(node, "neutral"),
        records=_folded_at(node, "records"),
        receipts={}
        if receipts is None
        else {name: kind for kind, child in receipts.mapping(OUTCOME_KINDS).items() for name in _folded(child)},
        revokes={} if revokes is None else {fold_name(name): child.strings() for name, child in revokes.items()},
        logged_actions=_folded_at(node, "logged_actions"),
    )


def _pages(
    node: Node | None,
) -> tuple[frozenset[str], tuple[str, ...], tuple[tuple[str, tuple[str, ...]], ...]]:
    if node is None:
        return frozenset(), (), ()
    node.mapping(("events", "default", "paths"))
    default, paths = node.get("default"), node.get("paths")
    if default is not None:
        for behaviour in default.strings():
            check_name(default, behaviour, "a behaviour")
    table: list[tuple[str, tuple[str, ...]]] = []
    if paths is not None:
        for behaviour, child in paths.items():
            check_name(child, behaviour, "a behaviour")
            table.append((behaviour, child.strings()))
    return (
        frozenset(_folded(node.need("events"))),
        () if default is None else default.strings(),
        tuple(table),
    )


def _folded(node: Node) -> Iterable[str]:
    return [fold_name(name) for name in node.strings()]


def _folded_at(node: Node, key: str) -> frozenset[str]:
    child = node.get(key)
    return frozenset() if child is None else frozenset(_folded(child))
