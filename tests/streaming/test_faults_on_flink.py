"""Faults at each stage of a stream: it goes on, what could not be taken is a dead letter, the ledger counts it, and the
metric of an alarm has moved."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from shutil import copytree

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "pipelines"))

from run_world import MINUTE, NOON, Record, event, write_events

from benchmarks.chaos_parts import ONE_WORKER, StreamProcess, wayline
from pipelines.definitions import load_definitions
from reports.table_diff import chosen_tables, compare
from transforms.ledger import total
from transforms.rejected import REASON
from transforms.tables.views import open_views

FAULTS = Path(__file__).with_name("faults")
TABLES = ["events", "sessions", "journeys", "transitions", "outcomes", "features"]


def some_events() -> list[Record]:
    names = ("page_view", "product_view", "cart_add", "page_view")
    return [
        event(f"{device}-{number}", name, NOON + number * MINUTE, {"anonymous_id": f"a{device}"})
        for device in range(6)
        for number, name in enumerate(names)
    ]


def alarm(out: Path) -> dict[str, int]:
    """The metric on which an alarm belongs, by stage, as whoever watches a stream reads it."""
    told = json.loads(wayline("metric", "failed_folds", "--by=stage", f"--out={out}", "--json"))
    return {row["stage"]: row["failed_folds"] for row in told["rows"]}


@pytest.mark.timeout(420)  # a minute on a machine that has nothing else to do
@pytest.mark.usefixtures("flink_settings")  # skipped where Flink cannot run
def test_a_poison_event_a_fold_that_fails_a_full_disk_and_a_slow_store_stop_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = some_events()
    poison = [
        event("malformed", "", NOON, {"anonymous_id": "a7"}),
        {**event("x", "page_view", NOON, {"anonymous_id": "a8"}), "event_id": "poison-strand"},
        {**event("x", "page_view", NOON, {"anonymous_id": "a9"}), "event_id": "poison-journey"},
    ]
    write_events(tmp_path / "good" / "events.avro", good)
    write_events(tmp_path / "all" / "events.avro", [*good[:7], *poison, *good[7:]])
    bounded, out, noted = tmp_path / "bounded", tmp_path / "out", tmp_path / "noted"
    wayline("run", f"--input={tmp_path / 'good'}", f"--out={bounded}")
    copytree(bounded / "keys", out / "keys")
    noted.mkdir()
    monkeypatch.setenv("WAYLINE_FAULTS", str(noted))
    monkeypatch.setenv("PYTHONPATH", str(FAULTS))
    options = ["--source=files", f"--input={tmp_path / 'all'}", f"--out={out}", "--no-view", ONE_WORKER]
    with StreamProcess(options, out, 240) as stream:
        stream.await_end()
    monkeypatch.delenv("WAYLINE_FAULTS")
    assert sorted({path.name.partition("-")[0] for path in noted.iterdir()}) == ["disk", "store"], "faults happened"
    counted = total(stream.ledger())
    assert (counted.received, counted.accepted, counted.dead_lettered) == (27, 25, 2)
    tables = load_definitions(None).tables
    letters = open_views(out, tables).execute("SELECT stage, reason FROM dead_letters ORDER BY stage").fetchall()
    assert letters == [("journey", REASON), ("strand", REASON), ("validate", "missing_field")]
    assert alarm(bounded) == {}
    assert alarm(out) == {"journey": 1, "strand": 1}, "it counts what was given up, and not how often it was tried"
    compared = compare(bounded, out, chosen_tables(tables, TABLES, False))
    assert [one.table for one in compared if not one.equal] == []
