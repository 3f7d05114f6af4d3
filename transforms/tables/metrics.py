"""Metrics, defined once in ``ontology/metrics.yaml``: read, checked against tables and views, turned into SQL. No Beam.

Input: the file and the tables' contracts. Output: ``Metric`` declarations, and for one of them a query with a row a
value of its dimensions. Durations are seconds, shares run from 0 to 1. State: none. Errors: ``ConfigurationError`` with
file and line for what the file names and nobody has; ``UsageError`` for a metric or dimension asked for that is none.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from contracts.documents import Node, load
from contracts.errors import UsageError
from contracts.tables import Table
from transforms.tables.batches import arrow_schema
from transforms.tables.journey_views import journey_views
from transforms.tables.sql import name_sql

METRICS_FILE = Path(__file__).resolve().parents[2] / "ontology" / "metrics.yaml"
FORMATS = ("count", "share", "seconds", "value")
_KEYS = ("doc", "expression", "source", "where", "grain", "dimensions", "required", "format")
_NAME = re.compile(r"^[a-z][a-z0-9_]*$")


@dataclass(frozen=True, slots=True)
class Metric:
    """``expression`` is an aggregate over the rows of ``source`` for which ``where`` holds (all, when empty).

    ``dimensions`` are columns it may be grouped by; ``required`` those it is always grouped by, since its number means
    nothing without.
    """

    name: str
    doc: str
    expression: str
    source: str
    where: str
    grain: str
    dimensions: tuple[str, ...]
    required: tuple[str, ...]
    format: str


def load_metrics(path: Path, tables: Sequence[Table]) -> tuple[Metric, ...]:
    """The metrics of a file, each tried on empty tables.

    Raises:
        ConfigurationError: the file is not as it should be, or names a view or column that does not exist.
    """
    base = empty_tables(tables)
    # what the file says is tried here, and reaches nothing but these tables
    base.execute("SET enable_external_access = false")
    base.execute("SET lock_configuration = true")
    try:
        root = load(path).mapping(("metrics",))
        return tuple(_metric(name, node, base) for name, node in root["metrics"].items()) if root else ()
    finally:
        base.close()


def empty_tables(tables: Sequence[Table]) -> Any:
    """A database in memory with every table, without rows, and the views over them."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for table in tables:
        connection.register("_empty", arrow_schema(table).empty_table())
        connection.execute(f"CREATE TABLE {table.name} AS FROM _empty")
        connection.unregister("_empty")
    for view in journey_views(tables):
        connection.execute(f"CREATE VIEW {view.name} AS {view.sql}")
    return connection


def find_metric(metrics: Sequence[Metric], name: str) -> Metric:
    """The metric of that name. Raises UsageError, with the nearest one, when there is none."""
    for metric in metrics:
        if metric.name == name:
            return metric
    raise UsageError(f"there is no metric {name!r}", hint=_near(name, [metric.name for metric in metrics]))


def metric_sql(metric: Metric, by: Sequence[str] = ()) -> str:
    """The query of a metric: its dimensions, required ones first, and a column of its name, in order.

    Raises:
        UsageError: the metric has no such dimension.
    """
    for name in by:
        if name not in metric.dimensions:
            hint = _near(name, metric.dimensions) if metric.dimensions else "it has none"
            raise UsageError(f"the metric {metric.name} has no dimension {name!r}", hint=hint)
    columns = [name_sql(name) for name in dict.fromkeys((*metric.required, *by))]
    where = f" WHERE {metric.where}" if metric.where else ""
    select = ", ".join([*columns, f"{metric.expression} AS {name_sql(metric.name)}"])
    places = ", ".join(str(place) for place in range(1, len(columns) + 1))
    grouped = f" GROUP BY {places} ORDER BY {places}" if columns else ""
    return f"SELECT {select} FROM {name_sql(metric.source)}{where}{grouped}"


def _metric(name: str, node: Node, base: Any) -> Metric:
    node.mapping(_KEYS)
    if not _NAME.match(name):
        node.fail(f"{name!r} is no name of a metric", hint="small letters, digits and _, beginning with a letter")
    sources = sorted(row[0] for row in base.execute("SELECT table_name FROM information_schema.tables").fetchall())
    source = node.need("source")
    if source.string() not in sources:
        source.fail(f"metric {name}: there is no table or view {source.value!r}", hint=_near(source.value, sources))
    columns = [row[0] for row in base.execute(f"DESCRIBE {name_sql(source.value)}").fetchall()]
    listed = node.need("dimensions")
    dimensions, where = listed.strings(), node.get("where")
    required_node = node.get("required")
    required = required_node.strings() if required_node else ()
    for dimension in dimensions:
        if dimension not in columns:
            listed.fail(f"metric {name}: {source.value} has no column {dimension!r}", hint=_near(dimension, columns))
    for dimension in required:
        if required_node and dimension not in dimensions:
            required_node.fail(f"metric {name}: {dimension!r} is required and no dimension", hint="list it in both")
    expression = node.need("expression")
    metric = Metric(
        name,
        node.need("doc").string(),
        expression.string(),
        source.string(),
        where.string() if where else "",
        node.need("grain").string(),
        dimensions,
        required,
        node.need("format").choice(FORMATS),
    )
    for part, sql in (
        (where, f"SELECT 1 FROM {name_sql(metric.source)} WHERE {metric.where}"),
        # an aggregate alone: a bare column beside it would be refused only once dimensions are asked for
        (expression, f"SELECT {metric.expression} FROM {name_sql(metric.source)} HAVING true"),
        (node, metric_sql(metric, dimensions)),
    ):
        if part is not None:
            _try(base, name, part, sql, columns)
    return metric


def _try(base: Any, name: str, part: Node, sql: str, columns: Sequence[str]) -> None:
    try:
        if [statement.type.name for statement in duckdb.extract_statements(sql)] != ["SELECT"]:
            part.fail(f"metric {name}: one expression is expected, and no statement beside it")
        base.execute(sql)
    except duckdb.Error as error:
        first = str(error).splitlines()[0]
        unknown = re.search(r'column "?(\w+)"? not found', first)
        part.fail(f"metric {name}: {first}", hint=_near(unknown[1], columns) if unknown else "")


def _near(text: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(text, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
