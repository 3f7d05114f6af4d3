"""How good a stage model is on rows it has not seen, and which promotion gates that passes. Pure numpy.

Probabilities come as a matrix, one row a point, one column a stage in ontology order; targets as stage indices.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_FLOOR = 1e-7
_BINS = 10


@dataclass(frozen=True)
class Bin:
    """Rows with about the same probability of the likeliest stage.

    ``said`` is that probability on average, ``happened`` the share of the rows in which it was right.
    """

    said: float
    happened: float
    rows: int


@dataclass(frozen=True)
class Metrics:
    """Quality on held-out rows.

    ``ece`` is the expected calibration error of the top probability over ten equal bins, ``ece_noise`` what a perfectly
    calibrated model would show on so few rows by chance. ``recall`` and ``support`` are by stage; a stage without rows
    has no recall. ``majority_accuracy`` and ``prior_log_loss`` are what always answering the training set's commonest
    stage, or its shares, would have reached on the same rows.
    """

    rows: int
    accuracy: float
    macro_f1: float
    log_loss: float
    ece: float
    ece_noise: float
    majority_accuracy: float
    prior_log_loss: float
    recall: dict[str, float] = field(default_factory=dict)
    support: dict[str, int] = field(default_factory=dict)
    curve: tuple[Bin, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """A champion on the same rows as the candidate."""

    version: str
    rows: int
    accuracy: float
    log_loss: float


@dataclass(frozen=True)
class Gates:
    """What a candidate must reach to become champion."""

    max_ece: float = 0.10
    min_stage_recall: float = 0.10
    recall_support: int = 50
    max_accuracy_loss: float = 0.01
    max_log_loss_growth: float = 0.02

    def refusals(self, metrics: Metrics, champion: Comparison | None, certain: Collection[str] = ()) -> tuple[str, ...]:
        """One sentence for each gate not passed; empty when the candidate may become champion.

        Args:
            metrics: of the candidate.
            champion: the champion on the candidate's test rows, or None when there is none.
            certain: stages that rules alone decide: how well the model foresees them is no condition.
        """
        found: list[str] = []
        if metrics.accuracy < metrics.majority_accuracy:
            found.append(
                f"accuracy: {metrics.accuracy:.3f} is below the {metrics.majority_accuracy:.3f} of always answering "
                "the commonest stage"
            )
        if not metrics.log_loss < metrics.prior_log_loss:
            found.append(
                f"log_loss: {metrics.log_loss:.3f} is not below the {metrics.prior_log_loss:.3f} of the shares"
            )
        if metrics.ece - metrics.ece_noise > self.max_ece:
            found.append(
                f"calibration: error {metrics.ece:.3f} is more than {self.max_ece:.2f} above the "
                f"{metrics.ece_noise:.3f} that chance explains"
            )
        for stage, recall in metrics.recall.items():
            asked = stage not in certain and metrics.support[stage] >= self.recall_support
            if asked and recall < self.min_stage_recall:
                found.append(
                    f"stage_recall: {stage} is recognised in {recall:.1%} of {metrics.support[stage]} rows, "
                    f"less than {self.min_stage_recall:.0%}"
                )
        if champion is not None:
            if metrics.accuracy < champion.accuracy - self.max_accuracy_loss:
                found.append(
                    f"regression: accuracy {metrics.accuracy:.3f} against {champion.accuracy:.3f} of champion "
                    f"{champion.version} on the same rows"
                )
            if metrics.log_loss > champion.log_loss * (1 + self.max_log_loss_growth):
                found.append(
                    f"regression: log loss {metrics.log_loss:.3f} against {champion.log_loss:.3f} of champion "
                    f"{champion.version} on the same rows"
                )
        return tuple(found)


def evaluate(probabilities: Floats, target: Ints, training_target: Ints, stages: Sequence[str]) -> Metrics:
    """Metrics of probabilities against targets; baselines are learnt from the training rows only.

    Raises:
        ValueError: no rows, or shapes that do not fit.
    """
    n = len(target)
    if n == 0 or probabilities.shape != (n, len(stages)):
        raise ValueError(
            f"{n} targets do not fit probabilities of shape {probabilities.shape} for {len(stages)} stages"
        )
    answer = probabilities.argmax(axis=1)
    counts = np.bincount(training_target, minlength=len(stages)).astype(np.float64)
    prior = np.tile(counts / counts.sum(), (n, 1))
    recall: dict[str, float] = {}
    support: dict[str, int] = {}
    f1: list[float] = []
    for index, stage in enumerate(stages):
        actual, said = target == index, answer == index
        both = int((actual & said).sum())
        if actual.any():
            recall[stage] = both / int(actual.sum())
            support[stage] = int(actual.sum())
        if actual.any() or said.any():
            f1.append(2 * both / (int(actual.sum()) + int(said.sum())))
    return Metrics(
        rows=n,
        accuracy=accuracy(probabilities, target),
        macro_f1=float(np.mean(f1)),
        log_loss=log_loss(probabilities, target),
        ece=calibration_error(probabilities, target),
        ece_noise=calibration_noise(probabilities),
        majority_accuracy=float((target == counts.argmax()).mean()),
        prior_log_loss=log_loss(prior, target),
        recall=recall,
        support=support,
        curve=calibration_curve(probabilities, target),
    )


def accuracy(probabilities: Floats, target: Ints) -> float:
    """Share of rows whose most probable stage is the target; the earlier stage where two tie."""
    return float((probabilities.argmax(axis=1) == target).mean())


def log_loss(probabilities: Floats, target: Ints) -> float:
    """Mean negative log probability of the target, in nats; probabilities are floored at 1e-7."""
    said = probabilities[np.arange(len(target)), target]
    return float(-np.log(np.clip(said, _FLOOR, 1.0)).mean())


def calibration_curve(probabilities: Floats, target: Ints) -> tuple[Bin, ...]:
    """Confidence and accuracy in ten equal bins of the top probability, those without rows left out."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == target
    bins = _bins(confidence)
    found = []
    for index in range(_BINS):
        inside = bins == index
        if inside.any():
            found.append(Bin(float(confidence[inside].mean()), float(right[inside].mean()), int(inside.sum())))
    return tuple(found)


def calibration_error(probabilities: Floats, target: Ints) -> float:
    """Expected calibration error: distance of confidence and accuracy in ten bins, weighted by their rows."""
    curve = calibration_curve(probabilities, target)
    return sum(abs(one.said - one.happened) * one.rows for one in curve) / len(target)


def calibration_noise(probabilities: Floats) -> float:
    """The calibration error to expect by chance from so many rows were the probabilities exactly right.

    In a bin of n rows the share of right answers varies by sqrt(c(1 - c) / n); the mean distance of a normal variable
    from its mean is sqrt(2 / pi) of its deviation.
    """
    confidence = probabilities.max(axis=1)
    bins = _bins(confidence)
    noise = 0.0
    for index in range(_BINS):
        inside = confidence[bins == index]
        if len(inside):
            variance = float((inside * (1.0 - inside)).mean()) / len(inside)
            noise += float(np.sqrt(2.0 / np.pi * variance)) * len(inside) / len(confidence)
    return noise


def _bins(confidence: Floats) -> Ints:
    return np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
