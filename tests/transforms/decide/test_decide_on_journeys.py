"""The shipped policy on folded journeys of the shipped ontology: nothing fails, nothing depends on when a run was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.event import DAY, HOUR, MINUTE, Context, Event, Identifier
from contracts.exchange import Decision, History
from features.journey_features import FEATURE_NAMES, FeatureState, vector
from transforms.decide.decide import DecideResult, decide_journey, replay
from transforms.decide.policy import load_policies, policy_vocabulary
from transforms.journey.facts import FACTS
from transforms.journey.feature_port import FeatureFunctions
from transforms.journey.fold import JourneyFold
from transforms.journey.ontology import load_ontology
from transforms.journey.path import StagePaths

ROOT = Path(__file__).parents[3] / "ontology"
ONTOLOGY = load_ontology(ROOT / "journey.yaml")
POLICIES = load_policies(
    [ROOT / "policies" / "default.yaml"], policy_vocabulary(FEATURE_NAMES, FACTS), ONTOLOGY.stage_names
)
FUNCTIONS = FeatureFunctions(FEATURE_NAMES, FeatureState, vector)
FOLD, PATHS = JourneyFold(ONTOLOGY, FUNCTIONS), StagePaths(ONTOLOGY, FUNCTIONS)
T0 = 1_704_067_200_000_000
NAMES = (
    "home_view", "category_view", "product_view", "comparison_view", "review_view", "pricing_view", "add_to_cart",
    "checkout_start", "purchase", "login", "demo_request", "email_unsubscribed", "support_ticket", "refund", "ad_click",
)  # fmt: skip
ALL_CONSENT = {"email": True, "ads": True, "push": True, "sales": True}


def event(number: int, at: int, name: str, consent: dict[str, bool] | None = None) -> Event:
    who = (Identifier("anonymous_id", "a"), Identifier("user_id", "u"), Identifier("email_sha256", "m"))
    return Event(
        event_id=f"e{number:03}",
        name=name,
        event_time=at,
        received_time=at,
        source="test",
        channel="web",
        identifiers=who if name in ("login", "purchase", "demo_request") else who[:1],
        context=Context(path="/" + name),
        consent=consent or {},
    )


def decide(events: Sequence[Event], horizon: int, history: History = History()) -> DecideResult:  # noqa: B008
    trace = FOLD.trace("p1", [(item, "s1") for item in events if item.event_time <= horizon], horizon)
    path = PATHS.stage_path(trace)
    return decide_journey(
        POLICIES,
        "p1",
        "s1",
        PATHS.triggers(trace, path),
        PATHS.trigger_function(trace, path),
        [(move.at, move.to_stage) for move in path.transitions],
        history,
        horizon,
        lambda _: ONTOLOGY.version,
        trace.outcomes,
    )


@st.composite
def lives(draw: st.DrawFn) -> list[Event]:
    """Up to 40 events in bursts over some weeks, most people having said yes."""
    at, made = T0, []
    consent = draw(st.sampled_from([{}, ALL_CONSENT, ALL_CONSENT]))
    for number in range(draw(st.integers(1, 40))):
        at += draw(st.sampled_from([0, MINUTE, 5 * MINUTE, 20 * MINUTE, 5 * HOUR, 2 * DAY, 9 * DAY]))
        made.append(event(number, at, draw(st.sampled_from(NAMES)), consent if number == 0 else None))
    return made


@settings(max_examples=40, deadline=None)
@given(lives())
def test_conditions_never_fail_and_every_decision_gives_itself_again(events: list[Event]) -> None:
    for made in decide(events, events[-1].event_time + 30 * DAY).decisions:
        assert not any("cannot be evaluated" in candidate.reason for candidate in made.candidates)
        assert replay(made, POLICIES) == made


@settings(max_examples=40, deadline=None)
@given(lives(), st.data())
def test_a_run_in_the_middle_changes_no_decision(events: list[Event], data: st.DataObject) -> None:
    end = events[-1].event_time + 20 * DAY
    whole = decide(events, end)
    middle = data.draw(st.integers(events[0].event_time, end))
    first = decide(events, middle).decisions
    rest = decide(events, end, History(first[-1].at if first else None, first))
    assert first + rest.decisions == whole.decisions
    assert rest.plans == whole.plans


@settings(max_examples=25, deadline=None)
@given(lives(), st.randoms(use_true_random=False))
def test_decisions_do_not_depend_on_the_order_of_arrival(events: list[Event], chance: object) -> None:
    shuffled = list(events)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    end = events[-1].event_time + 10 * DAY
    assert decide(shuffled, end) == decide(events, end)


def test_a_considering_person_gets_the_drip_until_the_stage_moves() -> None:
    names = ["login", *["product_view", "comparison_view", "review_view"] * 3]
    looking = [event(n, T0 + n * MINUTE, name, ALL_CONSENT if n == 0 else None) for n, name in enumerate(names)]
    drip = _of_plan(decide(looking, T0 + 10 * DAY), "consideration_drip")
    assert [made.template for made in drip][:2] == ["email_buying_guide", "email_customer_stories"]

    buying = [event(50 + n, T0 + DAY + n * MINUTE, name) for n, name in enumerate(["checkout_start", "purchase"])]
    result = decide([*looking, *buying], T0 + 10 * DAY)
    assert [made.template for made in _of_plan(result, "consideration_drip")] == ["email_buying_guide"]
    assert [made.template for made in _of_plan(result, "onboarding")][:1] == ["email_thanks"]
    assert [plan.ended_by for plan in result.plans if plan.plan == "consideration_drip"] == ["moved"]


def _of_plan(result: DecideResult, plan: str) -> list[Decision]:
    return [made for made in result.decisions if made.plan == plan]
