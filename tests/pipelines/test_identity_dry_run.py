"""``wayline identity dry-run`` says of two sets of rules what two runs, one under each, show."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from identity_cli import call, world
from run_world import HOUR, MINUTE, NOON, Record, Runs, event, read_events, shuffled, write_events
from test_identity_requests_run import own_rules

from contracts.errors import ConfigurationError, InputError, OutputError
from sources.simulator.config import WorldConfig
from sources.simulator.world import simulate
from transforms.identity.compare import NOBODY, Difference, Flows

RULES = {
    "looser": ("last_known", {"unique: true": "unique: false"}),
    "carry": ("carry_forward", {}),
    "apart": ("keep_apart", {"{logins: 8}": "{logins: 1}"}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated world of shared devices, copies and requests for erasure."""
    root = tmp_path_factory.mktemp("trial")
    simulate(
        WorldConfig(
            customers=40,
            days=8,
            seed=11,
            conflict_share=0.0,
            duplicate_share=0.05,
            shared_share=0.4,
            kiosk_share=0.05,
            erasure_share=0.1,
        ),
        root,
    )
    write_events(root / "events" / "zz-shared.avro", sharing(read_events(root / "events")))
    return root / "events"


def sharing(records: list[Record]) -> list[Record]:
    """Further events on the devices of a world: others log in and out on them, and share addresses."""
    held: dict[str, set[str]] = {}
    for record in records:
        for identifier in record["identifiers"]:
            held.setdefault(identifier["namespace"], set()).add(identifier["value"])
    cookies, users = (sorted(held[namespace]) for namespace in ("anonymous_id", "user_id"))
    mails = sorted(held["email_sha256"])
    latest = sorted(record["event_time"] for record in records)[len(records) * 9 // 10]  # some clocks are broken
    made = []
    for n in range(24):
        device = {"anonymous_id": cookies[(5 * n) % len(cookies)]}
        user = {"user_id": users[(7 * n) % len(users)]}
        steps = [("login", {**device, **user}), ("product_view", device), ("logout", {**device, **user})]
        steps += [("pricing_view", device), ("login", {**user, "email_sha256": mails[(3 * n) % len(mails)]})]
        for k, (name, ids) in enumerate(steps[: 3 + n % 3]):
            made.append(event(f"s{n}-{k}", name, latest - (40 * n + k) * MINUTE, ids))
    return made


@pytest.fixture(scope="module")
def now(make_runs: Callable[[str], Runs], folder: Path) -> Runs:
    """The world under the shipped rules."""
    runs = make_runs("rules-now")
    runs.run_files(folder)
    return runs


def dry_run(rules: Path, source: Path, *more: str | Path) -> dict[str, Any]:
    result = call("dry-run", "--rules", rules, "--input", source, "--json", "--limit", "0", *more)
    assert result.exit_code == 0, (result.output, result.exception)
    found = json.loads(result.output)
    assert isinstance(found, dict)
    return found


def persons(runs: Runs) -> dict[str, str]:
    return dict(runs.query("SELECT event_id, person_id FROM events"))


def between(one: dict[str, str], other: dict[str, str]) -> Difference:
    flows = Flows()
    for event_id in one.keys() | other.keys():
        flows.add(one.get(event_id, NOBODY), other.get(event_id, NOBODY))
    return flows.difference()


@pytest.mark.parametrize("name", RULES)
def test_a_dry_run_says_what_two_runs_show(name: str, now: Runs, folder: Path, runs: Runs, tmp_path: Path) -> None:
    owner, changes = RULES[name]
    runs.config = own_rules(tmp_path, owner, **changes)
    runs.run_files(folder)
    found = dry_run(tmp_path / "identity.yaml", folder, "--out", now.out)
    one, other = persons(now), persons(runs)
    shown = between(one, other)
    assert shown.joined or shown.parted
    assert (found["before"]["persons"], found["after"]["persons"]) == (shown.before, shown.after)
    assert (found["same"], found["renamed"], found["moved_events"]) == (shown.same, shown.renamed, shown.moved)
    assert (found["lost_events"], found["gained_events"]) == (shown.lost, shown.gained)
    assert found["merges"] == [{"person": j.person, "from": dict(j.sources)} for j in shown.joined]
    assert found["splits"] == [{"person": p.person, "to": dict(p.parts)} for p in shown.parted]
    assert found["changed_persons"] == len(shown.changed)
    total = now.reports[0].total
    # of an erased event each copy counts as erased to a run
    assert found["events"] == total.accepted + found["before"]["erased_events"]
    assert found["events"] + found["copies"] == total.accepted + total.duplicate + total.erased
    assert found["rejected"] == total.dead_lettered
    for side, run in (("before", now), ("after", runs)):
        rows = run.query("SELECT status, rule, count(*) FROM edges WHERE NOT accepted GROUP BY ALL ORDER BY ALL")
        assert [tuple(row.values()) for row in found[side]["not_holding"]] == rows
        held = Counter(dict(run.query("SELECT person_id, count(*) FROM identifiers GROUP BY 1")))
        assert [row["identifiers"] for row in found[side]["largest"]] == sorted(held.values(), reverse=True)[:5]
        demoted = run.query("SELECT count(DISTINCT conflict) FROM edges WHERE rule IN ('demoted', 'crowded')")
        assert [(found[side]["demoted"],)] == demoted
    journeys = {person for (person,) in now.query("SELECT person_id FROM journeys")}
    assert found["out"]["journeys"] == len(journeys)
    assert found["out"]["changed_journeys"] == len(shown.changed & journeys)


def test_planned_actions_of_changed_persons_are_counted(now: Runs, folder: Path, tmp_path: Path) -> None:
    rules = own_rules(tmp_path, "keep_apart").with_name("identity.yaml")
    found = dry_run(rules, folder, "--out", now.out)
    one = persons(now)
    changed = {s["person"] for s in found["splits"]} | {p for m in found["merges"] for p in m["from"]}
    assert changed
    listed = ", ".join(f"'{person}'" for person in sorted(changed & set(one.values())))
    (planned,) = now.query(
        "SELECT count(*) FROM actions a LEFT JOIN persons p USING (person_id) WHERE reason = 'dry run' AND "
        f"coalesce(p.merged_into, a.person_id) IN ({listed})"
    )
    assert found["out"]["unsettled_actions"] == {"pending": 0, "in_doubt": 0, "dry run": planned[0]}
    assert planned[0] > 0


def test_the_same_rules_change_nothing(now: Runs, folder: Path, tmp_path: Path) -> None:
    rules = own_rules(tmp_path, "carry_visit").with_name("identity.yaml")
    found = dry_run(rules, folder, "--out", now.out)
    assert (found["merged"], found["split"], found["moved_events"], found["changed_persons"]) == (0, 0, 0, 0)
    assert found["out"]["changed_journeys"] == 0


def test_order_and_copies_of_events_change_no_answer(tmp_path: Path) -> None:
    rules = own_rules(tmp_path, "keep_apart").with_name("identity.yaml")
    key = tmp_path / "key"
    key.write_text("0c" * 32, encoding="ascii")
    records = [*world(), event("l", "login", NOON + HOUR, {"anonymous_id": "a", "user_id": "bob"})]
    one = dry_run(rules, write_events(tmp_path / "one" / "e.avro", records).parent, "--pseudonym-key", key)
    double = [*shuffled(records, 1), *shuffled(records, 2)]
    other = dry_run(rules, write_events(tmp_path / "other" / "e.avro", double).parent, "--pseudonym-key", key)
    assert (one.pop("copies"), other.pop("copies")) == (0, 10)
    assert one == other
    assert one["moved_events"]


def test_nothing_is_written(now: Runs, folder: Path, tmp_path: Path) -> None:
    def content() -> dict[str, str]:
        files = (path for path in now.out.rglob("*") if path.is_file())
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = content()
    dry_run(own_rules(tmp_path, "first_known").with_name("identity.yaml"), folder, "--out", now.out)
    assert content() == before


def test_without_a_key_the_counts_are_the_same(now: Runs, folder: Path, tmp_path: Path) -> None:
    rules = own_rules(tmp_path, "keep_apart").with_name("identity.yaml")
    keyed, thrown = dry_run(rules, folder, "--out", now.out), dry_run(rules, folder)
    for name in ("events", "same", "merged", "split", "moved_events", "moved_strands", "strands"):
        assert keyed[name] == thrown[name], name
    assert thrown["out"] is None


def test_words_hold_the_counts(now: Runs, folder: Path, tmp_path: Path) -> None:
    rules = own_rules(tmp_path, "keep_apart", **{"{logins: 8}": "{logins: 1}"}).with_name("identity.yaml")
    found = dry_run(rules, folder, "--out", now.out)
    result = call("dry-run", "--rules", rules, "--input", folder, "--out", now.out, "--limit", "2")
    assert result.exit_code == 0
    said = " ".join(result.output.split())
    assert f"{found['moved_events']:,} of {found['events']:,} events change hands" in said
    assert f"{found['out']['changed_journeys']:,} of {found['out']['journeys']:,} journeys would change" in said
    assert "Who splits" in said
    assert "Demoted by the new rules alone" in said
    assert f"{found['split'] - 2:,} more; --limit 0 shows all" in said


def test_rules_to_compare_with_may_be_named(folder: Path, tmp_path: Path) -> None:
    rules = own_rules(tmp_path, "first_known").with_name("identity.yaml")
    found = dry_run(rules, folder, "--rules-now", rules)
    assert found["before"]["rules"] == found["after"]["rules"]
    assert found["changed_persons"] == 0


def test_broken_rules_are_a_fault_with_file_and_line(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: x\nnamespaces:\n  a: {kind: devic, priority: 1}\n", encoding="utf-8")
    result = call("dry-run", "--rules", broken, "--input", folder)
    assert isinstance(result.exception, ConfigurationError)
    assert result.exception.exit_code == 3
    assert "broken.yaml:3" in result.exception.message


def test_what_is_no_input_and_what_is_no_output_is_said(folder: Path, tmp_path: Path) -> None:
    rules = own_rules(tmp_path, "first_known").with_name("identity.yaml")
    missing = call("dry-run", "--rules", rules, "--input", tmp_path / "nowhere")
    assert isinstance(missing.exception, InputError)
    no_out = call("dry-run", "--rules", rules, "--input", folder, "--out", tmp_path)
    assert isinstance(no_out.exception, OutputError)


def test_events_that_only_some_rules_can_place_are_lost_or_gained(tmp_path: Path) -> None:
    rules = own_rules(tmp_path, "last_known", **{"# block:": "block: {values: [ann]}"}).with_name("identity.yaml")
    records = [*world(), event("x", "login", NOON + MINUTE, {"user_id": "ann"})]
    found = dry_run(rules, write_events(tmp_path / "in" / "e.avro", records).parent)
    assert (found["before"]["unusable_events"], found["after"]["unusable_events"]) == (0, 1)
    assert found["lost_events"] == 1
