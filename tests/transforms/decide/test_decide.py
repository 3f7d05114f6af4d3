"""Decisions: guards, ties, plans, the past that stays, and the record that gives the same answer again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import documents, wire
from contracts.errors import CheckFailedError
from contracts.event import DAY, HOUR, MINUTE
from contracts.exchange import Action, Decision, History, Outcome, Trigger
from features.journey_features import FEATURE_NAMES
from transforms.decide.decide import DecideResult, decide_journey, decision_id, replay
from transforms.decide.policy import PolicySet, load_policies, policy_vocabulary, read_policies
from transforms.journey.facts import FACTS, FactValue

STAGES = ("discovery", "consideration", "decision", "customer")
VOCABULARY = policy_vocabulary(["events_7d"], {"carts": ("int", "carts"), "country": ("string", "country")})
T0 = 1_700_000_000_000_000
NOTHING_YET = History()
GRANTED = {"email": True, "ads": True}


def policy(text: str) -> PolicySet:
    return read_policies(
        [documents.parse("name: test\nchannels: [email, ads, sales]\n" + text, "p.yaml")], VOCABULARY, STAGES
    )


SIMPLE = """\
candidates:
  - {name: mail, action: mail_it, channel: email, purpose: email, priority: 2}
  - {name: ad, action: show_it, channel: ads, purpose: ads, priority: 1}
"""
DRIP = """\
candidates:
  - {name: alert, on: transition, stages: decision, action: call, channel: sales, purpose: none}
plans:
  - name: drip
    start: {to: consideration}
    exit: {when: carts > 5}
    cooldown: 30d
    steps:
      - {wait: 1h, action: first, channel: email, purpose: email}
      - {wait: 2d, action: second, channel: email, purpose: email}
"""


def trigger(at: int, kind: str = "session", stage: str = "discovery", **changes: object) -> Trigger:
    base = Trigger(
        kind=kind,
        at=T0 + at,
        point=f"e{at}",
        anchor_strand="s1",
        stage=stage,
        from_stage=None,
        confidence=0.75,
        decided_by="rules",
        session_id="x",
        features={"events_7d": 3.0},
        facts={"carts": 0, "country": "CH"},
        consent=GRANTED,
        country="CH",
        time_zone=None,
        model_version=None,
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]  # field names of Trigger


class Journey:
    """A journey made of triggers alone: as of an instant it stands where the latest one left it."""

    def __init__(self, triggers: Sequence[Trigger]) -> None:
        self.triggers = tuple(triggers)

    def at(self, instant: int) -> Trigger:
        last = [t for t in self.triggers if t.at <= instant][-1]
        return dataclasses.replace(last, kind="step", at=instant, point=f"t{instant}", from_stage=None)

    def decide(
        self,
        policies: PolicySet,
        history: History = NOTHING_YET,
        horizon: int = 60 * DAY,
        person: str = "p1",
        lineage: str = "s1",
        outcomes: Sequence[Outcome] = (),
        counted: Sequence[str] = (),
    ) -> DecideResult:
        changes = [(t.at, t.stage) for t in self.triggers if t.kind == "transition"]
        return decide_journey(
            policies,
            person,
            lineage,
            self.triggers,
            self.at,
            changes,
            history,
            T0 + horizon,
            lambda _: "journey@1",
            outcomes,
            counted,
        )


def decide(policies: PolicySet, *triggers: Trigger, **options: object) -> tuple[Decision, ...]:
    return Journey(triggers).decide(policies, **options).decisions  # type: ignore[arg-type]  # options of Journey.decide


def dropped(decision: Decision) -> dict[str, str | None]:
    return {candidate.name: candidate.dropped_by for candidate in decision.candidates}


# --- one moment ---------------------------------------------------------------------------------------------------


def test_the_highest_priority_is_chosen_and_the_others_say_why_not() -> None:
    (made,) = decide(policy(SIMPLE), trigger(0))
    assert (made.chosen, made.channel, made.template, made.purpose) == ("mail", "email", "mail_it", "email")
    assert dropped(made) == {"mail": None, "ad": "outranked"}
    assert made.candidates[1].reason == "mail ranks higher"
    assert made.propensity == 1.0
    assert made.decision_id == decision_id("s1", "e0", "main")


def test_of_equal_priorities_the_first_listed_is_chosen() -> None:
    (made,) = decide(policy(SIMPLE.replace("priority: 1", "priority: 2")), trigger(0))
    assert made.chosen == "mail"


def test_doing_nothing_is_a_decision_with_its_reasons() -> None:
    (made,) = decide(policy(SIMPLE), trigger(0, consent={}))
    assert (made.chosen, made.channel, made.template) == ("nothing", None, None)
    assert made.reason == "nothing: no candidate is left (2 consent)"


def test_a_purpose_that_was_never_stated_is_not_granted_unless_the_policy_says_so() -> None:
    assert dropped(decide(policy(SIMPLE), trigger(0, consent={"ads": True}))[0])["mail"] == "consent"
    lenient = policy("consent: {email: granted}\n" + SIMPLE)
    assert decide(lenient, trigger(0, consent={}))[0].chosen == "mail"
    assert decide(lenient, trigger(0, consent={"email": False, "ads": True}))[0].chosen == "ad"


def test_kind_stage_origin_and_condition_make_a_candidate_not_eligible() -> None:
    policies = policy(
        """\
