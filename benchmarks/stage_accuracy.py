"""How right stages are, on simulated worlds of known truth: what ``make stage-accuracy`` runs.

``python -m benchmarks.stage_accuracy``. One world is simulated, run through the whole pipeline, and a model is trained
on its tables, from events alone. Another world, of another seed, is folded with the shipped ontology and that model by
the pipeline's own cores, and every answer is held against the truth: rules and model together, each alone, and what the
latest event says; once with all events, once with a tenth of them lost, once with a tenth still under way. Worlds and
the trained model stay in ``stage-accuracy-out/`` and are used again. ``docs/stage_accuracy.md`` explains the measures.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import click

from benchmarks.page_part import renewed
from benchmarks.stages.answers import Folding, answers_of, answers_when_late, read_stage_truth, without
from benchmarks.stages.figures import StageFigures, figures_of
from benchmarks.stages.report import block, calibration_picture, said
from contracts.errors import InputError
from models.bundle import LoadedModel
from models.registry import ModelRegistry
from models.training import TrainingSettings, train
from pipelines.commands.model import stage_definitions
from pipelines.definitions import load_definitions
from pipelines.plan import validation_rules
from reports.history import history_of_files
from sources.simulator.config import WorldConfig, load_world
from sources.simulator.world import simulate
from transforms.identity.rules_file import load_rules
from transforms.validate import Validator

FOLDER = Path("stage-accuracy-out")
PICTURE = "stage_calibration.svg"
DEGRADED = 0.10
"""Share of events that is lost, or late."""
_FAR = 4_102_444_800_000_000
"""Validation asks for a clock to refuse what is from the future; nothing of a simulated world is after 2100."""


@click.command()
@click.option("--customers", type=click.IntRange(10), default=2_000, show_default=True, help="Of the world measured.")
@click.option("--days", type=click.IntRange(5), default=60, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=7, show_default=True, help="Of the world measured.")
@click.option("--train-customers", type=click.IntRange(10), default=1_500, show_default=True)
@click.option("--train-seed", type=click.IntRange(0), default=11, show_default=True, help="Of the world trained on.")
@click.option("--late-sample", type=float, default=0.02, show_default=True, help="Share of events asked about, late.")
@click.option("--write", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Page to renew.")
def main(
    customers: int, days: int, seed: int, train_customers: int, train_seed: int, late_sample: float, write: Path | None
) -> None:
    """Measure stages against the truth."""
    if seed == train_seed:
        raise click.BadParameter("a model must not be measured on the world it was trained on", param_hint="--seed")
    definitions = load_definitions(None)
    stages = definitions.ontology.stage_names
    model = _model(WorldConfig(customers=train_customers, days=days, seed=train_seed))
    world = _world(WorldConfig(customers=customers, days=days, seed=seed))
    click.echo("reading and resolving")
    history = history_of_files(
        (str(world / "events"),),
        load_rules(definitions.config.identity),
        Validator(validation_rules(definitions, _FAR)),
    )
    truth = read_stage_truth(world, stages)
    folding = Folding(definitions.ontology, model)
    figures: dict[str, StageFigures] = {}
    for name in ("all", "a tenth lost", "a tenth late"):
        begun = time.monotonic()
        if name == "a tenth late":
            answers = answers_when_late(folding, history, truth, DEGRADED, late_sample)
        else:
            answers = answers_of(folding, history if name == "all" else without(history, DEGRADED), truth)
        figures[name] = figures_of(answers, stages)
        ways = ", ".join(f"{way} {said(share)}" for way, share in figures[name].ways.items())
        click.echo(f"{name}: {figures[name].events:,} events: {ways}; {time.monotonic() - begun:.0f} s")
    if write is None:
        return
    command = (
        f"python -m benchmarks.stage_accuracy --customers {customers} --days {days} --seed {seed} "
        f"--train-customers {train_customers} --train-seed {train_seed}"
    )
    notes = (
        f"Ontology `{definitions.ontology.version}`, model `{model.version}`, trained on another world (seed "
        f"{train_seed}) from events alone. {figures['all'].persons:,} people of the truth appear; the pipeline has "
        f"{len(history.persons):,} persons, since who never logs in stays several.",
        "In brackets 95 % intervals, from resampling people.",
    )
    write.write_text(renewed(write.read_text(encoding="utf-8"), block(figures, stages, command, notes)), "utf-8")
    picture = write.with_name(PICTURE)
    title = f"Calibration of stages, {figures['all'].events:,} events"
    picture.write_text(calibration_picture(figures["all"].bins, title), "utf-8")
    click.echo(f"written to {write} and {picture}")


def _world(config: WorldConfig) -> Path:
    """The world, made now unless the folder holds the very same one."""
    world = FOLDER / f"world-{config.customers}-{config.days}-{config.seed}"
    try:
        if asdict(load_world(world).config) == asdict(config):
            return world
    except InputError:
        click.echo(f"simulating {config.customers:,} people, seed {config.seed}")
    simulate(config, world, overwrite=True)
    return world


def _model(config: WorldConfig) -> LoadedModel:
    """A model trained on that world: its tables are made once, and the same rows and settings give the same version."""
    world = _world(config)
    out = FOLDER / f"out-{config.customers}-{config.days}-{config.seed}"
    if not (out / "wayline.duckdb").exists():
        click.echo("running the pipeline on the world to train on")
        arguments = ["run", "--input", str(world / "events"), "--out", str(out)]
        subprocess.run([sys.executable, "-m", "pipelines.cli", *arguments], check=True, stdout=subprocess.DEVNULL)
    click.echo("training")
    trained = train(out, stage_definitions(None), TrainingSettings())
    return ModelRegistry(out / "registry").load(trained.model.version)


if __name__ == "__main__":
    main()
