"""Each shipped mapping on an export as its vendor writes it, compared with events that a person has read.

``exports`` holds the rows, written here by the vendors' published field names, and beside them ``*.events.jsonl`` what
they become: read these first when a test fails.
"""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.event import EMPTY_CONTEXT, Event
from pipelines.config import SHIPPED
from sources.importer.mapping import Mapping
from sources.importer.mapping_file import load_mapping
from sources.importer.readers import read_rows
from sources.importer.rows import RowError
from transforms.identity.rules_file import load_rules
from transforms.journey.ontology import load_ontology

EXPORTS = Path(__file__).parent / "exports"
FILES = sorted(path for path in EXPORTS.iterdir() if ".events" not in path.name)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def mapping_of(path: Path) -> Mapping:
    return load_mapping(path.stem, SHIPPED / "mappings")


def told(event: Event) -> dict[str, Any]:
    """An event as the golden files write it: what it says, and nothing else."""
    out: dict[str, Any] = {}
    for field in dataclasses.fields(event):
        value = getattr(event, field.name)
        if field.name in ("schema_version", "mapping_version") or value in (None, {}, EMPTY_CONTEXT):
            continue
        if field.name in ("event_time", "received_time"):
            if field.name == "received_time" and value == event.event_time:
                continue
            value = (EPOCH + timedelta(microseconds=value)).isoformat().replace("+00:00", "Z")
        elif field.name == "identifiers":
            value = [list(identifier) for identifier in value]
        elif field.name == "context":
            value = {name: text for name, text in dataclasses.asdict(value).items() if text is not None}
        out[field.name] = value
    return out


def mapped(path: Path) -> list[Event | str]:
    """The events of a file; a reason for each row that is dead, ``filtered`` for one that is left out."""
    found: list[Event | str] = []
    mapping = mapping_of(path)
    for _, row in read_rows(path, mapping):
        try:
            assert not isinstance(row, RowError)
            for item in mapping.rows(row):
                found += [made.event for made in mapping.events(item)] or ["filtered"]
        except RowError as error:
            found.append(error.reason)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_an_export_becomes_the_events_beside_it(path: Path) -> None:
    lines = (EXPORTS / f"{path.stem}.events.jsonl").read_text(encoding="utf-8").splitlines()
    found = [told(item) if isinstance(item, Event) else {"dead": item} for item in mapped(path)]
    assert found == [json.loads(line) for line in lines]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_the_shipped_ontologies_and_identity_rules_know_what_it_says(path: Path) -> None:
    namespaces = set(load_rules(SHIPPED / "identity.yaml").namespaces)
    ontologies = [SHIPPED / "journey.yaml", *sorted((SHIPPED / "templates").glob("*/journey.yaml"))]
    events = [item for item in mapped(path) if isinstance(item, Event)]
    assert events
    for file in ontologies:
        ontology = load_ontology(file)
        unknown = {e.name for e in events if not ontology.is_known(e.name, e.context.path)}
        assert not unknown, file
    assert {identifier.namespace for event in events for identifier in event.identifiers} <= namespaces


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_no_two_events_of_an_export_share_an_id(path: Path) -> None:
    ids = [item.event_id for item in mapped(path) if isinstance(item, Event)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("kind", ["parquet", "avro"])
def test_rows_of_a_warehouse_are_the_same_events_in_every_format(tmp_path: Path, kind: str) -> None:
    rows = [json.loads(line) for line in (EXPORTS / "ga4.jsonl").read_text(encoding="utf-8").splitlines()]
    path = tmp_path / f"ga4.{kind}"
    if kind == "parquet":
        names = dict.fromkeys(name for row in rows for name in row)
        pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), path)
    else:
        text, texts = ["null", "string"], {"type": "map", "values": ["null", "string", "double"]}
        fields = {name: text for row in rows for name, value in row.items() if isinstance(value, str)}
        fields |= {name: ["null", texts] for row in rows for name, value in row.items() if isinstance(value, dict)}
        items = {"type": "array", "items": texts}
        param = {
            "type": "record",
            "name": "P",
            "fields": [{"name": "key", "type": text}, {"name": "value", "type": texts}],
        }
        fields |= {"event_params": {"type": "array", "items": param}, "items": ["null", items]}
        schema = {"type": "record", "name": "R", "fields": [{"name": n, "type": t} for n, t in fields.items()]}
        with path.open("wb") as file:
            fastavro.writer(file, schema, rows)  # type: ignore[arg-type]
    assert mapped(path) == mapped(EXPORTS / "ga4.jsonl")


def test_every_shipped_mapping_has_an_export_or_real_data() -> None:
    shipped = {path.stem for path in (SHIPPED / "mappings").glob("*.yaml")}
    assert shipped == {path.stem for path in FILES} | {"retentioneering", "snowplow"}
