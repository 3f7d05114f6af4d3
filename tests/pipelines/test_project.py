"""Projects: made from a template, found from the working folder, sound from the first minute, checked all at once."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from contracts.errors import CheckFailedError, ConfigurationError, OutputError, UsageError
from pipelines.cli import COMMANDS, wayline
from pipelines.commands.project import project_config
from pipelines.config import SHIPPED, ProjectConfig, load_config, read_config
from pipelines.project import PROJECT_FILE, find_project
from pipelines.project_templates import template_names, write_template
from sources.importer.mapping_file import load_mapping

ROOT = Path(__file__).parents[2]
TEMPLATES = ("default", *template_names())
IMPORT = ("import", "--mapping", "website", "--input", "examples/website.csv", "--out", "mine")
"""The import that `wayline init` tells of."""


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(wayline, [*map(str, arguments)])


def findings(folder: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """What `wayline check` finds: (file name, line) to the finding."""
    found = json.loads(call("check", "--json", "--project", folder).stdout)["findings"]
    return {(Path(one["path"]).name, one["line"]): one for one in found}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_template("saas", tmp_path / "mine")
    return tmp_path / "mine"


# --- init ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_new_project_passes_its_check_and_its_own_scenarios(template: str, tmp_path: Path) -> None:
    made = call("init", tmp_path / "p", "--template", template)
    assert made.exit_code == 0, made.output
    checked = call("check", "--strict", "--json", "--project", tmp_path / "p")
    assert checked.exit_code == 0, checked.output
    assert json.loads(checked.stdout)["read"] == {
        "configuration": 1,
        "identity rules": 1,
        "ontology": 1,
        "policy": 1,
        "metrics": 1,
        "mapping": 1,
        "scenario file": 1,
    }
    tested = call("test", "--project", tmp_path / "p")
    assert tested.exit_code == 0, tested.output
    assert "all as expected" in tested.output
    config = load_config(tmp_path / "p" / PROJECT_FILE)
    own = (config.ontology, config.identity, *config.policies, config.mappings)
    assert all(path.is_relative_to(tmp_path / "p") for path in own), "a project stands on files of its own"


def test_init_overwrites_nothing_and_writes_nothing_beside_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "website.yaml").write_text("mine", encoding="utf-8")
    assert isinstance(call("init", tmp_path).exception, OutputError)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["website.yaml"]
    assert (tmp_path / "mappings" / "website.yaml").read_text(encoding="utf-8") == "mine"


def test_the_files_of_templates_are_part_of_what_is_installed() -> None:
    import tomllib

    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = told["tool"]["setuptools"]["package-data"]["ontology"]
    packaged = {path for pattern in patterns for path in SHIPPED.glob(pattern) if path.is_file()}
    assert {path for path in (SHIPPED / "templates").rglob("*") if path.is_file()} <= packaged


@pytest.mark.parametrize(
    ("template", "told"), [("ecommerce", "reading about us"), ("leads", "goes back"), ("saas", "goes back")]
)
def test_without_what_speaks_against_a_stage_a_scenario_of_the_template_fails(
    template: str, told: str, tmp_path: Path
) -> None:
    write_template(template, tmp_path / "p")
    path = tmp_path / "p" / "journey.yaml"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "weakened_by" not in line), encoding="utf-8")
    result = call("test", "--project", tmp_path / "p")
    assert isinstance(result.exception, CheckFailedError)
    (failed,) = re.findall(r"^FAILED .*", result.output, re.MULTILINE)
    assert told in failed


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_example_of_a_template_is_one_for_its_mapping_its_ontology_and_its_identity_rules(
    template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_template(template, tmp_path / "p")
    monkeypatch.chdir(tmp_path / "p")
    assert call(*IMPORT).exit_code == 0
    (source,) = json.loads(call("audit", "--input", "mine/events", "--json").stdout)["sources"]
    rows = (tmp_path / "p" / "examples" / "website.csv").read_text(encoding="utf-8").splitlines()
    assert source["events"] == len(rows) - 1
    assert all(name["known"] for name in source["names"])
    assert all(one["counts"] and one["blocked"] == 0 for one in source["coverage"])


# of the template ecommerce the tutorial tells, and its test does what it says
@pytest.mark.parametrize(
    ("template", "stages"),
    [("leads", {"lost": 1, "sales_ready": 1, "won": 1}), ("saas", {"customer": 1, "evaluation": 1, "trial": 1})],
)
def test_a_template_goes_from_its_example_to_a_report(
    template: str, stages: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_template(template, tmp_path / "p")
    monkeypatch.chdir(tmp_path / "p")
    with Path(PROJECT_FILE).open("a", encoding="utf-8") as configuration:
        configuration.write("shards: {strand: 1, journey: 1}\n")
    assert call(*IMPORT).exit_code == 0
    ran = call("run", "--input", "mine/events", "--out", "out", "--workers", "1")
    assert ran.exit_code == 0, (ran.output, ran.exception)
    asked = call("query", "--out", "out", "--format", "csv", "SELECT stage, count(*) FROM journeys GROUP BY ALL")
    rows = (line.split(",") for line in asked.output.splitlines()[1:])
    assert {stage: int(people) for stage, people in rows} == stages
    assert call("report", "--out", "out").exit_code == 0
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert all(stage in page for stage in stages)


# --- which project ------------------------------------------------------------------------------------------------


@pytest.fixture
def chosen() -> Iterator[list[Path | None]]:
    """A command below ``wayline`` that notes which configuration it is given."""
    seen: list[Path | None] = []

    @click.command("noted")
    @project_config
    def noted(config: Path | None) -> None:
        seen.append(config)

    patched = pytest.MonkeyPatch()
    patched.setattr(type(wayline), "get_command", lambda *_: noted)
    yield seen
    patched.undo()


def test_a_project_is_found_from_the_working_folder_upward(
    project: Path, chosen: list[Path | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / "policies")
    assert call("noted").exit_code == 0
    assert chosen == [project.resolve() / PROJECT_FILE]


def test_the_nearest_project_is_the_one(project: Path) -> None:
    inner = project / "inner" / "deep"
    inner.mkdir(parents=True)
    (project / "inner" / PROJECT_FILE).write_text("lateness: 1h\n", encoding="utf-8")
    assert find_project(inner) == project.resolve() / "inner" / PROJECT_FILE


def test_a_named_configuration_wins_over_a_named_project_and_that_over_one_that_is_found(
    tmp_path: Path, project: Path, chosen: list[Path | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_template("leads", tmp_path / "other")
    monkeypatch.chdir(project)
    other, named = tmp_path / "other", tmp_path / "any.yaml"
    assert call("noted", "--project", other).exit_code == 0
    assert call("--project", other, "noted").exit_code == 0
    assert call("noted", "--project", other, "--config", named).exit_code == 0
    assert call("--project", project, "noted", "--project", other).exit_code == 0
    assert chosen == [other / PROJECT_FILE, other / PROJECT_FILE, named, other / PROJECT_FILE]


def test_without_a_project_the_shipped_defaults_serve(
    tmp_path: Path, chosen: list[Path | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("noted").exit_code == 0
    assert chosen == [None]


def test_a_folder_that_is_no_project_is_refused_with_the_way_to_make_one(tmp_path: Path) -> None:
    error = call("check", "--project", tmp_path).exception
    assert isinstance(error, UsageError)
    assert f"wayline init {tmp_path}" in error.hint


def _commands(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    if not isinstance(group, click.Group):
        yield " ".join(path), group
        return
    if group.invoke_without_command:
        yield " ".join(path), group
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        yield from _commands(found, (*path, name))


def test_every_command_that_takes_a_configuration_takes_a_project() -> None:
    takes = {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in _commands(wayline)
    }
    configured = {name for name, options in takes.items() if "--config" in options}
    assert configured == {name for name, options in takes.items() if "--project" in options}
    for name in ("run", "stream", "train", "import", "test", "check", "doctor", "metric", "model promote", "tables"):
        assert name in configured, name


def test_the_page_names_the_commands_that_read_no_configuration() -> None:
    text = " ".join((ROOT / "docs" / "projects.md").read_text(encoding="utf-8").split())
    without = text.split("`wayline drain`", 1)[1].split("read no configuration", 1)[0]
    named = set()
    for name, command in _commands(wayline):
        if f"`wayline {name}`" in f"`wayline drain`{without}":
            named.add(name)
            assert not any("--config" in parameter.opts for parameter in command.params), name
    assert {"drain", "graph", "publish"} <= named


def test_a_mapping_of_the_project_goes_before_a_shipped_one_of_its_name(project: Path) -> None:
    own = (project / "mappings" / "website.yaml").read_text(encoding="utf-8")
    (project / "mappings" / "ga4.yaml").write_text(own, encoding="utf-8")
    assert load_mapping("ga4", project / "mappings", SHIPPED / "mappings").name == "website"
    assert load_mapping("hubspot", project / "mappings", SHIPPED / "mappings").name == "hubspot"
    with pytest.raises(ConfigurationError) as caught:
        load_mapping("webside", project / "mappings", SHIPPED / "mappings")
    assert "website" in caught.value.hint
    assert "hubspot" in caught.value.hint


# --- the configuration and the check ------------------------------------------------------------------------------


def test_policies_are_a_file_a_list_or_a_folder(project: Path) -> None:
    one = project / "policies" / "default.yaml"
    for said in ("policies", "policies/default.yaml", "[policies/default.yaml]", "[policies]"):
        (project / PROJECT_FILE).write_text(f"policies: {said}\n", encoding="utf-8")
        assert [path.resolve() for path in load_config(project / PROJECT_FILE).policies] == [one.resolve()], said
    (project / "empty").mkdir()
    (project / PROJECT_FILE).write_text("policies: empty\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"wayline.yaml:1: .*no policy file"):
        load_config(project / PROJECT_FILE)


def test_every_key_at_fault_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / PROJECT_FILE
    path.write_text("lateness: soon\nclock_skew: 3m\nidentty: x.yaml\nshards: {strand: 0}\n", encoding="utf-8")
    config, faults = read_config(path)
    assert [fault.line for fault in faults] == [1, 3, 4]
    assert "did you mean 'identity'" in faults[1].hint
    assert (config.clock_skew, config.lateness) == (180_000_000, ProjectConfig().lateness)
    with pytest.raises(ConfigurationError) as caught:
        load_config(path)
    assert caught.value.line == 1


def test_check_finds_a_fault_in_every_kind_of_file_at_once(project: Path) -> None:
    def spoil(name: str, old: str, new: str) -> tuple[str, int]:
        path = project / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return path.name, text[: text.index(old)].count("\n") + 1

    spoilt = {
        spoil(PROJECT_FILE, "# lateness: 72h", "latenes: 72h"): "lateness",
        spoil("policies/default.yaml", "priority: 50", "priorty: 50"): "priority",
        spoil("mappings/website.yaml", "format: csv", "format: cvs"): "csv",
    }
    found = findings(project)
    assert set(spoilt) <= set(found)
    for place, word in spoilt.items():
        assert (found[place]["severity"], found[place]["rule"]) == ("error", "invalid")
        assert f"did you mean {word!r}" in found[place]["mending"]
    # scenarios rest on the policy, which cannot be read
    assert found["journeys.yaml", 1]["rule"] == "unchecked"
    result = call("check", "--project", project)
    assert isinstance(result.exception, CheckFailedError)
    assert f"{project / 'mappings' / 'website.yaml'}:" in result.output


def test_check_reads_the_other_files_when_the_ontology_is_broken(project: Path) -> None:
    (project / "journey.yaml").write_text("name: x\nstages: []\n", encoding="utf-8")
    (project / "mappings" / "bad.yaml").write_text("name: bad\n", encoding="utf-8")
    rules = {name: one["rule"] for (name, _), one in findings(project).items()}
    assert rules == {
        "journey.yaml": "invalid",
        "bad.yaml": "invalid",
        "default.yaml": "unchecked",
        "metrics.yaml": "unchecked",
        "journeys.yaml": "unchecked",
    }


def test_check_holds_mappings_against_identity_rules_and_ontology(project: Path) -> None:
    path = project / "mappings" / "website.yaml"
    text = path.read_text(encoding="utf-8").replace("namespace: user_id", "namespace: user")
    path.write_text(text.replace("name: event", "name: {constant: page_veiw}"), encoding="utf-8")
    found = [(one["severity"], one["rule"]) for one in findings(project).values()]
    assert sorted(found) == [("error", "unknown"), ("note", "unknown")]


def test_mappings_of_the_project_are_listed_and_shown(project: Path) -> None:
    listed = call("mapping", "list", "--project", project).output.splitlines()
    assert listed[0].startswith("website ")
    assert any(line.startswith("ga4 ") for line in listed)
    assert "examples/website.csv" in call("mapping", "show", "website", "--project", project).output


def test_check_finds_a_scenario_that_is_told_wrongly(project: Path) -> None:
    path = project / "scenarios" / "journeys.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("[visitor]", "[visiter]"), encoding="utf-8")
    ((name, _), one), *more = findings(project).items()
    assert (name, more) == ("journeys.yaml", [])
    assert "did you mean 'visitor'" in one["mending"]


def test_check_tells_what_the_ontology_can_never_do_and_strict_heeds_warnings(project: Path) -> None:
    path = project / "journey.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("conversions >= 1 || renewals >= 1}", "conversions < 0}", 1), encoding="utf-8")
    assert "contradiction" in {one["rule"] for one in findings(project).values()}
    path.write_text(text.replace("margin: 0.35", "margin: 0.0").replace("back: 1h", "back: 0s"), encoding="utf-8")
    severities = {one["severity"] for one in findings(project).values()}
    assert severities == {"warning"}
    assert call("check", "--project", project).exit_code == 0
    assert isinstance(call("check", "--strict", "--project", project).exception, CheckFailedError)


def test_check_counts_what_a_project_may_have_several_of(project: Path) -> None:
    (project / "mappings" / "second.yaml").write_bytes((project / "mappings" / "website.yaml").read_bytes())
    (project / "policies" / "second.yaml").write_text("name: second\n", encoding="utf-8")
    told = call("check", "--project", project).output.splitlines()[-1]
    assert told.endswith("configuration, identity rules, ontology, 2 policies, metrics, 2 mappings, 1 scenario file")


def test_the_shipped_defaults_pass() -> None:
    result = CliRunner().invoke(wayline, ["check", "--strict"])
    assert result.exit_code == 0, result.output
    assert "the shipped defaults: read without fault" in result.output


# --- completion ---------------------------------------------------------------------------------------------------


def completed(words: str) -> list[str]:
    """What the shell is answered, by click's own protocol, for a line whose last word is to be completed."""
    asked = {"_WAYLINE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    code = "import sys; sys.argv = ['wayline']; from pipelines.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"PATH": "/usr/bin:/bin", **asked}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_commands_and_choices_complete() -> None:
    assert completed("wayline rec") == ["reconcile"]
    assert set(completed("wayline ")) == set(COMMANDS)
    assert completed("wayline run --actions ") == ["live", "dry-run"]
    assert "--project" in completed("wayline check --p")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_asks_by_that_protocol(shell: str) -> None:
    result = call("completion", shell)
    assert result.exit_code == 0, result.output
    assert f"_WAYLINE_COMPLETE={shell}_complete" in result.output
    assert set(COMMANDS) >= {"completion", "init"}
