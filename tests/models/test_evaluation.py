"""Metrics against scikit-learn's own, and the gates one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.evaluation import Comparison, Gates, Metrics, calibration_error, calibration_noise, evaluate

STAGES = ("discovery", "consideration", "decision", "customer")
GOOD = Metrics(1000, 0.8, 0.7, 0.5, 0.03, 0.01, 0.5, 1.1, {"customer": 0.6}, {"customer": 100})


def test_metrics_agree_with_scikit_learn() -> None:
    from sklearn import metrics

    random = np.random.default_rng(3)
    probabilities = random.dirichlet(np.ones(4), size=500)
    target = random.integers(0, 4, 500)
    found = evaluate(probabilities, target, np.array([0, 0, 1, 2, 3]), STAGES)
    answer = probabilities.argmax(axis=1)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(target, answer))
    assert found.macro_f1 == pytest.approx(metrics.f1_score(target, answer, average="macro"))
    assert found.log_loss == pytest.approx(metrics.log_loss(target, probabilities))
    assert list(found.recall.values()) == pytest.approx(list(metrics.recall_score(target, answer, average=None)))
    assert found.majority_accuracy == pytest.approx((target == 0).mean())
    assert sum(one.rows for one in found.curve) == found.rows
    assert sum(one.happened * one.rows for one in found.curve) / found.rows == pytest.approx(found.accuracy)


def test_a_perfectly_calibrated_answer_has_no_calibration_error() -> None:
    probabilities = np.tile([0.75, 0.25], (400, 1))
    assert calibration_error(probabilities, np.array([0, 0, 0, 1] * 100)) == pytest.approx(0.0)
    assert calibration_error(probabilities, np.ones(400, dtype=np.int64)) == pytest.approx(0.75)


def test_few_rows_show_a_calibration_error_by_chance_and_the_gate_allows_for_it() -> None:
    random = np.random.default_rng(5)
    probabilities = random.dirichlet(np.ones(4), size=100)
    errors = [
        calibration_error(probabilities, np.array([random.choice(4, p=row) for row in probabilities]))
        for _ in range(30)
    ]
    assert calibration_noise(probabilities) == pytest.approx(np.mean(errors), rel=0.25)
    assert Gates().refusals(replace(GOOD, ece=0.14, ece_noise=0.05), None) == ()


def test_a_stage_without_rows_has_no_recall() -> None:
    found = evaluate(np.eye(4)[[0, 1]], np.array([0, 1]), np.array([0, 1]), STAGES)
    assert set(found.recall) == {"discovery", "consideration"}


def test_no_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        evaluate(np.zeros((0, 4)), np.zeros(0, dtype=np.int64), np.array([0]), STAGES)


@pytest.mark.parametrize(
    ("gate", "metrics", "champion"),
    [
        ("accuracy", replace(GOOD, accuracy=0.49), None),
        ("log_loss", replace(GOOD, log_loss=1.1), None),
        ("calibration", replace(GOOD, ece=0.12), None),
        ("stage_recall", replace(GOOD, recall={"customer": 0.05}), None),
        ("regression", GOOD, Comparison("old", 1000, 0.85, 0.6)),
        ("regression", GOOD, Comparison("old", 1000, 0.8, 0.4)),
    ],
)
def test_each_gate_refuses_by_name(gate: str, metrics: Metrics, champion: Comparison | None) -> None:
    refusals = Gates().refusals(metrics, champion)
    assert len(refusals) == 1
    assert refusals[0].startswith(gate)


def test_a_good_model_passes_and_a_rare_stage_is_not_judged_by_a_few_rows() -> None:
    assert Gates().refusals(GOOD, Comparison("old", 1000, 0.8, 0.5)) == ()
    assert Gates().refusals(replace(GOOD, recall={"decision": 0.0}, support={"decision": 3}), None) == ()


def test_no_recall_is_asked_of_a_stage_that_rules_alone_decide() -> None:
    weak = replace(GOOD, recall={"customer": 0.05})
    assert Gates().refusals(weak, None, certain={"customer"}) == ()
