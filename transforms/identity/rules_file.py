"""Reading ``ontology/identity.yaml``. Pure but for the one file; every complaint says file and line.

Output: ``IdentityRules``. Errors: ``ConfigurationError``. Units: durations in the file become microseconds.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from contracts import documents
from contracts.event import MINUTE
from contracts.exchange import ALIAS, MERGE, UNLINK
from transforms.identity.rules import (
    DEVICE,
    KNOWN,
    LAST_KNOWN,
    LOGOUT,
    OWNER_POLICIES,
    Bound,
    IdentityRules,
    Namespace,
)
from transforms.identity.values import DEFAULT_BLOCK, NORMALISERS, Block, sha256

ERASE = "erase"
_EVENT_KINDS = (ALIAS, MERGE, UNLINK, LOGOUT)
_KEYS = (
    "name",
    "namespaces",
    "owner",
    "demote_after",
    "component_size",
    "crowd",
    "alias_overrides",
    "visit_gap",
    "block",
    "events",
)
_NAMESPACE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_NAMESPACE_KEYS = (
    "kind",
    "priority",
    "links",
    "unique",
    "limit",
    "normalise",
    "hashed",
    "as",
    "block",
    "owner",
    "demote_after",
)


def load_rules(path: Path | str) -> IdentityRules:
    """Read the rules. Raises ``ConfigurationError`` with file and line."""
    return parse_rules(documents.load(path))


def parse_rules(root: documents.Node) -> IdentityRules:
    """``load_rules`` from a document already read."""
    _refuse_public_after(root)
    root.mapping(_KEYS)
    name = root.need("name").string()
    owner = _owner(root.get("owner")) or LAST_KNOWN
    demote_after = _bound(root.get("demote_after"), "logins")
    common = DEFAULT_BLOCK.extended(root.get("block"))
    node = root.need("namespaces")
    namespaces = {
        key: _namespace(key, child, common=common, owner=owner, demote_after=demote_after)
        for key, child in node.items()
    }
    _check_together(node, namespaces)
    size_node, crowd_node, overrides = root.get("component_size"), root.get("crowd"), root.get("alias_overrides")
    size = size_node.integer(minimum=2) if size_node else 1000
    crowd = crowd_node.integer(minimum=2) if crowd_node else 10 * size
    if crowd_node and crowd < size:
        crowd_node.fail(f"crowd is {crowd}, below component_size, {size}: no person could ever be that large")
    erase, kinds = _events(root.get("events"))
    gap = root.get("visit_gap")
    content = json.dumps(root.plain(), sort_keys=True, ensure_ascii=False).encode()
    linking = [n for n in namespaces.values() if n.links and n.target == n.name]
    return IdentityRules(
        name=name,
        version=f"{name}@{hashlib.sha256(content).hexdigest()[:12]}",
        namespaces=namespaces,
        component_size=size,
        crowd=crowd,
        erase_events=erase,
        kinds=kinds,
        alias_overrides=overrides.boolean() if overrides else False,
        visit_gap=gap.duration(minimum=1) if gap else 30 * MINUTE,
        _devices={n.name: n.priority for n in linking if n.kind == DEVICE},
        _known={n.name: n.priority for n in linking if n.kind == KNOWN},
    )


def _refuse_public_after(node: documents.Node) -> None:
    if (old := node.get("public_after")) is not None:
        old.fail("public_after is no key any more", hint=f"write demote_after: {{logins: {old.value}}}")


def _events(node: documents.Node | None) -> tuple[frozenset[str], dict[str, str]]:
    """Event names that ask for erasure, and those that say something else than that they show identifiers."""
    erase: frozenset[str] = frozenset()
    kinds: dict[str, str] = {}
    if node is None:
        return erase, kinds
    for kind, child in node.mapping((ERASE, *_EVENT_KINDS)).items():
        names = child.strings()
        for name in names:
            if name in kinds or name in erase:
                child.fail(f"event {name!r} stands under {kinds.get(name, ERASE)} already")
            if kind != ERASE:
                kinds[name] = kind
        if kind == ERASE:
            erase = frozenset(names)
    return erase, kinds


def _bound(node: documents.Node | None, what: str) -> Bound | None:
    """A number, or a number within a stretch of time."""
    if node is None:
        return None
    if not isinstance(node.value, dict):
        return Bound(node.integer(minimum=1))
    node.mapping((what, "within"))
    within = node.get("within")
    return Bound(node.need(what).integer(minimum=1), within.duration(minimum=1) if within else None)


def _owner(node: documents.Node | None) -> str | None:
    return None if node is None else node.choice(OWNER_POLICIES)


def _namespace(name: str, node: documents.Node, *, common: Block, owner: str, demote_after: Bound | None) -> Namespace:
    if not _NAMESPACE.fullmatch(name):
        node.fail(f"{name!r} is no namespace: use lower-case letters, digits and _, starting with a letter")
    _refuse_public_after(node)
    node.mapping(_NAMESPACE_KEYS)
    kind = node.need("kind").choice((DEVICE, KNOWN))
    priority = node.need("priority").integer(minimum=1, maximum=1_000_000)
    links_node, unique, limit = node.get("links"), node.get("unique"), node.get("limit")
    if unique is not None and limit is not None:
        limit.fail(f"namespace {name!r} states both 'unique' and 'limit'", hint="unique: true is limit: 1")
    bound = _bound(limit, "values") or (Bound(1) if unique is not None and unique.boolean() else None)
    if bound is not None and kind == DEVICE:
        (limit or unique or node).fail(
            f"namespace {name!r} is of kind device: a person may have any number of devices",
            hint="unique and limit are for known identifiers",
        )
    steps: list[str] = []
    normalise = node.get("normalise")
    for item in normalise.list() if normalise else []:
        steps.append(item.choice(tuple(NORMALISERS)))
        if "sha256" in steps[:-1]:
            item.fail("sha256 must be the last step of normalise")
    own_owner = node.get("owner")
    if own_owner is not None and kind == KNOWN:
        own_owner.fail(f"namespace {name!r} is of kind known: only devices have an owner")
    target = node.get("as")
    block = common.extended(node.get("block"))
    hashed = node.get("hashed")
    values = block.values
    if hashed is not None:
        hashed.choice(("sha256",))
        values |= {sha256(value) for value in block.values}
    return Namespace(
        name=name,
        kind=kind,
        priority=priority,
        links=links_node.boolean() if links_node else True,
        limit=bound,
        normalise=tuple(steps),
        target=target.string() if target else name,
        blocked_values=values,
        blocked_patterns=block.compiled(),
        owner=_owner(own_owner) or owner,
        demote_after=_bound(node.get("demote_after"), "logins") or demote_after,
    )


def _check_together(node: documents.Node, namespaces: Mapping[str, Namespace]) -> None:
    """Rules that contradict each other across namespaces."""
    places = node.mapping()
    if not any(n.links for n in namespaces.values()):
        node.fail("no namespace may link, so no event could be told apart from another")
    by_priority: dict[int, str] = {}
    for name, rules in namespaces.items():
        place = places[name]
        other = by_priority.setdefault(rules.priority, name)
        if other != name:
            place.fail(f"namespaces {other!r} and {name!r} have the same priority {rules.priority}")
        if rules.target != name:
            target = namespaces.get(rules.target)
            if target is None:
                place.fail(f"namespace {name!r} becomes {rules.target!r}, which does not exist")
            if target.target != target.name:
                place.fail(f"namespace {name!r} becomes {rules.target!r}, which itself becomes another")
            if target.kind != rules.kind:
                place.fail(f"namespace {name!r} is of kind {rules.kind}, but becomes a {target.kind} one")
    devices = [n for n in namespaces.values() if n.kind == DEVICE]
    known = [n for n in namespaces.values() if n.kind == KNOWN]
    if devices and known:
        highest = max(devices, key=lambda n: n.priority)
        lowest = min(known, key=lambda n: n.priority)
        if lowest.priority < highest.priority:
            places[lowest.name].fail(
                f"known namespace {lowest.name!r} ranks below device namespace {highest.name!r}",
                hint="give every known namespace a greater priority than every device",
            )
