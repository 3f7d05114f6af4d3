"""Looking up rows finds what the views show, without reading the whole of a table."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from contracts.errors import OutputError
from contracts.tables import JSON, Table
from pipelines.definitions import Definitions
from reports.lookup import JourneyTables
from transforms.tables.sql import name_sql
from transforms.tables.views import open_views


@pytest.mark.parametrize("name", ["events", "journeys", "persons", "decisions", "transitions", "edges", "run_ledger"])
def test_rows_are_those_of_the_view(
    name: str, found: JourneyTables, tiny_out: Path, definitions: Definitions, tables: dict[str, Table]
) -> None:
    connection = open_views(tiny_out, definitions.tables)
    plain = [column.name for column in tables[name].columns if column.kind != JSON]
    columns = ", ".join(map(name_sql, plain))
    shown = connection.execute(f"SELECT {columns} FROM {name}").fetchall()
    connection.close()
    rows = [tuple(row[column] for column in plain) for row in found.rows(name, "TRUE")]
    assert sorted(rows, key=str) == sorted(shown, key=str)


def test_a_row_that_fitted_once_is_not_found_by_what_it_was(found: JourneyTables) -> None:
    """The condition must hold for the newest revision: a person who moved on is not found in the old stage."""
    for row in found.rows("journeys", "TRUE"):
        again = found.rows("journeys", "stage <> ? AND person_id = ?", [row["stage"], row["person_id"]])
        assert again == []


def test_json_columns_are_read(found: JourneyTables) -> None:
    journey = found.first("journeys", "TRUE")
    assert journey is not None
    assert isinstance(journey["intents"], dict)
    assert isinstance(journey["signals"], list)


def test_every_decision_belongs_to_one_current_person(found: JourneyTables) -> None:
    told: list[str] = []
    for person in found.rows("persons", "is_current"):
        person_id = person["person_id"]
        family = [person_id, *(row["person_id"] for row in found.aliases(person_id))]
        strands = {row["strand_id"] for row in found.rows("events", "person_id = ?", [person_id])}
        told += [row["decision_id"] for row in found.decisions_of(person_id, family, strands)]
    assert sorted(told) == sorted(row["decision_id"] for row in found.rows("decisions", "TRUE"))
    assert told


def test_a_folder_that_no_run_wrote_is_refused(tmp_path: Path, definitions: Definitions) -> None:
    with pytest.raises(OutputError, match="no Wayline output folder"):
        JourneyTables(tmp_path, definitions.tables)


def test_a_damaged_part_is_one_clear_error(tiny_out: Path, tmp_path: Path, definitions: Definitions) -> None:
    shutil.copy(tiny_out / "format.json", tmp_path)
    part = tmp_path / "tables" / "journeys" / "r000001.parquet"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"no parquet at all")
    tables = JourneyTables(tmp_path, definitions.tables)
    assert tables.rows("persons", "TRUE") == []
    with pytest.raises(OutputError, match="damaged"):
        tables.rows("journeys", "TRUE")
