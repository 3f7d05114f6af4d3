"""OUT remembers the registry that it was run with, so what reads it finds the models that scored it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from run_world import MINUTE, NOON, Runs, event
from small_model import put_in_force

from contracts.errors import OutputError
from pipelines.commands.model import model_section
from pipelines.commands.reconcile import command as reconcile
from pipelines.commands.report import report
from pipelines.definitions import load_definitions
from pipelines.registry_used import registry_used
from transforms.tables.output import OutputFolder
from transforms.tables.views import open_views

EVENTS = [event(n, "product_view", NOON + n * MINUTE, {"anonymous_id": f"a{n % 2}"}) for n in range(6)]
NOBODY = "rules alone decide"


@pytest.fixture(name="runs")
def runs_fixture(make_runs: Callable[[str], Runs]) -> Runs:
    return make_runs("one")


def section(runs: Runs) -> str:
    connection = open_views(runs.out, load_definitions(runs.config).tables)
    try:
        return model_section(runs.config, runs.out)(connection)
    finally:
        connection.close()


def test_the_report_shows_the_model_of_a_registry_outside(runs: Runs, tmp_path: Path) -> None:
    registry = tmp_path / "elsewhere"
    version = put_in_force(registry, load_definitions(runs.config).ontology, NOON)
    runs.run(EVENTS, registry=registry)
    assert registry_used(OutputFolder(runs.out)) == registry
    assert NOBODY not in section(runs)
    page = report(runs.out, None, runs.config).read_text(encoding="utf-8")
    assert version in page
    assert NOBODY not in page
    assert "6 points scored" in section(runs)


def test_to_fold_again_keeps_to_it_and_a_run_without_it_forgets_it(runs: Runs, tmp_path: Path) -> None:
    registry = tmp_path / "elsewhere"
    put_in_force(registry, load_definitions(runs.config).ontology, NOON)
    runs.run(EVENTS, registry=registry)
    again = CliRunner().invoke(reconcile, ["--out", str(runs.out), "--config", str(runs.config)])
    assert "nothing changed" in again.output, again.output
    runs.run(EVENTS)
    assert registry_used(OutputFolder(runs.out)) == runs.out / "registry"
    assert NOBODY in section(runs)


def test_a_registry_that_is_gone_is_named_with_what_mends_it(runs: Runs, tmp_path: Path) -> None:
    registry = tmp_path / "elsewhere"
    put_in_force(registry, load_definitions(runs.config).ontology, NOON)
    runs.run(EVENTS, registry=registry)
    shutil.rmtree(registry)
    with pytest.raises(OutputError) as said:
        report(runs.out, None, runs.config)
    assert str(registry) in said.value.message
    assert said.value.hint is not None
    assert "--registry" in said.value.hint


def test_a_registry_that_is_not_there_yet_is_not_noted(runs: Runs, tmp_path: Path) -> None:
    runs.run(EVENTS, registry=tmp_path / "later")
    assert registry_used(OutputFolder(runs.out)) == runs.out / "registry"
