"""What the features remember of one journey: counts in sliding windows, and totals.

Counts are kept by one log of (time, counters it feeds) with a cursor for each window length. Moving a cursor
over an entry takes it out of the counters of that window, so a count costs nothing to read and each event is
touched once a window, however many features there are.

Time domain: event time, UTC microseconds. A window of length w at a moment t holds the events with t − w < time ≤ t.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from contracts.event import DAY, MINUTE, Event

WEEK, MONTH = 7 * DAY, 30 * DAY
WINDOWS = (DAY, WEEK, MONTH)

GROUPS: dict[str, tuple[str, ...]] = {
    "research": ("content_view", "category_view", "search"),
    "ad": ("ad_view", "ad_click"),
    "product": ("product_view", "review_read"),
    "comparison": ("comparison",),
    "pricing": ("pricing_view",),
    "cart": ("cart",),
    "checkout": ("checkout",),
    "contact": ("form", "sales_contact", "store_visit"),
    "usage": ("usage", "account"),
    "support": ("support",),
    "email_response": ("email_open", "email_click"),
    "content": ("content_view",),
    "search": ("search",),
    "email_click": ("email_click",),
    "trouble_shown": ("refund", "email_negative"),
}
"""Groups of behaviours counted in windows. An event counts once in a group, however many of its behaviours it shows."""

TOTALS: dict[str, tuple[str, ...]] = {
    "conversion": ("conversion", "renewal"),
    "known": ("login", "account"),
    "trouble": ("refund", "email_negative"),
}
"""Groups of behaviours counted over the whole journey."""

COUNTERS: tuple[tuple[str, int], ...] = (
    ("activity", DAY),
    ("activity", WEEK),
    ("activity", MONTH),
    ("session", WEEK),
    ("research", WEEK),
    ("ad", MONTH),
    ("product", WEEK),
    ("comparison", MONTH),
    ("pricing", MONTH),
    ("cart", WEEK),
    ("checkout", MONTH),
    ("contact", MONTH),
    ("usage", MONTH),
    ("support", MONTH),
    ("email_response", MONTH),
    ("touch", MONTH),
    ("email_touch", MONTH),
    ("human_touch", MONTH),
    ("session", MONTH),
    ("content", WEEK),
    ("search", WEEK),
    ("product", MONTH),
    ("pricing", WEEK),
    ("pricing_return", MONTH),
    ("email_click", MONTH),
    ("trouble_shown", MONTH),
    ("device_switch", MONTH),
)
"""(what, window) of each counter: a group above; ``activity``, what the customer did; ``session``, sessions begun;
``touch``, any event; ``email_touch`` and ``human_touch`` (calls and store), those of a channel; ``pricing_return``, a
look at prices in a later session than the look before; ``device_switch``, activity on another class of device than the
activity before that named one."""

COUNTER = {counted: index for index, counted in enumerate(COUNTERS)}

Feeds = tuple[tuple[int, ...], ...]
"""The counters that an event feeds, for each of ``WINDOWS``."""

_DAYS = 30
_PRUNE_AT = 512
_EMAIL, _HUMAN = "email", frozenset({"call", "store"})
_HAND_HELD = frozenset({"mobile", "tablet"})
_KINDS = tuple(GROUPS[name] for name in ("research", "ad", "product", "comparison", "pricing", "cart", "checkout"))
_CLOCK = tuple((math.cos(a), math.sin(a)) for a in (2 * math.pi * minute / 1440 for minute in range(1440)))


class _Effects(NamedTuple):
    """What an event does: the counters it feeds, what it is among the totals, and the groups it shows, as bits."""

    feeds: Feeds
    conversion: bool
    known: bool
    trouble: bool
    pricing: bool
    cart: bool
    response: bool
    groups: int
    returning: Feeds
    """The counters it feeds when it is a look at prices that comes back to them."""
    switching: Feeds
    """The counters it feeds when it is on another class of device than before."""
    both: Feeds


@lru_cache(maxsize=16384)
def _effects(behaviours: tuple[str, ...], channel: str, new_session: bool, activity: bool) -> _Effects:
    """Few combinations occur, so cached."""
    shown = set(behaviours)
    fed = {"touch"} | {group for group, members in GROUPS.items() if shown.intersection(members)}
    if activity:
        fed.add("activity")
    if new_session:
        fed.add("session")
    if channel == _EMAIL:
        fed.add("email_touch")
    if channel in _HUMAN:
        fed.add("human_touch")
    conversion, known, trouble = (bool(shown.intersection(members)) for members in TOTALS.values())
    groups = sum(1 << number for number, members in enumerate(_KINDS) if shown.intersection(members))
    return _Effects(
        _feeds(fed),
        conversion,
        known,
        trouble,
        "pricing" in fed,
        "cart" in fed,
        "email_response" in fed,
        groups,
        _feeds(fed | {"pricing_return"}),
        _feeds(fed | {"device_switch"}),
        _feeds(fed | {"pricing_return", "device_switch"}),
    )


def _feeds(fed: set[str]) -> Feeds:
    return tuple(
        tuple(index for index, (what, length) in enumerate(COUNTERS) if length == window and what in fed)
        for window in WINDOWS
    )


class FeatureState:
    """The features' memory of one journey, a mutable accumulator.

    Bounded by the events of the last 30 days (time and a shared tuple for each) and a fixed number of totals. Events
    must be observed in (event time, event_id) order; none can be taken back, a corrected journey is folded anew.
    """

    __slots__ = (
        "_cursors",
        "_feeds",
        "_times",
        "active_days",
        "activity_total",
        "bounced",
        "carts",
        "clock_x",
        "clock_y",
        "consent_share",
        "conversion_value",
        "conversions",
        "counts",
        "device_class",
        "device_classes",
        "dwell",
        "first_session",
        "first_time",
        "hand_held",
        "known",
        "last_activity",
        "last_conversion",
        "last_pricing",
        "last_refusal",
        "last_response",
        "last_time",
        "pricing_session",
        "session_events",
        "session_groups",
        "session_start",
        "sessions",
        "trouble",
    )

    def __init__(self) -> None:
        self._times: list[int] = []
        self._feeds: list[Feeds] = []
        self._cursors = [0] * len(WINDOWS)
        self.counts = [0.0] * len(COUNTERS)
        self.first_time: int | None = None
        self.last_time: int | None = None
        self.last_activity: int | None = None
        self.activity_total = 0
        self.active_days: list[int] = []
        self.session_events = 0
        self.conversions = 0
        self.conversion_value = 0.0
        self.last_conversion: int | None = None
        self.known = False
        self.trouble = 0
        self.hand_held = 0
        self.clock_x = 0.0
        self.clock_y = 0.0
        self.sessions = 0
        self.first_session: int | None = None
        self.session_start: int | None = None
        self.session_groups = 0
        self.bounced = 0
        self.dwell = 0
        self.pricing_session = 0
        self.last_pricing: int | None = None
        self.last_response: int | None = None
        self.last_refusal: int | None = None
        self.consent_share = 0.0
        self.carts = 0
        self.device_class: str | None = None
        self.device_classes: set[str] = set()

    def observe(
        self,
        event: Event,
        behaviours: tuple[str, ...],
        new_session: bool,
        activity: bool = True,
        *,
        value: float | None = None,
    ) -> None:
        """Take in the next event of the journey.

        Args:
            event: the event; its time must not be before that of the one observed last.
            behaviours: what the ontology says the event shows.
            new_session: the event opens a session.
            activity: the customer did it. False for what only happened to them (a mail was delivered, a lead was
                accepted, consent was recorded): such events are touches, but neither activity nor part of a session.
            value: what a conversion states, read by the ontology: the same number that its facts see. None for no
                conversion, and for one that states none.

        Raises:
            ValueError: the event is older than the one before.
        """
        time = event.event_time
        if self.last_time is None:
            self.first_time = time
        elif time < self.last_time:
            raise ValueError(f"event {event.event_id} at {time} comes after one at {self.last_time}: sort the journey")
        self.last_time = time
        effects = _effects(behaviours, event.channel, new_session, activity)
        if len(self._times) >= _PRUNE_AT and self._times[_PRUNE_AT >> 1] <= time - MONTH:
            self._prune(time)
        if new_session:
            self._begin_session(time)
        feeds = effects.feeds
        switched = activity and self._observe_activity(time, event.device_class, effects.groups)
        if effects.pricing:
            returned = 0 < self.pricing_session < self.sessions
            self.pricing_session, self.last_pricing = self.sessions, time
            if returned:
                feeds = effects.both if switched else effects.returning
            elif switched:
                feeds = effects.switching
        elif switched:
            feeds = effects.switching
        self._times.append(time)
        self._feeds.append(feeds)
        counts = self.counts
        for fed in feeds:
            for index in fed:
                counts[index] += 1.0
        if effects.cart:
            self.carts += 1
        if effects.conversion:
            self.conversions += 1
            self.last_conversion = time
            self.carts = 0
        if value is not None:
            self.conversion_value += value
        if effects.known:
            self.known = True
        if effects.trouble:
            self.trouble += 1
        if effects.response:
            self.last_response = time
        if event.consent:
            self._observe_consent(time, event.consent)

    def _begin_session(self, time: int) -> None:
        if self.session_events == 1:
            self.bounced += 1
        if self.first_session is None:
            self.first_session = time
        self.session_start = time
        self.sessions += 1
        self.session_events = 0
        self.session_groups = 0

    def _observe_consent(self, time: int, stated: Mapping[str, bool]) -> None:
        granted = sum(stated.values())
        self.consent_share = granted / len(stated)
        if granted < len(stated):
            self.last_refusal = time

    def _observe_activity(self, time: int, device_class: str | None, groups: int) -> bool:
        """True when the class of device is another than before."""
        if self.session_events and self.last_activity is not None:
            self.dwell += time - self.last_activity
        self.session_groups |= groups
        self.last_activity = time
        self.activity_total += 1
        self.session_events += 1
        day = time // DAY
        days = self.active_days
        if not days or days[-1] != day:
            days.append(day)
            if len(days) > 2 * _DAYS:
                del days[:_DAYS]
        x, y = _CLOCK[time // MINUTE % 1440]
        self.clock_x += x
        self.clock_y += y
        if device_class is None:
            return False
        if device_class in _HAND_HELD:
            self.hand_held += 1
        before = self.device_class
        if device_class == before:
            return False
        self.device_class = device_class
        self.device_classes.add(device_class)
        return before is not None

    def advance(self, at: int) -> list[float]:
        """The counters as of a moment, in the order of ``COUNTERS``; valid until the next call.

        Moves the cursors, forward or back: the answer depends on the events observed and ``at`` alone.

        Raises:
            ValueError: ``at`` is before the last observed event, whose effect cannot be taken out again.
        """
        if self.last_time is None:
            return self.counts
        if at < self.last_time:
            raise ValueError(f"features as of {at}, but an event at {self.last_time} has been observed")
        times, all_feeds, counts, cursors = self._times, self._feeds, self.counts, self._cursors
        n = len(times)
        for number, window in enumerate(WINDOWS):
            since = at - window
            cursor = cursors[number]
            while cursor < n and times[cursor] <= since:
                for index in all_feeds[cursor][number]:
                    counts[index] -= 1.0
                cursor += 1
            while cursor and times[cursor - 1] > since:
                cursor -= 1
                for index in all_feeds[cursor][number]:
                    counts[index] += 1.0
            cursors[number] = cursor
        return counts

    def next_fall(self, at: int, counters: frozenset[int]) -> int | None:
        """The first instant after a moment at which one of the counters falls, should nothing happen until then.

        Raises:
            ValueError: ``at`` is before the last observed event.
        """
        self.advance(at)
        due: int | None = None
        for number, window in enumerate(WINDOWS):
            for place in range(self._cursors[number], len(self._times)):
                leaves = self._times[place] + window
                if due is not None and leaves >= due:
                    break
                if not counters.isdisjoint(self._feeds[place][number]):
                    due = leaves
                    break
        return due

    def active_days_at(self, at: int) -> int:
        """UTC days with activity among the last 30, the day of ``at`` included."""
        return len(self.active_days) - bisect_right(self.active_days, at // DAY - _DAYS)

    def _prune(self, time: int) -> None:
        """Forget what no window can reach any more, ``time`` being that of the event that comes in."""
        self.advance(time)
        gone = self._cursors[-1]
        del self._times[:gone]
        del self._feeds[:gone]
        self._cursors = [cursor - gone for cursor in self._cursors]
