"""Conditions are checked before they run, and never say true by mistake."""

from __future__ import annotations

import contextlib
import pickle
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import documents
from contracts.errors import ConfigurationError
from transforms import conditions
from transforms.conditions import Condition, ConditionError, ConditionSet, Vocabulary

VOCABULARY = Vocabulary(
    {
        "events": conditions.INT,
        "rate": conditions.DOUBLE,
        "stage": conditions.STRING,
        "is_known": conditions.BOOL,
        "consent": conditions.FLAGS,
    }
)
VALUES: dict[str, object] = {
    "events": 5,
    "rate": 0.5,
    "stage": "decision",
    "is_known": True,
    "consent": {"email": True},
}


def condition(text: str, vocabulary: Vocabulary = VOCABULARY) -> Condition:
    return conditions.compile(documents.parse(f"first: 1\nwhen: {text}", "p.yaml").need("when"), vocabulary)


def refused(text: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        condition(text)
    return caught.value


def test_a_misspelt_name_is_refused_with_file_line_column_and_the_nearest_name() -> None:
    error = refused("'rate > 0.1 && evnts > 3'")
    assert error.line == 2
    assert str(error) == "p.yaml:2: when, column 15: unknown name 'evnts'"
    assert error.hint == "did you mean 'events'?"


def test_a_name_like_no_other_is_refused_with_all_known_ones() -> None:
    assert "consent, events, is_known, rate, stage" in refused("zzz == 3").hint


def test_the_line_inside_a_condition_of_several_lines_is_named() -> None:
    error = refused("|\n  events > 3 &&\n  foo(1)")
    assert "line 2, column 4 of the condition" in str(error)


def test_a_whole_number_beside_a_double_is_explained() -> None:
    assert "3.0" in refused("rate > 3").hint
    assert "3.0" in refused("events > 3.0").hint


@pytest.mark.parametrize("text", ["events", "stage", "'[true]'", "events >", "'\"open'", "'events > 3)'"])
def test_what_is_no_condition_is_refused(text: str) -> None:
    assert refused(text).line == 2


def test_a_broken_pattern_is_refused_before_the_run() -> None:
    assert "regular expression" in str(refused('stage.matches("(")'))


def test_a_condition_has_a_longest_length() -> None:
    assert "4000" in str(refused("'" + "true && " * 1_000 + "true'"))


def test_many_long_conditions_are_evaluated_together() -> None:
    long = "events > 1 || " * 280 + "false"
    many = ConditionSet([condition(f"'{long}'") for _ in range(45)])
    assert many.evaluate(VALUES) == [True] * 45


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2].all(a, true)",
        "consent . exists ( k, true)",
        "consent.map(k, k).size() > 0",
        "['aaaa']" + ".map(a, a + a)" * 24 + "[0].size() > 3",
        "[" + "1," * 300 + "1].filter(a, [" + "1," * 300 + "1].exists_one(b, a == b)) == []",
    ],
)
def test_a_condition_has_no_loops_which_could_run_or_grow_without_end(text: str) -> None:
    error = refused(f'"{text}"')
    assert "no loops" in str(error)
    assert "consent" in error.hint


@pytest.mark.parametrize(
    "text",
    [
        "(" * 1_900 + "true" + ")" * 1_900,
        "!" * 3_900 + "true",
        "[" * 900 + "]" * 900 + " == []",
        "-" * 3_900 + "1 == 1",
        "1 + " * 900 + "1 > 0",
        "{1: " * 900 + "1" + "}" * 900 + " == {}",
        "stage.matches('(a{900}){900}')",
        "stage.matches('" + "(a+)+" * 500 + "$')",
        "duration('9999999999999h') > duration('1s')",
        "9223372036854775807 + 1 > 0",
        "\\ud800",
        "\\0",
    ],
)
def test_what_is_nested_or_long_is_refused_or_evaluated_and_nothing_else_escapes(text: str) -> None:
    with contextlib.suppress(ConfigurationError):
        (verdict,) = ConditionSet([condition(f'"{text}"')]).verdicts({**VALUES, "stage": "a" * 2_000 + "!"})
        assert isinstance(verdict, bool | ConditionError)


