"""How good the model in force is: on the rows it was tested on, and on the points it has scored since.

A point it has scored counts once its target is known: the window of the target has passed before the horizon, and
something that tells of a stage happened in it. And it lies after everything that its training looked at. Moments and
targets are those of training: a point's time is when it could first be scored, and its target follows from later events
alone.

Input: a connection to the views of OUT, its registry, and what training needs of the ontology. Output: a
``ModelQuality``. Time domain: event time, microseconds. Errors: those of DuckDB; ``ModelError`` for a damaged registry.
State: none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle import Manifest, read_manifest
from models.dataset import StageDefinitions, defining_events
from models.evaluation import Bin, calibration_curve
from models.registry import ModelRegistry
from models.target import UNKNOWN, furthest_stage
from transforms.tables.sql import name_sql


@dataclass(frozen=True)
class StageCheck:
    """Of the points scored since: what the model said of a stage on average, and how often it came."""

    stage: str
    said: float
    happened: float


@dataclass(frozen=True)
class ModelQuality:
    """``manifest`` is None where rules alone decide; ``versions`` says how many models are registered.

    ``scored`` are the model's points, ``known`` those of them whose target is known; of these are ``curve``,
    ``accuracy`` and ``stages``. ``other_stages``: the model answers for other stages than those in force, so nothing is
    counted of them.
    """

    manifest: Manifest | None
    versions: int
    scored: int = 0
    known: int = 0
    accuracy: float = 0.0
    curve: tuple[Bin, ...] = ()
    stages: tuple[StageCheck, ...] = ()
    other_stages: bool = False


def model_quality(connection: Any, registry: Path, definitions: StageDefinitions) -> ModelQuality:
    """The quality of the champion of a registry."""
    models = ModelRegistry(registry)
    versions, champion = models.versions(), models.activations().champion
    if champion is None:
        return ModelQuality(None, len(versions))
    manifest = read_manifest(models.bundles / champion)
    if manifest.stages != definitions.stages:
        return ModelQuality(manifest, len(versions), other_stages=True)
    (scored,) = connection.execute("SELECT count(*) FROM scores WHERE model_version = ?", [champion]).fetchone()
    probabilities = ", ".join(f"s.{name_sql(f'p_{stage}')}" for stage in manifest.stages)
    points = connection.execute(
        f"SELECT s.person_id, s.moment, {probabilities} FROM (SELECT scores.*, "
        'greatest(epoch_us(scores."at"), epoch_us(features.created)) AS moment '
        'FROM scores JOIN features USING (person_id, "at") WHERE model_version = ?) AS s '
        "WHERE s.moment > ? AND s.moment + ? <= (SELECT epoch_us(max(horizon)) FROM journeys)",
        [champion, manifest.trained_until, manifest.window],
    ).fetchnumpy()
    said = np.column_stack([np.asarray(points[f"p_{stage}"], dtype=np.float64) for stage in manifest.stages])
    target = furthest_stage(
        points["person_id"],
        points["moment"].astype(np.int64),
        *defining_events(connection, "events", definitions),
        manifest.window,
        len(manifest.stages),
    )
    told = target != UNKNOWN
    said, target = said[told], target[told]
    known = len(target)
    if not known:
        return ModelQuality(manifest, len(versions), scored)
    return ModelQuality(
        manifest,
        len(versions),
        scored,
        known,
        float((said.argmax(axis=1) == target).mean()),
        calibration_curve(said, target),
        tuple(
            StageCheck(stage, float(said[:, place].mean()), float((target == place).mean()))
            for place, stage in enumerate(manifest.stages)
        ),
    )
