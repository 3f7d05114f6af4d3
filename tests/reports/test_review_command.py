"""`wayline review`: draw, label by key or sheet, go on where it was left, and say what to change."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from models.review import Journey, Label, Sample, audit
from models.review_store import ReviewStore
from pipelines.cli import main
from reports.review_cases import Why, journey_lines, proposals, why_of

Ask = Callable[..., tuple[int, str, str]]
STAGES = ("discovery", "consideration", "decision", "customer")


@pytest.fixture
def out(tiny_out: Path, tmp_path: Path) -> Path:
    """The tiny folder's tables, with an audit of its own."""
    folder = tmp_path / "out"
    folder.mkdir()
    shutil.copytree(tiny_out / "tables", folder / "tables")
    shutil.copy(tiny_out / "format.json", folder)
    return folder


@pytest.fixture
def ask(out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ask:
    def call(*arguments: str, keys: str = "") -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr("sys.stdin", io.StringIO(keys))
        with pytest.raises(SystemExit) as ended:
            main(["review", *arguments, "--out", str(out)])
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return call


def test_labelling_goes_on_where_it_was_left_and_what_was_said_is_kept_at_once(out: Path, ask: Ask) -> None:
    code, told, _ = ask("--who", "anna", "--size", "5", keys="3 u x q")
    whole = len(ReviewStore(out).samples())
    assert code == 0
    assert whole >= 5
    assert "decision. The pipeline says" in told
    assert "'x' is none of the keys" in told
    assert f"2 labels given, {whole - 2} left for anna" in told
    _, told, _ = ask("--who", "anna", keys="s b 1")
    assert f"--- 3 of {whole}:" in told
    assert "1 labels given" in told, "back asks the skipped one again; the end of input is quit"
    assert [label.who for label in ReviewStore(out).labels()] == ["anna"] * 3
    _, told, _ = ask("--list")
    assert f"3 of {whole} labelled, by anna; ontology default@" in told


def test_the_reviewer_is_not_led_by_the_pipelines_answer(out: Path, ask: Ask) -> None:
    _, told, _ = ask("--who", "anna", keys="q")
    before_the_question = told.split("In which stage")[0]
    sample = ReviewStore(out).samples()[0].journey
    assert f"says {sample.stage}" not in told
    assert not any(word in before_the_question for word in ("confidence", "intent", "sure)"))


def test_a_sheet_goes_out_and_comes_back(out: Path, ask: Ask, tmp_path: Path) -> None:
    sheet = tmp_path / "audit.csv"
    code, told, _ = ask("--draw", "--size", "6", "--export", str(sheet))
    assert code == 0, told
    rows = list(csv.DictReader(sheet.open(encoding="utf-8")))
    samples = {sample.sample_id: sample for sample in ReviewStore(out).samples()}
    assert {row["sample_id"] for row in rows} == set(samples)
    assert "confidence" not in rows[0]
    for row in rows[1:]:
        row["stage"] = samples[row["sample_id"]].journey.stage.upper()
    with sheet.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert f"taken: {len(rows) - 1} labels by bob" in ask("--import", str(sheet), "--who", "bob")[1]
    assert "taken: 0 labels by bob" in ask("--import", str(sheet), "--who", "bob")[1], "again is harmless"
    _, told, _ = ask("--report")
    assert f"{len(rows) - 1} of {len(rows)} journeys labelled" in told
    assert "right: 1.000 (" in told
    assert "what to change" not in told


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("sample,stage\na,b\n", "no column 'sample_id'"),
        ("sample_id,stage\nnever,decision\n", "was never drawn here"),
        ("sample_id,stage\n{known},loyalty\n", "'loyalty' is no stage"),
        ("sample_id,stage\n{known},decision\n{known},nonsense\n", ":3: 'nonsense' is no stage"),
    ],
)
def test_a_bad_sheet_is_refused_whole(out: Path, ask: Ask, tmp_path: Path, content: str, said: str) -> None:
    ask("--draw", "--list")
    known = ReviewStore(out).samples()[0].sample_id
    (tmp_path / "bad.csv").write_text(content.format(known=known), encoding="utf-8")
    code, _, error = ask("--import", str(tmp_path / "bad.csv"), "--who", "bob")
    assert code == 4
    assert said in error
    assert ReviewStore(out).labels() == []


def test_bad_calls_end_with_2_and_a_folder_without_journeys_with_its_code(ask: Ask, tmp_path: Path) -> None:
    assert ask()[0] == 2
    assert "--who NAME" in ask()[2]
    assert ask("--list", "--report")[0] == 2
    assert ask("--import", str(tmp_path / "none.csv"), "--who", "x")[0] == 4
    code, _, error = ask("--report")
    assert code == 4
    assert "holds no draw yet" in error
    assert ask("--draw", "--days", "0")[0] == 2
    code, _, error = ask("--draw", "--report")
    assert (code, "a new draw has no labels yet" in error) == (2, True)


