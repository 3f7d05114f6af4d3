"""Data that nobody here made: an electronics store's log, and Snowplow's own two batches with the expected answer."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from run_world import KEY, Runs, assert_same

from benchmarks.real_data import SHOP_LOG, SNOWPLOW, missing
from pipelines.config import SHIPPED
from sources.importer.convert import import_files
from sources.importer.mapping_file import load_mapping
from transforms.dead_letter import DeadLetterBox
from transforms.keys import parse_key

EST = timezone(timedelta(hours=-5))


def imported(mapping: str, path: Path, to: Path) -> Path:
    """The folder of event files of one source file."""
    summary = import_files(
        [path], load_mapping(mapping, SHIPPED / "mappings"), to, DeadLetterBox(parse_key(KEY, "test")), lambda _: None
    )
    assert not summary.dead, summary.examples
    return to / "events"


def needed(path: Path) -> Path:
    if why := missing(path):
        pytest.skip(why)
    return path


# --- an electronics store ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ecom(make_runs: Callable[[str], Runs], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The whole log in one run."""
    events = imported("retentioneering", needed(SHOP_LOG), tmp_path_factory.mktemp("ecom"))
    runs = make_runs("ecom-run")
    runs.run_files(events)
    return runs


def test_every_event_of_the_store_is_accepted_and_the_ledger_balances(ecom: Runs) -> None:
    total = ecom.reports[0].total
    assert (total.received, total.accepted, total.missing) == (31_106, 31_106, 0)
    assert ecom.query("SELECT sum(received), sum(accepted) FROM run_ledger") == [(31_106, 31_106)]
    assert ecom.query("SELECT count(*), count(DISTINCT event_id) FROM events") == [(31_106, 31_106)]


def test_the_purchases_of_the_store_are_its_conversions(ecom: Runs) -> None:
    assert ecom.query("SELECT count(*) FROM events WHERE name = 'purchase'") == [(470,)]
    assert ecom.query("SELECT count(*) FROM outcomes WHERE kind = 'converted'") == [(470,)]
    assert ecom.query("SELECT sum(conversions) FROM sessions") == [(470,)]
    assert ecom.query("SELECT sum(conversions) FROM journeys") == [(470,)]


def test_every_user_of_the_store_is_a_person(ecom: Runs) -> None:
    assert ecom.query("SELECT count(*) FROM persons WHERE is_current") == [(600,)]
    assert ecom.query("SELECT count(*), count(DISTINCT person_id) FROM identifiers") == [(600, 600)]
    assert ecom.query("SELECT count(DISTINCT person_id) FROM events") == [(600,)]


def test_the_store_has_sessions_and_stages(ecom: Runs) -> None:
    assert ecom.query("SELECT sum(events) FROM sessions") == [(31_106,)]
    assert ecom.query("SELECT count(*) FROM journeys WHERE stage IS NULL") == [(0,)]
    stages = dict(ecom.query("SELECT to_stage, count(*) FROM transitions GROUP BY 1"))
    assert set(stages) == {"discovery", "consideration", "decision", "customer"}, stages
    buyers = ecom.query("SELECT count(DISTINCT person_id) FROM outcomes WHERE kind = 'converted'")
    assert ecom.query("SELECT count(DISTINCT person_id) FROM transitions WHERE to_stage = 'customer'") == buyers
    assert ecom.query("SELECT count(*) FROM decisions")[0][0] > 0


# --- Snowplow's two batches --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def snowplow(make_runs: Callable[[str], Runs], tmp_path_factory: pytest.TempPathFactory) -> tuple[Runs, list[Path]]:
    """Batch 1, then both batches, into one folder."""
    root = tmp_path_factory.mktemp("snowplow")
    batches = [
        imported("snowplow", needed(SNOWPLOW / name), root / name) for name in ("sp_event.csv", "sp_event_update.csv")
    ]
    runs = make_runs("snowplow-run")
    runs.run_files(batches[0], session_by="tracker")
    runs.run_files(*batches, session_by="tracker")
    return runs, batches


def expected_sessions() -> list[dict[str, str]]:
    with (SNOWPLOW / "snowplow_sessions_expected.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def instant(text: str) -> datetime:
    """The expected files state times in UTC-5."""
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=EST).astimezone(UTC)


def test_the_sessions_of_two_batches_are_those_expected(snowplow: tuple[Runs, list[Path]]) -> None:
    runs, _ = snowplow
    found = runs.query("SELECT tracker_session_id, started_at, ended_at FROM sessions ORDER BY 1")
    expected = [(r["session_id"], instant(r["session_start"]), instant(r["session_end"])) for r in expected_sessions()]
    assert found == sorted(expected)


def test_the_stitched_users_of_two_batches_are_those_expected(snowplow: tuple[Runs, list[Path]]) -> None:
    runs, _ = snowplow
    found = dict(runs.query("SELECT tracker_session_id, person_id FROM sessions"))
    for row in expected_sessions():
        user, device = row["inferred_user_id"], row["user_snowplow_domain_id"]
        known = user != device
        person = runs.person("user_id", user) if known else runs.person("anonymous_id", device)
        assert person is not None
        assert found[row["session_id"]] == person, row["session_id"]
        assert runs.person("anonymous_id", device) == person, "the device is its last known user's"
    assert len(set(found.values())) == 4


def test_the_page_views_of_two_batches_belong_to_the_expected_sessions(snowplow: tuple[Runs, list[Path]]) -> None:
    runs, _ = snowplow
    found = runs.query(
        "SELECT s.tracker_session_id, e.event_time FROM events e JOIN sessions s USING (session_id) "
        "WHERE e.name = 'page_view' ORDER BY ALL"
    )
    with (SNOWPLOW / "snowplow_page_views_expected.csv").open(encoding="utf-8") as file:
        expected = sorted((r["session_id"], instant(r["page_view_start"])) for r in csv.DictReader(file))
    assert found == expected


def test_the_first_batch_was_revised_and_not_doubled(snowplow: tuple[Runs, list[Path]]) -> None:
    runs, _ = snowplow
    first, second = runs.reports
    assert (first.total.accepted, second.total.accepted, second.total.duplicate) == (6, 3, 6)
    assert runs.query("SELECT count(*) FROM events") == [(9,)]


def test_both_batches_again_change_nothing(snowplow: tuple[Runs, list[Path]]) -> None:
    runs, batches = snowplow
    before = runs.views([t.name for t in _all_tables(runs) if t.name != "run_ledger"])
    again = runs.run_files(*batches, session_by="tracker")
    gained = {name: count for name, count in again.gained.items() if count}
    assert gained.keys() == {"run_ledger"}, gained
    assert_same(runs.views(before), before)


def _all_tables(runs: Runs):  # type: ignore[no-untyped-def]
    from run_world import definitions

    return definitions(runs.config).tables
