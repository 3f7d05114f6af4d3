"""``wayline model``: what a person sees, and the exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from model_world import STAGES, TrainedWorld

from contracts.errors import ModelError
from models.evaluation import Gates
from models.ontology_registry import OntologyRegistry
from models.registry import ModelRegistry
from pipelines.commands import model as commands
from pipelines.commands import train as train_command
from pipelines.config import SHIPPED
from transforms.journey.ontology import Ontology, load_ontology
from transforms.journey.ontology_file import parse_ontology

DEFINING = "defining: [cart, checkout, sales_contact]"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(commands.command, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_list_shows_roles_and_activations(trained_world: TrainedWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    out, version = str(trained_world.out), trained_world.trained.model.version
    listed = run("list", "--out", out)
    assert version in listed
    assert "challenger" in listed
    ModelRegistry(trained_world.out / "registry").promote(
        version, stages=STAGES, active_from=0, reason="why not", now=0, gates=Gates(max_ece=1.0)
    )
    listed = run("list", "--out", out)
    assert "champion" in listed
    assert f"events from 1970-01-01 00:00:00Z: {version}" in listed
    assert "why not" in listed
    back = run("rollback", "--out", out)
    assert back.startswith("rules alone: in force for events from 2025-02-10 00:00:00.000001Z on")


def test_an_output_folder_without_models_says_how_to_train_one(tmp_path: Path) -> None:
    (tmp_path / "format.json").write_text('{"format": 1}')
    assert "rules alone" in run("list", "--out", str(tmp_path))
    with pytest.raises(ModelError, match="no challenger"):
        run("promote", "--out", str(tmp_path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-02", 86_400_000_000),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:00.000001Z", 1),
        (None, None),
    ],
)
def test_times_are_read_as_utc_microseconds(text: str | None, expected: int | None) -> None:
    context = click.Context(commands.command)
    assert commands.instant(context, click.Option(["--at"]), text) == expected


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(click.BadParameter, match="no ISO 8601 time"):
        commands.instant(click.Context(commands.command), click.Option(["--at"]), "soon")


def test_train_explains_its_options() -> None:
    result = CliRunner().invoke(train_command.command, ["--help"])
    assert "--horizon-days" in result.output
    assert "--no-promote" in result.output


def test_help_imports_no_heavy_library() -> None:
    code = (
        "import sys, pipelines.commands.train, pipelines.commands.model; "
        "print([m for m in ('numpy', 'pandas', 'sklearn', 'mlflow', 'feast', 'apache_beam') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def three_stages() -> str:
    text = (SHIPPED / "journey.yaml").read_text(encoding="utf-8")
    return text[: text.index("  - name: consideration")] + text[text.index("  - name: decision") :]


def other_defining() -> str:
    text = (SHIPPED / "journey.yaml").read_text(encoding="utf-8")
    assert text.count(DEFINING) == 1
    return text.replace(DEFINING, "defining: [checkout, sales_contact, form]")


def activated(root: Path, text: str, at: int) -> Ontology:
    ontology = parse_ontology(text, "mine.yaml")
    given = load_ontology(SHIPPED / "journey.yaml")
    OntologyRegistry(root).activate(ontology, given, active_from=at, reason="", now=0)
    return ontology


def test_a_model_is_trained_for_the_ontology_in_force_when_it_begins_to_score(tmp_path: Path) -> None:
    shipped = commands.stage_definitions(None)
    new = activated(tmp_path, other_defining(), 100)
    before, after = (commands.stage_definitions(None, tmp_path, at) for at in (99, 100))
    assert before == shipped
    assert after.version == new.version
    assert after.defining["decision"] == frozenset({"checkout", "sales_contact", "form"})


def test_no_model_is_for_a_time_in_which_stages_change(tmp_path: Path) -> None:
    three = activated(tmp_path / "registry", three_stages(), 100)
    (tmp_path / "three.yaml").write_text(three.source)
    config = tmp_path / "wayline.yaml"
    config.write_text(f"ontology: {tmp_path / 'three.yaml'}\npolicies: []\n")
    with pytest.raises(ModelError, match=rf"from 1970-01-01 00:00:00.0001Z on it is {three.version}, with discovery"):
        commands.stage_definitions(config, tmp_path / "registry", 99)
    assert commands.stage_definitions(config, tmp_path / "registry", 100).stages == three.stage_names


def test_a_model_of_other_stages_than_those_in_force_is_not_promoted(
    trained_world: TrainedWorld, tmp_path: Path
) -> None:
    three = activated(trained_world.out / "registry", three_stages(), 100)
    (tmp_path / "three.yaml").write_text(three.source)
    config = tmp_path / "wayline.yaml"
    config.write_text(f"ontology: {tmp_path / 'three.yaml'}\npolicies: []\n")
    with pytest.raises(
        ModelError, match="was trained for the stages discovery, consideration, decision, customer; the"
    ):
        run("promote", "--out", str(trained_world.out), "--config", str(config))
    assert ModelRegistry(trained_world.out / "registry").activations().champion is None


def test_train_takes_what_is_in_force(trained_world: TrainedWorld) -> None:
    new = activated(trained_world.out / "registry", other_defining(), 100)
    arguments = ["--out", str(trained_world.out), "--no-promote", "--max-rows", "1000", "--horizon-days", "2"]
    result = CliRunner().invoke(train_command.command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    version = ModelRegistry(trained_world.out / "registry").activations().challenger
    assert version is not None
    assert ModelRegistry(trained_world.out / "registry").load(version).manifest.ontology_version == new.version
