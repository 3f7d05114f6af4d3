"""The look before an import: rows beside their events, nothing personal unless asked for, and what the check says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipelines.cli import main, wayline
from sources.importer.mapping_file import parse_mapping
from sources.importer.preview import MAX_TEXT, Shown, preview
from sources.importer.rows import RowError

MAPPING = """
name: test
format: jsonl
filter: [{field: bot, not_equals: true}]
unnest: batch
event:
  name: what
  event_time: {field: at, format: epoch_s}
  source: {constant: test}
  channel: {constant: web}
  identifiers:
    - {namespace: user_id, field: user}
    - {namespace: email, field: who.mail}
  properties: {note: note, plan: "params[key=plan].value"}
"""
ROW = {
    "at": 1_709_287_200,
    "user": "u1",
    "who": {"mail": "ann@shop-mail.net"},
    "note": "call +49 30 1234567 now",
    "first_name": "Ann",
    "params": [{"key": "plan", "value": "pro"}],
    "batch": [{"what": "a"}, {"what": "b"}],
}


def shown(*, personal: bool, **changes: object) -> Shown:
    from contracts.documents import parse

    (row,) = preview([(1, {**ROW, **changes})], parse_mapping(parse(MAPPING, "m.yaml")), personal=personal)
    return row


def test_a_row_stands_beside_its_events_with_the_fields_that_the_mapping_reads() -> None:
    row = shown(personal=True)
    assert dict(row.source) == {
        "at": "1709287200",
        "user": "u1",
        "who.mail": "ann@shop-mail.net",
        "note": "call +49 30 1234567 now",
        "params[0].value": "pro",
        "batch[0].what": "a",
        "batch[1].what": "b",
    }
    assert row.unread == 2
    assert [dict(event)["name"] for event in row.events] == ["a", "b"]
    assert dict(row.events[0])["event_time"] == "2024-03-01T10:00:00Z"
    assert dict(row.events[0])["properties.plan"] == "pro"


def test_personal_data_is_hidden_unless_it_is_asked_for() -> None:
    text = repr(shown(personal=False))
    assert "ann@" not in text
    assert "1234567" not in text
    assert "u1" in text
    source, event = dict(shown(personal=False).source), dict(shown(personal=False).events[0])
    assert source["who.mail"] == event["email"] == dict(shown(personal=False, at=1).source)["who.mail"]
    assert source["who.mail"] != dict(shown(personal=False, who={"mail": "bob@shop-mail.net"}).source)["who.mail"]


def test_a_terminal_obeys_nothing_of_a_row() -> None:
    row = shown(personal=True, note="\x1b[2Jgone\r\n" + "x" * 500)
    text = dict(row.source)["note"]
    assert text.startswith("\\x1b[2Jgone\\r\\n")
    assert text.endswith("…")
    assert len(text) < MAX_TEXT + 20


def test_dead_rows_and_rows_left_out_are_told() -> None:
    assert shown(personal=False, at="noon").reason == "bad_time"
    assert shown(personal=False, bot=True).left_out
    from contracts.documents import parse

    (row,) = preview([(7, RowError("bad_row", "not JSON"))], parse_mapping(parse(MAPPING, "m.yaml")), personal=False)
    assert (row.number, row.reason) == (7, "bad_row")


# --- the commands ------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "m.yaml").write_text(MAPPING, encoding="utf-8")
    (tmp_path / "in.jsonl").write_text(json.dumps(ROW) + "\n" + json.dumps({**ROW, "at": "noon"}) + "\n")
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(wayline, ["import", *arguments], env={"COLUMNS": "160"})


def failing(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        main(["import", *arguments])
    return int(caught.value.code or 0), capsys.readouterr().err


def test_a_dry_run_writes_nothing_and_hides_what_is_personal(files: Path) -> None:
    before = sorted(files.iterdir())
    result = call("--mapping", str(files / "m.yaml"), "--input", str(files / "in.jsonl"), "--dry-run")
    assert result.exit_code == 0, result.output
    assert "name = a" in result.output
    assert "dead: bad_time" in result.output
    assert "ann@" not in result.output
    assert sorted(files.iterdir()) == before
    result = call(
        "--mapping",
        str(files / "m.yaml"),
        "--input",
        str(files / "in.jsonl"),
        "--dry-run",
        "--show-personal",
        "--limit",
        "1",
    )
    assert "ann@shop-mail.net" in result.output
    assert "bad_time" not in result.output


def test_a_check_counts_rows_and_names_what_nobody_knows(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = call("--mapping", str(files / "m.yaml"), "--input", str(files / "in.jsonl"), "--check")
    assert result.exit_code == 0, result.output
    assert "dead: bad_time" in result.output
    assert not (files / "events").exists()
    (files / "m.yaml").write_text(
        MAPPING.replace("namespace: email", "namespace: emial").replace("name: what", "name: {constant: purchse}")
    )
    code, _ = failing(capsys, "--mapping", str(files / "m.yaml"), "--check")
    assert code == 9
    result = call("--mapping", str(files / "m.yaml"), "--check")
    assert "m.yaml:13: identity knows no namespace 'emial'" in result.output
    assert "did you mean 'email'?" in result.output
    assert "m.yaml:7: the ontology knows no event 'purchse'" in result.output
    assert "did you mean 'purchase'?" in result.output


def test_a_check_of_rows_none_of_which_maps_fails(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "in.jsonl").write_text(json.dumps({**ROW, "at": "noon"}) + "\n")
    code, error = failing(capsys, "--mapping", str(files / "m.yaml"), "--input", str(files / "in.jsonl"), "--check")
    assert (code, "no row maps" in error) == (9, True)


def test_a_misspelt_key_is_named_with_file_line_and_suggestion(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "m.yaml").write_text(MAPPING.replace("source:", "sorce:"))
    code, error = failing(capsys, "--mapping", str(files / "m.yaml"), "--check")
    assert code == 3
    assert "m.yaml:9: unknown key 'sorce'" in error
    assert "did you mean 'source'?" in error


@pytest.mark.parametrize(
    "arguments", [["--check", "--dry-run"], ["--show-personal", "--check"], ["--dry-run"], ["--input", "x"]]
)
def test_options_that_do_not_fit_together_are_refused(arguments: list[str]) -> None:
    assert call("--mapping", "segment", *arguments).exit_code == 2


def test_the_shipped_mappings_pass_the_check() -> None:
    from pipelines.config import SHIPPED

    for path in sorted((SHIPPED / "mappings").glob("*.yaml")):
        result = call("--mapping", path.stem, "--check")
        assert result.exit_code == 0, result.output
        assert "fault" not in result.output
        assert "note" not in result.output or path.stem == "snowplow", result.output


def test_shipped_mappings_are_listed_shown_and_a_new_one_proposed(tmp_path: Path) -> None:
    runner = CliRunner()
    listed = runner.invoke(wayline, ["mapping", "list"]).output
    assert "segment" in listed
    assert "RudderStack" in listed
    assert runner.invoke(wayline, ["mapping", "show", "ga4"]).output.startswith("# Google Analytics 4")
    path = tmp_path / "shop.csv"
    path.write_text("user_id,event,at\nu1,product_view,2024-03-01T10:00:00Z\n")
    out = tmp_path / "shop.yaml"
    result = runner.invoke(wayline, ["mapping", "init", "--from", str(path), "--out", str(out)])
    assert result.exit_code == 0, result.output
    result = call("--mapping", str(out), "--input", str(path), "--dry-run")
    assert "name = product_view" in result.output
    assert runner.invoke(wayline, ["mapping", "init", "--from", str(path), "--out", str(out)]).exit_code != 0
