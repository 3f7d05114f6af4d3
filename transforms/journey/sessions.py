"""Sessions: runs of a person's activities without a gap, or as the tracker counted them.

Input: a person's activities in order, across devices. Output: ``contracts.exchange.Session``. Time domain: event time,
microseconds. Errors: none. State: the sessions of the journey.

By gap: an activity ``gap`` or more after the latest one begins a session (exactly ``gap`` apart are two sessions). By
tracker: activities with one tracker session id are one session, also when another device's come between, until the id
has been silent for ``timeout``; an activity without an id joins the latest session when that is less than ``gap`` ago.
Receipts and records of other systems belong to no session and keep none open. A session's id is the hash of
the strand of its first event and that event's id, so it does not depend on later events, nor on the person.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from contracts.event import Event
from contracts.exchange import Session
from transforms.journey.behaviours import Meaning
from transforms.journey.ontology import SessionRule


def session_id_of(strand_id: str, event_id: str) -> str:
    """The id of the session that this event of this strand begins: ``v_`` (visit) and 20 hex digits."""
    return "v_" + hashlib.blake2b(f"{strand_id}\0{event_id}".encode(), digest_size=10).hexdigest()


class OpenSession:
    """A session being folded; ``contracts.exchange.Session`` says what the fields mean."""

    __slots__ = (
        "activities",
        "campaign",
        "channel",
        "conversions",
        "device",
        "ended_at",
        "entry_page",
        "exit_page",
        "number",
        "session_id",
        "started_at",
        "strand_id",
        "tracker",
    )

    def __init__(self, number: int, session_id: str, strand_id: str, event: Event) -> None:
        self.number = number
        self.session_id = session_id
        self.strand_id = strand_id
        self.started_at = event.event_time
        self.ended_at = event.event_time
        self.activities = 0
        self.entry_page: str | None = None
        self.exit_page: str | None = None
        self.channel = event.channel
        self.device: str | None = None
        self.campaign: str | None = None
        self.tracker: str | None = None
        self.conversions = 0

    def add(self, event: Event, conversion: bool) -> None:
        """Take its next activity."""
        self.ended_at = event.event_time
        self.activities += 1
        if conversion:
            self.conversions += 1
        context = event.context
        if context.path:
            self.exit_page = context.path
            if self.entry_page is None:
                self.entry_page = context.path
        if self.device is None:
            self.device = event.device_class
        if self.campaign is None:
            self.campaign = context.campaign_name
        if self.tracker is None:
            self.tracker = event.tracker_session_id


class SessionFold:
    """Sessions of one journey. ``latest`` is the session of the latest activity, ``all`` are all of them, as begun."""

    __slots__ = ("_by_tracker", "_gap", "_timeout", "_tracked", "all", "latest")

    def __init__(self, rule: SessionRule) -> None:
        self._gap = rule.gap
        self._timeout = rule.timeout
        self._by_tracker = rule.by == "tracker"
        self._tracked: dict[str, OpenSession] = {}
        self.all: list[OpenSession] = []
        self.latest: OpenSession | None = None

    def take(self, event: Event, strand_id: str, meaning: Meaning) -> bool:
        """Put an activity into its session, which becomes ``latest``. True when it began that session."""
        found = self._find(event)
        began = found is None
        if found is None:
            found = OpenSession(len(self.all), session_id_of(strand_id, event.event_id), strand_id, event)
            self.all.append(found)
        if self._by_tracker and event.tracker_session_id:
            self._tracked[event.tracker_session_id] = found
        found.add(event, meaning.conversion)
        self.latest = found
        return began

    def _find(self, event: Event) -> OpenSession | None:
        if self._by_tracker and event.tracker_session_id:
            tracked = self._tracked.get(event.tracker_session_id)
            return None if tracked is None or event.event_time - tracked.ended_at >= self._timeout else tracked
        latest = self.latest
        return None if latest is None or event.event_time - latest.ended_at >= self._gap else latest

    def rows(
        self, person_id: str, horizon: int, lateness: int, some: Iterable[OpenSession] | None = None
    ) -> tuple[Session, ...]:
        """The sessions as rows, all of them or ``some``.

        Args:
            person_id: whose they are.
            horizon: event time up to which the journey was folded.
            lateness: how late an event may still be taken; a session that no such event can reach is final.
        """
        silence = self._timeout if self._by_tracker else self._gap
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
            )
            for session in (self.all if some is None else some)
        )
