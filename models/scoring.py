"""Scoring evaluation points with the model that was in force at each. No Beam.

Set ``OMP_NUM_THREADS=1`` in processes that score: gradient boosting otherwise spends more on threads than on trees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from contracts.errors import ModelError
from models.activations import Activations, read_activations
from models.bundle import LoadedModel, Manifest, check_bundle, load_bundle

POINTER, BUNDLES = "champion.json", "bundles"

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ActivatedModels:
    """The activations of a registry with every model that one of them puts in force. Empty: rules alone."""

    activations: Activations = field(default_factory=Activations)
    models: Mapping[str, LoadedModel] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.models)


def load_activated(registry: Path, stages: Sequence[str]) -> ActivatedModels:
    """Every model in force at some time, verified.

    Args:
        registry: ``OUT/registry``; without a pointer file there is no model, and the run uses rules alone.
        stages: the ontology's stages; a model of other stages cannot be combined with them.

    Raises:
        ModelError: a bundle in force is missing, damaged, or was trained for other stages or features.
    """
    return load_models(registry, read_activations(registry / POINTER), stages, {})


def check_activated(registry: Path, stages: Sequence[str]) -> Activations:
    """The activations, every model in force at some time found to load (``models.bundle.check_bundle``).

    For who does not score: arguments and errors as of ``load_activated``.
    """
    activations = read_activations(registry / POINTER)
    for version in activations.versions:
        _check_stages(check_bundle(registry / BUNDLES / version), stages)
    return activations


def load_models(
    registry: Path, activations: Activations, stages: Sequence[str], loaded: Mapping[str, LoadedModel]
) -> ActivatedModels:
    """As ``load_activated``, by given activations; ``loaded`` are not loaded again."""
    models: dict[str, LoadedModel] = {}
    for version in activations.versions:
        model = loaded.get(version) or load_bundle(registry / BUNDLES / version)
        _check_stages(model.manifest, stages)
        models[version] = model
    return ActivatedModels(activations, models)


def _check_stages(manifest: Manifest, stages: Sequence[str]) -> None:
    if manifest.stages != tuple(stages):
        raise ModelError(
            f"model {manifest.version} was trained for the stages {', '.join(manifest.stages)}; "
            f"the ontology has {', '.join(stages)}",
            hint="train a model for this ontology, or roll back to rules alone with `wayline model rollback`",
        )


def score_points(models: ActivatedModels, times: Ints, matrix: Floats, stages: int) -> tuple[list[str | None], Floats]:
    """Score many points in one call.

    Args:
        models: what is in force when.
        times: event time of each point.
        matrix: one full feature vector (``FEATURES`` order) a point.
        stages: number of stages.

    Returns:
        The version that scored each point, None where none was in force, and the probabilities, NaN there.
    """
    probabilities = np.full((len(times), stages), np.nan)
    versions: list[str | None] = [None] * len(times)
    if not models or not len(times):
        return versions, probabilities
    in_force = models.activations.records_in_force(times)
    for record in np.unique(in_force):
        version = models.activations.records[record].version if record >= 0 else None
        if version is None:
            continue
        rows = np.flatnonzero(in_force == record)
        probabilities[rows] = models.models[version].predict(matrix[rows])
        for row in rows:
            versions[row] = version
    return versions, probabilities
