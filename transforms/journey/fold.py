"""The journey fold: a person's events, from all their strands, become sessions, points, facts, outcomes and consent.

Input: events in any order, each with its strand; an ontology; the feature functions. Output: ``Trace``, from which
``path.StagePaths`` makes stages. Units: microseconds, event time. Errors: none; a condition that cannot be
evaluated (a division by zero) does not hold. State: none between journeys but a cache of evaluated conditions; a
``Fold`` is one journey under way, which goes on with what comes later.

**Evaluation points** are a function of the journey alone: every distinct instant at which events happened (all of them
taken, in event id order, before the point is looked at), every multiple of ``model.grid`` since the epoch within
``model.span`` after an event, and every instant at which a feature that a condition looks at changes by itself, as long
as no other event and no horizon comes first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

from contracts.event import HOUR, Event
from contracts.exchange import LoggedDecision, Outcome, Session
from features.provenance import checksum
from transforms.conditions import ConditionSet
from transforms.journey.behaviours import Meaning
from transforms.journey.consent import ConsentFold
from transforms.journey.facts import EVENT_FACT_NAMES, EVENT_FACTS, FactState, FactValue, place_of
from transforms.journey.feature_port import FeatureFunctions
from transforms.journey.ontology import Ontology
from transforms.journey.open_session import OpenSession
from transforms.journey.sessions import SessionFold
from transforms.journey.signals import Fed, SignalFold

DEFAULT_LATENESS = 48 * HOUR
_REMEMBERED = 50_000
# Outcomes that mean something without naming the action they answer.
_SPEAK_ALONE = frozenset({"converted", "complained", "unsubscribed"})


class Step(NamedTuple):
    """One event in its place: its strand, meaning, session (None for what belongs to none), whether it began it, and
    the value that a conversion states."""

    event: Event
    strand_id: str
    meaning: Meaning
    session_id: str | None
    began: bool
    value: float | None


class Point(NamedTuple):
    """An evaluation point: the journey after the events so far.

    Attributes:
        at: the instant.
        event: place of the latest event.
        on_event: False for an instant of the grid.
        opener: place of the event at this instant that began a session, if any.
        created: latest received time among the events so far: when this could first be known.
        vector: the features at the instant.
        signals, held, renewed: see ``stages.StagePoint``.
        facts: the event-driven facts, in the order of ``EVENT_FACT_NAMES``.
        consent: purpose to granted; shared, not to be changed.
        last_activity, last_conversion: times, None when there was none.
        made_of, checksum: how many events there were so far, and CRC-32 over their ids in order. One that came on two
            strands at one time counts once, as in the table of events.
    """

    at: int
    event: int
    on_event: bool
    opener: int | None
    created: int
    vector: tuple[float, ...]
    signals: tuple[Fed, ...]
    held: tuple[bool, ...]
    renewed: tuple[int | None, ...]
    facts: tuple[FactValue, ...]
    consent: dict[str, bool]
    last_activity: int | None
    last_conversion: int | None
    made_of: int
    checksum: int


@dataclass(frozen=True, slots=True)
class Trace:
    """A journey before anybody said what stage it is in. ``steps`` are its events in order, ``points`` its points.

    Of a journey that goes on, ``points`` are the new ones and the one before them, if there is one; ``steps`` are those
    that belong to them, and ``began`` is when the first of all was.
    """

    person_id: str
    horizon: int
    steps: Sequence[Step]
    points: Sequence[Point]
    sessions: tuple[Session, ...]
    outcomes: tuple[Outcome, ...]
    logged: tuple[LoggedDecision, ...]
    strand_sessions: tuple[Session, ...] = ()
    began: int | None = None

    @property
    def first_time(self) -> int:
        """Time of the first event."""
        return self.steps[0].event.event_time if self.began is None else self.began


class JourneyFold:
    """Folds journeys under one ontology. Build one per worker; it is not shared between threads.

    Args:
        ontology: what events mean.
        features: the feature functions.
        lateness: how late an event may still be taken, microseconds; only for which sessions are final.
    """

    def __init__(self, ontology: Ontology, features: FeatureFunctions, lateness: int = DEFAULT_LATENESS) -> None:
        self.ontology = ontology
        self.features = features
        self.lateness = lateness
        self._conditions = ConditionSet(ontology.conditions)
        self._facts = tuple(name for name in self._conditions.names if name in EVENT_FACTS)
        self.watched = tuple(name for name in self._conditions.names if name not in EVENT_FACTS)
        missing = [name for name in self.watched if name not in features.names]
        if missing or (self.watched and features.next_turn is None):
            raise ValueError(f"conditions look at features that are not computed here: {missing or self.watched}")
        self._indices = tuple(features.names.index(name) for name in self.watched)
        places = [place_of(name) for name in self._facts]
        self._pick: Callable[[list[FactValue]], Any] | None = itemgetter(*places) if places else None
        self._single = len(places) == 1
        self._verdicts: dict[Any, tuple[bool, ...]] = {}
        self._signal_when = tuple(signal.when for signal in ontology.signals)

    def trace(self, person_id: str, events: Iterable[tuple[Event, str]], horizon: int) -> Trace:
        """Fold a person's events, each with the id of its strand, up to ``horizon``.

        The order in which they are given does not matter; none may be given twice or be later than the horizon.
        """
        fold = self.start(person_id)
        fold.go_on(sorted(events, key=event_order), horizon)
        return Trace(
            person_id,
            horizon,
            tuple(fold.steps),
            tuple(fold.points),
            fold.sessions.rows(person_id, horizon, self.lateness),
            tuple(fold.outcomes),
            tuple(fold.logged),
            fold.sessions.rows(person_id, horizon, self.lateness, fold.sessions.by_strand, of_strand=True),
        )

    def start(self, person_id: str) -> Fold:
        """A journey without events, to go on from."""
        return Fold(self, person_id)

    def held(self, values: list[FactValue], vector: tuple[float, ...] = ()) -> tuple[bool, ...]:
        """Which of the ontology's conditions hold on these facts. Answers are remembered by what they look at.

        ``vector``: the features, where conditions look at any (``watched``).
        """
        if self._pick is None and not self.watched:
            return self._answer({}) if len(self._conditions) else ()
        facts = None if self._pick is None else self._pick(values)
        seen = tuple(vector[index] for index in self._indices) if self._indices else ()
        key = (facts, seen) if seen else facts
        # True and 1 are one key to a dict, but a fact never changes its type.
        found = self._verdicts.get(key)
        if found is None:
            given = () if facts is None else (facts,) if self._single else facts
            named = dict(zip(self._facts, given, strict=True))
            found = self._answer(named | dict(zip(self.watched, seen, strict=True)))
            if len(self._verdicts) >= _REMEMBERED:
                self._verdicts.clear()
            self._verdicts[key] = found
        return found

    def _answer(self, values: dict[str, FactValue]) -> tuple[bool, ...]:
        return tuple(verdict is True for verdict in self._conditions.verdicts(values))


def event_order(item: tuple[Event, str]) -> tuple[int, str, str]:
    """The order of a journey's events, each with its strand."""
    event, strand_id = item
    return (event.event_time, event.event_id, strand_id)


