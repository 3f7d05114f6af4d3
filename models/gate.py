"""The hard gate before training: Great Expectations over the whole training set.

Each call builds an ephemeral context of its own, since definitions shared by threads give wrong verdicts silently.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.errors import ModelError

PERSON, MOMENT, TARGET = "person_id", "event_timestamp", "target"


@dataclass(frozen=True)
class GateReport:
    """The verdict: how many expectations were checked, and one sentence for each that failed."""

    checked: int
    failures: tuple[str, ...]


@dataclass(frozen=True)
class GateRules:
    """What a training set must be. ``bounds`` gives feature -> (least, greatest), None where there is no limit."""

    stages: tuple[str, ...]
    bounds: Mapping[str, tuple[float | None, float | None]]
    min_rows: int = 300
    min_persons: int = 30
    max_share_of_one_stage: float = 0.99


def check(frame: Any, rules: GateRules) -> GateReport:
    """Check a training frame (pandas): columns ``PERSON``, ``MOMENT``, ``TARGET`` and the features of the rules."""
    import great_expectations as gx
    import great_expectations.expectations as expect

    expectations: list[Any] = [
        expect.ExpectTableRowCountToBeBetween(min_value=rules.min_rows),
        expect.ExpectColumnUniqueValueCountToBeBetween(column=PERSON, min_value=rules.min_persons),
        expect.ExpectColumnValuesToNotBeNull(column=PERSON),
        expect.ExpectColumnValuesToNotBeNull(column=MOMENT),
        expect.ExpectCompoundColumnsToBeUnique(column_list=[PERSON, MOMENT]),
        expect.ExpectColumnValuesToBeInSet(column=TARGET, value_set=list(rules.stages)),
        expect.ExpectColumnUniqueValueCountToBeBetween(column=TARGET, min_value=2),
    ]
    for name, (least, greatest) in rules.bounds.items():
        expectations.append(expect.ExpectColumnValuesToNotBeNull(column=name))
        if least is not None or greatest is not None:
            expectations.append(expect.ExpectColumnValuesToBeBetween(column=name, min_value=least, max_value=greatest))
    # Progress bars and the report of a missing column on the log would drown what the user has to read.
    noisy = logging.getLogger("great_expectations")
    level = noisy.level
    noisy.setLevel(logging.ERROR)
    try:
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False, "metric_calculations": False}
        source = context.data_sources.add_pandas("training_set")
        definition = source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")
        batch = definition.get_batch({"dataframe": frame})
        result = batch.validate(gx.ExpectationSuite(name="training_set", expectations=expectations))
    finally:
        noisy.setLevel(level)
    failures = [_sentence(item) for item in result.results if not item.success]
    share = frame[TARGET].value_counts(normalize=True).max() if TARGET in frame and len(frame) else 0.0
    if share > rules.max_share_of_one_stage:
        failures.append(f"share of the commonest target is {share:.3f}, above {rules.max_share_of_one_stage}")
    return GateReport(len(expectations) + 1, tuple(sorted(failures)))


def require(frame: Any, rules: GateRules) -> GateReport:
    """``check``, refusing with every failed expectation by name. Raises ModelError."""
    report = check(frame, rules)
    if report.failures:
        shown = "; ".join(report.failures[:8]) + ("; …" if len(report.failures) > 8 else "")
        raise ModelError(
            f"the training set fails {len(report.failures)} of {report.checked} expectations: {shown}",
            hint="train on an output folder with more persons and days, or mend the features that are named",
        )
    return report


def _sentence(item: Any) -> str:
    kind = item.expectation_config.type
    arguments = {k: v for k, v in item.expectation_config.kwargs.items() if k != "batch_id"}
    message = _exception(item.exception_info)
    if message:
        return f"{kind} on {_subject(arguments)} could not be checked: {message}"
    result = item.result or {}
    if "observed_value" in result:
        return f"{kind} on {_subject(arguments)}: found {result['observed_value']}, wanted {_wanted(arguments)}"
    return (
        f"{kind} on {_subject(arguments)}: {result.get('unexpected_count', '?')} of "
        f"{result.get('element_count', '?')} rows"
    )


def _exception(info: Any) -> str:
    """What was raised, if anything: Great Expectations reports a missing column here and not by raising."""
    if not isinstance(info, Mapping):
        return ""
    found = info if "raised_exception" in info else next(iter(info.values()), {})
    if isinstance(found, Mapping) and found.get("raised_exception"):
        return str(found.get("exception_message") or "an error without a message").splitlines()[0]
    return ""


def _subject(arguments: Mapping[str, Any]) -> str:
    if "column" in arguments:
        return str(arguments["column"])
    columns: Sequence[str] = arguments.get("column_list", ())
    return " and ".join(columns) or "the table"


def _wanted(arguments: Mapping[str, Any]) -> str:
    least, greatest = arguments.get("min_value"), arguments.get("max_value")
    if least is not None and greatest is not None:
        return f"{least} to {greatest}"
    return f"at least {least}" if least is not None else f"at most {greatest}"
