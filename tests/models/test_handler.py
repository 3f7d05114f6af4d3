"""Scoring through Beam's ModelHandler: batching never changes an answer, and it runs inside RunInference."""

from __future__ import annotations

import numpy as np
import pytest
from model_world import STAGES, TrainedWorld

from features.journey_features import FEATURE_NAMES
from models.evaluation import Gates
from models.handler import PointBatch, StageModelHandler
from models.registry import ModelRegistry


@pytest.fixture
def handler(trained_world: TrainedWorld) -> StageModelHandler:
    registry = ModelRegistry(trained_world.out / "registry")
    version = trained_world.trained.model.version
    registry.promote(version, stages=STAGES, active_from=50, reason="", now=0, gates=Gates(max_ece=1.0))
    return StageModelHandler(str(registry.root), STAGES)


def points(n: int, seed: int) -> PointBatch:
    random = np.random.default_rng(seed)
    return PointBatch(random.integers(0, 100, n), random.gamma(1, 2, (n, len(FEATURE_NAMES))))


def test_an_answer_does_not_depend_on_how_points_were_batched(handler: StageModelHandler) -> None:
    model = handler.load_model()
    batches = [points(7, 1), points(0, 2), points(30, 3)]
    together = list(handler.run_inference(batches, model))
    apart = [next(iter(handler.run_inference([batch], model))) for batch in batches]
    for batch, one, other in zip(batches, together, apart, strict=True):
        assert one.versions == other.versions
        assert np.array_equal(one.probabilities, other.probabilities, equal_nan=True)
        assert [version is None for version in one.versions] == list(batch.times < 50)
        assert np.array_equal(np.isnan(one.probabilities[:, 0]), batch.times < 50)


def test_without_a_registry_nothing_is_scored(tmp_path_factory: pytest.TempPathFactory) -> None:
    handler = StageModelHandler(str(tmp_path_factory.mktemp("none")), STAGES)
    model = handler.load_model()
    assert not model
    answer = next(iter(handler.run_inference([points(3, 1)], model)))
    assert answer.versions == (None, None, None)
    assert np.isnan(answer.probabilities).all()


def test_it_runs_in_a_pipeline(handler: StageModelHandler) -> None:
    import apache_beam as beam
    from apache_beam.ml.inference.base import RunInference
    from apache_beam.testing.util import assert_that, equal_to

    batch = points(20, 4)
    expected = next(iter(handler.run_inference([batch], handler.load_model())))
    with beam.Pipeline(runner="apache_beam.runners.portability.fn_api_runner.FnApiRunner") as pipeline:
        answers = pipeline | "Points" >> beam.Create([batch]) | "Score" >> RunInference(handler)
        found = answers | "Compare" >> beam.Map(_same_as, expected.versions, expected.probabilities)
        assert_that(found, equal_to([True]))


def _same_as(answer, versions, probabilities) -> bool:  # type: ignore[no-untyped-def]
    return answer.versions == versions and bool(np.array_equal(answer.probabilities, probabilities, equal_nan=True))