class Fold:
    """One journey being folded, up to an instant and then on.

    Attributes:
        steps: its events in order; ``forget_steps`` gives up those of the past.
        points: its points so far. Whoever has done with all but the last may remove them.
        began, lineage: time and strand of its first event.
        sessions, outcomes, logged: as in ``Trace``.
    """

    def __init__(self, host: JourneyFold, person_id: str) -> None:
        ontology = host.ontology
        self.host = host
        self.ontology = ontology
        self.person_id = person_id
        self.features = host.features.start()
        self.vector = host.features.vector
        self.sessions = SessionFold(ontology.sessions)
        self.signals = SignalFold(ontology)
        self.facts = FactState(ontology.holders)
        self.consent = ConsentFold(ontology.holders)
        self.renewed: tuple[int | None, ...] = (None,) * len(ontology.stages)
        self.frozen: tuple[Fed, ...] = tuple(self.signals.fed)
        self.held: tuple[bool, ...] = ()
        self.created = -(2**62)
        self.made_of = 0
        self.checksum = 0
        self.began = 0
        self.lineage = ""
        self.steps: list[Step] = []
        self.points: list[Point] = []
        self.outcomes: list[Outcome] = []
        self.logged: list[LoggedDecision] = []

    def go_on(self, ordered: Sequence[tuple[Event, str]], horizon: int) -> None:
        """Take more events and make the points up to ``horizon``.

        Args:
            ordered: in the order of ``event_order``, each later than the last point. The first may have the time of
                the last event when that made the last point: then that point is made again.
            horizon: not before the last of them, nor before an earlier horizon.

        In one call or in several, the journey is the same.
        """
        opener: int | None = None
        first = len(self.steps)
        if self.points:
            opener = self._resume(ordered[0][0].event_time if ordered else horizon + 1)
        last = len(ordered) - 1
        for index, (event, strand_id) in enumerate(ordered):
            at = event.event_time
            place = first + index
            if self.take(event, strand_id):
                opener = place
            if index < last and ordered[index + 1][0].event_time == at:
                continue
            self.points.append(self.point(at, place, True, opener))
            opener = None
            self.grid(at, at, place, ordered[index + 1][0].event_time if index < last else horizon + 1)

    def _resume(self, until: int) -> int | None:
        """The grid before ``until``, or the last point undone when it is at that instant: then its opener."""
        point = self.points[-1]
        if point.at == until and point.on_event:
            self.points.pop()
            return point.opener
        self.grid(point.at, self.steps[-1].event.event_time, point.event, until)
        return None

    def forget_steps(self) -> list[Step]:
        """Give up, and return, the events before those of the last point, which must be the only one left.

        What comes next refers to none of them: what they showed is summed up, in signals, facts, features and sessions.
        """
        (point,) = self.points
        before = point.event if point.opener is None else min(point.event, point.opener)
        gone = self.steps[:before]
        if gone:
            del self.steps[:before]
            opener = None if point.opener is None else point.opener - before
            self.points[0] = point._replace(event=point.event - before, opener=opener)
        return gone

    def next_instant(self) -> int | None:
        """The next instant at which time makes a point, should no event come before."""
        return self._next_after(self.points[-1].at, self.steps[-1].event.event_time)

    def _next_after(self, at: int, event_time: int) -> int | None:
        """The first instant after ``at`` of the grid, or at which a watched feature changes by itself."""
        model = self.ontology.model
        instant: int | None = (at // model.grid + 1) * model.grid
        if instant is not None and instant > event_time + model.span:
            instant = None
        host = self.host
        if not host.watched or host.features.next_turn is None:
            return instant
        turn = host.features.next_turn(self.features, at, host.watched)
        return turn if instant is None else instant if turn is None else min(instant, turn)

    def take(self, event: Event, strand_id: str) -> bool:
        """Take one event; True when it began a session."""
        meaning = self.ontology.meaning(event.name, event.context.path)
        if event.received_time > self.created:
            self.created = event.received_time
        if not self.steps:
            self.began, self.lineage = event.event_time, strand_id
        if not self.steps or self.steps[-1].event.event_id != event.event_id:
            self.made_of += 1
            self.checksum = checksum(event.event_id, self.checksum)
        began = False
        session_id: str | None = None
        session: OpenSession | None = None
        if meaning.activity:
            began = self.sessions.take(event, strand_id, meaning)
            session = self.sessions.latest
            if session is not None:
                session_id = session.session_id
        value = self._value(event) if meaning.conversion else None
        self.steps.append(Step(event, strand_id, meaning, session_id, began, value))
        self.facts.observe(event, meaning, value or 0.0, session, began)
        self.features.observe(event, meaning.behaviours, began, meaning.activity, value=value)
        self.held = self._verdicts(event.event_time)
        self._feed(event.event_id, event.event_time, meaning)
        if event.consent or meaning.revokes:
            self.consent.observe(event, strand_id, meaning.revokes)
        if meaning.receipt is not None and (event.action_id or meaning.receipt in _SPEAK_ALONE):
            self.outcomes.append(self._outcome(event, strand_id, meaning.receipt, value))
        if meaning.logged_action:
            self._log(event)
        return began

    def _verdicts(self, at: int) -> tuple[bool, ...]:
        host = self.host
        return host.held(self.facts.values, self.vector(self.features, at) if host.watched else ())

    def _feed(self, event_id: str, at: int, meaning: Meaning) -> None:
        for number, kept in meaning.weakens:
            self.signals.weaken(number, kept)
        for number in meaning.resets:
            self.signals.reset(number)
        for number in meaning.signals:
            when = self.host._signal_when[number]
            if when is None or self.held[when]:
                self.signals.feed(number, at, event_id)
        if meaning.signals or meaning.resets or meaning.weakens:
            self.frozen = tuple(self.signals.fed)
        if meaning.renews or meaning.ends:
            self.renewed = self.ontology.renewed(self.renewed, meaning, at)

    def point(self, at: int, event: int, on_event: bool, opener: int | None) -> Point:
        facts = self.facts
        return Point(
            at,
            event,
            on_event,
            opener,
            self.created,
            self.vector(self.features, at),
            self.frozen,
            self.held,
            self.renewed,
            tuple(facts.values),
            self.consent.granted,
            facts.last_activity,
            facts.last_conversion,
            self.made_of,
            self.checksum,
        )

    def grid(self, at: int, event_time: int, event: int, until: int) -> None:
        """The points that time makes after ``at`` and before ``until``, the latest event being that at ``event``."""
        if not self.host.watched:
            model = self.ontology.model
            grid = model.grid
            for multiple in range((at // grid + 1) * grid, min(until, event_time + model.span + 1), grid):
                self.points.append(self.point(multiple, event, False, None))
            return
        while (instant := self._next_after(at, event_time)) is not None and instant < until:
            self.held = self._verdicts(instant)
            self.points.append(self.point(instant, event, False, None))
            at = instant

    def _value(self, event: Event) -> float | None:
        for name in self.ontology.value_properties:
            said = event.properties.get(name)
            if isinstance(said, (int, float)) and not isinstance(said, bool) and math.isfinite(said):
                return float(said)
        return None

    def _outcome(self, event: Event, strand_id: str, kind: str, value: float | None) -> Outcome:
        return Outcome(
            outcome_id=event.event_id,
            action_id=event.action_id or None,
            person_id=self.person_id,
            anchor_strand=strand_id,
            kind=kind,
            at=event.event_time,
            received_at=event.received_time,
            value=value,
        )

    def _log(self, event: Event) -> None:
        """A randomised action of an experiment; one without a usable propensity teaches nothing and is left out."""
        arm, propensity = event.properties.get("arm"), event.properties.get("propensity")
        if not isinstance(arm, str) or isinstance(propensity, bool) or not isinstance(propensity, (int, float)):
            return
        if 0.0 < propensity <= 1.0:
            decision_id = event.action_id or event.event_id
            self.logged.append(
                LoggedDecision(decision_id, event.action_id, arm, event.event_time, float(propensity), "logged")
            )


def named_facts(point: Point) -> dict[str, FactValue]:
    """The event-driven facts of a point by name."""
    return dict(zip(EVENT_FACT_NAMES, point.facts, strict=True))
