"""Conditions of stages over facts and features, terminal stages, and what leads out of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from contracts.errors import ConfigurationError
from contracts.event import DAY, HOUR, MINUTE, SECOND, Event
from features.journey_features import FEATURE_NAMES, vector
from features.state import FeatureState
from features.turning import next_turn
from transforms.journey.fold import FeatureFunctions, JourneyFold
from transforms.journey.ontology_file import parse_ontology
from transforms.journey.path import StagePath, StagePaths

Make = Callable[..., Event]
FUNCTIONS = FeatureFunctions(FEATURE_NAMES, FeatureState, vector, next_turn)
DECISION_ENTRY = "entry: {intent: 2.1}"
CUSTOMER_ENTRY = "entry: {when: conversions >= 1 || renewals >= 1}"
CUSTOMER_EXIT = (
    "    exit: {after: 180d, since: [conversion, usage, renewal, support, account], "
    "by: [checkout, sales_contact], rest: 2h}\n"
)


class Journeys:
    """Folds with the real features under the default ontology, changed in places."""

    def __init__(self, text: str, **changes: str) -> None:
        for old, new in (change.split(" => ") for change in changes.values()):
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        self.ontology = parse_ontology(text, "journey.yaml")
        self.fold = JourneyFold(self.ontology, FUNCTIONS)
        self.paths = StagePaths(self.ontology, FUNCTIONS)

    def path(self, events: list[Event], horizon: int | None = None, model: list[float] | None = None) -> StagePath:
        end = max(event.event_time for event in events) if horizon is None else horizon
        trace = self.fold.trace("p1", [(event, "s") for event in events], end)
        count = len(trace.points)
        return self.paths.stage_path(trace, model and [model] * count, model and ["m1"] * count)

    def moves(self, *args: Any) -> list[tuple[str, int]]:
        return [(t.to_stage, t.at) for t in self.path(*args).transitions]


@pytest.fixture(scope="module")
def first_touch(ontology_text: str) -> Journeys:
    """Decision stands here for: first touch, no CRM record, session shorter than 90 s."""
    rule = "sessions == 1 && !has_crm_record && session_seconds < 90"
    return Journeys(ontology_text, rule=f"{DECISION_ENTRY} => entry: {{when: {rule!r}}}")


def test_first_touch_without_crm_record_ends_when_the_session_has_lasted_90_s(
    first_touch: Journeys, event: Make, start: int
) -> None:
    short = [event("home", start), event("home", start + 90 * SECOND - 1, event_id="b")]
    assert first_touch.moves(short) == [("decision", start)]
    waited = [event("home", start + 11 * MINUTE, event_id="c")]
    assert first_touch.moves([*short, *waited]) == [("decision", start), ("discovery", start + 11 * MINUTE)]


def test_first_touch_is_no_more_with_a_crm_record_or_a_second_session(
    first_touch: Journeys, event: Make, start: int
) -> None:
    known = event("home", start, who=(("crm_id", "c1"), ("anonymous_id", "a1")))
    assert first_touch.moves([known]) == [("discovery", start)]
    again = event("home", start + HOUR, event_id="b")
    assert first_touch.moves([event("home", start), again])[-1] == ("discovery", start + HOUR)


@pytest.fixture(scope="module")
def priced(ontology_text: str) -> Journeys:
    """Decision stands here for: looked at prices within 30 days, nothing decays."""
    return Journeys(ontology_text, rule=f"{DECISION_ENTRY} => entry: {{when: pricing_views_30d >= 1.0}}")


def test_a_condition_on_a_window_turns_when_the_event_leaves_the_window(
    priced: Journeys, event: Make, start: int
) -> None:
    events = [event("pricing_view", start)]
    assert priced.moves(events, start + 30 * DAY - 1) == [("decision", start)]
    left = priced.path(events, start + 40 * DAY).transitions[-1]
    assert (left.to_stage, left.at, left.event_id) == ("discovery", start + 30 * DAY, None)
    assert "no longer pricing_views_30d >= 1.0" in left.reason


def test_whoever_looks_whenever_sees_the_same_turn_of_a_window(priced: Journeys, event: Make, start: int) -> None:
    events = [event("pricing_view", start), event("home", start + 9 * DAY), event("home", start + 50 * DAY)]
    pairs = [(one, "s") for one in events]
    end = start + 90 * DAY
    whole = priced.fold.trace("p1", pairs, end)
    for looks in ([], [start + DAY], [start + 30 * DAY], [start + 30 * DAY - 1, start + 31 * DAY]):
        fold = priced.fold.start("p1")
        instants = [*looks, end]
        for before, until in zip([0, *instants], instants, strict=False):
            fold.go_on([pair for pair in pairs if before < pair[0].event_time <= until], until)
        assert tuple(fold.points) == whole.points


def test_a_condition_without_windows_makes_no_point_but_events_and_grid(
    first_touch: Journeys, priced: Journeys, event: Make, start: int
) -> None:
    events = [event("pricing_view", start)]
    count = {len(one.fold.trace("p", [(events[0], "s")], start + 40 * DAY).points) for one in (first_touch, priced)}
    assert count == {5, 6}


def fault(text: str, old: str, new: str) -> ConfigurationError:
    assert text.count(old) == 1
    with pytest.raises(ConfigurationError) as caught:
        parse_ontology(text.replace(old, new), "journey.yaml")
    assert caught.value.line == text[: text.index(old)].count("\n") + 1
    return caught.value


@pytest.mark.parametrize("name", ["days_since_activity", "active_days_30d"])
def test_a_feature_without_computed_instant_is_refused_by_name(ontology_text: str, name: str) -> None:
    error = fault(ontology_text, DECISION_ENTRY, f"entry: {{when: {name} < 3.0}}")
    assert f"feature {name} changes by time alone" in error.message
    assert "exit.after" in error.hint


@pytest.mark.parametrize("name", ["days_in_stage", "stage_moves_30d", "stage_returns_30d", "stage", "intent"])
def test_what_derives_from_the_stage_is_refused_by_name(ontology_text: str, name: str) -> None:
    error = fault(ontology_text, DECISION_ENTRY, f"entry: {{when: {name} == 1}}")
    assert f"{name} is derived from the stage" in error.message
    assert "hysteresis" in error.hint


def test_features_that_nobody_computes_are_refused_before_a_journey_begins(priced: Journeys) -> None:
    with pytest.raises(ValueError, match="pricing_views_30d"):
        JourneyFold(priced.ontology, FeatureFunctions((), FeatureState, vector, next_turn))


# --- terminal stages ----------------------------------------------------------------------------------------------

TERMINAL = "    terminal: true\n    reentry: {by: [support], since: [conversion, renewal], after: 180d}\n"


@pytest.fixture(scope="module")
def terminal(ontology_text: str) -> Journeys:
    """Who bought, stays a customer; a support contact, or 180 days, leads out again."""
    return Journeys(ontology_text, rule=f"{CUSTOMER_EXIT} => {TERMINAL}")


@pytest.fixture(scope="module")
def final(ontology_text: str) -> Journeys:
    """Decision is certain, terminal and without any re-entry: nothing leads out."""
    return Journeys(
        ontology_text,
        rule=f"{DECISION_ENTRY} => certain: true\n    terminal: true\n    entry: {{when: session_cart_adds >= 1}}",
    )


def test_a_terminal_stage_without_reentry_is_never_left(final: Journeys, event: Make, start: int) -> None:
    events = [event("add_to_cart", start), event("purchase", start + DAY)]
    path = final.path(events, start + 900 * DAY, [0.97, 0.01, 0.01, 0.01])
    assert [t.to_stage for t in path.transitions] == ["decision"]
    assert (path.standing.decided_by, path.standing.confidence) == ("rules", 1.0)


def test_a_terminal_stage_is_left_by_its_reentry_event_and_opened_by_since(
    terminal: Journeys, event: Make, start: int
) -> None:
    events = [
        event("purchase", start),
        event("support_ticket", start + DAY),
        event("demo_request", start + 2 * DAY),
        event("purchase", start + 3 * DAY, event_id="again"),
    ]
    assert terminal.moves(events) == [
        ("customer", start),
        ("discovery", start + DAY),
        ("decision", start + 2 * DAY),
        ("customer", start + 3 * DAY),
    ]
    assert "customer ends: support came" in terminal.path(events).transitions[1].reason


def test_of_one_instant_the_later_event_says_whether_a_terminal_stage_is_open(
    terminal: Journeys, event: Make, start: int
) -> None:
    both = [event("purchase", start, event_id="a"), event("support_ticket", start, event_id="b")]
    assert terminal.moves(both) == [("discovery", start)]
    both = [event("purchase", start, event_id="b"), event("support_ticket", start, event_id="a")]
    assert terminal.moves(both) == [("customer", start)]


def test_a_terminal_stage_lapses_at_the_microsecond_its_reentry_says(
    terminal: Journeys, event: Make, start: int
) -> None:
    events = [event("purchase", start)]
    assert terminal.moves(events, start + 180 * DAY - 1) == [("customer", start)]
    assert terminal.moves(events, start + 180 * DAY) == [("customer", start), ("discovery", start + 180 * DAY)]


def test_an_exit_by_behaviour_ends_a_stage_that_is_not_terminal(ontology_text: str, event: Make, start: int) -> None:
    end = "\n    exit: {by: [cart_removal], since: [sales_contact]}"
    journeys = Journeys(ontology_text, rule=f"{DECISION_ENTRY} => {DECISION_ENTRY}{end}")
    events = [event("demo_request", start), event("remove_from_cart", start + HOUR)]
    assert journeys.moves(events) == [("decision", start), ("discovery", start + HOUR)]


def refusals() -> Iterator[tuple[str, str, str, str]]:
    yield DECISION_ENTRY, f"terminal: true\n    {DECISION_ENTRY}", "terminal but not certain", "certain: true"
    yield CUSTOMER_EXIT, f"{CUSTOMER_EXIT}    terminal: true\n", "terminal, so it has no exit", "under reentry"
    yield CUSTOMER_EXIT, CUSTOMER_EXIT.replace("exit", "reentry"), "reentry but is not terminal", "terminal: true"
    yield CUSTOMER_EXIT, "    exit: {by: [refund]}\n", "exit.since, belong together", "since names"
    yield CUSTOMER_EXIT, "    exit: {by: [refund], since: [refund]}\n", "both ends the stage", "exit.by or"
    yield CUSTOMER_EXIT, "    exit: {}\n", "says nothing", "give it when"


@pytest.mark.parametrize(("old", "new", "message", "hint"), list(refusals()))
def test_a_faulty_end_of_a_stage_is_refused_with_its_mending(
    ontology_text: str, old: str, new: str, message: str, hint: str
) -> None:
    error = fault(ontology_text, old, new)
    assert message in error.message
    assert hint in error.hint
