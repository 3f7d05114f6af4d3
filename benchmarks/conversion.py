"""``python -m benchmarks.conversion``: the training code on real shop sessions, beside published figures.

The UCI data set "Online Shoppers Purchasing Intention" (CC BY 4.0) has 12,330 sessions of a shop, a year long, each
with what was seen in it and whether it ended in a purchase. The gate checks the sessions as it checks any training
set, and the classifier is the stage model's, with its sizes, its seed and its calibration; nothing is tuned here.
``PageValues`` is left out: it is computed from the purchases themselves. Each session is judged once by a model that
has not seen it: in each of ten folds seven parts train, two calibrate, one is judged.

The published figures of plain gradient boosting without ``PageValues`` are auROC 0.776 and auPR 0.359. The intervals
are those of 2,000 bootstrap samples of the judged sessions (2.5 and 97.5 percentiles; Efron 1979). Exit code 1 when a
figure lies below the published one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.real_data import SHOP_SESSIONS
from contracts.errors import CheckFailedError
from models.bundle import stage_probabilities
from models.estimator import EstimatorSettings, fit_calibrated
from models.evaluation import calibration_error, calibration_noise
from models.gate import MOMENT, PERSON, TARGET, GateReport, GateRules, check, require

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PUBLISHED_ROC, PUBLISHED_PR = 0.776, 0.359
OUTCOMES = ("left", "bought")
_LEAKING = "PageValues"
_FOLDS, _CALIBRATE = 10, 2
_SAMPLES = 2_000
_TRUE = ("true", "1")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_NO_LIMIT: tuple[float, None] = (0, None)
_SHARE = (0.0, 1.0)
BOUNDS: dict[str, tuple[float | None, float | None]] = {
    "Administrative": _NO_LIMIT,
    "Administrative_Duration": _NO_LIMIT,
    "Informational": _NO_LIMIT,
    "Informational_Duration": _NO_LIMIT,
    "ProductRelated": _NO_LIMIT,
    "ProductRelated_Duration": _NO_LIMIT,
    "BounceRates": _SHARE,
    "ExitRates": _SHARE,
    "SpecialDay": _SHARE,
    "Month": (1, 12),
    "OperatingSystems": (1, None),
    "Browser": (1, None),
    "Region": (1, None),
    "TrafficType": (1, None),
    "Returning": _SHARE,
    "Weekend": _SHARE,
}
"""Inputs of the model, and what the gate asks of each."""


@dataclass(frozen=True)
class Figure:
    """A measure of all judged sessions with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class Judged:
    """What came of it. ``ece`` is the calibration error, ``ece_noise`` what chance explains of it."""

    sessions: int
    bought: int
    algorithm: str
    roc: Figure
    pr: Figure
    ece: float
    ece_noise: float


def read_sessions(path: Path) -> Any:
    """The sessions as a training frame (pandas): inputs, target, and a number in place of a person and a moment.

    Raises OSError when the file is not there, KeyError when a column is missing.
    """
    import pandas as pd

    raw = pd.read_csv(path).drop(columns=_LEAKING)
    months = {name: number for number, name in enumerate(_MONTHS, start=1)}
    visitor = raw["VisitorType"] if "VisitorType" in raw else raw["NewVisitor"]
    frame = raw.assign(
        Month=raw["Month"].str.lower().str[:3].map(months),
        Returning=(visitor == "Returning_Visitor").astype("float64"),
        Weekend=_truth(raw["Weekend"]),
    )[list(BOUNDS)].astype("float64")
    frame[PERSON] = [f"s{number}" for number in range(len(frame))]
    frame[MOMENT] = range(len(frame))
    frame[TARGET] = [OUTCOMES[int(bought)] for bought in _truth(raw["Revenue"])]
    return frame


def _truth(column: Any) -> Any:
    return column.astype(str).str.lower().isin(_TRUE).astype("float64")


def gate_rules() -> GateRules:
    """What the gate asks of the sessions."""
    return GateRules(stages=OUTCOMES, bounds=BOUNDS)


def judge(frame: Any, settings: EstimatorSettings, samples: int = _SAMPLES) -> Judged:
    """Cross-validate the stage model's estimator on sessions. Raises ModelError when the gate refuses them."""
    from sklearn.metrics import average_precision_score, roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    require(frame, gate_rules())
    inputs = frame[list(BOUNDS)].to_numpy(dtype=np.float64)
    target = np.array([OUTCOMES.index(outcome) for outcome in frame[TARGET]], dtype=np.int64)
    said = np.zeros((len(target), len(OUTCOMES)))
    algorithm = ""
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=settings.seed)
    parts = [test for _, test in folds.split(inputs, target)]
    for number, test in enumerate(parts):
        held = np.concatenate([parts[(number + step) % _FOLDS] for step in range(1, 1 + _CALIBRATE)])
        seen = np.concatenate([parts[(number + step) % _FOLDS] for step in range(1 + _CALIBRATE, _FOLDS)])
        model, algorithm = fit_calibrated(inputs[seen], target[seen], inputs[held], target[held], settings)
        said[test] = stage_probabilities(model, inputs[test], len(OUTCOMES))
    bought = said[:, 1]
    return Judged(
        sessions=len(target),
        bought=int(target.sum()),
        algorithm=algorithm,
        roc=_figure(roc_auc_score, target, bought, settings.seed, samples),
        pr=_figure(average_precision_score, target, bought, settings.seed, samples),
        ece=calibration_error(said, target),
        ece_noise=calibration_noise(said),
    )


def _figure(measure: Callable[[Ints, Floats], float], target: Ints, said: Floats, seed: int, samples: int) -> Figure:
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(samples):
        rows = generator.integers(0, len(target), len(target))
        drawn.append(measure(target[rows], said[rows]))
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Figure(float(measure(target, said)), float(low), float(high))


def spoilt(frame: Any) -> Any:
    """A copy as a broken export would give it: a share above one, a negative duration, holes, a session twice."""
    import pandas as pd

    copy = frame.copy()
    copy.loc[copy.index[:40], "BounceRates"] = 20.0
    copy.loc[copy.index[40:60], "ProductRelated_Duration"] = -1.0
    copy.loc[copy.index[60:90], "ExitRates"] = float("nan")
    return pd.concat([copy, copy.tail(5)], ignore_index=True)


def _told(judged: Judged, refusal: GateReport) -> str:
    lines = [
        f"{judged.sessions:,} sessions, {judged.bought:,} bought; {judged.algorithm}, ten folds",
        f"auROC {judged.roc}; published {PUBLISHED_ROC}",
        f"auPR  {judged.pr}; published {PUBLISHED_PR}",
        f"calibration error {judged.ece:.3f}, of which chance explains {judged.ece_noise:.3f}",
        f"a spoilt copy: the gate refuses it, {len(refusal.failures)} of {refusal.checked} expectations fail",
        *(f"  {failure}" for failure in refusal.failures),
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sessions", type=Path, default=SHOP_SESSIONS)
    path = parser.parse_args().sessions
    if not path.is_file():
        print(f"there is no file {path}: the data set lies beside the repository, or give --sessions", file=sys.stderr)
        return 4
    frame = read_sessions(path)
    judged = judge(frame, EstimatorSettings())
    refusal = check(spoilt(frame), gate_rules())
    if not refusal.failures:
        raise CheckFailedError("the gate let a spoilt copy of the sessions pass")
    print(_told(judged, refusal))
    return int(judged.roc.value < PUBLISHED_ROC or judged.pr.value < PUBLISHED_PR)


if __name__ == "__main__":
    sys.exit(main())
