"""`wayline review`: draw, label by key or sheet, go on where it was left, and say what to change."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from contracts.event import MINUTE
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
    assert f"2 labels given, {whole - 2} left for anna; go on: wayline review --out {out} --who anna" in told
    _, told, _ = ask("--who", "anna", keys="s b 1")
    assert f"--- 3 of {whole}:" in told
    assert "1 labels given" in told, "back asks the skipped one again; the end of input is quit"
    assert [label.who for label in ReviewStore(out).labels()] == ["anna"] * 3
    _, told, _ = ask("--list")
    assert f"3 of {whole} labelled, by anna; ontology default@" in told


def test_a_journey_is_shown_once_whatever_is_asked_meanwhile(out: Path, ask: Ask) -> None:
    """What the stages mean would else scroll away under the journey that is shown again."""
    _, told, _ = ask("--who", "anna", "--size", "5", keys="??x2sb3q")
    first, second, again, *_ = told.split("\n--- ")[1:]
    assert (first[0], second[0], again[0]) == ("1", "2", "3")
    assert first.count("asked about") == 1
    assert first.count("In which stage is this person?") == 4
    assert first.count("1 discovery: Finds out") == 2
    assert told.count("\n--- 2 of ") == 2, "back shows it again"


def test_the_report_says_of_how_many_journeys_it_speaks_and_how_a_change_is_tried(out: Path, ask: Ask) -> None:
    ask("--who", "anna", "--size", "5", keys="u1q")
    samples = ReviewStore(out).samples()
    _, told, _ = ask("--report")
    strata = {sample.stratum: sample.stratum_size for sample in samples}
    counted = strata[samples[1].stratum]
    assert counted < sum(strata.values())
    assert f"{counted} of {sum(strata.values())} journeys in all: the others' strata have no label yet" in told
    assert any(words in told for words in ("low (below 0.6)", "middle (up to 0.8)", "high (from 0.8 on)"))
    ask("--who", "anna", keys="4" * len(samples))
    _, told, _ = ask("--report")
    assert f"wayline ontology diff NOW.yaml CHANGED.yaml --on {out}" in told


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
    assert "right: 100.0% (" in told
    assert "what to look at" not in told


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


NOON = 1_704_110_400_000_000


def read(rows: list[tuple[int, str, str, str | None, str | None]], at: int, person: str = "p1") -> list[str]:
    """The journey of p1 up to an instant. ``rows``: minutes after noon, name, behaviours, path, session."""
    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE events (person_id TEXT, event_time TIMESTAMPTZ, event_id TEXT, name TEXT, behaviours TEXT,"
        " channel TEXT, path TEXT, session_id TEXT)"
    )
    for number, (minute, *values) in enumerate(rows):
        connection.execute(
            "INSERT INTO events VALUES ('p1', make_timestamptz(?), ?, ?, ?, 'web', ?, ?)",
            [NOON + minute * MINUTE, f"e{number:03}", *values],
        )
    asked = Journey(person, NOON + at * MINUTE, 1, "decision", 0.7, "rules", "o@1", None)
    return journey_lines(connection, Sample("s1", "d", "x", 1, asked), {"conversion"})


def test_what_came_after_the_point_is_not_shown() -> None:
    """A label is about the stage at the point; a stream may have gone on since the draw."""
    rows = [(0, "view", '["product_view"]', "/shoes", "s1"), (1, "purchase", '["conversion"]', None, "s1")]
    told = read(rows, 0)
    assert told[:3] == [
        "1 event in 1 session from 2024-01-01 12:00 to 2024-01-01 12:00 (UTC)",
        "asked about 2024-01-01 12:00",
        "no conversion",
    ]
    assert told[-2:] == ["2024-01-01 12:00, 0 s", "  12:00  view                 web  /shoes  product_view"]
    assert not any("purchase" in line for line in told)


def test_a_conversion_long_ago_and_a_long_silence_are_told() -> None:
    rows = [(0, "purchase", '["conversion"]', None, "s1")]
    rows += [(60 * n, "odd" if n % 2 else "even", "[]", None, f"v{n}") for n in range(1, 61)]
    told = read(rows, 60 * 60 + 3 * 24 * 60)
    assert "asked about 2024-01-07 00:00, 3 d after the latest event" in told
    assert "1 conversion, the latest 2024-01-01 12:00" in told
    assert "(21 earlier events not shown)" in told


def test_the_same_again_and_again_is_one_line_and_a_record_belongs_to_no_visit() -> None:
    rows = [(n, "search", '["search"]', "search", "s1") for n in range(3)]
    told = read([*rows, (3, "email_delivered", "[]", None, None), (4, "search", '["search"]', "search", "s1")], 9)
    assert told[-4:] == [
        "2024-01-01 12:00, 4 min",
        "  12:00  search               web \N{MULTIPLICATION SIGN}3",
        "  2024-01-01 12:03  email_delivered      web",
        "  12:04  search               web",
    ]


def test_texts_of_events_cannot_command_the_terminal_and_who_is_gone_is_said_to_be() -> None:
    rows = [(0, "view\x1b[2J", "[]", "/\x1b]0;", "s1")]
    assert "\x1b" not in "\n".join(read(rows, 0))
    (gone,) = read(rows, 0, "p2")
    assert "is no more" in gone


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
    far = {"p3": Why({"decision": 0.1}, {})}
    told = proposals(audit(samples, labels), far, {"decision": 2.2}, STAGES)
    assert any("0.10 of the 2.2 that it takes: lengthen the half-lives" in line for line in told)
    assert not any("lower entry.intent" in line for line in told), "who has next to nothing of it is not let in by that"


def test_a_stage_that_a_condition_decides_is_not_blamed_on_its_signals() -> None:
    samples = [case(1, "customer")]
    labels = [Label("s1", "discovery", "anna", 1)]
    why = {"p1": Why({"customer": 9.0}, {"customer.buying": 9.0})}
    (line,) = proposals(audit(samples, labels), why, {"decision": 2.2}, STAGES)
    assert "The condition of customer decides" in line
