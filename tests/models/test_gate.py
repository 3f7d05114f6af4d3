"""The gate on the training set refuses by name, and a missing column is a refusal too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from contracts.errors import ModelError
from models.gate import GateRules, check, require
from pipelines import telemetry

RULES = GateRules(("discovery", "customer"), {"share": (0.0, 1.0), "count": (0.0, None)}, min_rows=50, min_persons=10)


@pytest.fixture(scope="module", autouse=True)
def _no_telemetry() -> None:
    telemetry.disable()


def frame(**changes: Any) -> pd.DataFrame:
    n = 100
    columns: dict[str, Any] = {
        "person_id": [f"p{i % 20}" for i in range(n)],
        "event_timestamp": pd.to_datetime(np.arange(n), unit="h", utc=True),
        "target": ["discovery" if i % 3 else "customer" for i in range(n)],
        "share": np.linspace(0, 1, n),
        "count": np.arange(n, dtype=np.float64),
    }
    columns.update(changes)
    return pd.DataFrame(columns)


def test_a_sound_training_set_passes() -> None:
    report = check(frame(), RULES)
    assert report.failures == ()
    assert report.checked == 12


@pytest.mark.parametrize(
    ("named", "changed"),
    [
        ("expect_column_values_to_be_between on share", {"share": np.linspace(0, 1.5, 100)}),
        ("expect_column_values_to_not_be_null on count", {"count": [None, *range(99)]}),
        (
            "expect_column_values_to_be_in_set on target",
            {"target": ["loyal", *["discovery", "customer", "customer"] * 33]},
        ),
        ("share of the commonest target", {"target": ["customer"] * 100}),
        ("expect_compound_columns_to_be_unique", {"event_timestamp": pd.to_datetime([0] * 100, utc=True)}),
        ("expect_column_unique_value_count_to_be_between on person_id", {"person_id": ["p"] * 100}),
    ],
)
def test_each_fault_is_named(named: str, changed: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="training set fails") as caught:
        require(frame(**changed), RULES)
    assert named in caught.value.message


def test_a_missing_column_blocks_training() -> None:
    failures = check(frame().drop(columns="share"), RULES).failures
    assert any("share" in failure and "could not be checked" in failure for failure in failures)
