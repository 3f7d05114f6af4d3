"""Training on real tables through Feast, Great Expectations and MLflow."""

from __future__ import annotations

from pathlib import Path

import model_world as world
import numpy as np
import pytest
from model_world import SETTINGS, TrainedWorld

from contracts.errors import ModelError, OutputError
from contracts.event import DAY, HOUR, MINUTE
from contracts.tables import EVENTS, feature_tables
from features.journey_features import FEATURES, MODEL_INPUT_NAMES, feature_columns
from models.dataset import read_moments, split
from models.registry import ModelRegistry
from models.training import train


def test_it_beats_the_baselines_on_unseen_persons_at_later_times_and_is_calibrated(
    trained_once: TrainedWorld,
) -> None:
    manifest = trained_once.trained.model.manifest
    metrics = manifest.metrics
    assert metrics.accuracy > metrics.majority_accuracy + 0.15
    assert metrics.log_loss < metrics.prior_log_loss - 0.15
    assert metrics.ece < 0.15
    assert manifest.algorithm == "hist_gradient_boosting, temperature"
    assert manifest.features == MODEL_INPUT_NAMES
    assert manifest.rows["train"] > 1_000


def test_only_features_declared_for_models_are_inputs(trained_once: TrainedWorld) -> None:
    barred = {feature.name for feature in FEATURES if not feature.model_input}
    assert not barred & set(trained_once.trained.model.manifest.features)


def test_training_again_on_the_same_tables_gives_the_same_version_and_registers_nothing(
    trained_world: TrainedWorld,
) -> None:
    again = train(trained_world.out, world.DEFINITIONS, SETTINGS)
    assert again.known_already
    assert again.model.version == trained_world.trained.model.version
    assert ModelRegistry(trained_world.out / "registry").versions() == (again.model.version,)


def test_mlflow_knows_the_version_its_metrics_and_its_role(trained_once: TrainedWorld) -> None:
    from mlflow import MlflowClient

    from models.mlflow_log import MODEL_NAME

    uri = f"sqlite:///{trained_once.out / 'registry' / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    version = client.get_model_version_by_alias(MODEL_NAME, "challenger")
    manifest = trained_once.trained.model.manifest
    assert version.tags["wayline.version"] == manifest.version
    assert client.get_run(version.run_id).data.metrics["accuracy"] == pytest.approx(manifest.metrics.accuracy)


def test_labels_by_arm_are_reported_with_the_inverse_propensity_estimate(trained_once: TrainedWorld) -> None:
    labels = trained_once.trained.model.manifest.labels
    assert labels["mail"] == {"labels": 30.0, "converted": 10.0, "weighted_rate": pytest.approx(1 / 3)}
    assert labels["nothing"]["converted"] == 0.0


def test_a_moment_is_when_the_point_could_first_be_scored_and_its_h_has_passed(tmp_path: Path) -> None:
    (tmp_path / "format.json").write_text('{"format": 1}')
    features, _ = feature_tables(feature_columns(), world.STAGES)
    start = world.START
    points = [
        {"person_id": "a", "at": start, "created": start + HOUR},
        {"person_id": "a", "at": start + 7 * DAY, "created": start},
        {"person_id": "a", "at": start + 8 * DAY + 1, "created": start},
        {"person_id": "a", "at": start + 4 * DAY, "created": start},
    ]
    world.write(tmp_path, features, points)
    world.write(tmp_path, features, [{"person_id": "gone", "at": start, "created": start}])
    world.write(tmp_path, features, [{"person_id": "gone", "at": start, "created": start}], revision=2, deleted=True)
    known_by_then = {"event_id": "e", "person_id": "a", "event_time": start + MINUTE, "behaviours": '["conversion"]'}
    later = {"event_id": "f", "person_id": "a", "event_time": start + DAY, "behaviours": '["search", "checkout"]'}
    browsing = {"event_id": "g", "person_id": "a", "event_time": start + 9 * DAY, "behaviours": '["search"]'}
    world.write(tmp_path, EVENTS, [known_by_then, later, browsing])
    world.write(tmp_path, world.JOURNEYS, [{"person_id": "a", "horizon": start + 10 * DAY}])
    moments = read_moments(tmp_path, world.DEFINITIONS, 2 * DAY, 100)
    assert list(zip(moments.persons, moments.times - start, moments.target, strict=True)) == [
        ("a", HOUR, 2),
        ("a", 7 * DAY, 0),
    ]


def test_persons_are_disjoint_and_every_training_target_was_known_at_the_cutoff() -> None:
    random = np.random.default_rng(0)
    persons = random.integers(0, 200, 5_000).astype(str).astype(object)
    times = random.integers(0, 60 * DAY, 5_000)
    parts = split(persons, times, 7 * DAY)
    sets = [set(persons[rows]) for rows in (parts.train, parts.calibrate, parts.test)]
    assert all(len(rows) > 30 for rows in sets[:1])
    assert not sets[0] & sets[1]
    assert not sets[2] & (sets[0] | sets[1])
    assert (times[parts.train] + 7 * DAY).max() <= parts.cutoff < times[parts.test].min()
    other = split(persons[::-1], times[::-1], 3 * DAY)
    assert not set(persons[::-1][other.test]) & sets[0]


def test_an_output_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no Wayline output folder"):
        train(tmp_path, world.DEFINITIONS, SETTINGS)
    (tmp_path / "format.json").write_text('{"format": 1}')
    with pytest.raises(ModelError, match="holds no tables yet"):
        train(tmp_path, world.DEFINITIONS, SETTINGS)


def test_too_short_a_history_asks_for_a_smaller_h(tmp_path: Path) -> None:
    world.write_world(tmp_path, persons=3)
    with pytest.raises(ModelError, match="no target is known") as caught:
        read_moments(tmp_path, world.DEFINITIONS, 100 * DAY, 1_000)
    assert "--horizon-days" in caught.value.hint
