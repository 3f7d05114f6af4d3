"""A session being folded: what its activities add up to, its id, and where a day ends. Pure.

Input: activities in order with their meanings. Times are microseconds of event time. Errors: none. State: one session.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from contracts.event import DAY, Event, Scalar
from transforms.journey.behaviours import Meaning
from transforms.journey.session_rule import SessionRule

ENGAGED_PROPERTY: Final = "engagement_time_msec"
"""Property in which an event states engaged time since the one before, milliseconds, as GA4's do."""
PAGE_VIEW_PROPERTY: Final = "page_view_id"
"""Property that tells the views of one page apart."""

_VISIT, _STRAND = "v_", "d_"
_MILLI: Final = 1_000
_NEVER: Final = 2**62
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
NO_CAMPAIGN: Final = (None,) * 5


def session_id_of(strand_id: str, event_id: str) -> str:
    """The id of the session that this event of this strand begins: ``v_`` (visit) and 20 hex digits."""
    return _VISIT + hashlib.blake2b(f"{strand_id}\0{event_id}".encode(), digest_size=10).hexdigest()


def strand_session_id_of(strand_id: str, event_id: str) -> str:
    """The id of the session of the strand alone that this event begins: ``d_`` (device) and 20 hex digits."""
    return _STRAND + session_id_of(strand_id, event_id)[2:]


def next_midnight(at: int, zone: ZoneInfo) -> int:
    """The first midnight of a time zone after an instant; where clocks skip it, the first instant of the next day."""
    local = (_EPOCH + timedelta(microseconds=at)).astimezone(zone)
    day = local.date() + timedelta(days=1)
    # by way of UTC: what is no local time reads as the instant that clocks show after it
    begin = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    return (begin - _EPOCH) // timedelta(microseconds=1)


