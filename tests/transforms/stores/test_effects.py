"""The effect store: first claim wins, results are recorded once, and nothing in doubt is sent again silently."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_world import ROOT, MakePlace, Place, another

from contracts import wire
from contracts.errors import OutputError
from contracts.event import DAY, HOUR
from contracts.exchange import Action, Candidate, Decision, History, Outcome
from transforms.stores.database import open_database
from transforms.stores.effect_store import SCHEMA
from transforms.stores.effects import DRY_RUN, EffectStore, Guards, PlannedAction, SendCap, Standing, open_effects

NOW = 1_700_000_000_000_000
GUARDS = Guards(duplicate_window=0)


def a_decision(n: int, *, strand: str = "s1", person: str = "p1", at: int | None = None, stage: str = "x") -> Decision:
    return Decision(
        decision_id=f"d{n}",
        person_id=person,
        anchor_strand=strand,
        at=NOW + n if at is None else at,
        slot="main",
        trigger="session",
        stage=stage,
        chosen="nurture",
        channel="email",
        template="hello",
        plan=None,
        plan_step=None,
        candidates=(Candidate("nurture", "hello", "email", 1.0, None, "chosen"),),
        reason="the only one",
        policy_version="v1",
        model_version=None,
        ontology_version="o1",
        propensity=1.0,
        features={"events": 3.0},
        facts={"is_known": True, "first_channel": "web"},
        consent={"email": True},
        purpose="email",
    )


def a_plan(n: int, *, decided_at: int | None = None, purpose: str | None = "email", **changes: object) -> PlannedAction:
    base = Action(f"a{n}", f"d{n}", "p1", "s1", "email", "hello", "pending", "", NOW, 0)
    action = replace(base, **changes)  # type: ignore[arg-type]
    return PlannedAction(action, NOW + n if decided_at is None else decided_at, purpose)


@pytest.fixture
def store(place: Place) -> Iterator[EffectStore]:
    opened = open_effects(place.address, timeout=5)
    yield opened
    opened.close()


# --- decisions ---------------------------------------------------------------------------------------------------


def test_a_decision_comes_back_as_it_was_stored(store: EffectStore) -> None:
    decision = a_decision(1)
    assert store.claim_decisions([decision]) == [decision]
    assert store.histories({"p1": ["s1"]})["p1"].decisions == (decision,)


def test_the_first_claim_of_a_decision_wins(store: EffectStore) -> None:
    first = a_decision(1, stage="discovery")
    store.claim_decisions([first])
    again = store.claim_decisions([a_decision(2), a_decision(1, stage="customer"), a_decision(2, stage="late")])
    assert again == [a_decision(2), first, a_decision(2)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.tuples(st.integers(0, 6), st.sampled_from("abc")), max_size=6), max_size=6))
def test_claims_equal_a_dictionary_that_never_overwrites(
    make_place: MakePlace, batches: list[list[tuple[int, str]]]
) -> None:
    store = open_effects(make_place().address)
    oracle: dict[int, Decision] = {}
    for batch in batches:
        asked = [a_decision(n, stage=stage) for n, stage in batch]
        expected = [oracle.setdefault(n, decision) for (n, _), decision in zip(batch, asked, strict=True)]
        assert store.claim_decisions(asked) == expected
    assert list(store.histories({"p1": ["s1"]})["p1"].decisions) == sorted(oracle.values(), key=lambda d: d.at)
    store.close()


def test_a_history_gathers_the_strands_a_person_holds_now(store: EffectStore) -> None:
    store.claim_decisions([a_decision(1), a_decision(2, strand="s2", person="p2"), a_decision(3, strand="s3")])
    store.claim_actions([a_plan(1), a_plan(2, anchor_strand="s2", person_id="p2")], GUARDS)
    found = store.histories({"p1": ["s1", "s2"], "p9": ["s9"]})
    assert [decision.decision_id for decision in found["p1"].decisions] == ["d1", "d2"]
    assert [action.action_id for action in found["p1"].actions] == ["a1", "a2"]
    assert found["p1"].last_decided == NOW + 2
    assert found["p9"] == History()


# --- actions -----------------------------------------------------------------------------------------------------


def test_the_first_claim_of_an_action_is_the_only_one_to_send(store: EffectStore) -> None:
    assert store.claim_actions([a_plan(1)], GUARDS)[0].mine
    (sent,) = store.advance([], ["a1"])
    store.advance([replace(a_plan(1).action, status="sent", reason="200", attempts=1)], [])
    action, mine = store.claim_actions([a_plan(1)], GUARDS)[0]
    assert (sent, action.status, action.reason, action.attempts, mine) == ("a1", "sent", "200", 1, False)


def test_an_intent_is_recorded_once(store: EffectStore) -> None:
    store.claim_actions([a_plan(1)], GUARDS)
    assert store.advance([], ["a1"]) == {"a1"}
    assert store.advance([], ["a1"]) == frozenset()


def test_an_action_of_a_living_process_is_left_to_it(store: EffectStore, place: Place) -> None:
    store.claim_actions([a_plan(1)], GUARDS)
    other = open_effects(place.address)
    action, mine = other.claim_actions([a_plan(1)], GUARDS)[0]
    assert (action.status, mine) == ("pending", False)
    assert other.advance([], ["a1"]) == frozenset()
    other.close()


def test_a_claim_without_intent_is_taken_over_from_the_dead(store: EffectStore, place: Place) -> None:
    other = open_effects(place.address)
    other.claim_decisions([a_decision(1)])
    other.claim_actions([a_plan(1)], GUARDS)
    other.close()
    assert [decision.decision_id for decision in store.unfinished()] == ["d1"]
    assert store.claim_actions([a_plan(1)], GUARDS)[0].mine


def test_an_intent_of_the_dead_is_in_doubt_and_not_sent(store: EffectStore, place: Place) -> None:
    other = open_effects(place.address)
    other.claim_actions([a_plan(1)], GUARDS)
    other.advance([], ["a1"])
    other.close()
    assert store.action_counts()["in_doubt"] == 1
    for _ in range(2):
        action, mine = store.claim_actions([a_plan(1)], GUARDS)[0]
        assert (action.status, action.attempts, mine) == ("in_doubt", 1, False)


def test_an_intent_of_the_dead_is_sent_again_where_the_channel_allows_it(store: EffectStore, place: Place) -> None:
    other = open_effects(place.address)
    other.claim_actions([a_plan(1), a_plan(2)], GUARDS)
    other.advance([], ["a1", "a2"])
    other.close()
    allowed = replace(GUARDS, retry_in_doubt=frozenset({"email"}))
    assert store.claim_actions([a_plan(1)], allowed)[0].mine
    stale = a_plan(2, status="suppressed", reason="stale")
    action, mine = store.claim_actions([stale], allowed)[0]
    assert (action.status, mine) == ("in_doubt", False), "what may have been sent is never called suppressed"


def test_a_pending_action_that_became_stale_is_suppressed(store: EffectStore, place: Place) -> None:
    other = open_effects(place.address)
    other.claim_actions([a_plan(1), a_plan(2)], GUARDS)
    other.close()
    assert (
        store.claim_actions([a_plan(1, status="suppressed", reason="stale")], GUARDS)[0].action.status == "suppressed"
    )
    assert store.claim_actions([a_plan(2, status="suppressed", reason=DRY_RUN)], GUARDS)[0].action.status == "pending"


# --- what is checked again ---------------------------------------------------------------------------------------


def test_consent_withdrawn_after_the_decision_suppresses(store: EffectStore) -> None:
    store.claim_decisions((), standings=[Standing("p1", ("s1",), NOW + 50, {"email": False})])
    store.claim_decisions((), standings=[Standing("p1", ("s1",), NOW + 40, {"email": True})])
    claimed = store.claim_actions([a_plan(1), a_plan(60), a_plan(2, purpose=None)], GUARDS)
    assert [c.action.status for c in claimed] == ["suppressed", "pending", "pending"]
    assert "consent" in claimed[0].action.reason


@pytest.mark.parametrize(
    ("answers", "at", "expected"),
    [
        (None, NOW + 5, "suppressed"),
        ("a_email", NOW + 5, "suppressed"),
        ("a_push", NOW + 5, "pending"),
        (None, NOW - 5, "pending"),
    ],
)
def test_an_opt_out_after_the_decision_suppresses_its_channel(
    store: EffectStore, answers: str | None, at: int, expected: str
) -> None:
    by_email = a_plan(7, action_id="a_email", status="suppressed", person_id="p2")
    by_push = a_plan(8, action_id="a_push", status="suppressed", person_id="p2", channel="push")
    store.claim_actions([by_email, by_push], GUARDS)
    store.claim_decisions((), outcomes=[Outcome("o1", answers, "p1", "s5", "unsubscribed", at, at)])
    assert store.claim_actions([a_plan(1)], GUARDS)[0].action.status == expected


def test_the_same_message_twice_is_a_duplicate(store: EffectStore) -> None:
    guards = Guards(duplicate_window=HOUR)
    plans = [
        a_plan(1),
        a_plan(2, decided_at=NOW + HOUR // 2),
        a_plan(3, decided_at=NOW + 2 * HOUR),
        a_plan(4, template="x"),
    ]
    assert [c.mine for c in store.claim_actions(plans, guards)] == [True, False, True, True]


def test_a_cap_counts_what_was_sent_under_every_strand_of_the_person(store: EffectStore) -> None:
    guards = Guards(caps=(SendCap(DAY, 2, ("email", "push")),), duplicate_window=0)
    store.claim_actions([a_plan(1, person_id="p2", anchor_strand="s2"), a_plan(2)], guards)
    assert store.claim_actions([a_plan(3)], guards)[0].mine, "p2 is somebody else"
    store.claim_decisions((), standings=[Standing("p1", ("s1", "s2"), NOW)])
    claimed = store.claim_actions(
        [
            a_plan(4),
            a_plan(5, channel="ads"),
            a_plan(6, decided_at=NOW + 2 * DAY),
            a_plan(7, anchor_strand="s2", person_id="p2"),
        ],
        guards,
    )
    assert [c.mine for c in claimed] == [False, True, True, False]
    assert claimed[3].action.person_id == "p1", "the action belongs to who the person is now"


def test_what_was_decided_while_a_strand_was_anothers_stays_with_whom_it_was_decided_about(store: EffectStore) -> None:
    # the device was p1's, then p2's: in whatever order both are noted and acted on
    store.claim_decisions((), standings=[Standing("p2", ("s1",), NOW, since={"s1": NOW + HOUR})])
    store.claim_decisions((), standings=[Standing("p1", (), NOW)])
    before, after = a_plan(1, person_id="p1"), a_plan(2, person_id="p1", decided_at=NOW + HOUR)
    claimed = store.claim_actions([before, after], Guards())
    assert [c.action.person_id for c in claimed] == ["p1", "p2"]
    store.claim_decisions((), standings=[Standing("p2", ("s1",), NOW)])
    (again,) = store.claim_actions([a_plan(3, person_id="p1")], Guards())
    assert again.action.person_id == "p2", "all of it is p2's now"


def test_what_follows_from_an_event_of_the_owner_before_is_the_owners_though_it_is_decided_later(
    store: EffectStore,
) -> None:
    guards = Guards(caps=(SendCap(DAY, 1),), duplicate_window=0)
    follows = replace(a_plan(1, person_id="p1", decided_at=NOW + 2 * HOUR), anchor_at=NOW)
    store.claim_decisions((), standings=[Standing("p1", (), NOW, until={"s1": NOW + HOUR})])
    assert [c.action.person_id for c in store.claim_actions([follows], guards)] == ["p1"]
    store.claim_decisions((), standings=[Standing("p2", ("s1",), NOW, since={"s1": NOW + HOUR})])
    again = replace(a_plan(2, person_id="p1", decided_at=NOW + 2 * HOUR), anchor_at=NOW)
    own = replace(a_plan(3, person_id="p2", decided_at=NOW + 2 * HOUR), anchor_at=NOW + HOUR)
    claimed = store.claim_actions([again, own], guards)
    assert [(c.action.person_id, c.mine) for c in claimed] == [("p1", False), ("p2", True)], "each has a cap of its own"


def test_an_opt_out_is_of_who_had_the_strand_then(store: EffectStore) -> None:
    store.claim_decisions(
        (),
        standings=[Standing("p2", ("s1",), NOW, since={"s1": NOW + HOUR})],
        outcomes=[Outcome("o1", None, "p1", "s1", "unsubscribed", NOW + 10, NOW)],
    )
    asked = replace(a_plan(1, person_id="p2", decided_at=NOW), anchor_at=NOW + HOUR)
    assert store.claim_actions([asked], Guards())[0].mine
    store.claim_decisions((), standings=[Standing("p2", ("s1",), NOW)])
    asked = a_plan(2, person_id="p2", decided_at=NOW)
    assert not store.claim_actions([asked], Guards(duplicate_window=0))[0].mine, "all of it is p2's now"


def test_an_old_owner_is_forgotten_when_others_have_the_strand_in_turn(store: EffectStore) -> None:
    store.claim_decisions((), standings=[Standing("nobody", ("s1", "s2"), NOW)])
    store.claim_decisions((), standings=[Standing("p1", (), NOW + 1, until={"s1": NOW + HOUR})])
    (claimed,) = store.claim_actions([a_plan(1, person_id="p1")], Guards())
    assert claimed.action.person_id == "p1", "though the next owner is not noted yet"
    store.claim_decisions((), standings=[Standing("p2", ("s1",), NOW + 1, since={"s1": NOW + HOUR})])
    store.claim_decisions((), standings=[Standing("p1", (), NOW + 2, until={"s1": NOW + HOUR})])
    (claimed,) = store.claim_actions([replace(a_plan(2, person_id="p1"), anchor_at=NOW + HOUR)], Guards())
    assert claimed.action.person_id == "p2", "who is noted since then stays so"
    store.claim_decisions((), standings=[Standing("nobody", (), NOW + 3)])
    (claimed,) = store.claim_actions([a_plan(3, person_id="p3", anchor_strand="s2")], Guards())
    assert claimed.action.person_id == "p3", "what a person does not have any more is not kept"


def test_what_was_suppressed_uses_up_no_cap(store: EffectStore) -> None:
    guards = Guards(caps=(SendCap(DAY, 1),), duplicate_window=0)
    store.claim_actions([a_plan(1, status="suppressed", reason=DRY_RUN)], guards)
    assert [c.mine for c in store.claim_actions([a_plan(2), a_plan(3)], guards)] == [True, False]


# --- outcomes, erasure -------------------------------------------------------------------------------------------


def test_outcomes_are_kept_once_by_id(store: EffectStore) -> None:
    first = Outcome("o1", "a1", "p1", "s1", "opened", NOW, NOW)
    corrected = replace(first, kind="clicked", value=2.5)
    store.claim_decisions((), outcomes=[first])
    store.claim_decisions((), outcomes=[corrected])
    assert store.outcomes(["s1", "s2"]) == (corrected,)


def test_a_receipt_finds_the_strand_of_its_action(store: EffectStore) -> None:
    store.claim_actions([a_plan(1)], GUARDS)
    found = store.find_action("a1")
    assert found is not None
    assert found.anchor_strand == "s1"
    assert store.find_action("unknown") is None


def test_purge_erases_up_to_a_time_and_only_these_strands(store: EffectStore) -> None:
    store.claim_decisions([a_decision(1), a_decision(9), a_decision(2, strand="s2")])
    store.claim_actions([a_plan(1), a_plan(9)], GUARDS)
    store.claim_decisions((), outcomes=[Outcome("o1", "a1", "p1", "s1", "opened", NOW + 3, NOW)])
    assert store.purge(["s1"], NOW + 5) == 3
    left = store.histories({"p1": ["s1"], "p2": ["s2"]})
    assert [decision.decision_id for decision in left["p1"].decisions] == ["d9"]
    assert [decision.decision_id for decision in left["p2"].decisions] == ["d2"]
    assert store.advance([], ["a1", "a9"]) == {"a9"}, "an erased action is not sent"


def test_purge_erases_what_time_alone_led_to_after_the_event_that_is_erased(store: EffectStore) -> None:
    of_erased, of_later = (replace(a_decision(20 + n), anchor_at=NOW + at) for n, at in ((0, 5), (1, 6)))
    plans = [replace(a_plan(20 + n), anchor_at=NOW + at) for n, at in ((0, 5), (1, 6))]
    store.claim_decisions([of_erased, of_later])
    store.claim_actions(plans, GUARDS)
    assert store.mark_erased(["s1"], NOW + 5) == (("d20",), ("a20",))
    late = replace(a_decision(22), at=NOW + 5)
    assert store.claim_decisions([late]) == [], "what is not among the ids is not taken any more"
    assert store.purge(["s1"], NOW + 5) == 2
    assert store.histories({"p1": ["s1"]})["p1"].decisions == (of_later,)
    assert store.claim_decisions([of_erased, of_later]) == [of_later]
    assert [action.action_id for action, _ in store.claim_actions(plans, GUARDS)] == ["a21"]


def test_what_was_erased_is_not_claimed_again_by_who_goes_back_or_has_not_heard(store: EffectStore) -> None:
    store.purge(["s1"], NOW + 5)
    store.purge(["s1"], NOW + 3)
    old, new, other = a_decision(5), a_decision(6), a_decision(1, strand="s2")
    answers = [Outcome(f"o{at}", None, "p1", "s1", "opened", NOW + at, NOW) for at in (5, 6)]
    assert store.claim_decisions([new, old, other], outcomes=answers) == [new, other]
    claimed = store.claim_actions([a_plan(5), a_plan(6), a_plan(1, status="suppressed")], GUARDS)
    assert [action.action_id for action, _ in claimed] == ["a6"]
    assert store.histories({"p1": ["s1"]})["p1"].decisions == (new,)
    assert store.outcomes(["s1"]) == (answers[1],)
    assert store.find_actions(["a1", "a5", "a6"]).keys() == {"a6"}


# --- the database ----------------------------------------------------------------------------------------------------


def test_a_newer_layout_is_refused(store: EffectStore, place: Place) -> None:
    place.behind("INSERT INTO migrations VALUES ('effects', 99, 'from the future')")
    with pytest.raises(OutputError, match="layout 99 of effects"):
        open_effects(place.address)


def test_a_store_of_two_indexes_of_decisions_is_taken_on_with_all_that_it_holds(place: Place) -> None:
    made = open_effects(place.address)
    made.claim_decisions([a_decision(1), a_decision(2, strand="s2")])
    made.close()
    before = replace(SCHEMA, migrations=SCHEMA.migrations[:4])
    place.behind(
        "DROP TABLE erased",
        "DROP INDEX decisions_of_strands",
        "CREATE UNIQUE INDEX decisions_by_id ON decisions (decision_id)",
        "CREATE INDEX decisions_by_strand ON decisions (anchor_strand)",
        f"DELETE FROM migrations WHERE store = 'effects' AND version > {len(before.migrations)}",
    )
    open_database(place.address, before).close()
    store = open_effects(place.address)
    assert store.claim_decisions([a_decision(2, strand="s2", stage="late")]) == [a_decision(2, strand="s2")]
    assert store.histories({"p1": ["s1", "s2"]})["p1"].decisions == (a_decision(1), a_decision(2, strand="s2"))
    store.close()
    with pytest.raises(OutputError, match=f"layout {len(SCHEMA.migrations)} of effects"):
        open_database(place.address, before)


_WRITER = """
import sys
sys.path[:0] = sys.argv[1].split(":")
from dataclasses import replace
from store_world import address_of
from contracts import wire
from contracts.exchange import Decision
from transforms.stores.effects import open_effects
first = wire.unpack(Decision, bytes.fromhex(sys.argv[4]))
store = open_effects(address_of(sys.argv[2:]))
for start in range(0, 200, 20):
    numbers = range(start, start + 20)
    store.claim_decisions([replace(first, decision_id=f"d{n}", at=first.at + n) for n in numbers])
"""


def test_processes_write_at_once_and_each_id_has_one_winner(place: Place) -> None:
    packed = [wire.pack(a_decision(0, stage=who)).hex() for who in ("left", "middle", "right")]
    writers = [subprocess.Popen(another(_WRITER, place, one), cwd=ROOT) for one in packed]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    store = open_effects(place.address)
    kept = store.histories({"p1": ["s1"]})["p1"].decisions
    assert [decision.decision_id for decision in kept] == [f"d{n}" for n in range(200)]
    assert store.claim_decisions([a_decision(n, stage="later") for n in range(200)]) == list(kept)
    store.close()
