"""Labels: only what has matured, explicit negatives, and no order or repetition that matters."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.event import DAY
from contracts.exchange import Action, Decision, Label, LearnInput, LoggedDecision, Outcome
from transforms.actions import action_id_of
from transforms.labels import MATURITY, labels, logged_decisions, merged

T = 1_700_000_000_000_000


def decided(n: int = 1, *, at: int = T, arm: str = "offer") -> LoggedDecision:
    return LoggedDecision(f"d{n}", f"a{n}", arm, at, 0.5, "logged")


def came(at: int, *, action: str | None = "a1", kind: str = "converted") -> Outcome:
    return Outcome(f"o{at}{action}{kind}", action, "p1", "s1", kind, at, at)


def labelled(
    *outcomes: Outcome, decisions: tuple[LoggedDecision, ...] = (), horizon: int = T + 30 * DAY
) -> list[Label]:
    return list(labels(LearnInput("p1", horizon, decisions or (decided(),), outcomes)))


def test_a_matured_decision_without_conversion_is_an_explicit_negative() -> None:
    assert labelled() == [
        Label("d1", "p1", "offer", 0.5, "logged", "none", decided_at=T, at=T + MATURITY, matured_at=T + MATURITY)
    ]


def test_a_decision_has_no_label_before_it_matures_not_even_a_positive() -> None:
    assert labelled(came(T + 1), horizon=T + MATURITY - 1) == []
    assert [label.outcome for label in labelled(came(T + 1), horizon=T + MATURITY)] == ["converted"]


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (came(T + DAY), "converted"),
        (came(T + MATURITY), "converted"),
        (came(T + MATURITY + 1), "none"),
        (came(T), "none"),
        (came(T - 1), "none"),
        (came(T + DAY, kind="clicked"), "none"),
        (came(T + DAY, action="a_other"), "none"),
        (came(T + DAY, action=None), "converted"),
    ],
)
def test_a_conversion_counts_in_the_window_of_its_action_or_of_the_person(outcome: Outcome, expected: str) -> None:
    assert labelled(outcome)[0].outcome == expected


def test_doing_nothing_is_labelled_too_by_conversions_that_name_no_action() -> None:
    nothing = LoggedDecision("d9", None, "nothing", T, 1.0, "policy")
    found = labelled(came(T + 5, action=None), came(T + 3), decisions=(nothing,))
    assert [(label.arm, label.outcome, label.at) for label in found] == [("nothing", "converted", T + 5)]


def test_the_first_of_several_conversions_counts() -> None:
    assert labelled(came(T + 9), came(T + 4, action=None), came(T + 7))[0].at == T + 4


OUTCOMES = st.lists(
    st.builds(
        came,
        st.integers(-2, 9).map(lambda day: T + day * DAY),
        action=st.sampled_from(["a1", "a2", None]),
        kind=st.sampled_from(["converted", "opened"]),
    ),
    max_size=8,
)
DECISIONS = st.lists(
    st.builds(decided, st.integers(1, 3), at=st.integers(0, 3).map(lambda day: T + day * DAY)), max_size=4
)


@given(OUTCOMES, DECISIONS, st.randoms(), st.integers(0, 12))
def test_order_and_repetition_change_nothing(
    outcomes: list[Outcome], decisions: list[LoggedDecision], random: object, days: int
) -> None:
    horizon = T + days * DAY
    expected = labels(LearnInput("p1", horizon, tuple(decisions), tuple(outcomes)))
    mixed, doubled = outcomes * 2, decisions * 2
    random.shuffle(mixed)  # type: ignore[attr-defined]
    random.shuffle(doubled)  # type: ignore[attr-defined]
    assert labels(LearnInput("p1", horizon, tuple(doubled), tuple(mixed))) == expected
    assert len({label.decision_id for label in expected}) == len(expected)


@given(OUTCOMES, DECISIONS, st.integers(0, 12))
def test_a_label_once_given_stays_when_time_goes_on(
    outcomes: list[Outcome], decisions: list[LoggedDecision], days: int
) -> None:
    horizon = T + days * DAY
    before = labels(LearnInput("p1", horizon, tuple(decisions), tuple(o for o in outcomes if o.at <= horizon)))
    after = labels(LearnInput("p1", T + 90 * DAY, tuple(decisions), tuple(outcomes)))
    assert set(before) <= set(after)


# --- what was really done ----------------------------------------------------------------------------------------


def a_decision(chosen: str = "offer") -> Decision:
    return Decision(
        decision_id="d1",
        person_id="p1",
        anchor_strand="s1",
        at=T,
        slot="main",
        trigger="session",
        stage="x",
        chosen=chosen,
        channel=None if chosen == "nothing" else "email",
        template=None,
        plan=None,
        plan_step=None,
        candidates=(),
        reason="",
        policy_version="v1",
        model_version=None,
        ontology_version="o1",
        propensity=0.5,
        features={},
        facts={},
        consent={},
    )


@pytest.mark.parametrize(
    ("status", "assume_sent", "expected"),
    [
        ("sent", False, [("offer", 0.5)]),
        ("suppressed", True, [("nothing", 1.0)]),
        ("failed", True, [("nothing", 1.0)]),
        ("pending", True, []),
        ("in_doubt", True, []),
        (None, True, [("offer", 0.5)]),
        (None, False, [("nothing", 1.0)]),
    ],
)
def test_learning_sees_what_was_done_not_what_was_meant(
    status: str | None, assume_sent: bool, expected: list[tuple[str, float]]
) -> None:
    action = Action("a", "d1", "p1", "s1", "email", "t", status or "", "", T)
    known = {} if status is None else {"d1": action}
    found = logged_decisions([a_decision()], known, assume_sent=assume_sent)
    assert [(logged.arm, logged.propensity) for logged in found] == expected
    assert all(logged.action_id == action_id_of("d1", "email") for logged in found)


@given(OUTCOMES, DECISIONS, st.integers(0, 8), st.integers(0, 4))
def test_it_does_not_matter_who_told_which_part(
    outcomes: list[Outcome], decisions: list[LoggedDecision], cut: int, split: int
) -> None:
    horizon = T + 30 * DAY
    whole = labels(LearnInput("p1", horizon, tuple(decisions), tuple(outcomes)))
    one = LearnInput("p1", horizon, tuple(decisions[:split]), tuple(outcomes[cut:]))
    other = LearnInput("p1", T, tuple(decisions[split:]), tuple(outcomes[:cut]))
    stranger = LearnInput("p0", horizon, (), (came(T + 1, action=None),))
    found = merged([one, stranger, other])
    assert [item.person_id for item in found] == ["p0", "p1"]
    assert labels(found[1]) == whole


def test_a_decision_for_nothing_keeps_its_propensity() -> None:
    suppressed = replace(Action("a", "d1", "p1", "s1", "nothing", "", "suppressed", "", T))
    (logged,) = logged_decisions([a_decision("nothing")], {"d1": suppressed}, assume_sent=True)
    assert (logged.arm, logged.propensity) == ("nothing", 0.5)