def test_the_same_tables_and_seed_give_the_draw_that_is_there(out: Path, ask: Ask) -> None:
    ask("--draw", "--list", "--size", "4")
    count = len(ReviewStore(out).samples())
    assert "that is there already" in ask("--draw", "--list", "--size", "4")[1]
    assert len(ReviewStore(out).samples()) == count
    ask("--draw", "--list", "--size", "4", "--seed", "8")
    assert len(ReviewStore(out).samples()) > count


# --- a journey as a reviewer reads it -----------------------------------------------------------------------------


def test_what_came_after_the_point_is_not_shown_and_texts_cannot_command_the_terminal() -> None:
    """A label is about the stage at the point; a stream may have gone on since the draw."""
    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE events AS SELECT * FROM (VALUES ('p1', make_timestamptz(2024, 1, 1, 10, 0, 0.0, 'UTC'), 'e1',"
        " 'view\x1b[2J', '[\"product_view\"]', 'web', '/shoes', 's1'),"
        " ('p1', make_timestamptz(2024, 1, 1, 10, 0, 1.0, 'UTC'), 'e2', 'purchase', '[]', 'web', NULL, 's1'))"
        " t(person_id, event_time, event_id, name, behaviours, channel, path, session_id)"
    )
    asked = Journey("p1", 1_704_103_200_000_000, 1, "decision", 0.7, "rules", "o@1", None)
    told = "\n".join(journey_lines(connection, Sample("s1", "d", "x", 1, asked)))
    assert "1 events from 2024-01-01 10:00 to 2024-01-01 10:00; asked about 2024-01-01 10:00 (UTC)" in told
    assert "/shoes" in told
    assert "purchase" not in told
    assert "\x1b" not in told
    gone = journey_lines(
        connection, Sample("s2", "d", "x", 1, Journey("p2", 0, 1, "decision", 0.7, "rules", "o@1", None))
    )
    assert len(gone) == 1
    assert "is no more" in gone[0]


def test_scores_of_a_journey_that_went_on_since_the_draw_explain_nothing() -> None:
    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE journeys AS SELECT * FROM (VALUES ('p1', 1, '{\"decision\": 3.0}', '[]'),"
        " ('p2', 5, '{\"decision\": 3.0}', '[]')) t(person_id, revision, intents, signals)"
    )
    samples = [case(1, "decision"), case(2, "decision")]
    assert why_of(connection, samples) == {"p1": Why({"decision": 3.0}, {})}
    labels = [Label("s1", "discovery", "anna", 1), Label("s2", "customer", "anna", 1)]
    lines = proposals(audit([case(1, "decision"), case(2, "decision")], labels), {}, {"decision": 2.2}, STAGES)
    assert any("went on since the draw" in line for line in lines)


# --- what to change ------------------------------------------------------------------------------------------------


def case(number: int, said: str, by: str = "rules") -> Sample:
    return Sample(f"s{number}", "d", said, 1, Journey(f"p{number}", 1, 1, said, 0.7, by, "o@1", None))


def test_proposals_name_the_side_the_signal_and_the_level_the_commonest_first() -> None:
    samples = [case(1, "decision"), case(2, "decision"), case(3, "discovery"), case(4, "customer", "model")]
    samples.append(case(5, "decision"))
    said = ["consideration", "consideration", "decision", "consideration", "decision"]
    labels = [Label(s.sample_id, stage, "anna", 1) for s, stage in zip(samples, said, strict=True)]
    cart = Why({"decision": 3.0}, {"decision.filling_cart": 3.0, "consideration.comparing": 4.0})
    why = {"p1": cart, "p2": cart, "p3": Why({"decision": 1.4}, {}), "p5": cart}
    lines = proposals(audit(samples, labels), why, {"consideration": 2.0, "decision": 2.2}, STAGES)
    assert lines[0].startswith("2 of 4 wrong: rules said decision, people say consideration.")
    assert "decision.filling_cart carried 2 of them (and 1 of 1 right ones)" in lines[0]
    assert any("Their intent of decision is 1.40 of the 2.2 that it takes" in line for line in lines)
    assert any("model said customer" in line and "model.margin" in line for line in lines)


def test_a_stage_that_a_condition_decides_is_not_blamed_on_its_signals() -> None:
    samples = [case(1, "customer")]
    labels = [Label("s1", "discovery", "anna", 1)]
    why = {"p1": Why({"customer": 9.0}, {"customer.buying": 9.0})}
    (line,) = proposals(audit(samples, labels), why, {"decision": 2.2}, STAGES)
    assert "The condition of customer decides" in line
