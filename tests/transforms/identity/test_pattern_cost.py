"""A pattern that can look at a value for ever is refused before it sees one, and no other is."""

from __future__ import annotations

import re
import time

import pytest

from contracts import documents
from contracts.errors import ConfigurationError
from transforms.identity.pattern_cost import cost_of
from transforms.identity.values import DEFAULT_BLOCK, DEFAULT_BLOCKED_PATTERNS, MAX_LENGTH, Block

ENDLESS = (
    "(a+)+b",
    "(a*)*b",
    "(a|a)*b",
    "(a|b|ab)*c",
    "(?:a+|b)*c",
    r"([0-9]+\.?)+x",
    r"(\w+\s?)*!",
    "((ab*)+)+c",
    "(x{1,30}){1,30}y",
    r"(a+)+\1b",
    "(?=(a+)+b).*",
    "(?>(a+)+b)",
    ".*a.*b.*c",
    "a?" * 30 + "a" * 30,
    "(?:(?:a?){9}){9}b",
)
HARMLESS = (
    *DEFAULT_BLOCKED_PATTERNS,
    "bot-[0-9]+",
    r"(?![a-z0-9+_.-]+@.+).*",
    r"[^@]+@[^.]+\..+",
    "([a-z]+-)+x",
    "(a|b)*",
    ".*a.*b",
    r"(?:test|demo|qa).*@example\.(com|org|net)",
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    r"(.)\1+",
    r"\w+\s?\w+",
    "0{8}-0{4}",
)


def blocking(pattern: str) -> Block:
    quoted = pattern.replace("'", "''")
    return DEFAULT_BLOCK.extended(documents.parse(f"patterns: ['{quoted}']", "identity.yaml"))


@pytest.mark.parametrize("pattern", ENDLESS)
def test_a_pattern_that_could_take_for_ever_is_refused_by_its_line_and_what_mends_it(pattern: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        blocking(pattern)
    assert "identity.yaml" in str(refused.value)
    assert "too many ways" in refused.value.message
    assert refused.value.hint is not None
    assert "no repeat into a repeat" in refused.value.hint


@pytest.mark.parametrize("pattern", HARMLESS)
def test_a_pattern_with_an_end_is_taken_and_comes_to_it(pattern: str) -> None:
    assert pattern in blocking(pattern).patterns
    compiled = re.compile(pattern, re.IGNORECASE)
    worst = 0.0
    for unit in ("a", "ab", "0", "a-", "@.", " ", "test@", "a@test.", "\u00e9"):
        for end in ("", "!", "\n"):
            value = (unit * MAX_LENGTH)[: MAX_LENGTH - 1] + end
            begun = time.thread_time()
            compiled.fullmatch(value)
            worst = max(worst, time.thread_time() - begun)
    assert worst < 2.0


def test_steps_are_a_bound_of_what_an_endless_pattern_takes_on_short_values() -> None:
    # on twelve letters every pattern has an end, and the count is what grows
    steps = [cost_of("(a+)+b", length).steps for length in (4, 8, 12)]
    assert steps[0] * 10 < steps[1]
    assert steps[1] * 10 < steps[2]
    linear = [cost_of("[^@]+@[^.]+", length).steps for length in (100, 200)]
    assert linear[1] < 2.1 * linear[0]
