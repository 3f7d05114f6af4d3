"""``wayline model``: list, promote and roll back stage models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.clock import now
from pipelines.commands.times import instant, shown

if TYPE_CHECKING:
    from models.dataset import StageDefinitions


def stage_definitions(config: Path | None) -> StageDefinitions:
    """Stages and defining behaviours of the ontology that the project configuration names."""
    from models.dataset import StageDefinitions
    from pipelines.config import load_config
    from transforms.journey.ontology import load_ontology

    ontology = load_ontology(load_config(config).ontology)
    certain = frozenset(stage.name for stage in ontology.stages if stage.certain)
    return StageDefinitions(ontology.stage_names, ontology.defining, ontology.version, certain)


_OUT = click.option("--out", type=click.Path(path_type=Path), required=True, help="Output folder of `wayline run`.")
_CONFIG = click.option("--config", type=click.Path(path_type=Path), help="Project configuration.")
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
@_CONFIG
@_FROM
@_REASON
def promote(version: str | None, out: Path, config: Path | None, activate_at: int | None, reason: str) -> None:
    """Make VERSION champion, by default the challenger. Ends with 6 when a gate refuses."""
    from contracts.errors import ModelError
    from models.dataset import read_horizon
    from models.registry import ModelRegistry
    from models.training import TrainingSettings, compare_on
    from transforms.tables.output import check_readable

    registry = ModelRegistry(check_readable(out).registry)
    chosen = version or registry.activations().challenger
    if chosen is None:
        raise ModelError(f"no challenger waits in {out}", hint="name a version; see `wayline model list`")
    definitions = stage_definitions(config)
    active_from = read_horizon(out) + 1 if activate_at is None else activate_at
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
