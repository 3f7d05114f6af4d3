"""The section on the model: what its test said, what came true of what it scored since, and the calibration curve.

Input: a ``ModelQuality``. Output: HTML. Time domain: event time. Errors, state: none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape

from contracts.event import DAY
from models.bundle import Manifest
from models.evaluation import Bin, Gates
from reports.model_quality import ModelQuality
from reports.page.charts import calibration, numbers, table
from reports.page.nothing import nothing
from reports.rendering import day, moment, plural


def model_html(found: ModelQuality, certain: Collection[str]) -> str:
    """The section.

    Args:
        found: the model in force and how good it is.
        certain: stages that rules alone decide.
    """
    if found.manifest is None:
        waits = f" {plural(found.versions, 'model')} in the registry wait to be promoted." if found.versions else ""
        return nothing(f"No model is in force: rules alone decide.{waits}")
    manifest = found.manifest
    metrics = manifest.metrics
    tested = table(
        f"On the {metrics.rows:,} test rows of its training, and what answers without a model would have reached",
        ("measure", "model", "without"),
        (
            ("accuracy", f"{metrics.accuracy:.3f}", f"{metrics.majority_accuracy:.3f}, always the commonest stage"),
            ("log loss", f"{metrics.log_loss:.3f}", f"{metrics.prior_log_loss:.3f}, the shares of the stages"),
            ("calibration error", f"{metrics.ece:.3f}", f"{metrics.ece_noise:.3f}, by chance alone"),
            ("macro F1", f"{metrics.macro_f1:.3f}", ""),
            *(
                (f"recall of {stage}", f"{recall:.3f}", f"in {metrics.support[stage]:,} rows")
                for stage, recall in metrics.recall.items()
            ),
        ),
    )
    return _head(manifest, certain) + _curve(found) + tested + _since(found)


def _head(manifest: Manifest, certain: Collection[str]) -> str:
    refused = Gates().refusals(manifest.metrics, manifest.champion, certain)
    gates = "It passes every gate." if not refused else f"It does not pass: {'; '.join(refused)}."
    return (
        f"<p><strong>{escape(manifest.version)}</strong> ({escape(manifest.algorithm)}) foresees the furthest stage of "
        f"the next {manifest.window / DAY:g} days; trained on events until {day(moment(manifest.trained_until))}. "
        f"{escape(gates)}</p>"
    )


def _curve(found: ModelQuality) -> str:
    assert found.manifest is not None
    test = found.manifest.metrics.curve
    drawn = [(f"test rows of its training, {found.manifest.metrics.rows:,}", test)] if test else []
    if found.curve:
        drawn.append((f"scored since, {found.known:,} points", found.curve))
    if not drawn:
        return nothing("There is no calibration curve yet: none was kept at training, and nothing is known since.")
    return (
        "<h3>Calibration: of what it said with so much confidence, how much came true</h3>"
        + calibration("Calibration curve", [(name, _points(curve)) for name, curve in drawn])
        + numbers(
            "Calibration curve",
            ("rows", "confidence", "came true", "number"),
            [(name.partition(",")[0], one.said, one.happened, one.rows) for name, curve in drawn for one in curve],
        )
    )


def _points(curve: Sequence[Bin]) -> list[tuple[float, float, int]]:
    return [(one.said, one.happened, one.rows) for one in curve]


def _since(found: ModelQuality) -> str:
    if found.other_stages:
        return nothing("It answers for other stages than those in force, so what it scored is not held against them.")
    if not found.known:
        return nothing(
            f"{plural(found.scored, 'point')} scored; of none after its training the outcome is known yet."
            if found.scored
            else "It has scored no point yet."
        )
    return (
        f"<p>Of {plural(found.scored, 'point')} that it has scored, the outcome of {found.known:,} is known and lies "
        f"after its training: it was right in <strong>{found.accuracy:.1%}</strong>.</p>"
        + table(
            "What it said of each stage on average, and how often it came",
            ("stage", "said", "came"),
            [(one.stage, f"{one.said:.1%}", f"{one.happened:.1%}") for one in found.stages],
        )
    )
