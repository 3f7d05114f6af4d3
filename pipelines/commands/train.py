"""``wayline train``: train, gate, register and promote the stage model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.clock import now
from pipelines.commands.project import project_config
from pipelines.commands.times import instant, shown

if TYPE_CHECKING:
    from models.training import Trained


@click.command("train", short_help="Train, gate, register and promote the stage model.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Output folder of `wayline run`.")
@project_config
@click.option(
    "--horizon-days",
    type=click.FloatRange(0, 365, min_open=True),
    default=0.5,
    show_default=True,
    help="H of the target: the furthest stage-defining outcome within so many days is what is foreseen.",
)
@click.option(
    "--activate-at",
    callback=instant,
    metavar="TIME",
    help="Event time from which the model scores; by default just after the newest event of OUT, so that nothing "
    "already decided is judged by a later model.",
)
@click.option(
    "--promote/--no-promote", default=True, help="Make it champion if the gates allow, or leave it challenger."
)
@click.option(
    "--max-rows",
    type=click.IntRange(1_000, 2_000_000),
    default=60_000,
    show_default=True,
    help="Points to train, calibrate and test on.",
)
@click.option("--seed", type=int, default=7, show_default=True, help="Seed of the classifier.")
def command(
    out: Path,
    config: Path | None,
    horizon_days: float,
    activate_at: int | None,
    promote: bool,
    max_rows: int,
    seed: int,
) -> None:
    """Train the stage model on the tables of OUT.

    Stages and what defines them are those of the ontology in force when the model begins to score. The target comes
    from events alone; the features from Feast, as they were known at each moment; Great Expectations
    checks the training set; persons and times of training, calibration and test are kept apart. The model is registered
    in MLflow and as an immutable bundle, and promoted when the gates allow. Ends with 6 when a gate refuses.
    """
    from rich.console import Console

    from contracts.event import DAY
    from models.dataset import read_horizon
    from models.estimator import EstimatorSettings
    from models.registry import ModelRegistry
    from models.training import TrainingSettings, compare_on, train
    from pipelines.commands.model import stage_definitions

    active_from = read_horizon(out) + 1 if activate_at is None else activate_at
    definitions = stage_definitions(config, out / "registry", active_from)
    settings = TrainingSettings(
        window=round(horizon_days * DAY), max_rows=max_rows, estimator=EstimatorSettings(seed=seed)
    )
    console = Console(stderr=True)
    with console.status("") as status:
        trained = train(out, definitions, settings, progress=lambda step: status.update(f"train: {step}"))
    _report(trained)
    version = trained.model.version
    if not promote:
        click.echo(f"{version} waits as challenger; promote it with: wayline model promote {version} --out {out}")
        return
    ModelRegistry(out / "registry").promote(
        version,
        stages=definitions.stages,
        active_from=active_from,
        reason="trained",
        now=now(),
        certain=definitions.certain,
        compare=lambda candidate, champion: compare_on(out, definitions, settings, candidate, champion),
    )
    click.echo(f"{version} is champion for events from {shown(active_from)} on")


def _report(trained: Trained) -> None:
    from rich.console import Console
    from rich.table import Table

    manifest, metrics = trained.model.manifest, trained.model.manifest.metrics
    table = Table(title=f"{manifest.version} ({manifest.algorithm})", show_header=False)
    again = " (registered before: the same rows and settings)" if trained.known_already else ""
    table.add_row("rows", ", ".join(f"{name} {count:,}" for name, count in manifest.rows.items()) + again)
    table.add_row("trained until", shown(manifest.trained_until))
    table.add_row("expectations", f"{trained.gate.checked} on the training set, all met")
    table.add_row("accuracy", f"{metrics.accuracy:.3f} (always the commonest stage: {metrics.majority_accuracy:.3f})")
    table.add_row("macro F1", f"{metrics.macro_f1:.3f}")
    table.add_row("log loss", f"{metrics.log_loss:.3f} (shares alone: {metrics.prior_log_loss:.3f})")
    table.add_row("calibration error", f"{metrics.ece:.3f} (by chance alone: {metrics.ece_noise:.3f})")
    for stage, recall in metrics.recall.items():
        table.add_row(f"recall of {stage}", f"{recall:.3f} of {metrics.support[stage]:,}")
    if manifest.champion is not None:
        champion = manifest.champion
        table.add_row(
            "champion, same rows",
            f"{champion.version}: accuracy {champion.accuracy:.3f}, log loss {champion.log_loss:.3f}",
        )
    for arm, numbers in manifest.labels.items():
        table.add_row(
            f"labels of {arm}",
            f"{numbers['labels']:,.0f}, {numbers['converted']:,.0f} converted; "
            f"estimated rate were all given it {numbers['weighted_rate']:.3f}",
        )
    Console().print(table)
