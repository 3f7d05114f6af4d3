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

from collections.abc import Iterable
from zoneinfo import ZoneInfo

from contracts.event import Event
from contracts.exchange import Session
from transforms.journey.behaviours import Meaning
from transforms.journey.open_session import NO_CAMPAIGN, OpenSession, campaign_of, next_midnight, session_id_of
from transforms.journey.session_rule import SessionRule

_SOME = 16


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
        all: the person's sessions, as begun; see ``forget_closed``.
        latest: the person's session of the latest activity.
        touched: the person's sessions that took an activity since ``forget_touched``; ``touched_by_strand`` the others.
    """

    __slots__ = (
        "_by_strand",
        "_by_tracker",
        "_lines",
        "_marked",
        "_person",
        "_plain_gap",
        "_rule",
        "_zone",
        "all",
        "latest",
        "touched",
        "touched_by_strand",
    )

    def __init__(self, rule: SessionRule) -> None:
        self._rule = rule
        self._by_tracker = rule.by == "tracker"
        self._zone = None if rule.midnight is None else ZoneInfo(rule.midnight)
        # below any silence where more than a gap may end a session, so that nothing goes the short way
        self._plain_gap = -1 if self._by_tracker or rule.campaign or rule.midnight is not None else rule.gap
        self._person = _Line()
        self._lines: dict[str, _Line] = {}
        self.all: list[OpenSession] = []
        self._by_strand: dict[str, OpenSession] = {}
        self.latest: OpenSession | None = None
        self.touched: dict[str, OpenSession] = {}
        self.touched_by_strand: dict[str, OpenSession] = {}
        self._marked: OpenSession | None = None

    def take(self, event: Event, strand_id: str, meaning: Meaning) -> bool:
        """Put an activity into its sessions, of which the person's becomes ``latest``. True when it began that one."""
        latest, since = self.latest, event.event_time - self._plain_gap
        if latest is None or latest.ended_at <= since:
            return self._take(event, strand_id, meaning)
        if latest.is_shared:
            if latest.strand_id != strand_id:
                return self._take(event, strand_id, meaning)
            # the device goes on alone: what is latest of the person is latest of the strand, and the same object
            own = latest
        else:
            line = self._lines.get(strand_id)
            of_strand = None if line is None else line.latest
            if of_strand is None or of_strand.is_shared or of_strand.ended_at <= since:
                return self._take(event, strand_id, meaning)
            own = of_strand
            own.add(event, strand_id, meaning, self._rule)
        latest.add(event, strand_id, meaning, self._rule)
        if own is not self._marked:
            self._mark(latest, own)
        return False

    def _take(self, event: Event, strand_id: str, meaning: Meaning) -> bool:
        """As ``take``, whatever the rule, and whatever begins or parts."""
        person = self._person
        line = self._lines.get(strand_id)
        if line is None:
            line = self._lines[strand_id] = _Line()
        found, own = self._find(person, event), self._find(line, event)
        began = found is None
        if found is None:
            found = self._begin(person, session_id_of(strand_id, event.event_id), strand_id, event, "")
            found.inside = found.session_id
            self.all.append(found)
            if own is None:
                line.begun += 1
                found.number_of_strand = line.begun
                found.is_shared = True
                own = self._by_strand[found.session_id] = found
        elif own is None:
            session_id = session_id_of(strand_id, event.event_id)
            own = self._by_strand[session_id] = self._begin(line, session_id, strand_id, event, found.session_id)
        if found is not own:
            if found.is_shared:
                self._part(found)
            if own.is_shared:
                own = self._part(own)
            self._put(line, own, event, strand_id, meaning)
        else:
            line.latest = own
            if self._by_tracker and event.tracker_session_id:
                line.tracked[event.tracker_session_id] = own
        self._put(person, found, event, strand_id, meaning)
        self.latest = found
        self._mark(found, own)
        return began

    def _mark(self, found: OpenSession, own: OpenSession) -> None:
        self.touched[found.session_id] = found
        self.touched_by_strand[own.session_id] = self._marked = own

    @property
    def by_strand(self) -> list[OpenSession]:
        """Sessions of single strands, as begun."""
        return list(self._by_strand.values())

    def forget_touched(self) -> None:
        """What was touched so far is known."""
        self.touched = {}
        self.touched_by_strand = {}
        self._marked = None

    def forget_closed(self) -> None:
        """Give up sessions that no activity can join any more, once there are some: those of the past."""
        if len(self._by_strand) < _SOME:
            return
        last = self.latest
        kept = set() if last is None else {last.session_id}
        for line in (self._person, *self._lines.values()):
            if line.tracked and last is not None:
                since = last.ended_at - self._rule.timeout
                line.tracked = {key: found for key, found in line.tracked.items() if found.ended_at > since}
            kept.update(found.session_id for found in line.tracked.values())
            if line.latest is not None:
                kept.add(line.latest.session_id)
        self.all = [found for found in self.all if found.session_id in kept]
        self._by_strand = {key: found for key, found in self._by_strand.items() if key in kept}

    def _part(self, shared: OpenSession) -> OpenSession:
        """Part a session of the person from that of its strand, which is returned, wherever it is known."""
        own = shared.fork()
        key = shared.session_id
        self._by_strand[key] = own
        if key in self.touched_by_strand:
            self.touched_by_strand[key] = own
        line = self._lines[shared.strand_id]
        if line.latest is shared:
            line.latest = own
        for tracker, session in line.tracked.items():
            if session is shared:
                line.tracked[tracker] = own
        return own

    def _begin(self, line: _Line, session_id: str, strand_id: str, event: Event, inside: str) -> OpenSession:
        line.begun += 1
        begun = OpenSession(line.begun, session_id, strand_id, event, inside)
        if self._zone is not None:
            begun.until = next_midnight(event.event_time, self._zone)
        return begun

    def _put(self, line: _Line, found: OpenSession, event: Event, strand_id: str, meaning: Meaning) -> None:
        rule = self._rule
        if self._by_tracker and event.tracker_session_id:
            line.tracked[event.tracker_session_id] = found
        if rule.campaign:
            stated = campaign_of(event)
            if stated != NO_CAMPAIGN:
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
            stated = campaign_of(event)
            if stated not in (NO_CAMPAIGN, found.stated_campaign):
                return None
        return found

    def rows(
        self,
        person_id: str,
        horizon: int,
        lateness: int,
        some: Iterable[OpenSession] | None = None,
        *,
        of_strand: bool = False,
    ) -> tuple[Session, ...]:
        """The person's sessions as rows, or ``some``; with ``of_strand`` as sessions of their strands.

        Args:
            person_id: whose they are.
            horizon: event time up to which the journey was folded.
            lateness: how late an event may still be taken; a session that no such event can reach is final.
        """
        rule = self._rule
        silence = rule.timeout if self._by_tracker else rule.gap
        return tuple(
            Session(
                session_id=session.strand_session_id if of_strand else session.session_id,
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
                channels=session.channels,
                views=session.views,
                bounced=not session.is_engaged,
                engaged=session.engaged,
                strands=session.strands,
                tracker_sessions=session.tracker_sessions,
                number=session.number_of_strand if of_strand else session.number,
                inside=session.inside if of_strand else None,
            )
            for session in (self.all if some is None else some)
        )
