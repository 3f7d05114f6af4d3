"""Fitting and calibrating the stage classifier. scikit-learn, no Beam.

Few, shallow trees: at scoring time a row costs about as much as the rest of its evaluation point. With few rows a
regularised logistic regression serves instead. Calibration is fitted on persons that the classifier has not seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class EstimatorSettings:
    """``few_rows`` is the number of training rows below which the logistic regression is used."""

    few_rows: int = 1_000
    iterations: int = 40
    leaves: int = 8
    learning_rate: float = 0.15
    min_leaf_rows: int = 40
    l2: float = 1.0
    seed: int = 7


def fit_calibrated(
    inputs: Floats, target: Ints, held_inputs: Floats, held_target: Ints, settings: EstimatorSettings
) -> tuple[Any, str]:
    """A fitted classifier with ``predict_proba`` and ``classes_`` (stage indices), and the name of what it is.

    Args:
        inputs, target: training rows.
        held_inputs, held_target: rows of other persons, for calibration only.
        settings: size and seed; the same rows and settings give the same model.

    The temperature of the probabilities is fitted on the held rows. When these lack a stage of the training rows no
    temperature can be fitted; the classifier is returned as it is, says so in its name, and the gate on calibration
    judges.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.frozen import FrozenEstimator
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(target) < settings.few_rows:
        algorithm = "logistic_regression"
        base = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=1_000))
    else:
        algorithm = "hist_gradient_boosting"
        base = HistGradientBoostingClassifier(
            max_iter=settings.iterations,
            max_leaf_nodes=settings.leaves,
            learning_rate=settings.learning_rate,
            min_samples_leaf=settings.min_leaf_rows,
            l2_regularization=settings.l2,
            early_stopping=False,
            random_state=settings.seed,
        )
    base.fit(inputs, target)
    if not np.array_equal(np.unique(held_target), np.unique(target)):
        return base, f"{algorithm}, not calibrated: a stage is missing among the held-out persons"
    calibrated = CalibratedClassifierCV(FrozenEstimator(base), method="temperature")
    calibrated.fit(held_inputs, held_target)
    return calibrated, f"{algorithm}, temperature"
