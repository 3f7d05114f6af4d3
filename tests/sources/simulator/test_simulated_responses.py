"""Playing on: receipts and purchases for what a run sent, the past unchanged, nothing answered twice."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from contracts import tables
from contracts.errors import OutputError, UsageError
from contracts.event import DAY, Identifier
from pipelines.commands.simulate import command
from sources.simulator.config import WorldConfig, load_world
from sources.simulator.respond import RunAction, RunActions, read_run, respond
from sources.simulator.world import simulate
from transforms.identity.ids import canonical_id
from transforms.protect import Pseudonymiser
from transforms.tables.batches import arrow_schema
from transforms.tables.output import writing

if TYPE_CHECKING:
    from conftest import Made

CONFIG = WorldConfig(customers=100, days=30, seed=9, malformed_share=0.0)
HIDE = Pseudonymiser(bytes(range(32)))


def pseudonym(namespace: str, value: str) -> tuple[str, str]:
    return HIDE.pseudonym(Identifier(namespace, value))


def actions_for(made: Made, at: int, channel: str = "email") -> RunActions:
    """One action for everybody whose e-mail address the run saw."""
    identifiers = made.truth("identifiers")
    mails = identifiers[identifiers.namespace == "email_sha256"].sort_values("true_person_id")
    holders = {pseudonym("email_sha256", value): f"p{i}" for i, value in enumerate(mails.value)}
    actions = [RunAction(f"act-{channel}-{i}", f"p{i}", at, "nurture", channel) for i in range(len(mails))]
    return RunActions(tuple(actions), holders)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory, look_at: type[Made]) -> Made:
    folder = tmp_path_factory.mktemp("before")
    simulate(CONFIG, folder)
    return look_at(CONFIG, folder)


@pytest.fixture
def copied(before: Made, tmp_path: Path, look_at: type[Made]) -> Made:
    shutil.copytree(before.folder, tmp_path / "world")
    return look_at(CONFIG, tmp_path / "world")


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_actions_are_answered_with_their_ids(copied: Made) -> None:
    run = actions_for(copied, CONFIG.end - DAY)
    summary = respond(copied.folder, run, pseudonym, 10)
    assert (summary.answered, summary.known, summary.unmatched) == (len(run.actions), 0, 0)
    names = Counter(r["name"] for r in copied.records("respond-*.avro") if r["action_id"] and "act-" in r["action_id"])
    assert names["email_delivered"] > 0.8 * len(run.actions)
    assert names["email_delivered"] > names["email_opened"] > names["email_clicked"] > 0
    effects = copied.truth("effects")
    assert set(effects.origin) == {"logged", "run"}
    assert len(effects[effects.origin == "run"]) == len(run.actions)


def test_life_goes_on_after_the_end_and_the_past_stays(before: Made, copied: Made) -> None:
    respond(copied.folder, actions_for(copied, CONFIG.end - DAY), pseudonym, 10)
    end = pd.Timestamp(CONFIG.end, unit="us", tz="UTC")
    old, new = before.truth("events"), copied.truth("events")
    pd.testing.assert_frame_equal(new[new.event_time < end].reset_index(drop=True), old)
    later = new[new.event_time >= end]
    assert len(later) > 800
    assert later.event_time.max() < end + pd.Timedelta(days=10)
    assert set(later.event_id) == {r["event_id"] for r in copied.records("respond-*.avro")}
    stays_before, stays = before.truth("stages"), copied.truth("stages")
    columns = ["true_person_id", "true_stage", "entered_at"]
    pd.testing.assert_frame_equal(
        stays[stays.entered_at < end][columns].reset_index(drop=True), stays_before[columns].reset_index(drop=True)
    )
    assert digests(before.folder / "events").items() <= digests(copied.folder / "events").items()


def test_answers_are_the_same_each_time(before: Made, tmp_path: Path) -> None:
    run = actions_for(before, CONFIG.end - DAY)
    for name in ("one", "two"):
        shutil.copytree(before.folder, tmp_path / name)
        respond(tmp_path / name, run, pseudonym, 5)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_an_action_is_answered_once_however_often_it_is_shown(copied: Made) -> None:
    run = actions_for(copied, CONFIG.end - DAY)
    respond(copied.folder, run, pseudonym, 10)
    again = respond(copied.folder, run, pseudonym, 10)
    assert (again.answered, again.known) == (0, len(run.actions))
    delivered = Counter(
        r["action_id"]
        for path in ("respond-01-*.avro", "respond-02-*.avro")
        for r in copied.records(path)
        if r["name"] == "email_delivered" and r["action_id"]
    )
    ids = [r["event_id"] for r in copied.records("respond-*.avro")]
    doubled = len(ids) - len(set(ids))
    assert sum(count - 1 for count in delivered.values()) <= doubled
    assert len(load_world(copied.folder).segments) == 3
    assert copied.truth("events").event_id.is_unique


def test_the_past_is_answered_now_and_the_future_later(copied: Made) -> None:
    early = actions_for(copied, CONFIG.start + DAY)
    respond(copied.folder, early, pseudonym, 3)
    answers = [r for r in copied.records("respond-*.avro") if r["action_id"] and "act-" in r["action_id"]]
    present = pd.Timestamp(CONFIG.end, unit="us", tz="UTC")
    assert answers
    assert min(r["received_time"] for r in answers) >= present
    ahead = actions_for(copied, CONFIG.end + 30 * DAY, channel="push")
    assert respond(copied.folder, ahead, pseudonym, 3).answered == 0


def test_receivers_that_nobody_knows_are_counted(copied: Made) -> None:
    run = RunActions((RunAction("act-x", "stranger", CONFIG.end, "nurture", "email"),), {})
    assert respond(copied.folder, run, pseudonym, 1).unmatched == 1
    with pytest.raises(UsageError):
        respond(copied.folder, run, pseudonym, 0)


# --- a run's output folder ---------------------------------------------------------------------------------------


def run_folder(made: Made, folder: Path) -> Path:
    """An output folder with the tables that are read, written as a run writes them."""
    run = actions_for(made, CONFIG.end - DAY)
    aliases = {person: canonical_id(Identifier(*pair)) for pair, person in run.holders.items()}
    rows: dict[str, list[dict[str, object]]] = {
        "actions": [
            {
                "action_id": a.action_id,
                "decision_id": f"d-{a.action_id}",
                "channel": a.channel,
                "status": "sent" if i % 2 else "suppressed",
                "at": a.at,
                "person_id": a.person_id,
                "template": a.template,
                "reason": "",
                "attempts": 1,
            }
            for i, a in enumerate(run.actions)
        ],
        "decisions": [
            {"decision_id": f"d-{a.action_id}", "person_id": a.person_id, "at": a.at, "chosen": "nurture"}
            for a in run.actions
        ],
        "persons": [
            {"person_id": person, "first_seen": 0, "last_seen": 0, "is_current": False, "merged_into": alias}
            for person, alias in aliases.items()
        ],
        "identifiers": [
            {"namespace": space, "value": value, "person_id": aliases[person], "first_seen": 0, "last_seen": 0}
            for (space, value), person in run.holders.items()
        ],
    }
    with writing(folder) as out:
        for table in tables.FIXED_TABLES:
            for revision in (1, 2) if table.name in rows else ():
                # The first revision is stale: everything in it was deleted, then stated again.
                meta = {"revision": revision, "is_final": False, "is_deleted": revision == 1}
                target = out.tables / table.name / f"r{revision:06d}-part.parquet"
                target.parent.mkdir(parents=True, exist_ok=True)
                stated = [{**row, **meta} for row in rows[table.name]]
                pq.write_table(pa.Table.from_pylist(stated, schema=arrow_schema(table)), target)
    key = folder / "keys" / "pseudonym.key"
    key.parent.mkdir(exist_ok=True)
    key.write_text(bytes(range(32)).hex())
    return folder


def test_the_command_answers_what_a_run_sent(copied: Made, tmp_path: Path) -> None:
    out = run_folder(copied, tmp_path / "out")
    run = read_run(out)
    half = len(actions_for(copied, CONFIG.end).actions) // 2
    assert len(run.actions) == half
    shown = CliRunner().invoke(
        command, ["--out", str(copied.folder), "--respond-to", str(out), "--days", "4"], catch_exceptions=False
    )
    assert shown.exit_code == 0, shown.output
    assert f"{half:,} actions of the run were answered" in shown.output
    assert load_world(copied.folder).segments[-1].end == CONFIG.end + 4 * DAY


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no Wayline output folder"):
        read_run(tmp_path)


def test_the_command_makes_a_world(tmp_path: Path) -> None:
    runner = CliRunner()
    arguments = ["--out", str(tmp_path), "--customers", "20", "--days", "5", "--seed", "1", "--drift-at", "2025-01-08"]
    shown = runner.invoke(command, arguments, catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    assert "20 people from 2025-01-06 to 2025-01-11" in shown.output
    wrong = runner.invoke(command, ["--out", str(tmp_path), "--respond-to", "x", "--seed", "1"])
    assert wrong.exit_code == 2
    assert "--seed does not go with --respond-to" in wrong.output
