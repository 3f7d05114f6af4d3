"""A journey done in parts is the journey done at once: its points, stages, triggers and decisions."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.event import DAY, HOUR, MINUTE, SECOND, Context, Event, Identifier
from contracts.exchange import Decision, History, Trigger
from features.journey_features import FEATURE_NAMES, FeatureState, vector
from transforms.decide.decide import DecideWalk, decide_journey
from transforms.decide.policy import load_policies, policy_vocabulary
from transforms.journey.facts import FACTS, RECENT
from transforms.journey.feature_port import FeatureFunctions
from transforms.journey.fold import JourneyFold, Point, Step, Trace, event_order
from transforms.journey.ontology import load_ontology
from transforms.journey.path import StagePaths, observe
from transforms.journey.stages import Move, Opinion, Walk
from transforms.journey.walk import StageWalk

ROOT = Path(__file__).parents[3] / "ontology"
ONTOLOGY = load_ontology(ROOT / "journey.yaml")
POLICIES = load_policies(
    [ROOT / "policies" / "default.yaml"], policy_vocabulary(FEATURE_NAMES, FACTS), ONTOLOGY.stage_names
)
FUNCTIONS = FeatureFunctions(FEATURE_NAMES, FeatureState, vector)
FOLD, PATHS = JourneyFold(ONTOLOGY, FUNCTIONS), StagePaths(ONTOLOGY, FUNCTIONS)
T0 = 1_704_067_200_000_000
NAMES = (
    "home_view", "product_view", "comparison_view", "pricing_view", "add_to_cart", "checkout_start", "purchase",
    "login", "demo_request", "email_unsubscribed", "support_ticket", "email_delivered",
)  # fmt: skip
GAPS = (0, SECOND, MINUTE, 9 * MINUTE, 40 * MINUTE, 5 * HOUR, 2 * DAY, 9 * DAY, 40 * DAY)


def life(rng: random.Random) -> list[tuple[Event, str]]:
    """Up to 40 events of two strands in bursts, some at one instant."""
    at, made = T0 + rng.randrange(7 * DAY), []
    for number in range(rng.randrange(1, 40)):
        at += rng.choice(GAPS)
        consent = {"email": True, "ads": True, "sales": True} if rng.random() < 0.2 else {}
        who = (Identifier("anonymous_id", "a"),)
        name = rng.choice(NAMES)
        event = Event(f"e{number:03}", name, at, at, "t", "web", who, context=Context(path="/"), consent=consent)
        made.append((event, rng.choice(["s1", "s2"])))
    return sorted(made, key=event_order)


def score(at: int) -> tuple[list[float], str | None]:
    """A model that knows nothing but the time, and is not in force at first."""
    if at < T0 + 3 * DAY:
        return [float("nan")] * len(ONTOLOGY.stages), None
    rng = random.Random(at)
    drawn = [rng.random() ** 4 for _ in ONTOLOGY.stages]
    return [value / sum(drawn) for value in drawn], "m1"


class InParts:
    """The machines of one journey, going on together; of what is past only the last point is kept."""

    def __init__(self) -> None:
        self.fold = FOLD.start("p1")
        self.stages = StageWalk(PATHS.rules)
        self.before = PATHS.start_features()
        self.gone: list[Step] = []
        self.moves: list[Move] = []
        self.decide: DecideWalk | None = None
        self.opinions: list[Opinion | None] = []
        self.points: list[Any] = []
        self.triggers: list[Trigger] = []
        self.decisions: list[Decision] = []
        self.horizon = 0

    def go_on(self, events: list[tuple[Event, str]], horizon: int) -> None:
        fold, stages = self.fold, self.stages
        del fold.points[:-1], self.opinions[:-1], stages.stages[:-1], stages.speakers[:-1]
        if fold.points:
            gone = fold.forget_steps()
            observe(self.before, gone)
            self.gone += gone
            stages.forget_moves(fold.points[0].at - RECENT)
            fold.sessions.forget_closed()
        if fold.points and events and fold.points[0].at == events[0][0].event_time:
            assert not any(trigger.at == fold.points[0].at for trigger in self.triggers)
            moves = len(stages.moves)
            stages.undo()
            del self.moves[len(self.moves) - (moves - len(stages.moves)) :]
            self.points.pop()
            self.opinions.clear()
            kept = 0
        else:
            kept = len(fold.points)
        outcomes, moves = len(fold.outcomes), len(stages.moves)
        fold.go_on(events, horizon)
        new = fold.points[kept:]
        rows, versions = zip(*[score(point.at) for point in new], strict=True) if new else ((), ())
        said = PATHS.opinions(new, list(rows), list(versions))
        self.opinions += said
        stages.go_on(new, said, horizon, kept)
        walk = Walk(stages.moves, stages.stages, stages.speakers, self.opinions, stages.said)
        trace = Trace("p1", horizon, fold.steps, fold.points, (), (), (), (), fold.began)
        vectors, of_steps = (PATHS.vectors(fold.steps, self.before) for _ in range(2))
        triggers = PATHS.triggers_of(trace, walk, stages.moves[moves:], kept, vectors)
        if self.decide is None:
            self.decide = DecideWalk(POLICIES, "p1", fold.lineage, lambda _: "o")
        changes = [(move.at, ONTOLOGY.stage_names[move.after]) for move in stages.moves[moves:]]
        at = PATHS.step_function(trace, walk, of_steps)
        self.decisions += self.decide.go_on(triggers, at, changes, fold.outcomes[outcomes:], horizon)
        self.points += [self._in_place(point) for point in new]
        self.moves += stages.moves[moves:]
        self.triggers += triggers

    def _in_place(self, point: Point) -> Point:
        """As it names events when none are forgotten."""
        before = len(self.gone)
        opener = None if point.opener is None else point.opener + before
        return point._replace(event=point.event + before, opener=opener)

    @property
    def next_instant(self) -> int:
        """Not after whatever time does next."""
        assert self.decide is not None
        due = (
            self.fold.next_instant(),
            self.stages.next_instant(self.horizon),
            self.decide.book.next_instant,
        )
        return min((instant for instant in due if instant is not None), default=2**62)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6))
def test_in_parts_is_at_once(seed: int) -> None:
    rng = random.Random(seed)
    events = life(rng)
    end = events[-1][0].event_time + rng.randrange(60 * DAY)
    parts = InParts()
    taken, horizon = 0, 0
    while taken < len(events):
        upto = rng.randrange(taken + 1, len(events) + 1)
        last = events[upto - 1][0].event_time
        if upto < len(events) and events[upto][0].event_time == last and last in {t.at for t in parts.triggers}:
            continue
        horizon = max(horizon, last)
        part, taken = events[taken:upto], upto
        parts.go_on(part, horizon)
        if taken < len(events):
            following = events[taken][0].event_time
            if following == last and any(trigger.at == last for trigger in parts.triggers):
                return  # a moment already asked about is not taken back: the live journey folds again
            parts.horizon = horizon
            # time may go on alone, as long as it does nothing that the next event must come before
            while horizon < following - 1 and rng.random() < 0.5:
                horizon = rng.randrange(horizon, following)
                before = len(parts.points), len(parts.triggers), len(parts.decisions), len(parts.moves)
                due = parts.next_instant
                parts.go_on([], horizon)
                after = len(parts.points), len(parts.triggers), len(parts.decisions), len(parts.moves)
                assert due <= horizon or before == after, "nothing happens before the instant foretold"
                parts.horizon = horizon
    parts.go_on([], max(horizon, end))

    trace = FOLD.trace("p1", events, max(horizon, end))
    rows, versions = zip(*[score(point.at) for point in trace.points], strict=True)
    path = PATHS.stage_path(trace, list(rows), list(versions))
    assert parts.points == list(trace.points)
    assert [*parts.gone, *parts.fold.steps] == list(trace.steps)
    assert parts.fold.outcomes == list(trace.outcomes)
    assert parts.moves == [
        move._replace(point=mine.point) for move, mine in zip(path.walk.moves, parts.moves, strict=True)
    ]
    triggers = PATHS.triggers(trace, path)
    assert parts.triggers == triggers
    decided = decide_journey(
        POLICIES,
        "p1",
        trace.steps[0].strand_id,
        triggers,
        PATHS.trigger_function(trace, path),
        [(move.at, move.to_stage) for move in path.transitions],
        History(),
        trace.horizon,
        lambda _: "o",
        trace.outcomes,
    )
    assert parts.decisions == list(decided.decisions)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_what_is_kept_of_the_past_does_not_grow_with_it(seed: int) -> None:
    rng = random.Random(seed)
    parts, at = InParts(), T0
    kept = []
    for number in range(400):
        at += rng.choice((SECOND, MINUTE, HOUR))
        who = (Identifier("anonymous_id", "a"),)
        made = Event(f"e{number:03}", rng.choice(NAMES), at, at, "t", "web", who, context=Context(path="/"))
        parts.go_on([(made, rng.choice(["s1", "s2"]))], at)
        parts.horizon = at
        sessions = parts.fold.sessions
        recent = sum(move.at > at - RECENT for move in parts.stages.moves)
        kept.append((len(parts.fold.steps), len(sessions.all) + len(sessions.by_strand), recent))
    steps, begun, recent = (max(column) for column in zip(*kept, strict=True))
    assert steps <= 2, "the last event, and one that comes"
    assert begun <= 36, "some closed sessions of person and strands, before they are given up together"
    assert len(parts.stages.moves) <= recent + 2
