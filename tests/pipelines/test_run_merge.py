"""A login joins what was two: the retired is taken back everywhere, what was decided stays and is not repeated."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from run_world import DAY, MINUTE, NOON, Record, Row, Runs, event

from contracts.event import Identifier
from features.names import ROWS
from features.online_table import ONLINE_FILE, OnlineTable
from transforms.identity.ids import canonical_id

DEVICE, USER = {"anonymous_id": "kim-cookie"}, {"user_id": "kim-the-user"}
CONSENT = {"email": True, "ads": True, "push": True, "sales": True}


def browsing(prefix: str, start: int, ids: dict[str, str]) -> list[Record]:
    names = ("home_view", "product_view", "comparison_view", "pricing_view", "pricing_view", "add_to_cart")
    return [event(f"{prefix}{i}", name, start + i * MINUTE, ids, consent=CONSENT) for i, name in enumerate(names)]


@pytest.fixture(scope="module")
def merged(make_runs: Callable[[str], Runs]) -> tuple[Runs, list[Row], str]:
    """Run 1: a cookie, and a user elsewhere. Run 2: the user logs in on that device. With the decisions after run 1."""
    runs = make_runs("merge")
    runs.run([*browsing("a", NOON, DEVICE), *browsing("b", NOON + DAY, {"crm_id": "crm-1", **USER})])
    before = runs.query('SELECT decision_id, "at", person_id FROM decisions ORDER BY 1')
    retired = runs.person("anonymous_id", "kim-cookie")
    assert retired is not None
    assert retired == canonical_id(Identifier(*runs.pseudonym("anonymous_id", "kim-cookie")))
    runs.run([event("login", "login", NOON + 2 * DAY, {**DEVICE, **USER}, consent=CONSENT)])
    return runs, before, retired


def test_the_retired_person_is_an_alias_of_the_survivor(merged: tuple[Runs, list[Row], str]) -> None:
    runs, _, retired = merged
    survivor = runs.person("user_id", "kim-the-user")
    assert survivor is not None
    assert survivor != retired
    assert runs.query(f"SELECT is_current, merged_into FROM persons WHERE person_id = '{retired}'") == [
        (False, survivor)
    ]
    assert runs.query("SELECT person_id FROM persons WHERE is_current") == [(survivor,)]
    assert runs.person("anonymous_id", "kim-cookie") == survivor


@pytest.mark.parametrize("table", ["events", "sessions", "journeys", "transitions", "features", "identifiers"])
def test_everything_that_was_the_retired_persons_is_the_survivors(
    merged: tuple[Runs, list[Row], str], table: str
) -> None:
    runs, _, _ = merged
    assert runs.query(f"SELECT DISTINCT person_id FROM {table}") == [(runs.person("user_id", "kim-the-user"),)]


def test_no_event_or_session_is_lost_or_doubled_by_a_merge(merged: tuple[Runs, list[Row], str]) -> None:
    runs, _, _ = merged
    assert runs.query("SELECT count(*), count(DISTINCT event_id) FROM events") == [(13, 13)]
    assert runs.query("SELECT count(*), sum(events) FROM sessions") == [(3, 13)]
    assert runs.query("SELECT count(*), sum(events) FROM journeys") == [(1, 13)]


def test_a_row_of_the_retired_person_gets_a_tombstone(merged: tuple[Runs, list[Row], str]) -> None:
    runs, _, retired = merged
    parts = runs.out / "tables" / "journeys" / "r*.parquet"
    found = runs.query(f"SELECT is_deleted, revision FROM read_parquet('{parts}') WHERE person_id = '{retired}'")
    assert sorted(found) == [(False, 1), (True, 2)]


def test_the_online_store_no_longer_holds_the_retired_person(merged: tuple[Runs, list[Row], str]) -> None:
    runs, _, retired = merged
    survivor = runs.person("user_id", "kim-the-user")
    assert survivor is not None
    online = OnlineTable(runs.out / "feast" / ONLINE_FILE, ROWS)
    gone, there = online.read([retired, survivor])
    online.close()
    assert gone is None
    assert there is not None
    assert there.revision == 2


def test_decisions_of_the_past_are_kept_and_not_made_again(merged: tuple[Runs, list[Row], str]) -> None:
    runs, before, _ = merged
    assert before
    after = runs.query('SELECT decision_id, "at", person_id FROM decisions ORDER BY 1')
    assert set(before) <= set(after)
    latest = max(at for _, at, _ in before)
    assert all(at > latest for _, at, _ in set(after) - set(before))
    decided = runs.query("SELECT count(*), count(DISTINCT decision_id) FROM actions")
    assert decided == [(len(after), len(after))]


def test_the_merge_is_the_one_run_over_all_events(merged: tuple[Runs, list[Row], str], runs: Runs) -> None:
    both, _, _ = merged
    login = event("login", "login", NOON + 2 * DAY, {**DEVICE, **USER}, consent=CONSENT)
    runs.run([login, *browsing("b", NOON + DAY, {"crm_id": "crm-1", **USER}), *browsing("a", NOON, DEVICE)])
    for name, rows in runs.views().items():
        assert both.views([name])[name] == rows, name


def test_the_most_restrictive_consent_survives_a_merge_whoever_said_it_last(runs: Runs) -> None:
    def consent_of(namespace: str, value: str) -> dict[str, bool]:
        person = runs.person(namespace, value)
        ((said,),) = runs.query(f"SELECT consent FROM journeys WHERE person_id = '{person}'")
        return dict(json.loads(said))

    refused, granted = {"ads": False, "email": True}, {"ads": True, "email": True}
    runs.run(
        [
            event("r", "home_view", NOON, DEVICE, consent=refused),
            event("g", "home_view", NOON + MINUTE, USER, consent=granted),
        ]
    )
    assert consent_of("anonymous_id", "kim-cookie") == refused
    assert consent_of("user_id", "kim-the-user") == granted
    runs.run([event("login", "login", NOON + DAY, {**DEVICE, **USER}, consent=granted)])
    assert consent_of("user_id", "kim-the-user") == refused
