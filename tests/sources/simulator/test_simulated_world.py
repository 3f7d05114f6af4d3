"""What a simulated world promises: the same bytes, arrival order, countable faults, truth about every event."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from contracts.errors import InputError, OutputError, UsageError
from contracts.event import DAY
from sources.simulator.config import WorldConfig, load_world
from sources.simulator.world import simulate

if TYPE_CHECKING:
    from conftest import Made, MadeWithSummary

SMALL = WorldConfig(customers=40, days=12, seed=5)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def well_formed(record: dict[str, Any]) -> bool:
    skew = (record["event_time"] - record["received_time"]).total_seconds()
    return bool(
        record["name"]
        and record["identifiers"]
        and skew < 600
        and record["event_time"].year >= 2000
        and len(str(record["properties"])) < 10_000
    )


# --- files -------------------------------------------------------------------------------------------------------


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    simulate(SMALL, tmp_path / "one")
    simulate(SMALL, tmp_path / "two")
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_another_seed_is_another_world(tmp_path: Path) -> None:
    simulate(SMALL, tmp_path / "one")
    simulate(replace(SMALL, seed=6), tmp_path / "two")
    one, two = digests(tmp_path / "one"), digests(tmp_path / "two")
    assert not set(one.values()) & set(two.values())


def test_files_follow_each_other_in_order_of_arrival(made: MadeWithSummary, records: list[dict[str, Any]]) -> None:
    received = [record["received_time"] for record in records]
    assert received == sorted(received)
    assert len(made.summary.files) >= 4
    assert [path.name for path in made.summary.files] == sorted(p.name for p in (made.folder / "events").iterdir())


def test_event_times_are_not_in_order_of_arrival(records: list[dict[str, Any]]) -> None:
    times = [record["event_time"] for record in records if well_formed(record)]
    assert sum(b < a for a, b in pairwise(times)) > 100


def test_a_world_is_not_written_over_by_accident(tmp_path: Path) -> None:
    simulate(SMALL, tmp_path)
    before = digests(tmp_path)
    with pytest.raises(OutputError, match="already holds a world"):
        simulate(replace(SMALL, seed=6), tmp_path)
    assert digests(tmp_path) == before
    simulate(replace(SMALL, seed=6), tmp_path, overwrite=True)
    assert load_world(tmp_path).config.seed == 6


@pytest.mark.parametrize("change", [{"customers": 0}, {"days": 0}, {"late_share": 1.5}, {"codec": "zip"}, {"seed": -1}])
def test_impossible_worlds_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        replace(SMALL, **change)


def test_a_damaged_world_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"world\.json"):
        load_world(tmp_path)
    (tmp_path / "world.json").write_text("{}")
    with pytest.raises(InputError, match="damaged"):
        load_world(tmp_path)


# --- faults ------------------------------------------------------------------------------------------------------


def test_records_are_events_duplicates_conflicts_and_malformed(
    made: MadeWithSummary, records: list[dict[str, Any]]
) -> None:
    summary = made.summary
    assert len(records) == summary.records
    assert summary.records == summary.events + summary.duplicates + summary.conflicts + summary.malformed
    bad = [record for record in records if not well_formed(record)]
    assert len(bad) == summary.malformed
    copies = Counter(record["event_id"] for record in records)
    assert sum(count - 1 for count in copies.values()) == summary.duplicates + summary.conflicts


def test_shares_of_faults_are_as_configured(made: MadeWithSummary) -> None:
    summary, config = made.summary, made.config
    assert summary.duplicates / summary.events == pytest.approx(config.duplicate_share, rel=0.2)
    assert summary.malformed / summary.events == pytest.approx(config.malformed_share, rel=0.3)
    arrival = made.truth("events").arrival.value_counts(normalize=True)
    assert arrival["late"] == pytest.approx(config.late_share, rel=0.3)
    assert arrival["expired"] == pytest.approx(config.expired_share, rel=0.4)


def test_duplicates_repeat_the_payload_and_conflicts_do_not(
    made: MadeWithSummary, records: list[dict[str, Any]]
) -> None:
    payloads: dict[str, set[str]] = defaultdict(set)
    for record in records:
        payloads[record["event_id"]].add(str({**record, "received_time": None}))
    assert sum(len(found) > 1 for found in payloads.values()) == made.summary.conflicts > 0


def test_arrival_in_truth_is_what_the_records_show(made: MadeWithSummary, records: list[dict[str, Any]]) -> None:
    first: dict[str, datetime] = {}
    for record in records:
        first.setdefault(record["event_id"], record["received_time"])
    truth = made.truth("events")
    delay = (truth.event_id.map(first) - truth.event_time).dt.total_seconds() / 3600
    assert (delay[truth.arrival == "expired"] > 70).all()
    assert delay[truth.arrival == "late"].between(5.9, 40.1).all()
    assert (delay[truth.arrival == "on_time"] < 5.1).all()


def test_some_clocks_are_wrong_but_by_minutes_only(made: MadeWithSummary, records: list[dict[str, Any]]) -> None:
    truth = made.truth("events").set_index("event_id").event_time
    ids = truth.index
    stated = {record["event_id"]: record["event_time"] for record in records if well_formed(record)}
    skew = (pd.Series([stated[i] for i in ids], index=ids) - truth).dt.total_seconds().abs()
    assert 0.005 < (skew > 0).mean() < 0.2
    assert skew.max() <= 240


# --- truth -------------------------------------------------------------------------------------------------------


def test_truth_covers_every_well_formed_event_once(made: MadeWithSummary, records: list[dict[str, Any]]) -> None:
    truth = made.truth("events")
    assert truth.event_id.is_unique
    assert set(truth.event_id) == {record["event_id"] for record in records if well_formed(record)}


def test_true_stage_is_that_of_the_stay_at_the_event(made: MadeWithSummary) -> None:
    events = made.truth("events").sort_values("event_time")
    stays = made.truth("stages").sort_values("entered_at")
    joined = pd.merge_asof(
        events, stays, left_on="event_time", right_on="entered_at", by="true_person_id", suffixes=("", "_stay")
    )
    assert (joined.true_stage == joined.true_stage_stay).all()


def test_stages_move_forward_and_back_and_sometimes_within_a_session(
    made: MadeWithSummary, records: list[dict[str, Any]]
) -> None:
    order = {name: i for i, name in enumerate(("discovery", "consideration", "decision", "customer"))}
    stays = made.truth("stages").sort_values(["true_person_id", "entered_at"])
    step = stays.true_stage.map(order).groupby(stays.true_person_id).diff().dropna()
    assert (step > 0).sum() > 200
    assert (step < 0).sum() > 80
    stage = made.truth("events").set_index("event_id").true_stage.to_dict()
    in_session = defaultdict(set)
    for record in records:
        if record["tracker_session_id"] and record["event_id"] in stage:
            in_session[record["tracker_session_id"]].add(stage[record["event_id"]])
    assert sum(len(stages) > 1 for stages in in_session.values()) > 60
    assert any(len(stages) > 2 for stages in in_session.values())


def test_truth_knows_who_holds_each_identifier(made: MadeWithSummary, records: list[dict[str, Any]]) -> None:
    person = made.truth("events").set_index("event_id").true_person_id.to_dict()
    identifiers = made.truth("identifiers")
    held = set(zip(identifiers.namespace, identifiers.value, identifiers.true_person_id, strict=True))
    dirty = {"null", "undefined", "anonymous", "0000", "guest"}
    for record in records:
        if record["event_id"] in person and well_formed(record):
            for pair in record["identifiers"]:
                key = (pair["namespace"], pair["value"], person[record["event_id"]])
                assert key in held or pair["value"] in dirty


def test_devices_are_shared_cleared_and_several(made: MadeWithSummary) -> None:
    identifiers = made.truth("identifiers")
    cookies = identifiers[identifiers.namespace == "anonymous_id"]
    holders = cookies.groupby("value").true_person_id.nunique()
    assert (holders == 2).sum() > 5
    assert holders.max() > 5, "a kiosk is used by many"
    assert cookies.groupby("true_person_id").value.nunique().max() >= 4
    for namespace in ("user_id", "crm_id", "email_sha256", "phone", "device_id"):
        assert (identifiers[identifiers.namespace == namespace].groupby("value").true_person_id.nunique() == 1).all()


def test_all_channels_are_touched(records: list[dict[str, Any]]) -> None:
    assert {"web", "app", "email", "ads", "call", "store", "crm"} <= {record["channel"] for record in records}


# --- consent and erasure -----------------------------------------------------------------------------------------


def test_no_newsletter_after_an_opt_out(made: MadeWithSummary, records: list[dict[str, Any]]) -> None:
    truth = made.truth("events").set_index("event_id")
    person, time = truth.true_person_id.to_dict(), truth.event_time.to_dict()
    out: dict[str, pd.Timestamp] = {}
    for record in records:
        stated = record["consent"].get("email") is False and record["name"] == "consent_changed"
        if record["event_id"] in person and (stated or record["name"] in ("email_unsubscribed", "email_complained")):
            out[person[record["event_id"]]] = time[record["event_id"]]
    sent = [r for r in records if r["name"] == "email_delivered" and r["action_id"] is None and r["event_id"] in person]
    assert len(out) > 15
    for record in sent:
        who, when = person[record["event_id"]], time[record["event_id"]]
        assert who not in out or when <= out[who] + pd.Timedelta(minutes=1)


def test_the_erased_are_silent_or_come_back_unknown(made: MadeWithSummary, records: list[dict[str, Any]]) -> None:
    truth = made.truth("events").set_index("event_id")
    erased = {}
    for record in records:
        if record["name"] == "erasure_requested" and record["event_id"] in truth.index:
            erased[truth.true_person_id[record["event_id"]]] = truth.event_time[record["event_id"]]
    assert len(erased) > 6
    cookies: dict[tuple[str, bool], set[str]] = defaultdict(set)
    person, time = truth.true_person_id.to_dict(), truth.event_time.to_dict()
    identifiers = made.truth("identifiers")
    shared = identifiers.groupby("value").true_person_id.nunique()
    kiosks_and_households = set(shared[shared > 1].index)
    for record in records:
        who = person.get(record["event_id"], "")
        if who not in erased or not well_formed(record):
            continue
        after = time[record["event_id"]] > erased[who]
        known = [i for i in record["identifiers"] if i["namespace"] in ("email_sha256", "phone", "crm_id")]
        assert not (after and known)
        for pair in record["identifiers"]:
            if pair["namespace"] in ("anonymous_id", "device_id") and pair["value"] not in kiosks_and_households:
                cookies[who, after].add(pair["value"])
    back = [who for who in erased if cookies[who, True]]
    assert back
    for who in back:
        assert not cookies[who, True] & cookies[who, False]


# --- experiment and drift ----------------------------------------------------------------------------------------


def test_logged_actions_state_arm_and_propensity(made: MadeWithSummary, records: list[dict[str, Any]]) -> None:
    effects = made.truth("effects").set_index("action_id")
    logged = {r["action_id"]: r for r in records if r["name"] == "action_logged" and well_formed(r)}
    assert len(logged) > 100
    for action_id, record in logged.items():
        assert record["properties"]["arm"] == effects.arm[action_id]
        assert record["properties"]["propensity"] == effects.propensity[action_id]
    assert {"email_delivered", "email_opened", "purchase", "lead_accepted", "lead_rejected"} <= {
        r["name"] for r in records if r["action_id"] is not None
    }


def test_actions_work_differently_on_different_people(tmp_path: Path, look_at: type[Made]) -> None:
    config = WorldConfig(customers=900, days=60, seed=2, logged_share=1.0, activity=0.05)
    simulate(config, tmp_path)
    effects = look_at(config, tmp_path).truth("effects")
    share = effects.arm.value_counts(normalize=True)
    for arm, propensity in effects.groupby("arm").propensity.first().items():
        assert share[str(arm)] == pytest.approx(propensity, rel=0.15)
    gain = effects.converted_with.astype(int) - effects.converted_without.astype(int)
    acted = effects.arm.isin(["nurture", "discount", "advisor_call"])
    by_persona = gain[acted].groupby(effects.persona[acted]).mean()
    assert by_persona["persuadable"] > 0.04
    assert by_persona["sleeping_dog"] < 0
    assert abs(by_persona["lost_cause"]) < 0.02
    assert (gain[effects.arm == "nothing"] == 0).all()
    expected = effects.uplift[acted & (effects.persona == "persuadable")].mean()
    assert by_persona["persuadable"] == pytest.approx(expected, rel=0.4)


def test_a_purchase_opens_every_stay_as_customer(made: MadeWithSummary, records: list[dict[str, Any]]) -> None:
    bought = {r["event_id"] for r in records if r["name"] in ("purchase", "store_purchase")}
    events = made.truth("events")
    purchases = events[events.event_id.isin(bought)]
    times = set(zip(purchases.true_person_id, purchases.event_time, strict=True))
    stays = made.truth("stages")
    first = stays.groupby("true_person_id").entered_at.transform("min")
    silent = events[events.event_id.isin({r["event_id"] for r in records if r["name"] == "erasure_requested"})]
    entries = stays[(stays.true_stage == "customer") & (stays.entered_at > first)]
    entries = entries[~entries.true_person_id.isin(silent.true_person_id)]
    assert len(entries) > 25
    assert all(pair in times for pair in zip(entries.true_person_id, entries.entered_at, strict=True))


def test_drift_changes_behaviour_from_its_date_and_nothing_before(tmp_path: Path, look_at: type[Made]) -> None:
    config = WorldConfig(customers=150, days=30, seed=4)
    drift_at = config.start + 15 * DAY
    simulate(config, tmp_path / "steady")
    simulate(replace(config, drift_at=drift_at), tmp_path / "drifted")
    names: list[dict[str, str]] = []
    for folder in ("steady", "drifted"):
        made = look_at(config, tmp_path / folder)
        truth = made.truth("events")
        early = set(truth.event_id[truth.event_time < pd.Timestamp(drift_at, unit="us", tz="UTC")])
        records = made.records()
        names.append({r["event_id"]: r["name"] for r in records if r["event_id"] in early})
        late = Counter(r["name"] for r in records if r["event_id"] not in early)
        names.append({"faq": str(late["faq_view"] / late.total())})
    steady, steady_faq, drifted, drifted_faq = names
    assert steady == drifted
    assert float(drifted_faq["faq"]) > 1.5 * float(steady_faq["faq"])


# --- what can be learned -----------------------------------------------------------------------------------------


def test_the_true_stage_can_be_told_from_events(made: MadeWithSummary, records: list[dict[str, Any]]) -> None:
    """An upper bound for the pipeline: with perfect identity a plain classifier reaches 0.80."""
    from sklearn.ensemble import ExtraTreesClassifier

    from sources.simulator.catalogue import CODE, STAGES

    name = {record["event_id"]: CODE[record["name"]] for record in records if well_formed(record)}
    events = made.truth("events").sort_values(["true_person_id", "event_time"])
    rows, labels, group = [], [], []
    state = np.zeros((2, len(CODE)))
    half_lives = np.array([0.5, 4.0])
    person, last = "", 0
    events = events[events.true_person_id < "person-0000200"]
    times = events.event_time.astype("datetime64[us, UTC]").astype("int64")
    for who, when, stage, event_id in zip(
        events.true_person_id, times, events.true_stage, events.event_id, strict=True
    ):
        if who != person:
            state[:], person = 0, who
        else:
            state *= 2.0 ** (-(when - last) / DAY / half_lives)[:, None]
        last = when
        state[:, name[event_id]] += 1
        rows.append(state.ravel().copy())
        labels.append(STAGES.index(stage))
        group.append(int(who[-1]) < 3)
    matrix, target, held_out = np.array(rows, dtype=np.float32), np.array(labels), np.array(group)
    model = ExtraTreesClassifier(n_estimators=20, min_samples_leaf=5, random_state=0)
    model.fit(matrix[~held_out][::2], target[~held_out][::2])
    assert model.score(matrix[held_out], target[held_out]) > 0.80
