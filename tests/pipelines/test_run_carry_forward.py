"""A device that is carried forward, through whole runs: each login has its part of it, in any order, over any number
of runs, and what was decided follows the part it was decided in."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_world import DAY, HOUR, MINUTE, NOON, SHIPPED_IDENTITY, Record, Runs, assert_same, event, shuffled

from contracts.event import Identifier
from transforms.identity.ids import canonical_id

TV, ANN, BOB = {"anonymous_id": "the-tv"}, {"user_id": "ann"}, {"user_id": "bob"}
CONSENT = {"email": True, "ads": True, "push": True, "sales": True}


def browsing(prefix: str, start: int, ids: dict[str, str]) -> list[Record]:
    names = ("home_view", "product_view", "comparison_view", "pricing_view", "pricing_view", "add_to_cart")
    return [event(f"{prefix}{i}", name, start + i * MINUTE, ids, consent=CONSENT) for i, name in enumerate(names)]


def evening(*, logout: bool) -> list[Record]:
    """Ann, then Bob, and (after logouts, perhaps) nobody; each with events that name no login."""
    left = [event("out", "logout", NOON + DAY + 2 * HOUR, TV, consent=CONSENT)] if logout else []
    gone = [event("end", "logout", NOON + 2 * DAY + 2 * HOUR, TV, consent=CONSENT)] if logout else []
    return [
        *browsing("before", NOON, TV),
        event("ann", "login", NOON + DAY, {**TV, **ANN}, consent=CONSENT),
        *browsing("anns", NOON + DAY + HOUR, TV),
        *left,
        *browsing("after", NOON + DAY + 3 * HOUR, TV),
        event("bob", "login", NOON + 2 * DAY, {**TV, **BOB}, consent=CONSENT),
        *browsing("bobs", NOON + 2 * DAY + HOUR, TV),
        *gone,
        *browsing("tail", NOON + 2 * DAY + 3 * HOUR, TV),
    ]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    text = SHIPPED_IDENTITY.read_text(encoding="utf-8")
    assert "\nowner: carry_visit\n" in text
    (tmp_path / "identity.yaml").write_text(text.replace("\nowner: carry_visit\n", "\nowner: carry_forward\n"))
    path = tmp_path / "wayline.yaml"
    path.write_text("identity: identity.yaml\nshards: {strand: 4, journey: 4}\n", encoding="utf-8")
    return path


def persons_by_prefix(runs: Runs) -> dict[str, str | None]:
    names = {runs.person("user_id", "ann"): "ann", runs.person("user_id", "bob"): "bob"}
    names[canonical_id(Identifier(*runs.pseudonym("anonymous_id", "the-tv")))] = "tv"
    found = runs.query("SELECT DISTINCT regexp_replace(event_id, '^e|[0-9]+$', '', 'g'), person_id FROM events")
    assert len(found) == len({prefix for prefix, _ in found}), "one person a stretch"
    return {prefix: names.get(person) for prefix, person in found}


def test_each_login_has_its_part_of_a_shared_device(tmp_path: Path, config: Path) -> None:
    runs = Runs(tmp_path / "runs", config)
    runs.run(evening(logout=True))
    assert persons_by_prefix(runs) == {
        "before": "ann",
        "ann": "ann",
        "anns": "ann",
        "out": "ann",
        "after": "bob",
        "bob": "bob",
        "bobs": "bob",
        "end": "bob",
        "tail": "tv",
    }
    tv = canonical_id(Identifier(*runs.pseudonym("anonymous_id", "the-tv")))
    assert runs.query(f"SELECT is_current, merged_into FROM persons WHERE person_id = '{tv}'") == [(True, None)]


def test_without_a_stretch_of_its_own_the_device_is_an_alias_of_who_had_it_last(tmp_path: Path, config: Path) -> None:
    runs = Runs(tmp_path / "runs", config)
    runs.run(evening(logout=False))
    assert persons_by_prefix(runs)["after"] == "ann"
    tv = canonical_id(Identifier(*runs.pseudonym("anonymous_id", "the-tv")))
    bob = runs.person("user_id", "bob")
    assert runs.query(f"SELECT is_current, merged_into FROM persons WHERE person_id = '{tv}'") == [(False, bob)]


@pytest.mark.parametrize("logout", [True, False])
def test_any_order_over_any_number_of_runs_gives_the_same_tables(tmp_path: Path, config: Path, logout: bool) -> None:
    records = evening(logout=logout)
    whole = Runs(tmp_path / "whole", config)
    whole.run(records)
    parts = Runs(tmp_path / "parts", config)
    mixed = shuffled(records, 5)
    for start in range(0, len(mixed), 9):
        parts.run(mixed[start : start + 9])
    assert_same(parts.views(), whole.views())


def test_decisions_stay_with_the_stretch_they_were_made_in(tmp_path: Path, config: Path) -> None:
    runs = Runs(tmp_path / "runs", config)
    records = evening(logout=False)
    first = [r for r in records if r["event_time"] < NOON + 2 * DAY]
    runs.run(first)
    anns = set(runs.query("SELECT decision_id, person_id FROM decisions"))
    assert {person for _, person in anns} == {runs.person("user_id", "ann")}
    runs.run(records[len(first) :])
    later = set(runs.query("SELECT decision_id, person_id FROM decisions"))
    assert anns <= later
    assert {person for _, person in later - anns} <= {runs.person("user_id", "ann"), runs.person("user_id", "bob")}
    # Bob's drip and caps begin with Bob: nothing of the stretch before counts against him
    bob = runs.person("user_id", "bob")
    assert runs.query(f"SELECT count(*) FROM decisions WHERE person_id = '{bob}'")[0][0] > 0
