"""``wayline metric`` over a real run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from contracts.errors import UsageError
from contracts.tables import Table
from pipelines.commands.metric import command
from reports.table_overview import query
from transforms.tables.metrics import METRICS_FILE, load_metrics, metric_sql


def _json(*arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found: dict[str, object] = json.loads(result.output)
    return found


def test_list_names_every_metric_of_the_file(tables: dict[str, Table]) -> None:
    metrics = load_metrics(METRICS_FILE, list(tables.values()))
    result = CliRunner().invoke(command, ["list"], catch_exceptions=False)
    assert [line.split()[0] for line in result.output.splitlines()] == [metric.name for metric in metrics]


def test_every_metric_is_computed_of_a_run_by_each_of_its_dimensions(tiny_out: Path, tables: dict[str, Table]) -> None:
    for metric in load_metrics(METRICS_FILE, list(tables.values())):
        for by in [(), *((name,) for name in metric.dimensions)]:
            names, rows = query(tiny_out, list(tables.values()), metric_sql(metric, by))
            assert names[-1] == metric.name
            if metric.format == "share":
                assert all(row[-1] is None or 0 <= row[-1] <= 1 for row in rows), metric.name


def test_a_metric_is_told_with_its_format_by_the_dimension_that_is_asked_for(tiny_out: Path) -> None:
    found = _json("stage_conversion_rate", "--by", "stage", "--out", str(tiny_out))
    assert found["format"] == "share"
    rows = found["rows"]
    assert isinstance(rows, list)
    assert {row["stage"] for row in rows} == {"discovery", "consideration", "decision", "customer"}


def test_persons_by_stage_are_those_of_journeys(tiny_out: Path, tables: dict[str, Table]) -> None:
    found = _json("persons", "--by", "stage", "--out", str(tiny_out))
    names, rows = query(tiny_out, list(tables.values()), "SELECT stage, count(*) FROM journeys GROUP BY 1 ORDER BY 1")
    assert len(names) == 2
    assert found["rows"] == [{"stage": stage, "persons": count} for stage, count in rows]


def test_a_misspelt_metric_is_refused_with_the_nearest(tiny_out: Path) -> None:
    with pytest.raises(UsageError) as caught:
        CliRunner().invoke(command, ["person", "--out", str(tiny_out)], catch_exceptions=False)
    assert "persons" in (caught.value.hint or "")
