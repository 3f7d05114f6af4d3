"""``wayline model``: list, promote and roll back stage models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.clock import now
from pipelines.commands.project import project_config
from pipelines.commands.times import instant, shown

if TYPE_CHECKING:
    from models.dataset import StageDefinitions
    from transforms.journey.dated import DatedOntologies
    from transforms.journey.ontology import Ontology, Stage


def stage_definitions(config: Path | None, registry: Path | None = None, at: int | None = None) -> StageDefinitions:
    """Stages and defining behaviours of the ontology by which a model is trained and judged.

    Args:
        config: the project configuration, which names the project's ontology; without activations it is that.
        registry: where ontologies were activated; None: nowhere.
        at: event time from which the model scores: of activated ontologies the one in force then counts. None: the
            last.

    Raises:
        ConfigurationError: the project's ontology was changed without an activation.
        ModelError: from then on ontologies of different stages are in force, and a model knows but those of one.
    """
    from models.dataset import StageDefinitions
    from models.ontology_registry import OntologyRegistry
    from pipelines.config import load_config
    from transforms.journey.ontology import load_ontology

    ontology = load_ontology(load_config(config).ontology)
    dated = None if registry is None else OntologyRegistry(registry).dated(ontology)
    if dated is not None:
        ontology = dated.last if at is None else dated.at(at)
        if at is not None:
            _check_stages(dated, at)
    certain = frozenset(stage.name for stage in ontology.stages if stage.certain)
    return StageDefinitions(ontology.stage_names, ontology.defining, ontology.version, certain)


def model_section(config: Path | None, out: Path) -> Callable[[Any], str]:
    """What makes the section on the model of OUT, of a connection to its views. It raises as ``stage_definitions``."""
    from pipelines.registry_used import registry_used
    from reports.model_quality import model_quality
    from reports.page.model_section import model_html
    from transforms.tables.output import OutputFolder

    registry = registry_used(OutputFolder(out))
    definitions = stage_definitions(config, registry)

    def make(connection: Any) -> str:
        return model_html(model_quality(connection, registry, definitions), definitions.certain)

    return make


def stages_in_force(out: Path, ontology: Ontology) -> tuple[Stage, ...]:
    """Stages of what is in force in OUT in the end: the project's ontology, or what was activated.

    Raises ConfigurationError when the project's was changed without an activation.
    """
    from models.ontology_registry import OntologyRegistry
    from pipelines.registry_used import registry_used
    from transforms.tables.output import OutputFolder

    dated = OntologyRegistry(registry_used(OutputFolder(out))).dated(ontology)
    return (ontology if dated is None else dated.last).stages


def _check_stages(dated: DatedOntologies, at: int) -> None:
    from contracts.errors import ModelError

    now = dated.at(at)
    for start, ontology in dated.spans:
        if start > at and ontology.stage_names != now.stage_names:
            raise ModelError(
                f"at {shown(at)} {now.version} is in force, with the stages {', '.join(now.stage_names)}; from "
                f"{shown(start)} on it is {ontology.version}, with {', '.join(ontology.stage_names)}",
                hint=f"let the model score from {shown(start)} on, with --activate-at, or later",
            )


_OUT = click.option("--out", type=click.Path(path_type=Path), required=True, help="Output folder of `wayline run`.")
_REASON = click.option("--reason", default="", help="Why, for the audit.")
_FROM = click.option(
    "--activate-at",
    callback=instant,
    metavar="TIME",
    help="Event time from which it holds; by default just after the newest event of OUT.",
)


@click.group("model", short_help="List, promote and roll back stage models.")
def command() -> None:
    """The registry of stage models in an output folder."""


@command.command("list")
@_OUT
def list_models(out: Path) -> None:
    """Registered versions with their roles and quality, and the activations."""
    from rich.console import Console
    from rich.table import Column, Table

    from models.registry import ModelRegistry
    from transforms.tables.output import check_readable

    registry = ModelRegistry(check_readable(out).registry)
    rows = registry.rows()
    if not rows:
        click.echo(
            f"no model is registered in {out}; the pipeline uses rules alone. Train one: wayline train --out {out}"
        )
        return
    table = Table(
        Column("version", no_wrap=True),
        Column("role", no_wrap=True),
        "trained until",
        "rows",
        "accuracy",
        "log loss",
        "calibration",
    )
    for row in rows:
        manifest = row.manifest
        if manifest is None:
            table.add_row(row.version, row.role, row.fault)
            continue
        metrics = manifest.metrics
        table.add_row(
            row.version,
            row.role,
            shown(manifest.trained_until)[:10],
            f"{manifest.rows.get('train', 0):,}",
            f"{metrics.accuracy:.3f}",
            f"{metrics.log_loss:.3f}",
            f"{metrics.ece:.3f}",
        )
    console = Console()
    console.print(table)
    for record in registry.activations().records:
        reason = f" ({record.reason})" if record.reason else ""
        console.print(
            f"events from {shown(record.active_from)}: {record.version or 'rules alone'}; "
            f"recorded {shown(record.at)}{reason}",
            highlight=False,
        )


@command.command("promote")
@click.argument("version", required=False)
@_OUT
@project_config
@_FROM
@_REASON
def promote(version: str | None, out: Path, config: Path | None, activate_at: int | None, reason: str) -> None:
    """Make VERSION champion, by default the challenger. Ends with 6 when a gate refuses.

    A version that was trained for other stages than those of the ontology in force then is refused.
    """
    from contracts.errors import ModelError
    from models.dataset import read_horizon
    from models.registry import ModelRegistry
    from models.training import TrainingSettings, compare_on
    from transforms.tables.output import check_readable

    registry = ModelRegistry(check_readable(out).registry)
    chosen = version or registry.activations().challenger
    if chosen is None:
        raise ModelError(f"no challenger waits in {out}", hint="name a version; see `wayline model list`")
    active_from = read_horizon(out) + 1 if activate_at is None else activate_at
    definitions = stage_definitions(config, registry.root, active_from)
    registry.promote(
        chosen,
        stages=definitions.stages,
        certain=definitions.certain,
        active_from=active_from,
        reason=reason or "promoted by hand",
        now=now(),
        compare=lambda candidate, champion: compare_on(out, definitions, TrainingSettings(), candidate, champion),
    )
    click.echo(f"{chosen} is champion for events from {shown(active_from)} on")


@command.command("rollback")
@_OUT
@_FROM
@_REASON
def rollback(out: Path, activate_at: int | None, reason: str) -> None:
    """Return to the previous champion, or to rules alone when there was none."""
    from models.dataset import read_horizon
    from models.registry import ModelRegistry
    from transforms.tables.output import check_readable

    registry = ModelRegistry(check_readable(out).registry)
    active_from = read_horizon(out) + 1 if activate_at is None else activate_at
    activations = registry.rollback(active_from=active_from, reason=reason or "rolled back by hand", now=now())
    click.echo(f"{activations.champion or 'rules alone'}: in force for events from {shown(active_from)} on")
