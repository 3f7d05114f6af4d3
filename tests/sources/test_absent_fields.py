"""``--check`` tells of fields that no row has: a misspelt path is no fault of any row, and would go unseen."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from contracts.documents import parse
from contracts.errors import ConfigurationError
from pipelines.cli import wayline
from sources.importer.absent import AbsentFields
from sources.importer.mapping_file import parse_mapping

MAPPING = """name: app
format: jsonl
event:
  name: what
  event_time: at
  source: {constant: app}
  channel: {constant: app}
  identifiers:
    - {namespace: user_id, coalesce: [user.id, login]}
  properties:
    sku: {field: "items[0].sku"}
    value: {field: prize.cents, type: long}
"""


def test_a_field_that_some_row_has_is_not_told() -> None:
    absent = AbsentFields(parse_mapping(parse(MAPPING, "app.yaml")))
    assert [fields for _, fields in absent.told()] == ["what", "at", "user.id or login", "items[0].sku", "prize.cents"]
    absent.note({"what": "x", "at": "2024-03-01", "login": "u1", "price": {"cents": 5}})
    absent.note({"items": [{"sku": ""}]})
    assert absent.told() == [(11, "items[0].sku"), (12, "prize.cents")]


def test_a_check_names_them_with_file_and_line(tmp_path: Path) -> None:
    mapping, rows = tmp_path / "app.yaml", tmp_path / "rows.jsonl"
    mapping.write_text(MAPPING, encoding="utf-8")
    rows.write_text(
        '{"what": "x", "at": "2024-03-01", "user": {"id": "u1"}, "items": [{"sku": "a"}], "price": {"cents": 5}}\n',
        encoding="utf-8",
    )
    command = ["import", "--mapping", str(mapping), "--input", str(rows), "--check"]
    told = CliRunner().invoke(wayline, command).output
    assert f"{mapping}:12: no row has prize.cents" in told
    assert told.count("no row has") == 1


@pytest.mark.parametrize(("said", "meant"), [("hubspt", "hubspot"), ("segmnt", "segment")])
def test_a_misspelt_name_of_a_mapping_gets_a_suggestion(said: str, meant: str) -> None:
    caught = CliRunner().invoke(wayline, ["import", "--mapping", said, "--check"]).exception
    assert isinstance(caught, ConfigurationError)
    assert caught.hint.startswith(f"did you mean {meant!r}?")


def test_a_misspelt_column_gets_a_suggestion(tmp_path: Path) -> None:
    mapping, rows = tmp_path / "m.yaml", tmp_path / "rows.csv"
    mapping.write_text(MAPPING.replace("jsonl", "csv").replace("event_time: at", "event_time: creatd_at"), "utf-8")
    rows.write_text("what,created_at,login\nx,2024-03-01,u1\n", encoding="utf-8")
    caught = (
        CliRunner().invoke(wayline, ["import", "--mapping", str(mapping), "--input", str(rows), "--check"]).exception
    )
    assert isinstance(caught, ConfigurationError)
    assert (caught.line, caught.hint.startswith("did you mean 'created_at'?")) == (5, True)
