"""``wayline ontology``: templates are complete projects, the check has its exit codes, and the comparison on history
says what runs under both ontologies say."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from run_world import FEW_SHARDS, NOON, Runs, event, write_events
from simulated import World

from contracts.errors import CheckFailedError, ConfigurationError, InputError, OutputError, UsageError
from pipelines.cli import wayline
from pipelines.commands.tables import compact_command as compact
from pipelines.config import SHIPPED
from pipelines.definitions import load_definitions
from pipelines.project_templates import template_names
from transforms.tables.part_names import parts_in

REASONS = """SELECT person_id, arg_max(evidence ->> 'reason', "at") FROM transitions GROUP BY 1"""
DEFAULT = SHIPPED / "journey.yaml"


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(wayline, ["ontology", *map(str, arguments)])


def answer(*arguments: str | Path) -> dict[str, Any]:
    result = call(*arguments, "--json")
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def other(tmp_path: Path) -> Path:
    """The shipped ontology with a decision that is reached later, prices that fade faster, and windows that fall."""
    text = DEFAULT.read_text(encoding="utf-8")
    for old, new in (
        ("entry: {intent: 2.1}", "entry: {intent: 4.0}"),
        ("entry: {intent: 2.0}", "entry: {intent: 1.5, when: events_7d >= 3.0}"),
        ("  back: 10m", "  back: 0s"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = tmp_path / "other.yaml"
    path.write_text(text, encoding="utf-8")
    return path


# --- init ---------------------------------------------------------------------------------------------------------


def test_there_are_three_business_templates() -> None:
    assert template_names() == ("ecommerce", "leads", "saas")


@pytest.mark.parametrize("name", ["saas", "ecommerce", "leads"])
def test_init_writes_a_project_that_loads_and_checks(name: str, tmp_path: Path) -> None:
    made = call("init", tmp_path / name, "--template", name)
    assert made.exit_code == 0, made.output
    definitions = load_definitions(tmp_path / name / "wayline.yaml")
    assert definitions.ontology.name == name
    checked = answer("check", "--config", tmp_path / name / "wayline.yaml")
    assert (checked["ontology"], checked["counts"]["error"]) == (definitions.ontology.version, 0)
    assert checked["path"] == str((tmp_path / name / "journey.yaml").resolve())


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "identity.yaml").write_text("mine", encoding="utf-8")
    result = call("init", tmp_path, "--template", "saas")
    assert isinstance(result.exception, OutputError)
    assert [path.name for path in tmp_path.iterdir()] == ["identity.yaml"]


def test_init_names_the_templates_there_are(tmp_path: Path) -> None:
    error = call("init", tmp_path, "--template", "shop").exception
    assert isinstance(error, UsageError)
    assert "ecommerce, leads, saas" in error.hint


def test_a_run_under_a_template_fills_the_journeys(tmp_path: Path, dirty_world: World) -> None:
    call("init", tmp_path, "--template", "leads")
    (tmp_path / "wayline.yaml").open("a", encoding="utf-8").write(FEW_SHARDS)
    runs = Runs(tmp_path / "runs", tmp_path / "wayline.yaml")
    runs.run_files(dirty_world.events)
    stages = {stage for (stage,) in runs.query("SELECT DISTINCT stage FROM journeys")}
    assert len(stages) > 2
    assert stages <= set(load_definitions(tmp_path / "wayline.yaml").ontology.stage_names)


# --- check --------------------------------------------------------------------------------------------------------


def test_check_ends_with_exit_code_9_on_errors_and_shows_line_and_mending(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    text = DEFAULT.read_text(encoding="utf-8")
    path.write_text(text.replace("conversions >= 1 || renewals >= 1", "conversions < 0"), encoding="utf-8")
    result = call("check", path)
    assert isinstance(result.exception, CheckFailedError)
    assert result.exception.exit_code == 9
    line = text[: text.index("conversions >= 1 ||")].count("\n") + 1
    assert f"{path}:{line}: error contradiction:" in result.output
    assert "fix: take out the comparison" in result.output


def test_check_refuses_what_cannot_be_read_at_all_as_a_configuration_fault(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("name: x\nstages: []\n", encoding="utf-8")
    assert isinstance(call("check", path).exception, ConfigurationError)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Events of one source, which knows neither searches nor sales."""
    names = ("home_view", "product_view", "pricing_view", "purchase", "login", "feature_seen")
    write_events(
        tmp_path / "in" / "e.avro",
        [event(n, name, NOON + n, {"anonymous_id": "a"}) for n, name in enumerate(names)],
    )
    return tmp_path / "in"


def test_check_holds_signals_against_what_input_really_emits(small: Path) -> None:
    found = answer("check", "--input", small)
    rules = Counter(one["rule"] for one in found["findings"])
    assert found["sources"] == {"where": str(small), "events": 6}
    unfed = {one["message"].split("'")[1] for one in found["findings"] if one["rule"] == "unfed-signal"}
    assert {"searching", "talking_to_sales", "filling_cart"} <= unfed
    assert not {"browsing", "viewing_products", "asking_price", "buying"} & unfed
    assert rules["unknown-event"] == 1
    assert isinstance(call("check", "--input", small, "--strict").exception, CheckFailedError)


