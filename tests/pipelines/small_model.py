"""A small model in force, without a training: that it speaks alike everywhere is tested, not what it says."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from features.journey_features import FEATURE_VERSION, MODEL_INPUT_NAMES, declaration_hash
from models.activations import read_activations, write_activations
from models.bundle import Manifest, Smoke, save_bundle, stage_probabilities
from models.evaluation import evaluate
from models.scoring import BUNDLES, POINTER
from models.skops_import import skops_io
from transforms.journey.ontology import Ontology


def put_in_force(registry: Path, ontology: Ontology, active_from: int) -> str:
    """Activate a model that tells stages from how much happened lately; returns its version."""
    # a second to import, and most tests put no model in force
    from sklearn.linear_model import LogisticRegression

    names = list(MODEL_INPUT_NAMES)
    rows = np.random.default_rng(5).gamma(1.0, 2.0, (400, len(names)))
    target = np.digitize(rows[:, names.index("events_7d")] + rows[:, names.index("pricing_views_30d")], (1.5, 4.0, 8.0))
    estimator = LogisticRegression(max_iter=2_000).fit(rows, target)
    stages = ontology.stage_names
    data = skops_io().dumps(estimator)
    said = stage_probabilities(estimator, rows[:16], len(stages))
    manifest = Manifest(
        version="small-1",
        sha256=hashlib.sha256(data).hexdigest(),
        algorithm="logistic regression",
        stages=stages,
        features=MODEL_INPUT_NAMES,
        feature_version=FEATURE_VERSION,
        feature_declaration=declaration_hash(),
        feature_service="journey",
        ontology_version=ontology.version,
        window=1,
        trained_until=0,
        horizon=0,
        rows={"train": len(rows)},
        libraries={},
        metrics=evaluate(stage_probabilities(estimator, rows, len(stages)), target, target, stages),
        champion=None,
        labels={},
        smoke=Smoke(tuple(map(tuple, rows[:16].tolist())), tuple(map(tuple, said.tolist()))),
    )
    save_bundle(registry / BUNDLES, manifest, data)
    pointer = registry / POINTER
    write_activations(pointer, read_activations(pointer).activated(manifest.version, active_from, "for a test", 0))
    return manifest.version
