"""What the features remember of one journey: counts in sliding windows, and totals.

Counts are kept by one log of (time, counters it feeds) with a cursor for each window length. Moving a cursor
over an entry takes it out of the counters of that window, so a count costs nothing to read and each event is
touched once a window, however many features there are.

Time domain: event time, UTC microseconds. A window of length w at a moment t holds the events with t − w < time ≤ t.
"""

from __future__ import annotations

import copy
import math
from bisect import bisect_right
from collections.abc import Mapping

from contracts.event import DAY, MINUTE, Event
from features.counters import COUNTER, COUNTERS, GROUPS, MONTH, TOTALS, WEEK, WINDOWS, Effects, Feeds, effects_of

__all__ = ["COUNTER", "COUNTERS", "GROUPS", "MONTH", "TOTALS", "WEEK", "WINDOWS", "FeatureState"]

_DAYS = 30
_NEVER = 2**62
_PRUNE_AT = 512
_OWN = ("_times", "_feeds", "_cursors", "counts", "active_days", "device_classes")
"""What changes in place."""
_HAND_HELD = frozenset({"mobile", "tablet"})
_CLOCK = tuple((math.cos(a), math.sin(a)) for a in (2 * math.pi * minute / 1440 for minute in range(1440)))


class FeatureState:
    """The features' memory of one journey, a mutable accumulator.

    Bounded by the events of the last 30 days (time and a shared tuple for each) and a fixed number of totals. Events
    must be observed in (event time, event_id) order; none can be taken back, a corrected journey is folded anew.

    A vector is asked for at every event, so what is no division by the moment is kept as the number that it is there: a
    float, brought up to date by the events that change it (a session's begin, a conversion).
    """

    __slots__ = (
        "_advanced",
        "_cursors",
        "_due",
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
        "days_between_sessions",
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
        "session_kinds",
        "session_start",
        "sessions",
        "single_event_share",
        "trouble",
    )

    def __init__(self) -> None:
        self._times: list[int] = []
        self._feeds: list[Feeds] = []
        self._cursors = [0] * len(WINDOWS)
        self._advanced = -_NEVER
        self._due = _NEVER
        self.counts = [0.0] * len(COUNTERS)
        self.first_time: int | None = None
        self.last_time: int | None = None
        self.last_activity: int | None = None
        self.activity_total = 0
        self.active_days: list[int] = []
        self.session_events = 0.0
        self.conversions = 0.0
        self.conversion_value = 0.0
        self.last_conversion: int | None = None
        self.known = 0.0
        self.trouble = 0.0
        self.hand_held = 0
        self.clock_x = 0.0
        self.clock_y = 0.0
        self.sessions = 0
        self.first_session: int | None = None
        self.session_start: int | None = None
        self.session_groups = 0
        self.session_kinds = 0.0
        self.bounced = 0
        self.single_event_share = 0.0
        self.days_between_sessions = 0.0
        self.dwell = 0
        self.pricing_session = 0
        self.last_pricing: int | None = None
        self.last_response: int | None = None
        self.last_refusal: int | None = None
        self.consent_share = 0.0
        self.carts = 0.0
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
        effects = effects_of(behaviours, event.channel, new_session, activity)
        if len(self._times) >= _PRUNE_AT and self._times[_PRUNE_AT >> 1] <= time - MONTH:
            self._prune(time)
        if new_session:
            self._begin_session(time)
        feeds = effects.feeds
        switched = activity and self._observe_activity(time, event.device_class, effects.groups)
        if switched:
            feeds = effects.switching
        if effects.remarkable:
            if effects.pricing:
                if 0 < self.pricing_session < self.sessions:
                    feeds = effects.both if switched else effects.returning
                self.pricing_session, self.last_pricing = self.sessions, time
            self._observe_totals(time, effects)
        self._times.append(time)
        self._feeds.append(feeds)
        counts = self.counts
        for index in feeds[-1]:
            counts[index] += 1.0
        if time + DAY < self._due:
            self._due = time + DAY
        if value is not None:
            self.conversion_value += value
        if event.consent:
            self._observe_consent(time, event.consent)

    def fork(self) -> FeatureState:
        """Another that goes on from here by itself."""
        other = copy.copy(self)
        for name in _OWN:
            setattr(other, name, getattr(self, name).copy())
        return other

    def _observe_totals(self, time: int, effects: Effects) -> None:
        if effects.cart:
            self.carts += 1.0
        if effects.conversion:
            self.conversions += 1.0
            self.last_conversion = time
            self.carts = 0.0
        if effects.known:
            self.known = 1.0
        if effects.trouble:
            self.trouble += 1.0
        if effects.response:
            self.last_response = time

    def _begin_session(self, time: int) -> None:
        if self.session_events == 1.0:
            self.bounced += 1
        if self.first_session is None:
            self.first_session = time
        else:
            self.single_event_share = self.bounced / self.sessions
            self.days_between_sessions = (time - self.first_session) / DAY / self.sessions
        self.session_start = time
        self.sessions += 1
        self.session_events = 0.0
        self.session_groups = 0
        self.session_kinds = 0.0

    def _observe_consent(self, time: int, stated: Mapping[str, bool]) -> None:
        granted = sum(stated.values())
        self.consent_share = granted / len(stated)
        if granted < len(stated):
            self.last_refusal = time

    def _observe_activity(self, time: int, device_class: str | None, groups: int) -> bool:
        """True when the class of device is another than before."""
        if self.session_events and self.last_activity is not None:
            self.dwell += time - self.last_activity
        if groups & ~self.session_groups:
            self.session_groups |= groups
            self.session_kinds = float(self.session_groups.bit_count())
        self.last_activity = time
        self.activity_total += 1
        self.session_events += 1.0
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

        Moves the cursors, forward or back: the answer depends on the events observed and ``at`` alone. They are where
        they belong already from the moment they were moved for until the first entry leaves its window, which for a
        window without entries is a day after the next event at the earliest.

        Raises:
            ValueError: ``at`` is before the last observed event, whose effect cannot be taken out again.
        """
        if self.last_time is None:
            return self.counts
        if at < self.last_time:
            raise ValueError(f"features as of {at}, but an event at {self.last_time} has been observed")
        if self._advanced <= at < self._due:
            return self.counts
        times, all_feeds, counts, cursors = self._times, self._feeds, self.counts, self._cursors
        n = len(times)
        due = _NEVER
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
            if cursor < n and times[cursor] + window < due:
                due = times[cursor] + window
        self._advanced, self._due = at, due
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
        days, before = self.active_days, at // DAY - _DAYS
        return len(days) if not days or days[0] > before else len(days) - bisect_right(days, before)

    def _prune(self, time: int) -> None:
        """Forget what no window can reach any more, ``time`` being that of the event that comes in."""
        self.advance(time)
        gone = self._cursors[-1]
        del self._times[:gone]
        del self._feeds[:gone]
        self._cursors = [cursor - gone for cursor in self._cursors]
