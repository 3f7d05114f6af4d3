"""Journey facts: what is known about a person at a moment, in the words that conditions and policies use.

Purpose: one vocabulary for stage conditions and policies. Input: the events of a journey in order, with their meanings.
Output: ``FACTS`` (name to kind and description) and, at a moment, a value for each. Units: whole seconds and whole days
(completed ones), counts, texts (empty when unknown). Time domain: event time. Errors: none. State: ``FactState``, a
flat list of bounded size; its snapshot is one tuple.

Most facts change only when an event comes. Those in ``TIME_FACTS`` change by time alone; stage conditions may not use
them, because the instant at which such a condition turns could not be computed exactly (stages leave by time through
decaying signals and ``exit.after`` instead). Policies may.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from contracts.event import DAY, SECOND, Event
from transforms.journey.behaviours import Meaning
from transforms.journey.open_session import OpenSession

FactValue = bool | int | float | str

NEVER_DAYS: Final = 36_500
"""What ``days_since_conversion`` says of a person without one: a hundred years."""

COUNTED: Final[Mapping[str, str]] = {
    "content_views": "content_view",
    "category_views": "category_view",
    "searches": "search",
    "ad_clicks": "ad_click",
    "product_views": "product_view",
    "comparisons": "comparison",
    "review_reads": "review_read",
    "pricing_views": "pricing_view",
    "cart_adds": "cart",
    "checkouts": "checkout",
    "forms": "form",
    "sales_contacts": "sales_contact",
    "logins": "login",
    "usages": "usage",
    "support_contacts": "support",
    "store_visits": "store_visit",
    "email_opens": "email_open",
    "email_clicks": "email_click",
    "email_negatives": "email_negative",
    "refunds": "refund",
    "renewals": "renewal",
}
"""Fact to the behaviour it counts over the whole journey."""

SESSION_COUNTED: Final[Mapping[str, str]] = {
    "session_content_views": "content_view",
    "session_product_views": "product_view",
    "session_pricing_views": "pricing_view",
    "session_cart_adds": "cart",
    "session_checkouts": "checkout",
}
"""Fact to the behaviour it counts in the current session."""

_OWN: Final[Mapping[str, tuple[str, str]]] = {
    "events": ("int", "Events of the journey, receipts included."),
    "activities": ("int", "Events that the person caused: all but receipts and records of other systems."),
    "sessions": ("int", "Sessions begun."),
    "conversions": ("int", "Conversions."),
    "conversion_value": ("double", "Sum of the stated values of conversions, in the currency of the source."),
    "is_known": ("bool", "A login was seen."),
    "has_crm_record": ("bool", "A CRM record was seen."),
    "has_email": ("bool", "A mailbox was seen."),
    "has_phone": ("bool", "A phone number was seen."),
    "journey_days": ("int", "Whole days between the first and the latest event."),
    "active_days": ("int", "Distinct UTC days with an activity."),
    "channels": ("int", "Distinct channels of activities."),
    "session_events": ("int", "Activities in the session of the latest activity, so far."),
    "session_seconds": ("int", "Whole seconds between the first and the latest activity of that session."),
    "session_views": ("int", "Views of a page or screen in that session, so far (sessions.views)."),
    "session_engaged_seconds": ("int", "Whole seconds of engaged time in that session, so far; 0 when nothing tells."),
    "session_engaged": ("bool", "That session is engaged so far, which is no bounce (sessions.engaged)."),
    "first_channel": ("string", "Channel of the first activity."),
    "last_channel": ("string", "Channel of the latest activity."),
    "first_campaign": ("string", "First campaign stated (its name, or else its source)."),
    "last_campaign": ("string", "Latest campaign stated."),
    "last_event": ("string", "Name of the latest activity."),
    "last_path": ("string", "Path or screen of the latest activity that states one."),
    "device": ("string", "Device class of the latest activity that states one."),
    "country": ("string", "Country of the latest event that states one."),
    "time_zone": ("string", "Time zone of the latest event that states one."),
    "locale": ("string", "Language of the latest event that states one."),
}

RECENT = 30 * DAY
"""How far back the facts of stage history look."""

TIME_FACTS: Final[Mapping[str, tuple[str, str]]] = {
    "days_since_first": ("int", "Whole days since the first event."),
    "days_since_last": ("int", "Whole days since the latest activity."),
    "days_since_conversion": ("int", f"Whole days since the latest conversion; {NEVER_DAYS} when there is none."),
    "days_in_stage": ("int", "Whole days since the stage was entered."),
    "stage_moves_30d": ("int", "Moves from one stage to another, 30 days."),
    "stage_returns_30d": ("int", "Those of them that went back to an earlier stage."),
}

EVENT_FACTS: Final[Mapping[str, tuple[str, str]]] = {
    **_OWN,
    **{name: ("int", f"Events showing {behaviour}.") for name, behaviour in COUNTED.items()},
    **{name: ("int", f"Events showing {what} in the current session.") for name, what in SESSION_COUNTED.items()},
}
"""Facts that only an event can change: what stage conditions may use."""

FACTS: Final[Mapping[str, tuple[str, str]]] = {**EVENT_FACTS, **TIME_FACTS}
"""Every fact, name to (kind, description): what policies may use."""

EVENT_FACT_NAMES: Final = tuple(EVENT_FACTS)
_AT: Final = {name: index for index, name in enumerate(EVENT_FACT_NAMES)}
_BLANK: Final[dict[str, FactValue]] = {"bool": False, "int": 0, "double": 0.0, "string": ""}
_START: Final[tuple[FactValue, ...]] = tuple(_BLANK[kind] for kind, _ in EVENT_FACTS.values())

_EVENTS, _ACTIVITIES, _SESSIONS = _AT["events"], _AT["activities"], _AT["sessions"]
_CONVERSIONS, _VALUE, _JOURNEY_DAYS = _AT["conversions"], _AT["conversion_value"], _AT["journey_days"]
_ACTIVE_DAYS, _CHANNELS = _AT["active_days"], _AT["channels"]
_SESSION_EVENTS, _SESSION_SECONDS = _AT["session_events"], _AT["session_seconds"]
_SESSION_VIEWS, _SESSION_ENGAGED = _AT["session_views"], _AT["session_engaged"]
_SESSION_ENGAGED_SECONDS = _AT["session_engaged_seconds"]
_FIRST_CHANNEL, _LAST_CHANNEL = _AT["first_channel"], _AT["last_channel"]
_FIRST_CAMPAIGN, _LAST_CAMPAIGN = _AT["first_campaign"], _AT["last_campaign"]
_LAST_EVENT, _LAST_PATH, _DEVICE = _AT["last_event"], _AT["last_path"], _AT["device"]
_COUNTRY, _TIME_ZONE, _LOCALE = _AT["country"], _AT["time_zone"], _AT["locale"]
_KNOWN_FLAGS: Final = {"login": _AT["is_known"], "crm_record": _AT["has_crm_record"], "email": _AT["has_email"]}
_HOLDERS: Final = {**_KNOWN_FLAGS, "phone": _AT["has_phone"]}
_SESSION_COUNTS: Final = tuple(_AT[name] for name in SESSION_COUNTED)

HOLDERS: Final = tuple(_HOLDERS)
"""Kinds of identifier that a fact speaks of; the ontology says which namespaces they are."""


def counters_of(behaviours: tuple[str, ...]) -> tuple[int, ...]:
    """The places in ``FactState.values`` that an event with these behaviours raises by one."""
    return tuple(
        _AT[name]
        for table in (COUNTED, SESSION_COUNTED)
        for name, behaviour in table.items()
        if behaviour in behaviours
    )


def place_of(name: str) -> int:
    """The place of an event-driven fact in a snapshot. Raises KeyError for any other name."""
    return _AT[name]


class FactState:
    """The event-driven facts of one journey, folded event by event in order.

    ``values`` is in the order of ``EVENT_FACT_NAMES``; copy it to keep it.
    """

    __slots__ = ("_channels", "_day", "_flags", "first_time", "last_activity", "last_conversion", "values")

    def __init__(self, namespaces: Mapping[str, str]) -> None:
        """``namespaces``: identifier namespace to its holder kind (``HOLDERS``)."""
        self.values: list[FactValue] = list(_START)
        self.first_time: int | None = None
        self.last_activity: int | None = None
        self.last_conversion: int | None = None
        self._channels: set[str] = set()
        self._day = -(2**40)
        self._flags = {namespace: _HOLDERS[kind] for namespace, kind in namespaces.items()}

    def observe(
        self, event: Event, meaning: Meaning, value: float, session: OpenSession | None, began: bool = False
    ) -> None:
        """Take one event.

        Args:
            event: the next in order.
            meaning: what the ontology makes of it.
            value: of a conversion; 0 when it states none.
            session: of an activity, which it has taken already; None for other events.
            began: the activity began that session.
        """
        values = self.values
        now = event.event_time
        values[_EVENTS] += 1  # type: ignore[operator]
        if self.first_time is None:
            self.first_time = now
        values[_JOURNEY_DAYS] = (now - self.first_time) // DAY
        flags = self._flags
        for namespace, _ in event.identifiers:
            if namespace in flags:
                values[flags[namespace]] = True
        if event.country:
            values[_COUNTRY] = event.country
        if event.time_zone:
            values[_TIME_ZONE] = event.time_zone
        if event.locale:
            values[_LOCALE] = event.locale
        if session is not None:
            self._observe_activity(event, session, began)
        for place in meaning.counters:
            values[place] += 1  # type: ignore[operator]
        if meaning.conversion:
            values[_CONVERSIONS] += 1  # type: ignore[operator]
            values[_VALUE] += value  # type: ignore[operator]
            self.last_conversion = now

    def _observe_activity(self, event: Event, session: OpenSession, began: bool) -> None:
        values = self.values
        now = event.event_time
        self.last_activity = now
        values[_ACTIVITIES] += 1  # type: ignore[operator]
        if began:
            values[_SESSIONS] += 1  # type: ignore[operator]
            for place in _SESSION_COUNTS:
                values[place] = 0
        engaged = session.engaged
        values[_SESSION_EVENTS] = session.activities
        values[_SESSION_SECONDS] = (now - session.started_at) // SECOND
        values[_SESSION_VIEWS] = session.views
        values[_SESSION_ENGAGED_SECONDS] = 0 if engaged is None else engaged // SECOND
        values[_SESSION_ENGAGED] = session.is_engaged
        day = now // DAY
        if day != self._day:
            self._day = day
            values[_ACTIVE_DAYS] += 1  # type: ignore[operator]
        channel = event.channel
        if channel not in self._channels:
            self._channels.add(channel)
            values[_CHANNELS] = len(self._channels)
            if not values[_FIRST_CHANNEL]:
                values[_FIRST_CHANNEL] = channel
        values[_LAST_CHANNEL] = channel
        values[_LAST_EVENT] = event.name
        if event.device_class:
            values[_DEVICE] = event.device_class
        context = event.context
        if context.path:
            values[_LAST_PATH] = context.path
        campaign = context.campaign_name or context.campaign_source
        if campaign:
            if not values[_FIRST_CAMPAIGN]:
                values[_FIRST_CAMPAIGN] = campaign
            values[_LAST_CAMPAIGN] = campaign


def facts_at(
    snapshot: tuple[FactValue, ...],
    at: int,
    *,
    first_time: int,
    last_activity: int | None,
    last_conversion: int | None,
    since: int,
    moves: int,
    returns: int,
) -> dict[str, FactValue]:
    """Every fact of ``FACTS`` as of ``at``.

    Args:
        snapshot: the event-driven facts after the latest event at or before ``at``.
        at: the moment, UTC microseconds.
        first_time, last_activity, last_conversion: times of those events.
        since: when the stage was entered.
        moves, returns: from one stage to another within ``RECENT`` before, and those of them to an earlier one.
    """
    facts = dict(zip(EVENT_FACT_NAMES, snapshot, strict=True))
    facts["days_since_first"] = (at - first_time) // DAY
    facts["days_since_last"] = (at - (first_time if last_activity is None else last_activity)) // DAY
    facts["days_since_conversion"] = NEVER_DAYS if last_conversion is None else (at - last_conversion) // DAY
    facts["days_in_stage"] = (at - since) // DAY
    facts["stage_moves_30d"] = moves
    facts["stage_returns_30d"] = returns
    return facts
