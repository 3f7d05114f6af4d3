"""Sessions: runs of a person's activities without a gap, or as the tracker counted them; and those of each strand.

Input: a person's activities in order, across devices. Output: ``contracts.exchange.Session``. Time domain: event time,
microseconds. Errors: none. State: the sessions of the journey.

By gap: an activity ``gap`` or more after the latest one begins a session (exactly ``gap`` apart are two sessions). By
tracker: activities with one tracker session id are one session, also when another device's come between, until the id
has been silent for ``timeout``; an activity without an id joins the latest session when that is less than ``gap`` ago.
Where the rule says so, midnight and another campaign begin a session too. Receipts and records of other systems belong
to no session and keep none open. A session's id is the hash of the strand of its first event and that event's id, so it
does not depend on later events, nor on the person.

The same rule over the activities of one strand alone makes that strand's sessions, which no other device prolongs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from contracts.event import DAY, SECOND, Event
from contracts.exchange import Session
from transforms.journey.behaviours import Meaning
from transforms.journey.session_rule import SessionRule

ENGAGED_PROPERTY: Final = "engagement_time_msec"
"""Property in which an event states engaged time since the one before, milliseconds, as GA4's do."""
PAGE_VIEW_PROPERTY: Final = "page_view_id"
"""Property that tells the views of one page apart."""

_MILLI: Final = 1_000
_NEVER: Final = 2**62
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NO_CAMPAIGN: Final = (None,) * 5


def session_id_of(strand_id: str, event_id: str) -> str:
    """The id of the session that this event of this strand begins: ``v_`` (visit) and 20 hex digits."""
    return "v_" + _digest(strand_id, event_id)


def strand_session_id_of(strand_id: str, event_id: str) -> str:
    """The id of the session of the strand alone that this event begins: ``d_`` (device) and 20 hex digits."""
    return "d_" + _digest(strand_id, event_id)


