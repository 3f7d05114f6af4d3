"""What happens in a scenario: lines such as ``+5m page_view /pricing on phone as anna`` to events.

Input: the nodes of ``who`` and ``events``, the world. Output: ``Who`` and events. Time domain: event time, UTC
microseconds. Errors: ConfigurationError with file and line, and the nearest known event for a misspelt one. State:
none.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import NoReturn

from contracts.documents import Node
from contracts.event import Context, Event, Identifier, Scalar
from pipelines.scenarios.play import World
from pipelines.scenarios.when import HOW, WHEN, read_when
from transforms.decide.rules import PURPOSES
from transforms.journey.behaviours import fold_name

BROWSER, NOTHING = "browser", "nothing"
_DEVICE, _LOGIN = "anonymous_id", "user_id"
_CLAUSES = ("on", "as", "yes to", "no to", "worth", "arriving", "answering")
_LINE = re.compile(
    rf"({WHEN})[:,]? ([^/]+?)(?: (/\S*))?((?: (?:{'|'.join(_CLAUSES)}) .+)?)",
)
_CLAUSE = re.compile(rf"(?:^| )({'|'.join(_CLAUSES)}) ")
KEYS = (
    "at", "event", "path", *(clause.split()[0] for clause in _CLAUSES), "id", "channel", "campaign", "device",
    "country", "time_zone", "tracker_session", "properties", "unknown",
)  # fmt: skip


@dataclass
class Who:
    """What devices and people are called. ``labels`` are those that events name, in order of appearance."""

    given: dict[str, tuple[Identifier, ...]] = field(default_factory=dict)
    labels: dict[str, tuple[Identifier, ...]] = field(default_factory=dict)

    def identifiers(self, label: str, namespace: str) -> tuple[Identifier, ...]:
        """The identifiers of a label; one that ``who`` does not explain is its own identifier."""
        found = self.given.get(label, (Identifier(namespace, label),))
        self.labels[label] = found
        return found


def read_who(node: Node | None, world: World) -> Who:
    """Labels with identifiers of their own: ``anna: {user_id: anna, email: anna@example.com}``."""
    who = Who()
    for label, child in node.items() if node is not None else ():
        child.mapping(tuple(world.identity.namespaces))
        values = [(namespace, value.string()) for namespace, value in child.items()]
        who.given[label] = tuple(Identifier(*pair) for pair in values)
        for pair in values:
            if world.pseudonym(Identifier(*pair)) is None:
                child.fail(f"{pair[0]} {pair[1]!r} is an identifier that the identity rules block")
    return who


def read_events(node: Node, who: Who, world: World, begin: int) -> list[Event]:
    """The events, in the order in which they are told; ids grow in that order."""
    events: list[Event] = []
    before: int | None = None
    for number, child in enumerate(node.list(), 1):
        said = dict(child.items()) if isinstance(child.value, dict) else _line(child)
        event = _Reader(child, said, who, world, begin, before).event(f"step-{number:04d}")
        before = event.event_time
        events.append(event)
    if not events:
        node.fail("a scenario needs at least one event")
    return events


def _line(node: Node) -> dict[str, Node]:
    match = _LINE.fullmatch(node.string())
    if match is None:
        node.fail(
            f"{node.value!r} is no event",
            hint=f"write a time, the event and what belongs to it: '+5m page_view /pricing on phone as anna'; {HOW}",
        )
    when, name, path, rest = match.groups()
    said = {"at": when, "event": name, **({"path": path} if path else {})}
    parts = _CLAUSE.split(rest)
    for clause, value in zip(parts[1::2], parts[2::2], strict=True):
        key = clause.split()[0]
        if key in said:
            node.fail(f"{clause!r} stands twice")
        said[key] = value.strip()
    return {key: Node(value, node.path, node.line, f"{node.where} ({key})") for key, value in said.items()}


class _Reader:
    """One event."""

    def __init__(
        self, node: Node, said: dict[str, Node], who: Who, world: World, begin: int, before: int | None
    ) -> None:
        Node(said, node.path, node.line, node.where).mapping(KEYS)
        self._node, self._said, self._who, self._world = node, said, who, world
        self._begin, self._before = begin, before

    def event(self, event_id: str) -> Event:
        name, path = self._need("event").string(), self._text("path")
        self._check_name(name, path)
        at = self._time("at", self._before)
        received = self._time("arriving", at) if "arriving" in self._said else at
        device, login = self._text("on") or BROWSER, self._text("as")
        identifiers = () if device == NOTHING else self._who.identifiers(device, _DEVICE)
        if login is not None:
            identifiers = tuple(dict.fromkeys((*identifiers, *self._who.identifiers(login, _LOGIN))))
        if not identifiers:
            self._node.fail("nobody did this", hint="say 'as' whom where there is no device")
        return Event(
            event_id=self._text("id") or event_id,
            name=name,
            event_time=at,
            received_time=received,
            source="journey test",
            channel=self._text("channel") or "web",
            identifiers=identifiers,
            tracker_session_id=self._text("tracker_session"),
            action_id=self._text("answering"),
            context=Context(path=path, campaign_name=self._text("campaign")),
            device_class=self._text("device"),
            country=self._text("country"),
            time_zone=self._text("time_zone"),
            consent={**dict.fromkeys(self._purposes("yes"), True), **dict.fromkeys(self._purposes("no"), False)},
            properties=self._properties(),
        )

    def _need(self, key: str) -> Node:
        if key not in self._said:
            self._node.fail(f"an event needs {key!r}")
        return self._said[key]

    def _text(self, key: str) -> str | None:
        return self._said[key].string() if key in self._said else None

    def _time(self, key: str, before: int | None) -> int:
        node = self._need(key)
        try:
            when = read_when(node.string(), self._begin, before)
        except ValueError as error:
            self._fail(error)
        if when.span > 60_000_000:
            node.fail(f"{node.value!r} needs a time of the day, such as '{node.value} 10:00'")
        return when.at

    def _fail(self, error: ValueError) -> NoReturn:
        self._node.fail(str(error))

    def _purposes(self, key: str) -> list[str]:
        node = self._said.get(key)
        if node is None:
            return []
        words = node.strings() if isinstance(node.value, list) else re.split(r", *| and ", node.string())
        for word in words:
            Node(word, node.path, node.line, "a purpose").choice(PURPOSES)
        return list(words)

    def _properties(self) -> dict[str, Scalar]:
        made: dict[str, Scalar] = {}
        if (given := self._said.get("properties")) is not None:
            for name, child in given.items():
                if isinstance(child.value, dict | list):
                    child.fail("a property is one text, number or truth")
                made[name] = child.value
        if (worth := self._said.get("worth")) is not None:
            try:
                made[self._world.ontology.value_properties[0]] = float(worth.value)
            except (TypeError, ValueError):
                worth.fail(f"'worth' is a number, not {worth.value!r}")
        return made

    def _check_name(self, name: str, path: str | None) -> None:
        unknown = self._said.get("unknown")
        if (unknown is not None and unknown.boolean()) or self._world.identity.kinds.get(name):
            return
        ontology = self._world.ontology
        if not ontology.is_known(name, path):
            table = ontology.table
            known = {*table.names, *table.page_names, *table.neutral, *table.records, *table.receipts}
            near = difflib.get_close_matches(fold_name(name), known, n=1)
            mend = f"did you mean {near[0]!r}? " if near else ""
            self._need("event").fail(
                f"the ontology knows no event {name!r}",
                hint=f"{mend}One that means nothing on purpose is written {{at: …, event: …, unknown: true}}",
            )
