"""The rules of identity, from ``ontology/identity.yaml``: what an identifier is, what blocks it, what it links.

Pure: no Beam. Input: the YAML file, then the identifiers of events. Output: normalised identifiers, strand keys and
links. Times are UTC microseconds of event time. Errors: ``ConfigurationError`` with file and line, only while loading;
afterwards every function here is total. State: none.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from contracts import documents
from contracts.event import Identifier
from contracts.exchange import Link
from transforms.identity.values import DEFAULT_BLOCK, MAX_LENGTH, NORMALISERS, Block, sha256

DEVICE, KNOWN = "device", "known"
LAST_KNOWN, FIRST_KNOWN, KEEP_APART = "last_known", "first_known", "keep_apart"
OWNER_POLICIES: Final = (LAST_KNOWN, FIRST_KNOWN, KEEP_APART)

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
    "public_after",
)


class StrandKey(NamedTuple):
    """What strand an event belongs to: its primary identifier, and its login if it names one beside it."""

    primary: Identifier
    login: Identifier | None


@dataclass(frozen=True, slots=True)
class Namespace:
    """The rules of one namespace.

    ``limit`` is how many values of it a person may have (1 is ``unique: true``), None for no limit. ``target`` is the
    namespace its identifiers become. ``owner`` and ``public_after`` matter for devices only.
    """

    name: str
    kind: str
    priority: int
    links: bool
    limit: int | None
    normalise: tuple[str, ...]
    target: str
    blocked_values: frozenset[str]
    blocked_patterns: tuple[re.Pattern[str], ...]
    owner: str
    public_after: int | None


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """All rules, with the answers that events need. Made by ``load_rules``.

    Args:
        name: what the file calls itself.
        version: ``name@hash`` of the file's content.
        namespaces: by name.
        component_size: identifiers that one person may have.
        erase_events: event names that ask for erasure.
    """

    name: str
    version: str
    namespaces: Mapping[str, Namespace]
    component_size: int
    erase_events: frozenset[str]
    _devices: Mapping[str, int] = field(repr=False)
    _known: Mapping[str, int] = field(repr=False)

    def normalise(self, identifier: Identifier) -> Identifier | None:
        """The identifier as it counts, or None when it is blocked, empty, too long or of an unknown namespace."""
        rules = self.namespaces.get(identifier.namespace)
        if rules is None:
            return None
        value = identifier.value
        if len(value) > MAX_LENGTH:
            return None
        if not value.isascii():
            value = unicodedata.normalize("NFC", value)
        hashed = False
        for step in rules.normalise:
            if step == "sha256":
                hashed = True
            else:
                value = NORMALISERS[step](value)
        if value.strip().lower() in rules.blocked_values:
            return None
        for pattern in rules.blocked_patterns:
            if pattern.fullmatch(value):
                return None
        return Identifier(rules.target, sha256(value) if hashed else value)

    def strand_key(self, identifiers: Iterable[Identifier]) -> StrandKey | None:
        """The strand of an event with these (normalised) identifiers; None when none of them may link.

        The primary is the most device-like linking identifier, the login the best known one. Without a device the
        best known identifier is the primary and the strand has no login, since that would say the same twice. Among
        several values of one namespace the least counts, so the order of identifiers on the event does not matter.
        """
        devices, knowns = self._devices, self._known
        device: Identifier | None = None
        login: Identifier | None = None
        device_rank = login_rank = 0
        for identifier in identifiers:
            rank = devices.get(identifier[0])
            if rank is not None:
                if device is None or rank < device_rank or (rank == device_rank and identifier < device):
                    device, device_rank = identifier, rank
                continue
            rank = knowns.get(identifier[0])
            if rank is not None and (login is None or rank > login_rank or (rank == login_rank and identifier < login)):
                login, login_rank = identifier, rank
        if device is not None:
            return StrandKey(device, login)
        return None if login is None else StrandKey(login, None)

    def pairs(self, identifiers: Sequence[Identifier]) -> tuple[tuple[Identifier, Identifier | None], ...]:
        """The ends of the links of an event: its login (else its primary) with each other linking identifier.

        An event with one linking identifier gives that one alone, so that every identifier is known to resolution.
        """
        key = self.strand_key(identifiers)
        if key is None:
            return ()
        left = key.login or key.primary
        if len(identifiers) == 1:
            return ((left, None),)
        devices, knowns = self._devices, self._known
        rights = {i for i in identifiers if i != left and (i[0] in devices or i[0] in knowns)}
        return tuple((left, right) for right in sorted(rights)) if rights else ((left, None),)

    def links(
        self, identifiers: Sequence[Identifier], name: str, event_id: str, event_time: int, received_time: int
    ) -> list[Link]:
        """The links that one event is evidence for. ``identifiers`` are normalised (pseudonyms or not)."""
        erase = event_time if name in self.erase_events else None
        return [
            Link(left, right, event_time, event_id, event_time, event_id, received_time, erase)
            for left, right in self.pairs(identifiers)
        ]

    def is_known(self, namespace: str) -> bool:
        """True for a linking namespace of known identifiers: a login, a contact, a record."""
        return namespace in self._known

    def links_at_all(self, namespace: str) -> bool:
        """True when identifiers of the namespace may link."""
        return namespace in self._known or namespace in self._devices

    def priority(self, namespace: str) -> int:
        """Greater is better known; 0 for a namespace the rules do not have."""
        rules = self.namespaces.get(namespace)
        return 0 if rules is None else rules.priority


# --- loading -------------------------------------------------------------------------------------------------------


def load_rules(path: Path | str) -> IdentityRules:
    """Read the rules. Raises ``ConfigurationError`` with file and line."""
    return parse_rules(documents.load(path))


def parse_rules(root: documents.Node) -> IdentityRules:
    """``load_rules`` from a document already read."""
    root.mapping(("name", "namespaces", "owner", "public_after", "component_size", "block", "events"))
    name = root.need("name").string()
    owner = _owner(root.get("owner")) or LAST_KNOWN
    public_node = root.get("public_after")
    public_after = public_node.integer(minimum=1) if public_node else None
    common = DEFAULT_BLOCK.extended(root.get("block"))
    node = root.need("namespaces")
    namespaces = {
        key: _namespace(key, child, common=common, owner=owner, public_after=public_after)
        for key, child in node.items()
    }
    _check_together(node, namespaces)
    size_node = root.get("component_size")
    events = root.get("events")
    erase: Sequence[str] = ()
    if events is not None:
        events.mapping(("erase",))
        erase_node = events.get("erase")
        erase = erase_node.strings() if erase_node else ()
    content = json.dumps(root.plain(), sort_keys=True, ensure_ascii=False).encode()
    linking = [n for n in namespaces.values() if n.links and n.target == n.name]
    return IdentityRules(
        name=name,
        version=f"{name}@{hashlib.sha256(content).hexdigest()[:12]}",
        namespaces=namespaces,
        component_size=size_node.integer(minimum=2) if size_node else 1000,
        erase_events=frozenset(erase),
        _devices={n.name: n.priority for n in linking if n.kind == DEVICE},
        _known={n.name: n.priority for n in linking if n.kind == KNOWN},
    )


def _owner(node: documents.Node | None) -> str | None:
    if node is None:
        return None
    if node.value == "carry_forward":
        node.fail(
            "owner policy 'carry_forward' is not available in this version",
            hint="use last_known, first_known or keep_apart",
        )
    return node.choice(OWNER_POLICIES)


def _namespace(name: str, node: documents.Node, *, common: Block, owner: str, public_after: int | None) -> Namespace:
    if not _NAMESPACE.fullmatch(name):
        node.fail(f"{name!r} is no namespace: use lower-case letters, digits and _, starting with a letter")
    node.mapping(_NAMESPACE_KEYS)
    kind = node.need("kind").choice((DEVICE, KNOWN))
    priority = node.need("priority").integer(minimum=1, maximum=1_000_000)
    links_node, unique, limit = node.get("links"), node.get("unique"), node.get("limit")
    if unique is not None and limit is not None:
        limit.fail(f"namespace {name!r} states both 'unique' and 'limit'", hint="unique: true is limit: 1")
    bound = limit.integer(minimum=1) if limit else (1 if unique is not None and unique.boolean() else None)
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
    own_owner, own_public = node.get("owner"), node.get("public_after")
    for device_only in (own_owner, own_public):
        if device_only is not None and kind == KNOWN:
            device_only.fail(f"namespace {name!r} is of kind known: only devices have an owner")
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
        public_after=own_public.integer(minimum=1) if own_public else public_after,
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