def test_true_and_false_need_no_quotes() -> None:
    assert ConditionSet([condition("true"), condition("false")]).evaluate({}) == [True, False]


def test_an_unknown_kind_of_variable_is_refused() -> None:
    with pytest.raises(ValueError, match="none of bool, int"):
        Vocabulary({"a": "text"})


def test_only_the_names_used_are_needed() -> None:
    both = ConditionSet([condition("events > 3"), condition("'stage == \"rate\" || is_known'")])
    assert both.conditions[0].names == ("events",)
    assert both.names == ("events", "is_known", "stage")
    assert both.evaluate({"events": 4, "stage": "", "is_known": False}) == [True, False]


def test_an_evaluation_error_is_an_error_and_never_true() -> None:
    with pytest.raises(ConditionError, match="divide by zero"):
        ConditionSet([condition("is_known"), condition("1 / (events - 5) > 0")]).evaluate(VALUES)
    with pytest.raises(ConditionError, match=r"p\.yaml:2.*Key not found"):
        ConditionSet([condition('consent["sms"]')]).evaluate(VALUES)


def test_an_error_of_one_condition_does_not_silence_the_others() -> None:
    verdicts = ConditionSet(
        [condition("is_known"), condition("1 / (events - 5) > 0"), condition("events > 9")]
    ).verdicts(VALUES)
    assert verdicts[0] is True
    assert isinstance(verdicts[1], ConditionError)
    assert verdicts[2] is False


def test_numpy_scalars_and_whole_floats_are_values_like_others() -> None:
    values = {"events": np.int64(5), "rate": np.float32(0.5), "is_known": np.bool_(True), "stage": "x", "consent": {}}
    many = ConditionSet([condition("events == 5"), condition("rate == 0.5"), condition("is_known")])
    assert many.evaluate(values) == [True, True, True]
    assert many.evaluate({**values, "events": 5.0, "rate": 1}) == [True, False, True]


@pytest.mark.parametrize("value", [None, "5", 5.5, float("inf"), float("nan")])
def test_a_value_of_another_kind_is_named(value: object) -> None:
    with pytest.raises(ConditionError, match="'events' is a "):
        ConditionSet([condition("events > 3")]).evaluate({"events": value})


def test_a_missing_value_is_named() -> None:
    with pytest.raises(ConditionError, match="'events' has no value"):
        ConditionSet([condition("events > 3")]).evaluate({})


def test_a_condition_may_end_in_a_comment() -> None:
    assert ConditionSet([condition("'true // always'"), condition("false")]).evaluate({}) == [True, False]


def test_conditions_travel_to_a_worker() -> None:
    many = ConditionSet([condition("events > 3"), condition('stage == "x"')])
    many.evaluate(VALUES)
    copy: ConditionSet = pickle.loads(pickle.dumps(many))  # noqa: S301
    assert copy.evaluate(VALUES) == [True, False]
    assert copy.names == many.names


def test_conditions_of_two_vocabularies_are_not_evaluated_together() -> None:
    other = Vocabulary({"events": conditions.INT})
    with pytest.raises(ValueError, match="one vocabulary"):
        ConditionSet([condition("true"), condition("true", other)])


def test_no_conditions_give_no_verdicts() -> None:
    assert ConditionSet([]).evaluate({}) == []


@given(st.lists(st.sampled_from(["events > 3", "rate < 0.2", "is_known", "1 / events > 0", "!is_known"]), max_size=100))
def test_together_conditions_say_what_each_says_alone(texts: list[str]) -> None:
    values = {**VALUES, "events": 0}
    compiled = [condition(text if text[0] != "!" else f"'{text}'") for text in texts]
    together = [str(verdict) for verdict in ConditionSet(compiled).verdicts(values)]
    assert together == [str(ConditionSet([one]).verdicts(values)[0]) for one in compiled]


def test_ten_conditions_cost_some_tens_of_microseconds() -> None:
    many = ConditionSet([condition(f"events > {n} && rate < 0.9") for n in range(10)])
    many.evaluate(VALUES)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(500):
            many.evaluate(VALUES)
        best = min(best, (time.perf_counter() - start) / 500)
    assert best < 200e-6
