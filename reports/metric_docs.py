"""``docs/metrics.md``, written from the metrics' file: ``python -m reports.metric_docs``.

Input: ``ontology/metrics.yaml``, checked against the tables and views that are documented. Output: the whole page.
"""

from __future__ import annotations

from reports.table_docs import ROOT, documented_tables
from transforms.tables.metrics import METRICS_FILE, Metric, load_metrics, metric_sql

PAGE = ROOT / "docs" / "metrics.md"
_HEAD = """# Metrics

Written by `python -m reports.metric_docs` from `ontology/metrics.yaml`, where each metric is defined once.
`wayline metric list` names them. `wayline metric NAME --by DIMENSION --out OUT` computes one from the tables and views
of an output folder ([tables.md](tables.md)), also while a stream writes it; `--by` may be given several times, `--json`
prints one document for machines. A required dimension is always grouped by. Shares run from 0 to 1, durations are
seconds, values are in the currency of the source. Nothing to compute from gives null, a count zero. The file is checked
whenever it is read: a table, view or column that does not exist is refused with its line and the nearest name.

"""


def page() -> str:
    """The page as it should be."""
    metrics = load_metrics(METRICS_FILE, documented_tables())
    lines = ["| metric | what it says | format |", "|---|---|---|"]
    lines += [f"| [`{m.name}`](#{m.name}) | {m.doc} | {m.format} |" for m in metrics]
    return _HEAD + "\n".join(lines) + "\n\n" + "\n".join(map(_section, metrics))


def _section(metric: Metric) -> str:
    dimensions = ", ".join(f"`{name}`{' (required)' if name in metric.required else ''}" for name in metric.dimensions)
    return (
        f"## {metric.name}\n\n{metric.doc}\n\n- Source: `{metric.source}`, a row a {metric.grain}.\n"
        f"- Dimensions: {dimensions or 'none'}.\n- Format: {metric.format}.\n\n```sql\n{metric_sql(metric)};\n```\n"
    )


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