def _digest(strand_id: str, event_id: str) -> str:
    return hashlib.blake2b(f"{strand_id}\0{event_id}".encode(), digest_size=10).hexdigest()


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
    """

    __slots__ = (
        "_pages",
        "_strand_of_latest",
        "_strands",
        "_trackers",
        "activities",
        "campaign",
        "channel",
        "channels",
        "conversions",
        "device",
        "ended_at",
        "engaged",
        "entry_page",
        "exit_page",
        "inside",
        "number",
        "session_id",
        "started_at",
        "stated_campaign",
        "strand_id",
        "tracker",
        "until",
        "views",
    )

    def __init__(self, number: int, session_id: str, strand_id: str, event: Event, inside: str | None) -> None:
        self.number = number
        self.session_id = session_id
        self.strand_id = strand_id
        self.inside = inside
        self.started_at = event.event_time
        self.ended_at = event.event_time
        self.until = _NEVER
        self.activities = 0
        self.entry_page: str | None = None
        self.exit_page: str | None = None
        self.channel = event.channel
        self.channels: dict[str, int] = {}
        self.device: str | None = None
        self.campaign: str | None = None
        self.stated_campaign: tuple[str | None, ...] = _NO_CAMPAIGN
        self.tracker: str | None = None
        self.conversions = 0
        self.views = 0
        self.engaged: int | None = None
        self._pages: dict[tuple[str, str], int] | None = None
        self._strands: set[str] | None = None
        self._strand_of_latest = strand_id
        self._trackers: set[str] | None = None

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
        channels = self.channels
        channel = event.channel
        channels[channel] = channels.get(channel, 0) + 1
        context = event.context
        if context.path:
            self.exit_page = context.path
            if self.entry_page is None:
                self.entry_page = context.path
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
        if meaning.view or meaning.heartbeat:
            self._see(event, strand_id, meaning, rule)
        if event.properties:
            self._read(event)

    def _see(self, event: Event, strand_id: str, meaning: Meaning, rule: SessionRule) -> None:
        """A view or a heartbeat. Heartbeats come in order, so one interval is as good as those seen before it."""
        named = event.properties.get(PAGE_VIEW_PROPERTY)
        place = named if isinstance(named, str) else (event.context.path or "")
        key = (event.tracker_session_id or strand_id, place)
        if not meaning.heartbeat:
            # the page seen once more is another view, unless the source says which is which
            if self._pages is not None and not isinstance(named, str):
                self._pages.pop(key, None)
            return
        interval = event.event_time // rule.every
        if self._pages is None:
            self._pages = {}
        before = self._pages.get(key)
        if before != interval:
            self._pages[key] = interval
            self.engaged = (self.engaged or 0) + (rule.minimum if before is None else rule.every)

    def _read(self, event: Event) -> None:
        """Engaged time that the event states."""
        said = event.properties.get(ENGAGED_PROPERTY)
        if isinstance(said, (int, float)) and not isinstance(said, bool) and 0 <= said * _MILLI <= DAY:
            self.engaged = (self.engaged or 0) + round(said * _MILLI)

    def is_engaged(self, rule: SessionRule) -> bool:
        """Whether it is engaged so far."""
        return rule.is_engaged(self.ended_at - self.started_at, self.engaged or 0, self.views, self.conversions)


class _Line:
    """Where the next activity may belong: of a person, or of one strand."""

    __slots__ = ("begun", "latest", "tracked")

    def __init__(self) -> None:
        self.begun = 0
        self.latest: OpenSession | None = None
        self.tracked: dict[str, OpenSession] = {}


class SessionFold:
    """Sessions of one journey, and of each of its strands.

    Attributes:
        all: the person's sessions, as begun.
        by_strand: those of single strands, as begun.
        latest: the person's session of the latest activity.
        touched: the person's sessions that took an activity since ``forget_touched``; ``touched_by_strand`` the others.
    """

    __slots__ = (
        "_by_tracker",
        "_lines",
        "_person",
        "_rule",
        "_zone",
        "all",
        "by_strand",
        "latest",
        "touched",
        "touched_by_strand",
    )

    def __init__(self, rule: SessionRule) -> None:
        self._rule = rule
        self._by_tracker = rule.by == "tracker"
        self._zone = None if rule.midnight is None else ZoneInfo(rule.midnight)
        self._person = _Line()
        self._lines: dict[str, _Line] = {}
        self.all: list[OpenSession] = []
        self.by_strand: list[OpenSession] = []
        self.latest: OpenSession | None = None
        self.touched: dict[str, OpenSession] = {}
        self.touched_by_strand: dict[str, OpenSession] = {}

    def take(self, event: Event, strand_id: str, meaning: Meaning) -> bool:
        """Put an activity into its sessions, of which the person's becomes ``latest``. True when it began that one."""
        rule = self._rule
        found = self._find(self._person, event)
        began = found is None
        if found is None:
            found = self._begin(self._person, session_id_of(strand_id, event.event_id), strand_id, event, None)
            self.all.append(found)
        self._put(self._person, found, event, strand_id, meaning, rule)
        self.touched[found.session_id] = self.latest = found
        line = self._lines.get(strand_id)
        if line is None:
            line = self._lines[strand_id] = _Line()
        own = self._find(line, event)
        if own is None:
            own_id = strand_session_id_of(strand_id, event.event_id)
            own = self._begin(line, own_id, strand_id, event, found.session_id)
            self.by_strand.append(own)
        self._put(line, own, event, strand_id, meaning, rule)
        self.touched_by_strand[own.session_id] = own
        return began

    def forget_touched(self) -> None:
        """What was touched so far is known."""
        self.touched = {}
        self.touched_by_strand = {}

    def _begin(self, line: _Line, session_id: str, strand_id: str, event: Event, inside: str | None) -> OpenSession:
        line.begun += 1
        begun = OpenSession(line.begun, session_id, strand_id, event, inside)
        if self._zone is not None:
            begun.until = next_midnight(event.event_time, self._zone)
        return begun

    def _put(
        self, line: _Line, found: OpenSession, event: Event, strand_id: str, meaning: Meaning, rule: SessionRule
    ) -> None:
        if self._by_tracker and event.tracker_session_id:
            line.tracked[event.tracker_session_id] = found
        if rule.campaign:
            stated = _campaign_of(event)
            if stated != _NO_CAMPAIGN:
                found.stated_campaign = stated
        found.add(event, strand_id, meaning, rule)
        line.latest = found

    def _find(self, line: _Line, event: Event) -> OpenSession | None:
        rule = self._rule
        if self._by_tracker and event.tracker_session_id:
            found, silence = line.tracked.get(event.tracker_session_id), rule.timeout
        else:
            found, silence = line.latest, rule.gap
        at = event.event_time
        if found is None or at - found.ended_at >= silence or at >= found.until:
            return None
        if rule.campaign:
            stated = _campaign_of(event)
            if stated not in (_NO_CAMPAIGN, found.stated_campaign):
                return None
        return found

    def rows(
        self, person_id: str, horizon: int, lateness: int, some: Iterable[OpenSession] | None = None
    ) -> tuple[Session, ...]:
        """The person's sessions as rows, or ``some``.

        Args:
            person_id: whose they are.
            horizon: event time up to which the journey was folded.
            lateness: how late an event may still be taken; a session that no such event can reach is final.
        """
        rule = self._rule
        silence = rule.timeout if self._by_tracker else rule.gap
        return tuple(
            Session(
                session_id=session.session_id,
                person_id=person_id,
                started_at=session.started_at,
                ended_at=session.ended_at,
                events=session.activities,
                entry_page=session.entry_page,
                exit_page=session.exit_page,
                channel=session.channel,
                device=session.device,
                campaign=session.campaign,
                tracker_session_id=session.tracker,
                conversions=session.conversions,
                is_final=session.ended_at + silence <= horizon - lateness,
                strand_id=session.strand_id,
                channels=dict(session.channels),
                views=session.views,
                bounced=not session.is_engaged(rule),
                engaged=session.engaged,
                strands=session.strands,
                tracker_sessions=session.tracker_sessions,
                number=session.number,
                inside=session.inside,
            )
            for session in (self.all if some is None else some)
        )

    def place_of_latest(self, began: bool) -> tuple[int, int, bool, int, int, bool]:
        """What the facts want to know of ``latest``: start, activities, whether it just began, views, whole seconds of
        engaged time, whether it is engaged. Only after an activity."""
        session = self.latest
        assert session is not None, "an activity has a session"
        engaged = session.engaged or 0
        return (
            session.started_at,
            session.activities,
            began,
            session.views,
            engaged // SECOND,
            session.is_engaged(self._rule),
        )


def _campaign_of(event: Event) -> tuple[str | None, ...]:
    context = event.context
    return (
        context.campaign_source or None,
        context.campaign_medium or None,
        context.campaign_name or None,
        context.campaign_term or None,
        context.campaign_content or None,
    )
