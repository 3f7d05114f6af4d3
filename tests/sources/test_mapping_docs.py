"""docs/mappings.md teaches what the importer does: its mappings parse, and its rows become the events it shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import fastavro
import pytest

from contracts.documents import parse
from contracts.event import CONTEXT_FIELDS
from pipelines.config import SHIPPED
from sources.importer import mapping_file as language
from sources.importer.conditions import TESTS
from sources.importer.convert import import_files
from sources.importer.mapping_file import load_mapping, parse_mapping
from sources.importer.readers import read_rows
from sources.importer.rows import REASONS, RowError
from sources.importer.times import EPOCHS
from sources.importer.value_file import CONDITION_KEYS, KEYS
from sources.importer.values import STEPS, TYPES
from transforms.dead_letter import DeadLetterBox
from transforms.validate import CHANNELS

PAGE = Path(__file__).parents[2] / "docs" / "mappings.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+) (mapping|input|events)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Example(NamedTuple):
    name: str
    mapping: str
    rows: str
    expected: list[dict[str, Any]]


def examples() -> list[Example]:
    return list(_examples())


def _examples() -> Iterator[Example]:
    assert [kind for _, kind, _ in BLOCKS] == ["mapping", "input", "events"] * (len(BLOCKS) // 3)
    for (_, _, mapping), (_, _, rows), (_, _, expected) in zip(*[iter(BLOCKS)] * 3, strict=True):
        name = re.match(r"name: (\w+)", mapping)
        assert name is not None
        yield Example(name[1], mapping, rows, [json.loads(line) for line in expected.splitlines()])


def shown(record: dict[str, Any], keys: Iterator[str]) -> dict[str, Any]:
    """An event as the page writes it, as far as the page shows it."""
    out = {}
    for key in keys:
        value = record[key]
        if key in ("event_time", "received_time"):
            moment = EPOCH + timedelta(microseconds=value)
            value = moment.isoformat().replace("+00:00", "Z")
        elif key == "identifiers":
            value = [list(identifier) for identifier in value]
        elif key == "context":
            value = {name: text for name, text in value.items() if text is not None}
        out[key] = value
    return out


def test_the_page_has_examples() -> None:
    assert len(examples()) >= 6


@pytest.mark.parametrize("example", examples(), ids=lambda e: e.name)
def test_rows_of_the_page_become_the_events_it_shows(example: Example, tmp_path: Path) -> None:
    mapping = parse_mapping(parse(example.mapping, str(PAGE)))
    path = tmp_path / "rows"
    path.write_text(example.rows, encoding="utf-8")
    found: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    for _, row in read_rows(path, mapping):
        try:
            if isinstance(row, RowError):
                raise row
            for item in mapping.rows(row):
                events = [asdict(made.event) for made in mapping.events(item)]
                found.extend(events or [{"filtered": True}])
        except RowError as error:
            found.append({"dead": error.reason})
    for record in found:
        if "event_id" in record:
            count = seen[record["event_id"]] = seen.get(record["event_id"], 0) + 1
            record["event_id"] += f"-{count}" if count > 1 else ""
    assert [shown(f, iter(e)) for f, e in zip(found, example.expected, strict=True)] == example.expected


@pytest.mark.parametrize("example", examples(), ids=lambda e: e.name)
def test_the_importer_writes_as_many_events_as_the_page_shows(example: Example, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text(example.rows, encoding="utf-8")
    mapping = parse_mapping(parse(example.mapping, str(PAGE)))
    summary = import_files([path], mapping, tmp_path / "out", DeadLetterBox(b"k" * 32), lambda _: None)
    with summary.files[0].open("rb") as stream:
        written = [record["event_id"] for record in fastavro.reader(stream)]  # type: ignore[arg-type, call-overload]
    events = [e for e in example.expected if "dead" not in e and "filtered" not in e]
    assert (len(written), len(set(written))) == (len(events), len(events))
    assert summary.filtered == sum("filtered" in e for e in example.expected)
    assert summary.dead.total() == sum("dead" in e for e in example.expected)


def test_the_page_names_every_key_of_the_language() -> None:
    known = (
        *language.ROOT_KEYS,
        *language.EVENT_KEYS,
        *language.RULE_KEYS,
        *CONTEXT_FIELDS,
        *language.FORMATS,
        *TESTS,
        *CONDITION_KEYS,
        *KEYS,
        *TYPES,
        *STEPS,
        *EPOCHS,
        *CHANNELS,
    )
    missing = [key for key in known if not re.search(rf"`{key}[`:]", TEXT)]
    assert missing == []


def test_the_page_lists_every_reason_and_shows_each_in_an_example() -> None:
    rows = dict(
        re.findall(r"^\| (\w+) \| (.+) \|$", TEXT.split("\n## Rows that do not map")[1].split("\n## ")[0], re.MULTILINE)
    )
    rows.pop("reason")
    assert rows == REASONS
    assert {e["dead"] for example in examples() for e in example.expected if "dead" in e} == set(REASONS)


def test_the_page_names_the_shipped_mappings_and_they_parse() -> None:
    for path in sorted((SHIPPED / "mappings").glob("*.yaml")):
        assert load_mapping(path.stem, SHIPPED / "mappings").name == path.stem
        assert f"`{path.stem}`" in TEXT
