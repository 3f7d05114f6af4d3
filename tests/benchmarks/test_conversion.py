"""The gate and the estimator of the stage model on real shop sessions."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.conversion import PUBLISHED_PR, PUBLISHED_ROC, gate_rules, judge, read_sessions, spoilt
from benchmarks.real_data import SHOP_SESSIONS, missing
from contracts.errors import ModelError
from models.estimator import EstimatorSettings
from models.gate import check


@pytest.fixture(scope="module")
def sessions() -> Any:
    if why := missing(SHOP_SESSIONS):
        pytest.skip(why)
    return read_sessions(SHOP_SESSIONS)


def test_the_figures_are_no_worse_than_the_published_ones(sessions: Any) -> None:
    judged = judge(sessions, EstimatorSettings(), samples=50)
    assert judged.sessions == len(sessions) == 12_330
    assert judged.roc.value >= PUBLISHED_ROC
    assert judged.pr.value >= PUBLISHED_PR
    assert judged.roc.low < judged.roc.value < judged.roc.high


def test_nothing_of_the_purchase_is_an_input(sessions: Any) -> None:
    assert not {"PageValues", "Revenue"} & set(sessions.columns)


def test_the_gate_passes_the_sessions_and_stops_a_spoilt_copy_by_name(sessions: Any) -> None:
    assert not check(sessions, gate_rules()).failures
    with pytest.raises(ModelError, match=r"fails 4 of .* BounceRates: 40 of 12335 rows"):
        judge(spoilt(sessions), EstimatorSettings())
