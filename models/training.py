"""Training of the stage model: rows, gate, split, fit, calibration, test, registration. No clock, no command line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.errors import ModelError
from contracts.event import DAY
from features import names
from features.journey_features import (
    FEATURE_NAMES,
    FEATURE_VERSION,
    FEATURES,
    MODEL_INPUT_NAMES,
    MODEL_INPUTS,
    declaration_hash,
    refuse_as_inputs,
)
from models.bundle import (
    LoadedModel,
    Manifest,
    Smoke,
    libraries,
    smoke_vectors,
    stage_probabilities,
)
from models.dataset import (
    Historical,
    Moments,
    Split,
    StageDefinitions,
    join_features,
    label_summary,
    read_moments,
    split,
)
from models.estimator import EstimatorSettings, fit_calibrated
from models.evaluation import Comparison, Metrics, accuracy, evaluate, log_loss
from models.gate import TARGET, GateReport, GateRules, require
from models.registry import ModelRegistry
from models.skops_import import skops_io

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class TrainingSettings:
    """``window`` is H of the target in microseconds; ``max_rows`` bounds memory and time."""

    window: int = DAY // 2
    max_rows: int = 60_000
    min_rows: int = 300
    min_persons: int = 30
    min_set_rows: int = 20
    estimator: EstimatorSettings = field(default_factory=EstimatorSettings)


@dataclass(frozen=True)
class Trained:
    """What a training made. ``known_already`` says that the same rows and settings had given this version before."""

    model: LoadedModel
    gate: GateReport
    known_already: bool


@dataclass(frozen=True)
class _Rows:
    """The training frame as arrays: full feature vectors, targets, and how the rows are divided."""

    matrix: Floats
    target: Ints
    parts: Split
    gate: GateReport
    moments: Moments


def train(
    out: Path,
    definitions: StageDefinitions,
    settings: TrainingSettings,
    *,
    historical: Historical | None = None,
    progress: Progress = lambda _: None,
) -> Trained:
    """Train a stage model on an output folder and register it as challenger.

    Args:
        out: output folder of the pipeline; its tables and its Feast repository are read, its registry is written.
        definitions: stages and defining behaviours.
        settings: H, sizes, seed.
        historical: the point-in-time join; Feast's by default.
        progress: told what happens, in words.

    Returns:
        The model as a worker would load it. Deterministic: the same tables and settings give the same version.

    Raises:
        ModelError: too little data, the gate refuses the training set, or the bundle does not verify.
        LockedError: another process changes the registry.
    """
    refuse_as_inputs(MODEL_INPUT_NAMES)
    rows = _rows(out, definitions, settings, historical, progress)
    inputs = np.ascontiguousarray(rows.matrix[:, list(MODEL_INPUTS)])
    parts, target = rows.parts, rows.target
    version = _version(definitions, settings, inputs, target, parts)
    registry = ModelRegistry(out / "registry")
    if version in registry.versions():
        progress(f"{version} is registered already: the same rows and settings")
        return Trained(registry.load(version), rows.gate, True)
    progress(f"fit on {len(parts.train):,} rows, calibrate on {len(parts.calibrate):,}, test on {len(parts.test):,}")
    estimator, algorithm = fit_calibrated(
        inputs[parts.train], target[parts.train], inputs[parts.calibrate], target[parts.calibrate], settings.estimator
    )
    stages = definitions.stages
    probabilities = stage_probabilities(estimator, inputs[parts.test], len(stages))
    metrics = evaluate(probabilities, target[parts.test], target[parts.train], stages)
    data = _dump(estimator)
    vectors = smoke_vectors(inputs[parts.train])
    expected = stage_probabilities(estimator, vectors, len(stages))
    manifest = Manifest(
        version=version,
        sha256=hashlib.sha256(data).hexdigest(),
        algorithm=algorithm,
        stages=stages,
        features=MODEL_INPUT_NAMES,
        feature_version=FEATURE_VERSION,
        feature_declaration=declaration_hash(),
        feature_service=names.MODEL_SERVICE,
        ontology_version=definitions.version,
        window=settings.window,
        trained_until=parts.cutoff,
        horizon=rows.moments.horizon,
        rows={"train": len(parts.train), "calibrate": len(parts.calibrate), "test": len(parts.test)},
        libraries=libraries(),
        metrics=metrics,
        champion=_champion(registry, stages, rows),
        labels=label_summary(out),
        smoke=Smoke(_tuples(vectors), _tuples(expected)),
    )
    progress("register, and load it back as a worker does")
    return Trained(registry.register(manifest, data), rows.gate, False)


def compare_on(
    out: Path,
    definitions: StageDefinitions,
    settings: TrainingSettings,
    candidate: LoadedModel,
    champion: LoadedModel,
    *,
    historical: Historical | None = None,
) -> tuple[Metrics, Comparison]:
    """Both models on the test rows that OUT has now, with the target window of the candidate. Raises as ``train``."""
    windowed = replace(settings, window=candidate.manifest.window)
    rows = _rows(out, definitions, windowed, historical, lambda _: None)
    test = rows.parts.test
    target = rows.target[test]
    said = candidate.predict(rows.matrix[test])
    metrics = evaluate(said, target, rows.target[rows.parts.train], definitions.stages)
    return metrics, _comparison(champion, rows.matrix[test], target)


def _rows(
    out: Path,
    definitions: StageDefinitions,
    settings: TrainingSettings,
    historical: Historical | None,
    progress: Progress,
) -> _Rows:
    progress("read points and their targets")
    moments = read_moments(out, definitions, settings.window, settings.max_rows)
    progress(f"join the features of {len(moments.times):,} points as they were known then")
    frame = join_features(out, moments, definitions.stages, historical)
    progress("check the training set")
    gate = require(frame, gate_rules(definitions, settings))
    parts = split(moments.persons, moments.times, settings.window)
    for name, indices in (("train", parts.train), ("calibrate", parts.calibrate), ("test", parts.test)):
        if len(indices) < settings.min_set_rows:
            raise ModelError(
                f"only {len(indices)} rows are left to {name} on, once persons and times are kept apart",
                hint="give more persons and days of events, or a smaller --horizon-days",
            )
    target = np.array([definitions.stages.index(stage) for stage in frame[TARGET]], dtype=np.int64)
    if len(np.unique(target[parts.train])) < 2:
        raise ModelError(
            f"every training row has the target {definitions.stages[int(target[parts.train][0])]!r}",
            hint="give more days of events, or another --horizon-days",
        )
    # Features that no model may use are not in the join; as NaN they keep the places of a full vector.
    matrix = frame.reindex(columns=list(FEATURE_NAMES)).to_numpy(dtype=np.float64)
    return _Rows(matrix, target, parts, gate, moments)


def gate_rules(definitions: StageDefinitions, settings: TrainingSettings) -> GateRules:
    """The expectations on the training set that follow from the feature declaration and the ontology."""
    return GateRules(
        stages=definitions.stages,
        bounds={feature.name: feature.bounds for feature in FEATURES if feature.model_input},
        min_rows=settings.min_rows,
        min_persons=settings.min_persons,
    )


def _champion(registry: ModelRegistry, stages: tuple[str, ...], rows: _Rows) -> Comparison | None:
    """The champion on the test rows; None when there is none, or when it answers for other stages or features."""
    version = registry.activations().champion
    if version is None:
        return None
    champion = registry.load(version)
    if champion.manifest.stages != stages:
        return None
    return _comparison(champion, rows.matrix[rows.parts.test], rows.target[rows.parts.test])


def _comparison(champion: LoadedModel, matrix: Floats, target: Ints) -> Comparison:
    said = champion.predict(matrix)
    return Comparison(champion.version, len(target), accuracy(said, target), log_loss(said, target))


def _version(
    definitions: StageDefinitions, settings: TrainingSettings, inputs: Floats, target: Ints, parts: Split
) -> str:
    """A name made of everything the model follows from, so that training twice gives one version."""
    digest = hashlib.sha256()
    recipe = {
        "stages": definitions.stages,
        "ontology": definitions.version,
        "features": declaration_hash(),
        "settings": asdict(settings),
        "libraries": libraries(),
    }
    digest.update(json.dumps(recipe, sort_keys=True).encode())
    for array in (inputs, target, parts.train, parts.calibrate, parts.test):
        digest.update(np.ascontiguousarray(array).tobytes())
    return f"stage-{np.datetime64(parts.cutoff, 'us').astype('datetime64[D]')}-{digest.hexdigest()[:12]}"


def _dump(estimator: Any) -> bytes:
    data: bytes = skops_io().dumps(estimator)
    return data


def _tuples(matrix: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in row) for row in matrix)
