"""``wayline metric``: the metrics that are defined, and their values of an output folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands.project import project_config

if TYPE_CHECKING:
    from transforms.tables.metrics import Metric


@click.command("metric")
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), help="Output folder; not needed for `list`.")
@click.option("--by", multiple=True, metavar="DIMENSION", help="Group by this dimension; may be given several times.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for machines.")
@project_config
def command(name: str, out: Path | None, by: tuple[str, ...], as_json: bool, config: Path | None) -> None:
    """Compute the metric NAME of an output folder; `wayline metric list` names all that are defined.

    They are defined once, in the project's metrics or the shipped ontology/metrics.yaml; docs/metrics.md tells them.
    """
    from pipelines.definitions import load_definitions
    from transforms.tables.metrics import find_metric, load_metrics, metric_sql

    definitions = load_definitions(config)
    tables = definitions.tables
    metrics = load_metrics(definitions.config.metrics, tables)
    if name == "list":
        _list(metrics, as_json)
        return
    metric = find_metric(metrics, name)
    sql = metric_sql(metric, by)
    if out is None:
        raise click.UsageError("name the output folder: --out")
    from pipelines.commands.query import plain, print_table
    from reports.table_overview import query

    names, rows = query(out, tables, sql)
    if as_json:
        found = [dict(zip(names, map(plain, row), strict=True)) for row in rows]
        click.echo(json.dumps({"metric": name, "doc": metric.doc, "format": metric.format, "rows": found}))
        return
    click.echo(metric.doc)
    print_table(names, rows, 0)


def _list(metrics: tuple[Metric, ...], as_json: bool) -> None:
    if as_json:
        from dataclasses import asdict

        click.echo(json.dumps([asdict(metric) for metric in metrics]))
        return
    width = max(len(metric.name) for metric in metrics)
    for metric in metrics:
        by = f" By {', '.join(metric.dimensions)}." if metric.dimensions else ""
        click.echo(f"{metric.name:{width}}  {metric.doc}{by}")
