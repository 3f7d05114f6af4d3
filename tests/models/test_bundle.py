"""Bundles verify or are refused; a registry promotes what passes its gates and rolls back."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_world import DEFINITIONS, SETTINGS, STAGES, TrainedWorld

from contracts.errors import ModelError
from features.journey_features import FEATURE_NAMES, model_inputs
from models.bundle import check_bundle, libraries, load_bundle, smoke_vectors, stage_probabilities
from models.estimator import EstimatorSettings, fit_calibrated
from models.evaluation import Gates
from models.registry import ModelRegistry
from models.scoring import check_activated, load_activated, score_points
from models.skops_import import skops_io
from models.training import compare_on

LENIENT = Gates(max_ece=1.0)
NOW = 1_800_000_000_000_000


def edited(path: Path, **changes: Any) -> None:
    file = path / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def bundle_of(world: TrainedWorld) -> Path:
    return world.out / "registry" / "bundles" / world.trained.model.version


def test_a_loaded_bundle_answers_as_the_trained_model(trained_once: TrainedWorld) -> None:
    model = load_bundle(bundle_of(trained_once))
    matrix = np.random.default_rng(0).gamma(1, 2, (50, len(FEATURE_NAMES)))
    probabilities = model.predict(matrix)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(50))
    assert np.array_equal(probabilities, trained_once.trained.model.predict(matrix))


@settings(deadline=None, max_examples=30)
@given(cuts=st.sets(st.integers(1, 299), max_size=40))
@pytest.mark.parametrize("few_rows", [1_000, 1], ids=["logistic regression", "boosted trees"])
def test_a_row_has_the_same_probabilities_whichever_rows_are_asked_for_with_it(few_rows: int, cuts: set[int]) -> None:
    estimator, rows = _fitted(few_rows)
    whole = stage_probabilities(estimator, rows, 4)
    bounds = [0, *sorted(cuts), len(rows)]
    parts = [stage_probabilities(estimator, rows[start:end], 4) for start, end in pairwise(bounds)]
    assert np.array_equal(np.concatenate(parts), whole)


@cache
def _fitted(few_rows: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(300, 40)) * rng.uniform(0.1, 50.0, 40)
    target = (rows[:, 0] > 0).astype(np.int64) + 2 * (rows[:, 1] + rng.normal(size=300) > 0)
    estimator, _ = fit_calibrated(rows[:200], target[:200], rows[200:], target[200:], EstimatorSettings(few_rows))
    return estimator, rows


def test_a_changed_model_file_is_refused(trained_world: TrainedWorld) -> None:
    file = bundle_of(trained_world) / "model.skops"
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(ModelError, match="SHA-256"):
        load_bundle(bundle_of(trained_world))


def test_a_bundle_is_checked_by_its_bytes_and_loaded_where_other_libraries_made_it(trained_world: TrainedWorld) -> None:
    from sklearn.linear_model import LogisticRegression

    path = bundle_of(trained_world)
    manifest = check_bundle(path)
    assert manifest == trained_world.trained.model.manifest
    assert manifest.libraries == libraries()
    data = skops_io().dumps(LogisticRegression())
    (path / "model.skops").write_bytes(data)
    with pytest.raises(ModelError, match="SHA-256"):
        check_bundle(path)
    edited(path, sha256=hashlib.sha256(data).hexdigest())
    check_bundle(path)
    edited(path, libraries={**libraries(), "scikit-learn": "0.1"})
    with pytest.raises(ModelError, match="cannot score its stored vectors"):
        check_bundle(path)


def test_types_outside_the_allow_list_are_not_constructed(trained_world: TrainedWorld) -> None:
    from sklearn.preprocessing import FunctionTransformer

    data = skops_io().dumps(FunctionTransformer(func=hashlib.sha256))
    (bundle_of(trained_world) / "model.skops").write_bytes(data)
    edited(bundle_of(trained_world), sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(ModelError, match="not trusted"):
        load_bundle(bundle_of(trained_world))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x80\x04K\x01."])
def test_a_file_that_is_no_model_is_refused(trained_world: TrainedWorld, content: bytes) -> None:
    (bundle_of(trained_world) / "model.skops").write_bytes(content)
    edited(bundle_of(trained_world), sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_bundle(bundle_of(trained_world))


def test_other_answers_than_when_trained_are_refused(trained_world: TrainedWorld) -> None:
    manifest = trained_world.trained.model.manifest
    wrong = [[1.0, 0.0, 0.0, 0.0]] * len(manifest.smoke.vectors)
    edited(bundle_of(trained_world), smoke={"vectors": manifest.smoke.vectors, "probabilities": wrong})
    with pytest.raises(ModelError, match="answers its stored vectors differently"):
        load_bundle(bundle_of(trained_world))


def test_a_bundle_for_other_features_is_refused(trained_once: TrainedWorld) -> None:
    path = bundle_of(trained_once)
    with pytest.raises(ModelError, match="trained on features journey:v2"):
        load_bundle(path, served=("journey:v9",))
    with pytest.raises(ModelError, match="not computed any more"):
        load_bundle(path, feature_names=FEATURE_NAMES[:3])


def test_a_bundle_of_the_version_before_is_served_beside_the_new_one(trained_world: TrainedWorld) -> None:
    """It names fewer features, and answers the longer vector as it answered the shorter one."""
    from sklearn.linear_model import LogisticRegression

    columns = [FEATURE_NAMES.index(name) for name in model_inputs("journey:v1")]
    path = bundle_of(trained_world)
    rows = np.random.default_rng(3).gamma(1, 2, (200, len(FEATURE_NAMES)))
    target = (rows[:, 0] > 1.0).astype(np.int64) + 2 * (rows[:, 1] > 1.0).astype(np.int64)
    estimator = LogisticRegression().fit(rows[:, columns], target)
    vectors = rows[:8, columns]
    data = skops_io().dumps(estimator)
    (path / "model.skops").write_bytes(data)
    edited(
        path,
        sha256=hashlib.sha256(data).hexdigest(),
        features=model_inputs("journey:v1"),
        feature_version="journey:v1",
        smoke={"vectors": vectors.tolist(), "probabilities": estimator.predict_proba(vectors).tolist()},
    )
    old = load_bundle(path)
    assert old.manifest.feature_version == "journey:v1"
    assert np.array_equal(old.predict(rows), estimator.predict_proba(rows[:, columns]))


@pytest.mark.parametrize("name", ["days_in_stage", "stage", "consent_share"])
def test_a_bundle_that_reads_the_stage_or_another_policy_only_feature_is_refused(
    trained_world: TrainedWorld, name: str
) -> None:
    manifest = trained_world.trained.model.manifest
    edited(bundle_of(trained_world), features=(*manifest.features[:-1], name))
    with pytest.raises(ModelError, match=rf"'{name}' is .*no model may read it"):
        load_bundle(bundle_of(trained_world), feature_names=(*FEATURE_NAMES, "days_in_stage", "stage"))


def test_a_model_finds_its_inputs_by_name_wherever_they_stand(trained_once: TrainedWorld) -> None:
    path = bundle_of(trained_once)
    matrix = np.random.default_rng(1).gamma(1, 2, (20, len(FEATURE_NAMES)))
    turned = load_bundle(path, feature_names=FEATURE_NAMES[::-1])
    assert np.array_equal(turned.predict(matrix[:, ::-1]), load_bundle(path).predict(matrix))


@pytest.mark.parametrize("content", ["", "{", '{"version": 3}'])
def test_a_damaged_manifest_is_refused(trained_world: TrainedWorld, content: str) -> None:
    (bundle_of(trained_world) / "manifest.json").write_text(content)
    with pytest.raises(ModelError, match=r"manifest\.json is damaged"):
        load_bundle(bundle_of(trained_world))


def test_stored_vectors_are_no_rows_of_the_training_set() -> None:
    rows = np.random.default_rng(2).normal(size=(200, 5))
    vectors = smoke_vectors(rows)
    assert vectors.shape == (16, 5)
    assert not any((rows == vector).all(axis=1).any() for vector in vectors)


def test_promotion_and_rollback_are_dated_and_leave_earlier_points_alone(trained_world: TrainedWorld) -> None:
    registry = ModelRegistry(trained_world.out / "registry")
    version = trained_world.trained.model.version
    assert not load_activated(registry.root, STAGES)
    registry.promote(version, stages=STAGES, active_from=100, reason="test", now=NOW, gates=LENIENT)
    matrix = np.random.default_rng(3).gamma(1, 2, (3, len(FEATURE_NAMES)))
    times = np.array([99, 100, 250])
    versions, probabilities = score_points(load_activated(registry.root, STAGES), times, matrix, len(STAGES))
    assert versions == [None, version, version]
    assert np.isnan(probabilities[0]).all()
    assert probabilities[1:].sum(axis=1) == pytest.approx([1.0, 1.0])
    assert [row.role for row in registry.rows()] == ["champion"]
    after = registry.rollback(active_from=200, reason="bad", now=NOW)
    assert (after.champion, after.previous) == (None, version)
    versions, _ = score_points(load_activated(registry.root, STAGES), times, matrix, len(STAGES))
    assert versions == [None, version, None]
    registry.rollback(active_from=300, reason="not bad after all", now=NOW)
    assert registry.activations().champion == version


def test_a_gate_that_refuses_is_named_and_changes_nothing(trained_world: TrainedWorld) -> None:
    registry = ModelRegistry(trained_world.out / "registry")
    before = registry.activations()
    with pytest.raises(ModelError, match="calibration: error"):
        registry.promote(
            trained_world.trained.model.version,
            stages=STAGES,
            active_from=0,
            reason="",
            now=NOW,
            gates=replace(LENIENT, max_ece=-1.0),
        )
    assert registry.activations() == before


def test_a_model_of_other_stages_is_neither_promoted_nor_loaded(trained_world: TrainedWorld) -> None:
    registry = ModelRegistry(trained_world.out / "registry")
    version = trained_world.trained.model.version
    with pytest.raises(ModelError, match="the ontology has a, b"):
        registry.promote(version, stages=("a", "b"), active_from=0, reason="", now=NOW, gates=LENIENT)
    registry.promote(version, stages=STAGES, active_from=0, reason="", now=NOW, gates=LENIENT)
    for read in (load_activated, check_activated):
        with pytest.raises(ModelError, match="the ontology has a, b"):
            read(registry.root, ("a", "b"))


def test_a_candidate_and_the_champion_are_compared_on_the_same_rows(trained_world: TrainedWorld) -> None:
    model = trained_world.trained.model
    metrics, champion = compare_on(trained_world.out, DEFINITIONS, SETTINGS, model, model)
    assert champion.rows == metrics.rows == model.manifest.metrics.rows
    assert champion.accuracy == metrics.accuracy == pytest.approx(model.manifest.metrics.accuracy)


def test_a_damaged_bundle_is_listed_with_its_fault(trained_world: TrainedWorld) -> None:
    (bundle_of(trained_world) / "manifest.json").write_text("{")
    rows = ModelRegistry(trained_world.out / "registry").rows()
    assert len(rows) == 1
    assert "damaged" in rows[0].fault


def test_an_unknown_version_names_those_that_exist(trained_once: TrainedWorld) -> None:
    with pytest.raises(ModelError, match="no model 'nope'") as caught:
        ModelRegistry(trained_once.out / "registry").load("nope")
    assert trained_once.trained.model.version in caught.value.hint