def test_check_finds_the_same_in_the_tables_of_a_run(small: Path, runs: Runs) -> None:
    runs.run_files(small)
    by_input, by_tables = answer("check", "--input", small), answer("check", "--out", runs.out)
    told = [[(one["rule"], one["line"]) for one in found["findings"]] for found in (by_input, by_tables)]
    assert told[0] == told[1]


def test_check_takes_input_or_out(tmp_path: Path) -> None:
    assert call("check", "--input", tmp_path, "--out", tmp_path).exit_code == 2


# --- diff ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ran(make_runs: Callable[[str], Runs], dirty_world: World) -> Runs:
    made = make_runs("ran")
    made.run_files(dirty_world.events)
    return made


def staged(runs: Runs) -> dict[str, str]:
    return dict(runs.query("SELECT person_id, stage FROM journeys"))


def test_diff_on_an_output_says_what_two_runs_say(ran: Runs, dirty_world: World, tmp_path: Path) -> None:
    path = other(tmp_path)
    config = tmp_path / "wayline.yaml"
    config.write_text(f"ontology: {path.name}\n{FEW_SHARDS}", encoding="utf-8")
    under_b = Runs(tmp_path / "runs", config)
    under_b.run_files(dirty_world.events)
    found = answer("diff", DEFAULT, path, "--on", ran.out, "--config", ran.config)
    one, two = staged(ran), staged(under_b)
    cells = Counter((one[person], two[person]) for person in one)
    assert one.keys() == two.keys()
    assert {(cell["a"], cell["b"]): cell["persons"] for cell in found["cells"]} == cells
    assert found["moved"] == sum(n for (a, b), n in cells.items() if a != b) > 0
    assert found["persons"] == len(one)
    for side, runs in (("a", ran), ("b", under_b)):
        moves = dict(runs.query("SELECT to_stage, count(*) FROM transitions GROUP BY 1"))
        assert {name: n for name, n in found[side]["transitions"].items() if n} == moves
        reasons = dict(runs.query(REASONS))
        for cell in found["cells"]:
            for example in cell["examples"]:
                assert example[f"why_{side}"] == reasons[example["person"]]


def test_diff_counts_an_event_once_though_parts_of_the_log_were_merged(ran: Runs, tmp_path: Path) -> None:
    out = tmp_path / "out"
    copytree(ran.out, out)
    before = answer("diff", DEFAULT, DEFAULT, "--on", out, "--config", ran.config)
    parts = set(parts_in(out / "log"))
    compacted = CliRunner().invoke(compact, ["--out", str(out), "--older-than", "0", "--whole"])
    assert "log:" in compacted.output, compacted.output
    # what was merged stays for a while, for those who read it just now
    assert parts < set(parts_in(out / "log"))
    assert answer("diff", DEFAULT, DEFAULT, "--on", out, "--config", ran.config) == before


def test_diff_on_event_files_says_the_same_but_for_the_ids_of_persons(
    ran: Runs, dirty_world: World, tmp_path: Path
) -> None:
    path = other(tmp_path)
    found = [
        answer("diff", DEFAULT, path, "--on", where, "--config", ran.config, "--examples", "0")
        for where in (ran.out, dirty_world.events)
    ]
    for one in found:
        del one["left_out"]
    assert found[0] == found[1]


def test_diff_of_an_ontology_with_itself_moves_nobody(ran: Runs) -> None:
    found = answer("diff", DEFAULT, DEFAULT, "--on", ran.out, "--config", ran.config)
    assert (found["moved"], found["more"], found["fewer"]) == (0, 0, 0)
    assert found["same_way"] == found["persons"] > 0


def test_diff_shows_who_moves_and_writes_a_picture_that_is_whole_in_itself(ran: Runs, tmp_path: Path) -> None:
    picture = tmp_path / "flow.svg"
    result = call("diff", DEFAULT, other(tmp_path), "--on", ran.out, "--config", ran.config, "--picture", picture)
    assert result.exit_code == 0, (result.output, result.exception)
    for part in ("stand elsewhere under B", "Transitions into each stage", "For example", "A: ", "by rules alone"):
        assert part in result.output
    text = picture.read_text(encoding="utf-8")
    assert ElementTree.fromstring(text).tag.endswith("svg")
    assert not [word for word in ("href", "url(", "<script", "@import") if word in text]


def test_diff_changes_nothing_in_the_output(ran: Runs, tmp_path: Path) -> None:
    def files() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in ran.out.rglob("*") if path.is_file()}

    before = files()
    answer("diff", DEFAULT, other(tmp_path), "--on", ran.out, "--config", ran.config)
    assert files() == before


def test_diff_refuses_a_folder_without_history_and_a_picture_that_is_no_svg(tmp_path: Path) -> None:
    assert isinstance(call("diff", DEFAULT, DEFAULT, "--on", tmp_path).exception, InputError)
    assert call("diff", DEFAULT, DEFAULT, "--on", tmp_path, "--picture", tmp_path / "flow.png").exit_code == 2
