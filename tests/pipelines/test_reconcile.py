"""``wayline reconcile``: the log alone gives the tables again, whatever was lost beside it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from run_world import DAY, HOUR, MINUTE, NOON, Runs, assert_same, event

from contracts.errors import OutputError
from pipelines.commands.reconcile import command
from transforms.tables.part_names import parts_in

PHONE, BOTH, USER = {"anonymous_id": "a"}, {"anonymous_id": "a", "user_id": "u"}, {"user_id": "u"}
EVENTS = [
    *(event(n, "product_view", NOON + n * MINUTE, PHONE) for n in range(4)),
    event(9, "login", NOON + 2 * HOUR, BOTH),
    event(10, "pricing_view", NOON + DAY, USER),
    event(11, "product_view", NOON + DAY, {"anonymous_id": "other"}),
]


def reconcile(runs: Runs) -> str:
    result = CliRunner().invoke(command, ["--out", str(runs.out), "--config", str(runs.config)])
    assert result.exit_code == 0, result.output
    return str(result.output)


@pytest.fixture(name="runs")
def runs_fixture(make_runs: Callable[[str], Runs]) -> Runs:
    runs = make_runs("one")
    runs.run(EVENTS)
    return runs


def test_where_nothing_is_wrong_nothing_changes(runs: Runs) -> None:
    before = runs.views()
    assert "nothing changed" in reconcile(runs)
    assert_same(runs.views(), before)
    assert not list(runs.out.parent.glob(".wayline-before-*"))


def test_the_log_gives_everything_again_when_the_stores_are_lost(runs: Runs) -> None:
    before = runs.views()
    shutil.rmtree(runs.out / "stores")
    assert "nothing changed" in reconcile(runs)
    assert_same(runs.views(), before)


def test_what_was_sent_is_not_forgotten_by_the_way(make_runs: Callable[[str], Runs], tmp_path: Path) -> None:
    runs = make_runs("sent")
    said_yes = {"consent": {"email": True, "ads": True, "sales": True, "marketing": True}}
    names = ("home_view", "product_view", "pricing_view", "add_to_cart", "checkout_start")
    runs.run([event(n, name, NOON + n * MINUTE, BOTH, **said_yes) for n, name in enumerate(names)], actions="live")
    sent = "SELECT count(*) FROM actions WHERE status = 'sent'"
    [(before,)] = runs.query(sent)
    assert before
    assert "nothing changed" in reconcile(runs)
    shutil.rmtree(runs.out / "stores")
    arguments = ["--out", str(runs.out), "--config", str(runs.config)]
    with pytest.raises(OutputError, match=f"has sent {before} actions, and its store of effects knows of none"):
        command.main(arguments, standalone_mode=False)
    assert runs.query(sent) == [(before,)]
    result = CliRunner().invoke(command, [*arguments, "--decide-anew"])
    assert result.exit_code == 0, result.output
    assert "actions" in result.output


def test_rows_that_were_never_written_come_from_the_log_and_are_told(runs: Runs) -> None:
    before = runs.views()
    _lose(runs.out / "tables" / "events", "event_id", "e10")
    _lose(runs.out / "tables" / "journeys", "person_id", str(runs.person("user_id", "u")))
    told = reconcile(runs)
    assert "2 tables changed" in told
    assert "only in now: event_id=e10" in told
    assert_same(runs.views(), before)


def test_a_folder_without_events_is_refused(tmp_path: Path, make_runs: Callable[[str], Runs]) -> None:
    runs = make_runs("empty")
    with pytest.raises(OutputError, match="is no Wayline output folder"):
        command.main(["--out", str(tmp_path / "nothing")], standalone_mode=False)
    runs.run(EVENTS)
    shutil.rmtree(runs.out / "log")
    with pytest.raises(OutputError, match="holds no event to fold"):
        command.main(["--out", str(runs.out)], standalone_mode=False)


def _lose(table: Path, key: str, value: str) -> None:
    """As if the part with this row had never been written."""
    lost = 0
    for part in parts_in(table):
        rows = pq.read_table(part)
        kept = rows.filter([found != value for found in rows[key].to_pylist()])
        lost += rows.num_rows - kept.num_rows
        part.unlink()
        pq.write_table(kept, part)
    assert lost == 1
