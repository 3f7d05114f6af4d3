"""``wayline audit`` over the files of a simulated world: its numbers are those of another reader of the same files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fastavro import reader
from simulated import World

from contracts.errors import InputError
from pipelines.cli import wayline


def call(*arguments: str | Path) -> Any:
    return CliRunner().invoke(wayline, ["audit", *map(str, arguments)])


@pytest.fixture(scope="module")
def rows(dirty_world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in sorted(dirty_world.events.rglob("*.avro")):
        with path.open("rb") as file:
            found += [row for row in reader(file) if isinstance(row, dict)]
    return found


def test_the_numbers_are_those_of_another_reader(
    dirty_world: World, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    result = call("--input", dirty_world.events, "--json", "--html", tmp_path / "audit.html")
    assert result.exit_code == 0, (result.output, result.exception)
    found = json.loads(result.stdout)
    sources = {one["source"]: one for one in found["sources"]}
    assert {name: one["events"] for name, one in sources.items()} == Counter(row["source"] for row in rows)
    again = sum(one[kind]["value"] for one in sources.values() for kind in ("copies", "conflicts"))
    assert again == len(rows) - len({row["event_id"] for row in rows}) > 0
    for name, one in sources.items():
        own = [row for row in rows if row["source"] == name]
        told = {event["name"]: event["events"] for event in one["names"]}
        assert told == Counter(row["name"] or "(unnamed)" for row in own)
        assert one["filled"]["locale"] == sum(bool(row["locale"]) for row in own)
    assert found["findings"] == []
    assert (tmp_path / "audit.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_it_tells_the_same_in_words(dirty_world: World) -> None:
    result = call("--input", dirty_world.events)
    for title in ("Sources", "Lateness", "Identifiers", "Event names", "Fields never filled", "Signals", "In short"):
        assert title in result.output, title


def test_a_folder_without_events_is_refused(tmp_path: Path) -> None:
    assert isinstance(call("--input", tmp_path).exception, InputError)