class OpenSession:
    """A session being folded; ``contracts.exchange.Session`` says what the fields mean.

    ``until``: an activity at that instant or later is no longer in it. ``stated_campaign``: the latest stated.
    ``is_engaged``: so far, by the rule; once it is, it stays so, since nothing that makes it so ever falls.

    As long as a session of the person and one of a strand hold the same activities, which is so for most for ever, they
    are one object that ``is_shared``; ``fork`` parts them. ``number_of_strand`` is that of the strand's, which is
    ``inside`` that of the person.
    """

    __slots__ = (
        "_elsewhere",
        "_pages",
        "_strand_of_latest",
        "_strands",
        "_trackers",
        "activities",
        "campaign",
        "channel",
        "conversions",
        "device",
        "ended_at",
        "engaged",
        "entry_page",
        "exit_page",
        "inside",
        "is_engaged",
        "is_shared",
        "number",
        "number_of_strand",
        "session_id",
        "started_at",
        "stated_campaign",
        "strand_id",
        "tracker",
        "until",
        "views",
    )

    def __init__(self, number: int, session_id: str, strand_id: str, event: Event, inside: str) -> None:
        self.number = number
        self.number_of_strand = number
        self.session_id = session_id
        self.strand_id = strand_id
        self.inside = inside
        self.is_shared = False
        self.started_at = event.event_time
        self.ended_at = event.event_time
        self.until = _NEVER
        self.activities = 0
        self.entry_page: str | None = None
        self.exit_page: str | None = None
        self.channel = event.channel
        self._elsewhere: dict[str, int] | None = None
        self.device: str | None = None
        self.campaign: str | None = None
        self.stated_campaign: tuple[str | None, ...] = NO_CAMPAIGN
        self.tracker: str | None = None
        self.conversions = 0
        self.views = 0
        self.engaged: int | None = None
        self.is_engaged = False
        self._pages: dict[tuple[str, str], int] | None = None
        self._strands: set[str] | None = None
        self._strand_of_latest = strand_id
        self._trackers: set[str] | None = None

    def fork(self) -> OpenSession:
        """The strand's session, parted from the person's, which this one is from now on."""
        own = OpenSession.__new__(OpenSession)
        for name in OpenSession.__slots__:
            setattr(own, name, getattr(self, name))
        own._elsewhere = None if self._elsewhere is None else dict(self._elsewhere)
        own._pages = None if self._pages is None else dict(self._pages)
        self.is_shared = own.is_shared = False
        return own

    @property
    def strand_session_id(self) -> str:
        """The id as a session of its strand."""
        return _STRAND + self.session_id[2:]

    @property
    def channels(self) -> dict[str, int]:
        """Channels with the number of their activities, in the order of their first."""
        elsewhere = self._elsewhere
        if elsewhere is None:
            return {self.channel: self.activities}
        return {self.channel: self.activities - sum(elsewhere.values()), **elsewhere}

    @property
    def strands(self) -> int:
        """How many took part."""
        return 1 if self._strands is None else len(self._strands)

    @property
    def tracker_sessions(self) -> int:
        """How many ids its activities stated."""
        if self._trackers is None:
            return 0 if self.tracker is None else 1
        return len(self._trackers)

    def add(self, event: Event, strand_id: str, meaning: Meaning, rule: SessionRule) -> None:
        """Take its next activity."""
        self.ended_at = event.event_time
        self.activities += 1
        if meaning.conversion:
            self.conversions += 1
        if event.channel != self.channel:
            if self._elsewhere is None:
                self._elsewhere = {}
            self._elsewhere[event.channel] = self._elsewhere.get(event.channel, 0) + 1
        context = event.context
        path = context.path
        if path:
            self.exit_page = path
            if self.entry_page is None:
                self.entry_page = path
        if self.device is None:
            self.device = event.device_class
        if self.campaign is None:
            self.campaign = context.campaign_name
        tracker = event.tracker_session_id
        if tracker is not None and tracker != self.tracker:
            if self.tracker is None:
                self.tracker = tracker
            else:
                self._trackers = (self._trackers or {self.tracker}) | {tracker}
        if strand_id != self._strand_of_latest:
            self._strands = (self._strands or {self.strand_id}) | {strand_id}
            self._strand_of_latest = strand_id
        if meaning.view:
            self.views += 1
        # a view only matters to heartbeats that came before it
        if meaning.heartbeat or (meaning.view and self._pages is not None):
            self._see(event, strand_id, meaning, rule)
        said = event.properties.get(ENGAGED_PROPERTY)
        if said is not None:
            self._read(said)
        if not self.is_engaged:
            self.is_engaged = rule.is_engaged(
                self.ended_at - self.started_at, self.engaged or 0, self.views, self.conversions
            )

    def _see(self, event: Event, strand_id: str, meaning: Meaning, rule: SessionRule) -> None:
        """A view or a heartbeat. Heartbeats come in order, so one interval is as good as those seen before it."""
        named = event.properties.get(PAGE_VIEW_PROPERTY)
        place = named if isinstance(named, str) else (event.context.path or "")
        key = (event.tracker_session_id or strand_id, place)
        if not meaning.heartbeat:
            # the page seen once more is another view, unless the source says which is which
            if self._pages is not None and not isinstance(named, str):
                self._pages.pop(key, None)
                self._pages = self._pages or None
            return
        interval = event.event_time // rule.every
        if self._pages is None:
            self._pages = {}
        before = self._pages.get(key)
        if before != interval:
            self._pages[key] = interval
            self.engaged = (self.engaged or 0) + (rule.minimum if before is None else rule.every)

    def _read(self, said: Scalar) -> None:
        """Engaged time that an event states."""
        if isinstance(said, (int, float)) and not isinstance(said, bool) and 0 <= said * _MILLI <= DAY:
            self.engaged = (self.engaged or 0) + round(said * _MILLI)


def campaign_of(event: Event) -> tuple[str | None, ...]:
    """What an event says of its campaign; ``NO_CAMPAIGN`` when nothing."""
    context = event.context
    return (
        context.campaign_source or None,
        context.campaign_medium or None,
        context.campaign_name or None,
        context.campaign_term or None,
        context.campaign_content or None,
    )
