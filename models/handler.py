"""The stage model behind Beam's ModelHandler interface: loading once a process, scoring in batches.

The journey stage calls ``load_model`` in its setup and ``run_inference`` with all points of a shard at once; the same
object serves Beam's own ``RunInference``. Which version scores a point follows from the point's time, so no answer
depends on how points were batched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from apache_beam.ml.inference.base import ModelHandler

from models.scoring import ActivatedModels, Floats, Ints, load_activated, score_points


@dataclass(frozen=True)
class PointBatch:
    """Points to score: event times, and one full feature vector each."""

    times: Ints
    matrix: Floats


@dataclass(frozen=True)
class ScoredBatch:
    """The answer, row by row: the version in force (None: rules alone) and the stage probabilities (NaN then)."""

    versions: tuple[str | None, ...]
    probabilities: Floats


class StageModelHandler(ModelHandler[PointBatch, ScoredBatch, ActivatedModels]):  # type: ignore[misc]  # untyped base
    """Scores journey points with the activated bundles of a registry folder.

    Input: ``PointBatch``. Output: one ``ScoredBatch`` each, in order. State: none beyond the loaded models. Errors:
    ``load_model`` raises ModelError for a bundle that does not verify. It does not watch for new activations: a bounded
    run keeps those it started with.
    """

    def __init__(self, registry: str, stages: Sequence[str]) -> None:
        super().__init__()
        self._registry = registry
        self._stages = tuple(stages)

    def load_model(self) -> ActivatedModels:
        return load_activated(Path(self._registry), self._stages)

    def run_inference(
        self, batch: Sequence[PointBatch], model: ActivatedModels, inference_args: Mapping[str, Any] | None = None
    ) -> Iterable[ScoredBatch]:
        if not batch:
            return []
        times = np.concatenate([points.times for points in batch])
        matrix = np.concatenate([points.matrix for points in batch])
        versions, probabilities = score_points(model, times, matrix, len(self._stages))
        answers: list[ScoredBatch] = []
        start = 0
        for points in batch:
            end = start + len(points.times)
            answers.append(ScoredBatch(tuple(versions[start:end]), probabilities[start:end]))
            start = end
        return answers

    def get_num_bytes(self, batch: Sequence[PointBatch]) -> int:
        return sum(points.matrix.nbytes + points.times.nbytes for points in batch)

    def get_metrics_namespace(self) -> str:
        return "StageModel"

    def validate_inference_args(self, inference_args: Mapping[str, Any] | None) -> None:
        if inference_args:
            raise ValueError("the stage model takes no inference arguments")
