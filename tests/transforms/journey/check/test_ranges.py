"""Conditions as ranges: what can never hold is never found to hold, and what is not understood is said so."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.documents import Node
from transforms import conditions
from transforms.conditions import ConditionSet
from transforms.journey.check.known_values import RANGES
from transforms.journey.check.ranges import Answer
from transforms.journey.ontology_file import VOCABULARY


@pytest.mark.parametrize(
    "text",
    [
        "pricing_views > 2 && pricing_views < 3",
        "session_cart_adds >= 3 && cart_adds < 2",
        "!(conversions >= 1 || renewals >= 1) && conversions > 0",
        "device == 'tablet' && device in ['mobile', 'desktop']",
        "hour_regularity > 1.0",
        "known > 0.0 && known < 1.0",
        "events == 0",
        "sessions != 0 && 1 > sessions",
        "has_email && !has_email",
        "(events + 1 > 2) && !(events + 1 > 2)",
        "conversions >= 1 // really\n && conversions < 1",
    ],
)
def test_a_contradiction_never_holds(text: str) -> None:
    assert RANGES.can(text).answer is Answer.NEVER


@pytest.mark.parametrize(
    ("text", "example"),
    [
        ("sessions == 1 && !has_crm_record && session_seconds < 90", {"sessions": 1, "has_crm_record": False}),
        ("conversion_value < -3.0", {}),
        ("device != '' && last_path == '/a && b'", {"last_path": "/a && b"}),
        ("cart_adds >= 2 && session_cart_adds >= 2", {"cart_adds": 2}),
    ],
)
def test_what_can_hold_comes_with_an_example_under_which_it_does(text: str, example: dict[str, Any]) -> None:
    found = RANGES.can(text)
    assert found.answer is Answer.CAN
    assert example.items() <= found.example.items()
    assert held(text, dict(found.example)) is True


@pytest.mark.parametrize("text", ["events + 1 > 2", "sessions > conversions", "last_path.startsWith('/a')"])
def test_arithmetic_functions_and_pairs_of_names_cannot_be_told(text: str) -> None:
    assert RANGES.can(text).answer is Answer.CANNOT_TELL


def test_a_condition_with_too_many_alternatives_cannot_be_told() -> None:
    text = " && ".join(f"(sessions == {n} || events == {n})" for n in range(12))
    assert RANGES.can(text).answer is Answer.CANNOT_TELL


def test_implication_is_by_ranges() -> None:
    assert RANGES.implies("conversions >= 2", "conversions >= 1")
    assert not RANGES.implies("conversions >= 1", "conversions >= 2")
    assert RANGES.implies("session_pricing_views >= 2", "pricing_views > 1")
    assert RANGES.implies(None, "events >= 1")
    assert not RANGES.implies("conversions >= 2", "sessions + 1 > 0"), "what is not understood implies nothing"


def test_windows_of_one_count_are_nested() -> None:
    assert RANGES.can("pricing_views_7d >= 3.0 && pricing_views_30d < 3.0").answer is Answer.NEVER
    assert RANGES.can("cart_7d >= 2.0 && cart_adds <= 1").answer is Answer.NEVER
    assert RANGES.can("pricing_views_30d >= 3.0 && pricing_views_7d < 3.0").answer is Answer.CAN
    assert RANGES.can("events_1d > 5.0 && sessions_7d < 1.0").answer is Answer.CAN, "other counts are not compared"


def held(text: str, values: dict[str, Any]) -> object:
    compiled = conditions.compile(Node(text, "t", 1), VOCABULARY)
    return ConditionSet([compiled]).verdicts(values)[0]


NUMBERS = st.sampled_from(["sessions", "pricing_views", "session_pricing_views", "events"])
COMPARISON = st.builds(
    lambda name, sign, value: f"{name} {sign} {value}",
    NUMBERS,
    st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
    st.integers(-1, 5),
)
ATOM = st.one_of(
    COMPARISON,
    st.builds(lambda name, values: f"{name} in {values}", NUMBERS, st.lists(st.integers(0, 5), min_size=1, max_size=3)),
    st.builds(lambda sign, value: f"device {sign} '{value}'", st.sampled_from(["==", "!="]), st.sampled_from("abc")),
    st.sampled_from(["has_email", "true", "false", "sessions + 1 > 3", "hour_regularity >= 0.5"]),
)
CONDITION = st.recursive(
    ATOM,
    lambda inner: st.one_of(
        st.builds(lambda a, b: f"({a}) && ({b})", inner, inner),
        st.builds(lambda a, b: f"({a}) || {b}", inner, ATOM),
        st.builds(lambda a: f"!({a})", inner),
    ),
    max_leaves=7,
)
VALUES = st.fixed_dictionaries(
    {
        "events": st.integers(4, 9),
        "sessions": st.integers(0, 4),
        "pricing_views": st.integers(0, 4),
        "session_pricing_views": st.integers(0, 4),
        "device": st.sampled_from(["", "a", "b", "c"]),
        "has_email": st.booleans(),
        "hour_regularity": st.sampled_from([0.0, 0.5, 1.0]),
    }
)


@settings(deadline=None, max_examples=300)
@given(text=CONDITION, values=VALUES)
def test_what_the_language_finds_to_hold_is_never_called_impossible(text: str, values: dict[str, Any]) -> None:
    values["session_pricing_views"] = min(values["session_pricing_views"], values["pricing_views"])
    verdict = held(text, values)
    assert isinstance(verdict, bool)
    found = RANGES.can(text if verdict else f"!({text})")
    assert found.answer is not Answer.NEVER
    if found.answer is Answer.CAN:
        assert held(text, values | dict(found.example)) is verdict or not found.example
