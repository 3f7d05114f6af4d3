"""Decisions come back from their bodies as they were, whoever reads them."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from contracts.exchange import Candidate, Decision
from transforms.stores.decision_code import DecisionCode

TEXT = st.text(max_size=8)
CANDIDATES = st.builds(
    Candidate,
    name=TEXT,
    action=TEXT,
    channel=TEXT,
    priority=st.floats(allow_nan=False),
    dropped_by=st.none() | TEXT,
    reason=TEXT,
)
DECISIONS = st.builds(
    Decision,
    decision_id=TEXT,
    person_id=TEXT,
    anchor_strand=TEXT,
    at=st.integers(-(2**62), 2**62),
    slot=TEXT,
    trigger=TEXT,
    stage=TEXT,
    chosen=TEXT,
    channel=st.none() | TEXT,
    template=st.none() | TEXT,
    plan=st.none() | TEXT,
    plan_step=st.none() | st.integers(0, 9),
    candidates=st.lists(CANDIDATES, max_size=4).map(tuple),
    reason=TEXT,
    policy_version=TEXT,
    model_version=st.none() | TEXT,
    ontology_version=TEXT,
    propensity=st.floats(0, 1),
    features=st.dictionaries(TEXT, st.floats(allow_nan=False), max_size=4),
    facts=st.dictionaries(TEXT, st.booleans() | st.integers(-9, 9) | st.floats(-1, 1) | TEXT, max_size=4),
    consent=st.dictionaries(TEXT, st.booleans(), max_size=3),
    session_id=st.none() | TEXT,
    purpose=st.none() | TEXT,
)


@given(st.lists(DECISIONS, min_size=1, max_size=4))
def test_a_decision_is_read_back_by_another_reader_with_types_and_order(decisions: list[Decision]) -> None:
    writer, words = DecisionCode(), {}
    bodies = []
    for decision in [*decisions, *decisions]:
        bodies.append(writer.encode(decision))
        words.update(writer.unsaved)
        writer.saved()
    reader = DecisionCode()
    found = [reader.decode(body, words.__getitem__) for body in bodies]
    assert found == [*decisions, *decisions]
    for read, wrote in zip(found, [*decisions, *decisions], strict=True):
        assert repr(read) == repr(wrote)


def test_what_repeats_is_written_once() -> None:
    candidate = Candidate("mail", "template", "email", 1.0, "consent", "consent for email is not granted")
    made = DecisionCode()
    decision = Decision(
        "d", "p", "s", 1, "customer", "session", "discovery", "nothing", None, None, None, None, (candidate,) * 3,
        "nothing", "v", None, "o", 1.0, {"a_long_name": 1.0}, {"another_long_name": 2}, {},
    )  # fmt: skip
    first = made.encode(decision)
    assert len(made.unsaved) == 3
    made.saved()
    assert made.encode(dataclasses.replace(decision, decision_id="e")) != first
    assert not made.unsaved
    assert b"long_name" not in first
    assert b"granted" not in first


def test_words_stay_unsaved_until_the_store_says_so() -> None:
    candidate = Candidate("mail", "template", "email", 1.0, None, "")
    made = DecisionCode()
    decision = Decision(
        "d", "p", "s", 1, "customer", "session", "discovery", "mail", "email", "template", None, None, (candidate,),
        "mail", "v", None, "o", 1.0, {}, {}, {},
    )  # fmt: skip
    made.encode(decision)
    pending = dict(made.unsaved)
    made.encode(decision)  # the transaction failed, and is tried again
    assert made.unsaved == pending
