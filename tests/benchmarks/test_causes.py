"""Why an event went wrong: one small story a cause, told in identifiers, resolved by the real rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.identity.agreement import Table, by_event
from benchmarks.identity.assigned import Scene, by_rules, naively, reach, scene_of
from benchmarks.identity.causes import CAUSES, Cause, causes_of
from benchmarks.identity.compare import variants
from benchmarks.identity.evidence import Evidence
from contracts.event import Identifier
from contracts.exchange import Assignment
from transforms.identity.evidence import LinkBook
from transforms.identity.resolve import resolve
from transforms.identity.rules import StrandKey

ROOT = Path(__file__).parents[2]
RULES = variants(ROOT / "ontology" / "identity.yaml")[0]
SPACES = {"c": "anonymous_id", "u": "user_id", "m": "email_sha256", "p": "phone", "d": "device_id"}

Told = tuple[str, str, int]
"""One event: true person, identifiers such as ``c1 u1`` (cookie 1, login 1), visit (0 for none). Time is its place."""


def scene_and_evidence(story: Sequence[Told]) -> tuple[Scene, Evidence]:
    rules = RULES["last_known"]
    book = LinkBook(rules)
    rows: dict[tuple[Identifier, ...], int] = {}
    places: list[int] = []
    for at, (_, named, _) in enumerate(story):
        identifiers = tuple(sorted(Identifier(SPACES[word[0]], word[1:]) for word in named.split()))
        book.observe(identifiers, "page_view", f"e{at:04d}", at, at)
        places.append(rows.setdefault(identifiers, len(rows)))
    names = sorted({person for person, _, _ in story})
    evidence = Evidence(
        np.arange(len(story), dtype=np.uint64),
        np.arange(len(story), dtype=np.int64),
        np.array([visit for _, _, visit in story], dtype=np.uint64),
        np.array(places, dtype=np.int64),
        list(rows),
        book.drain(),
        Counter(),
        len(story),
    )
    person = np.array([names.index(person) for person, _, _ in story], dtype=np.int64)
    return scene_of(evidence, rules, person, len(names)), evidence


def causes(story: Sequence[Told], policy: str = "last_known", public_after: int = 3) -> list[str]:
    """The cause of each event, empty for one that is with its person."""
    scene, evidence = scene_and_evidence(story)
    predicted = (
        naively(scene)
        if policy == "naive"
        else by_rules(scene, resolve(evidence.links, RULES[policy]).assignments(), RULES[policy]).person
    )
    attribution = by_event(Table.of(scene.person, predicted))
    found = causes_of(scene, reach(scene), predicted, attribution, public_after)
    return ["" if number < 0 else CAUSES[number].name for number in found.tolist()]


ANN_AT_HOME = [("ann", "c9 u1", 90), ("ann", "c9 u1", 90), ("ann", "c9 u1", 90), ("ann", "c9 u1", 90)]
BOB_AT_HOME = [("bob", "c8 u2", 80), ("bob", "c8 u2", 80), ("bob", "c8 u2", 80), ("bob", "c8 u2", 80)]


def test_a_cookie_that_was_cleared_before_any_login() -> None:
    assert causes([*ANN_AT_HOME, ("ann", "c1", 1)]) == [*[""] * 4, "cookie_never_named"]


def test_a_person_who_is_never_named_at_all() -> None:
    assert causes([("ann", "c1", 1), ("ann", "c1", 1), ("ann", "c2", 2)]) == ["", "", "person_never_named"]


def test_a_phone_number_that_never_stands_beside_the_login() -> None:
    assert causes([*ANN_AT_HOME, ("ann", "p1", 0)])[4:] == ["contact_never_tied"]


def test_a_household_address_says_nothing_of_who_read_it() -> None:
    story = [*ANN_AT_HOME, ("ann", "c9 u1 m1", 90), *BOB_AT_HOME, ("bob", "m1", 0)]
    assert causes(story)[-1] == "name_of_several"


def test_a_visit_to_a_shared_device_that_names_its_person_only_later() -> None:
    story = [*ANN_AT_HOME, *BOB_AT_HOME, ("ann", "c1", 1), ("ann", "c1 u1", 1), ("bob", "c1", 2), ("bob", "c1 u2", 2)]
    assert causes(story)[8:] == ["unnamed_part_of_visit", "", "", ""]


def test_a_visit_to_a_shared_device_that_names_nobody() -> None:
    story = [*ANN_AT_HOME, *BOB_AT_HOME, ("ann", "c1 u1", 1), ("ann", "c1", 3), ("bob", "c1 u2", 2)]
    assert causes(story)[8:] == ["", "quiet_visit", ""]
    # a right guess is no error
    assert causes(story, "first_known")[8:] == ["", "", ""]
    assert causes(story, "keep_apart")[8:] == ["", "quiet_visit", ""]


def test_a_guest_who_is_never_named_on_the_device() -> None:
    story = [*ANN_AT_HOME, *BOB_AT_HOME, ("ann", "c1 u1", 1), ("bob", "c1", 2)]
    assert causes(story)[8:] == ["", "guest_never_named"]


def test_a_public_device() -> None:
    people = [(name, f"c5 u{n}", n) for n, name in enumerate(("ann", "bob", "cay", "dan"), start=1)]
    story = [*ANN_AT_HOME, *people, ("ann", "c5", 1), ("ann", "c5", 7)]
    assert causes(story, "keep_apart")[-2:] == ["public_unnamed_part", "public_quiet"]
    assert causes(story, "last_known", public_after=4)[-2:] == ["unnamed_part_of_visit", "quiet_visit"]


def test_a_naive_union_unites_two_people_through_one_device() -> None:
    story = [*ANN_AT_HOME, ("ann", "c1 u1", 1), ("bob", "c1 u2", 2), ("bob", "c8 u2", 3)]
    assert causes(story, "naive") == [*[""] * 5, "wrongly_united", "wrongly_united"]
    assert causes(story) == [""] * 7


def test_what_can_be_known_is_never_with_somebody_else() -> None:
    story = [*ANN_AT_HOME, *BOB_AT_HOME, ("ann", "c1", 1), ("ann", "c1 u1", 1), ("bob", "c1", 2), ("bob", "c1", 0)]
    scene, _ = scene_and_evidence(story)
    found = reach(scene)
    assert by_event(Table.of(scene.person, found.person)).score.precision == 1.0
    assert found.attributable.tolist() == [True] * 10 + [False] * 2


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ann", "bob", "cay"]),
            st.sets(st.sampled_from(["c1", "c2", "c3", "m1", "m2", "p1"]), min_size=1, max_size=3),
            st.booleans(),
            st.integers(0, 1),
        ),
        min_size=1,
        max_size=25,
    ),
    st.sampled_from([*RULES, "naive"]),
)
@settings(deadline=None)
def test_each_error_has_one_cause_and_only_errors_have_one(
    events: list[tuple[str, set[str], bool, int]], policy: str
) -> None:
    logins = {"ann": "u1", "bob": "u2", "cay": "u3"}
    # a visit is one person's
    visits = {"ann": 1, "bob": 2, "cay": 3}
    story = [
        (person, " ".join(sorted(named | ({logins[person]} if login else set()))), visits[person] * visit)
        for person, named, login, visit in events
    ]
    scene, evidence = scene_and_evidence(story)
    found = reach(scene)
    predicted = (
        naively(scene)
        if policy == "naive"
        else by_rules(scene, resolve(evidence.links, RULES[policy]).assignments(), RULES[policy]).person
    )
    attribution = by_event(Table.of(scene.person, predicted))
    numbers = causes_of(scene, found, predicted, attribution, 8)
    right = attribution.main[scene.person] == predicted
    assert (right == (numbers < 0)).all()
    for number, attributable in zip(numbers[~right].tolist(), found.attributable[~right].tolist(), strict=True):
        assert CAUSES[number].unavoidable is not attributable
    assert by_event(Table.of(scene.person, found.person)).score.precision == 1.0


def test_an_assignment_that_changes_hands_is_followed_in_time() -> None:
    scene, _ = scene_and_evidence([("ann", "c1", 0), ("ann", "c1 u1", 0), ("bob", "c1", 0), ("bob", "c1 u2", 0)])
    device, ann, bob = (Identifier(SPACES[w[0]], w[1:]) for w in ("c1", "u1", "u2"))
    assignments = [
        Assignment(device, None, 1, ((-(2**62), "p_1"), (2, "p_2"))),
        Assignment(device, ann, 1, ((-(2**62), "p_1"),), erased_before=1),
        Assignment(device, bob, 1, ((-(2**62), "p_2"),)),
    ]
    given = by_rules(scene, assignments)
    first, last = given.person[0], given.person[-1]
    assert given.person.tolist() == [first, first, last, last]
    assert first < last, "numbers follow the ids of persons"
    assert given.erased.tolist() == [False, True, False, False]
    assert StrandKey(device, None) in scene.places.strands


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_every_cause_is_explained_on_the_page(cause: Cause) -> None:
    page = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    explained = page.partition("<!-- figures")[0] + page.partition("<!-- end of figures -->")[2]
    assert f"`{cause.name}`" in explained