candidates:
  - {name: kind, on: transition, action: a, channel: ads, purpose: none}
  - {name: place, stages: [customer], action: a, channel: ads, purpose: none}
  - {name: origin, from: [customer], action: a, channel: ads, purpose: none}
  - {name: state, when: 'carts > 0 && country == "CH"', action: a, channel: ads, purpose: none}
  - {name: broken, when: 1 / carts > 0, action: a, channel: ads, purpose: none}
"""
    )
    (made,) = decide(policies, trigger(0))
    assert set(dropped(made).values()) == {"not_eligible"}
    assert [candidate.reason.split(":")[0] for candidate in made.candidates[:4]] == [
        "not considered at a session",
        "stage discovery is none of customer",
        "did not come from customer",
        "does not hold",
    ]
    assert "divide by zero" in made.candidates[4].reason


def test_a_slot_is_asked_only_where_one_of_its_candidates_listens() -> None:
    policies = policy(
        """\
slots: [customer, team]
candidates:
  - {name: mail, action: a, channel: email, purpose: email}
  - {name: alert, slot: team, on: transition, action: a, channel: sales, purpose: none}
"""
    )
    made = decide(policies, trigger(0, "transition"), trigger(1))
    assert [(d.slot, d.chosen) for d in made] == [("customer", "mail"), ("team", "alert"), ("customer", "mail")]
    assert len({d.decision_id for d in made}) == 3


# --- guards over time ---------------------------------------------------------------------------------------------


def test_a_cooldown_rests_a_candidate_until_it_is_over() -> None:
    policies = policy("candidates:\n  - {name: mail, action: a, channel: email, purpose: email, cooldown: 2d}\n")
    made = decide(policies, trigger(0), trigger(2 * DAY - 1), trigger(2 * DAY))
    assert [d.chosen for d in made] == ["mail", "nothing", "mail"]
    assert dropped(made[1]) == {"mail": "cooldown"}


def test_a_cap_counts_what_was_chosen_on_its_channels() -> None:
    policies = policy("caps:\n  - {name: weekly, max: 2, per: 7d, channels: [email]}\n" + SIMPLE)
    made = decide(policies, *(trigger(day * DAY) for day in range(9)))
    assert [d.chosen for d in made] == ["mail", "mail", "ad", "ad", "ad", "ad", "ad", "mail", "mail"]
    assert made[2].candidates[0].reason == "weekly: 2 of at most 2"


def test_a_complaint_suppresses_its_channels_for_its_time() -> None:
    policies = policy("suppress:\n  - {after: complained, for: 5d, channels: email}\n" + SIMPLE)
    complaint = Outcome("o", None, "p1", "s1", "complained", T0 + DAY, T0 + DAY)
    made = decide(policies, *(trigger(day * DAY) for day in (0, 1, 5, 6)), outcomes=[complaint])
    assert [d.chosen for d in made] == ["mail", "ad", "ad", "mail"]
    assert dropped(made[1])["mail"] == "suppressed"


def test_the_holdout_is_sticky_and_its_propensities_say_its_share() -> None:
    policies = policy("holdout: {share: 0.3}\n" + SIMPLE)
    held = 0
    for person in range(400):
        made = decide(policies, trigger(0), trigger(DAY), lineage=f"s{person}")
        assert made[0].chosen == made[1].chosen
        if made[0].chosen == "nothing":
            held += 1
            assert made[0].propensity == pytest.approx(0.3)
            assert set(dropped(made[0]).values()) == {"holdout"}
        else:
            assert made[0].propensity == pytest.approx(0.7)
    assert 0.22 < held / 400 < 0.38
    assert decide(policies, trigger(0, consent={}))[0].propensity == 1.0


# --- the past -----------------------------------------------------------------------------------------------------


def action(decision: Decision, status: str) -> Action:
    return Action("a_" + decision.decision_id, decision.decision_id, "p1", "s1", "email", "t", status, "", decision.at)


def test_nothing_is_decided_at_or_before_the_last_decided_point() -> None:
    policies = policy(SIMPLE)
    first = decide(policies, trigger(DAY))
    later = Journey([trigger(0), trigger(DAY, point="other"), trigger(2 * DAY)])
    made = later.decide(policies, History(T0 + DAY, first, (action(first[0], "sent"),)))
    assert [d.at for d in made.decisions] == [T0 + 2 * DAY]


@pytest.mark.parametrize(("status", "chosen"), [("sent", "nothing"), ("in_doubt", "nothing"), ("suppressed", "mail")])
def test_what_was_decided_before_counts_unless_it_never_reached_the_person(status: str, chosen: str) -> None:
    policies = policy("candidates:\n  - {name: mail, action: a, channel: email, purpose: email, cooldown: 9d}\n")
    first = decide(policies, trigger(0))
    history = History(T0, first, (action(first[0], status),))
    assert decide(policies, trigger(0), trigger(DAY), history=history)[0].chosen == chosen


def test_what_a_dry_run_recorded_counts_once_it_may_still_be_sent() -> None:
    policies = policy("candidates:\n  - {name: mail, action: a, channel: email, purpose: email, cooldown: 9d}\n")
    first = decide(policies, trigger(0))
    history = History(T0, first, (action(first[0], "suppressed"),))
    moments = (trigger(0), trigger(DAY))
    assert decide(policies, *moments, history=history, counted=[first[0].decision_id])[0].chosen == "nothing"


def test_after_a_merge_what_either_strand_was_sent_counts() -> None:
    policies = policy("caps:\n  - {name: weekly, max: 2, per: 7d, channels: [email]}\n" + SIMPLE)
    one = decide(policies, trigger(0))
    other = decide(policies, trigger(HOUR, anchor_strand="s2"), person="p2")
    history = History(other[0].at, one + other, tuple(action(d, "sent") for d in one + other))
    moments = (trigger(0), trigger(HOUR, anchor_strand="s2"), trigger(DAY))
    assert [d.chosen for d in decide(policies, *moments, history=history)] == ["ad"]


def test_a_merge_does_not_start_again_the_step_that_a_strand_was_already_given() -> None:
    alone = Journey([enter(0, "consideration")]).decide(policy(DRIP), horizon=2 * HOUR).decisions
    history = History(alone[-1].at - 1, alone, tuple(action(d, "sent") for d in alone))
    again = Journey([enter(0, "consideration")]).decide(policy(DRIP), history, horizon=2 * HOUR)
    assert again.decisions == ()


# --- plans --------------------------------------------------------------------------------------------------------


def enter(at: int, stage: str, **changes: object) -> Trigger:
    return trigger(at, "transition", stage, **changes)


def test_the_steps_of_a_plan_are_decided_at_their_computed_instants() -> None:
    result = Journey([enter(0, "consideration")]).decide(policy(DRIP))
    steps = [d for d in result.decisions if d.plan]
    assert [(d.at - T0, d.chosen, d.plan_step, d.trigger) for d in steps] == [
        (HOUR, "drip.step_0", 0, "step"),
        (HOUR + 2 * DAY, "drip.step_1", 1, "step"),
    ]
    assert [(p.ended_by, p.ended_at) for p in result.plans] == [("finished", T0 + HOUR + 2 * DAY)]


def test_the_drip_ends_when_the_stage_moves() -> None:
    result = Journey([enter(0, "consideration"), enter(DAY, "decision")]).decide(policy(DRIP))
    assert [d.chosen for d in result.decisions if d.plan] == ["drip.step_0"]
    assert [(p.ended_by, p.ended_at) for p in result.plans] == [("moved", T0 + DAY)]


def test_a_plan_that_was_left_and_whose_stage_came_back_does_not_go_on() -> None:
    journey = Journey([enter(0, "consideration"), enter(DAY, "decision"), enter(DAY + 1, "consideration")])
    result = journey.decide(policy(DRIP))
    assert [d.chosen for d in result.decisions if d.plan] == ["drip.step_0"]
    assert len(result.plans) == 1


def test_a_plan_starts_again_once_its_cooldown_is_over() -> None:
    journey = Journey([enter(0, "consideration"), enter(DAY, "decision"), enter(30 * DAY, "consideration")])
    result = journey.decide(policy(DRIP))
    assert [p.started_at - T0 for p in result.plans] == [0, 30 * DAY]
    assert len({d.decision_id for d in result.decisions}) == len(result.decisions) == 6


def test_an_exit_condition_ends_a_plan_at_a_moment_and_at_a_step() -> None:
    full: dict[str, FactValue] = {"carts": 6, "country": "CH"}
    at_moment = Journey([enter(0, "consideration"), trigger(MINUTE, stage="consideration", facts=full)])
    ended = at_moment.decide(policy(DRIP)).plans[0]
    assert (ended.ended_by, ended.ended_at) == ("exit", T0 + MINUTE)
    at_step = Journey([enter(0, "consideration", facts=full)]).decide(policy(DRIP))
    assert (at_step.plans[0].ended_by, at_step.plans[0].ended_at) == ("exit", T0 + HOUR)
    assert not any(d.plan for d in at_step.decisions)


def test_a_plan_is_open_at_the_horizon_with_its_next_instant() -> None:
    (plan,) = Journey([enter(0, "consideration")]).decide(policy(DRIP), horizon=DAY).plans
    assert (plan.ended_at, plan.next_step, plan.due_at) == (None, 1, T0 + HOUR + 2 * DAY)


def test_a_step_that_a_guard_stops_is_decided_as_nothing_and_the_plan_goes_on() -> None:
    policies = policy("caps:\n  - {name: monthly, max: 1, per: 30d}\n" + DRIP)
    made = [d for d in Journey([enter(0, "consideration")]).decide(policies).decisions if d.plan]
    assert [d.chosen for d in made] == ["drip.step_0", "nothing"]
    assert dropped(made[1])["drip.step_1"] == "cap"


def test_a_candidate_that_listens_to_steps_competes_with_the_step() -> None:
    offer = "  - {name: offer, on: step, action: a, channel: email, purpose: email, priority: 9}\nplans:"
    made = Journey([enter(0, "consideration")]).decide(policy(DRIP.replace("plans:", offer))).decisions
    assert dropped(next(d for d in made if d.plan_step == 0)) == {"drip.step_0": "outranked", "offer": None}


def test_a_step_keeps_its_id_when_the_events_before_it_change() -> None:
    def ids(*triggers: Trigger) -> list[str]:
        return [d.decision_id for d in Journey(triggers).decide(policy(DRIP)).decisions if d.plan]

    visit = trigger(DAY, stage="consideration", anchor_strand="s2")
    assert ids(enter(0, "consideration")) == ids(enter(0, "consideration"), visit)


def test_at_one_instant_the_journey_moves_before_the_plan_acts() -> None:
    result = Journey([enter(0, "consideration"), enter(HOUR, "decision")]).decide(policy(DRIP))
    assert not any(d.plan for d in result.decisions)


# --- properties ---------------------------------------------------------------------------------------------------

SHIPPED = load_policies(
    [Path(__file__).parents[3] / "ontology" / "policies" / "default.yaml"],
    policy_vocabulary(FEATURE_NAMES, FACTS),
    STAGES,
)
_BLANK: dict[str, FactValue] = {"bool": False, "int": 0, "double": 0.0, "string": ""}


@st.composite
def journeys(draw: st.DrawFn) -> Journey:
    """Up to 25 moments of up to four weeks, with facts and consent that come and go."""
    times = sorted(draw(st.lists(st.integers(0, 28 * 24), min_size=1, max_size=25)))
    made: list[Trigger] = []
    stage: str | None = None
    for index, hours in enumerate(times):
        new = draw(st.sampled_from(STAGES)) if stage is None or draw(st.booleans()) else stage
        facts = {name: _BLANK[kind] for name, (kind, _) in FACTS.items()}
        for name in ("has_email", "is_known", "has_crm_record"):
            facts[name] = draw(st.booleans())
        for name in ("product_views", "pricing_views", "cart_adds", "checkouts", "conversions", "sessions"):
            facts[name] = draw(st.integers(0, 4))
        made.append(
            trigger(
                hours * HOUR,
                "transition" if new != stage else "session",
                new,
                from_stage=stage if new != stage else None,
                point=f"e{index}",
                features=dict.fromkeys(FEATURE_NAMES, 1.0),
                facts=facts,
                consent=draw(st.sampled_from([{}, {"email": True}, {"email": True, "ads": True, "push": True}])),
            )
        )
        stage = new
    return Journey(made)


@settings(max_examples=60, deadline=None)
@given(journeys())
def test_no_window_ever_holds_more_than_its_cap(journey: Journey) -> None:
    made = [d for d in journey.decide(SHIPPED).decisions if d.channel]
    for cap in SHIPPED.caps:
        times = [d.at for d in made if d.channel in cap.channels]
        for index, start in enumerate(times):
            assert sum(1 for at in times[index:] if at - start < cap.per) <= cap.limit


@settings(max_examples=60, deadline=None)
@given(journeys())
def test_every_decision_gives_itself_again_from_its_record(journey: Journey) -> None:
    for made in journey.decide(SHIPPED).decisions:
        stored = wire.unpack(Decision, wire.pack(made))
        assert replay(stored, SHIPPED) == made


@settings(max_examples=60, deadline=None)
@given(journeys(), st.integers(0, 30 * 24))
def test_deciding_in_two_runs_gives_what_one_run_gives(journey: Journey, hours: int) -> None:
    whole = journey.decide(SHIPPED)
    early = Journey([t for t in journey.triggers if t.at <= T0 + hours * HOUR])
    first = early.decide(SHIPPED, horizon=hours * HOUR).decisions if early.triggers else ()
    history = History(first[-1].at if first else None, first, tuple(action(d, "sent") for d in first))
    second = journey.decide(SHIPPED, history)
    assert first + second.decisions == whole.decisions
    assert second.plans == whole.plans


@settings(max_examples=60, deadline=None)
@given(journeys())
def test_a_decision_has_one_chosen_candidate_or_none_and_an_id_of_its_own(journey: Journey) -> None:
    made = journey.decide(SHIPPED).decisions
    assert len({d.decision_id for d in made}) == len(made)
    assert [d.at for d in made] == sorted(d.at for d in made)
    for decision in made:
        chosen = [candidate.name for candidate in decision.candidates if candidate.dropped_by is None]
        assert chosen == ([] if decision.chosen == "nothing" else [decision.chosen])
        assert 0 < decision.propensity <= 1


def test_a_decision_of_another_policy_version_is_not_replayed() -> None:
    (made,) = decide(policy(SIMPLE), trigger(0))
    with pytest.raises(CheckFailedError, match="was made by policy test@"):
        replay(made, policy(SIMPLE.replace("priority: 2", "priority: 3")))


def test_a_record_that_was_tampered_with_does_not_give_itself_again() -> None:
    (made,) = decide(policy(SIMPLE), trigger(0))
    assert replay(dataclasses.replace(made, consent={}), policy(SIMPLE)) != made
