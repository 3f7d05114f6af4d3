"""What makes a session, and when it counts as a bounce: the ``sessions`` section of an ontology, and its presets.

Input: a checked document node. Output: ``SessionRule``. Units: microseconds. Errors: ``ConfigurationError`` with file
and line. State: none. Pure. docs/sessions.md explains the rules and names where the presets' come from.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from contracts.documents import Node
from contracts.errors import ConfigurationError
from contracts.event import DAY, MINUTE, SECOND
from transforms.journey.behaviours import fold_name

_KEYS = (
    "preset", "by", "gap", "tracker_timeout", "new_at_midnight", "new_at_campaign", "views", "heartbeats", "engaged",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SessionRule:
    """What makes a session.

    Attributes:
        by: ``gap`` (a silence of ``gap`` ends it) or ``tracker`` (the tracker's id says; a silence of ``timeout`` ends
            it all the same).
        midnight: time zone whose midnight begins a session anew; None: midnight does nothing.
        campaign: an activity that states another campaign than the session's latest begins a session anew.
        views: behaviours that are views of a page or screen, besides the page events themselves.
        heartbeats: names (folded) of events that only say that the person is still there.
        every, minimum: engaged time of a view is ``minimum`` for its first heartbeat and ``every`` for each further
            interval of that length, counted from the epoch, in which there was one.
        engaged_by: ``duration`` (longer than ``engaged_after``, by its events or by its engaged time) or ``heartbeats``
            (engaged time of ``engaged_after`` or more).
        engaged_views: with so many views a session is engaged; with a conversion it is always.
    """

    by: str = "gap"
    gap: int = 30 * MINUTE
    timeout: int = DAY
    midnight: str | None = None
    campaign: bool = False
    views: frozenset[str] = frozenset({"content_view", "category_view", "product_view", "review_read", "pricing_view"})
    heartbeats: frozenset[str] = frozenset({"page_ping", "heartbeat"})
    every: int = 10 * SECOND
    minimum: int = 5 * SECOND
    engaged_by: str = "duration"
    engaged_after: int = 10 * SECOND
    engaged_views: int = 2

    def is_engaged(self, duration: int, engaged: int, views: int, conversions: int) -> bool:
        """Whether a session is engaged, which is to say that it is no bounce.

        Args:
            duration: from its first to its latest event.
            engaged: its engaged time; 0 when nothing told it.
            views, conversions: how many it has.
        """
        if views >= self.engaged_views or conversions > 0:
            return True
        if self.engaged_by == "duration":
            return duration > self.engaged_after or engaged > self.engaged_after
        return engaged >= self.engaged_after


PRESETS: Final = {
    "ga4": SessionRule(by="tracker", views=frozenset(), heartbeats=frozenset()),
    "snowplow": SessionRule(
        by="tracker",
        timeout=3 * DAY,
        views=frozenset(),
        heartbeats=frozenset({"page_ping"}),
        engaged_by="heartbeats",
        engaged_after=20 * SECOND,
    ),
}
"""The conventions of others as far as events tell them."""


def read_session_rule(node: Node | None, behaviours: Collection[str]) -> SessionRule:
    """The rule of a ``sessions`` section; what it does not say is the preset's, or else the default.

    Args:
        node: the section, None when there is none.
        behaviours: those that the ontology knows.

    Raises:
        ConfigurationError: for what is no rule.
    """
    if node is None:
        return SessionRule()
    found = node.mapping(_KEYS)
    rule = PRESETS[found["preset"].choice(tuple(PRESETS))] if "preset" in found else SessionRule()
    if "by" in found:
        rule = replace(rule, by=found["by"].choice(("gap", "tracker")))
    if "gap" in found:
        rule = replace(rule, gap=found["gap"].duration(minimum=SECOND))
    if "tracker_timeout" in found:
        rule = replace(rule, timeout=found["tracker_timeout"].duration(minimum=SECOND))
    if rule.timeout < rule.gap:
        node.fail("sessions.tracker_timeout must not be shorter than sessions.gap")
    if "new_at_midnight" in found:
        rule = replace(rule, midnight=_zone(found["new_at_midnight"]))
    if "new_at_campaign" in found:
        rule = replace(rule, campaign=found["new_at_campaign"].boolean())
    if "views" in found:
        rule = replace(rule, views=_views(found["views"], behaviours))
    return _engagement(rule, found.get("heartbeats"), found.get("engaged"))


def with_by(rule: SessionRule, by: str | None, path: str) -> SessionRule:
    """The rule with another ``by``, as a command asked for; None leaves it. Raises ConfigurationError for no ``by``."""
    if by is None:
        return rule
    if by not in ("gap", "tracker"):
        raise ConfigurationError(path, None, f"session_by is {by!r}, not gap or tracker")
    return replace(rule, by=by)


def _engagement(rule: SessionRule, heartbeats: Node | None, engaged: Node | None) -> SessionRule:
    if heartbeats is not None:
        found = heartbeats.mapping(("events", "every", "minimum"))
        if "events" in found:
            rule = replace(rule, heartbeats=frozenset(map(fold_name, found["events"].strings())))
        if "every" in found:
            rule = replace(rule, every=found["every"].duration(minimum=SECOND))
        if "minimum" in found:
            rule = replace(rule, minimum=found["minimum"].duration())
    if engaged is not None:
        found = engaged.mapping(("by", "after", "views"))
        if "by" in found:
            rule = replace(rule, engaged_by=found["by"].choice(("duration", "heartbeats")))
        if "after" in found:
            rule = replace(rule, engaged_after=found["after"].duration())
        if "views" in found:
            rule = replace(rule, engaged_views=found["views"].integer(minimum=1))
    return rule


def _zone(node: Node) -> str | None:
    name = node.string()
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        node.fail(f"{name!r} is no time zone", hint="write one of the IANA names, such as Europe/Berlin or UTC")
    return name


def _views(node: Node, behaviours: Collection[str]) -> frozenset[str]:
    names = frozenset() if node.value in (None, []) else frozenset(node.strings())
    for name in sorted(names):
        if name not in behaviours:
            node.fail(f"{name!r} is no behaviour of this ontology", hint="events.behaviours names them")
    return names
