"""The column lists of ``docs/tables.md``, written from the declarations: ``python -m reports.table_docs``.

Input: ``contracts.tables``, the feature declaration and the shipped ontology's stages. Output: the page, in which only
the text between the two markers is replaced. The rest of the page is written by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from contracts.tables import (
    BLOB,
    BOOL,
    DECISIONS,
    FIXED_TABLES,
    INT,
    JSON,
    REAL,
    TEXT,
    TIME,
    Column,
    Table,
    feature_tables,
)
from features.journey_features import feature_columns
from reports.page_part import renewed
from transforms.journey.ontology import load_ontology
from transforms.tables.batches import arrow_schema
from transforms.tables.journey_views import journey_views
from transforms.tables.metrics import empty_tables
from transforms.tables.roles import MEANINGS, REFERENCES, ROLES

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "tables.md"
BEGIN, END = "<!-- columns -->\n", "<!-- /columns -->\n"

KINDS = {
    TEXT: "VARCHAR",
    TIME: "TIMESTAMP WITH TIME ZONE",
    INT: "BIGINT",
    REAL: "DOUBLE",
    BOOL: "BOOLEAN",
    JSON: "VARCHAR",
    BLOB: "BLOB",
}
"""Kind of a column in a declaration to its type in the DuckDB views."""


def documented_tables() -> tuple[Table, ...]:
    """Every table of an output folder, with the features and the stages that are shipped."""
    stages = load_ontology(ROOT / "ontology" / "journey.yaml").stage_names
    features, scores = feature_tables(feature_columns(), stages)
    found: list[Table] = []
    for table in FIXED_TABLES:
        # features and scores stand between what they are made of and what they are made for
        found += [features, scores, table] if table is DECISIONS else [table]
    return tuple(found)


def columns_markdown() -> str:
    """The part of the page between the markers."""
    tables = documented_tables()
    return "\n".join([_roles(), _overview(), _views(), _references(), _kinds(), *map(_section, tables), _shown(tables)])


def written(page: str) -> str:
    """The page with its columns as declared.

    Raises:
        ValueError: the page lacks the markers.
    """
    return renewed(page, BEGIN, END, columns_markdown())


def _roles() -> str:
    lines = ["| kind | what it is for |", "|---|---|"]
    return "\n".join([*lines, *(f"| {role} | {meaning} |" for role, meaning in MEANINGS.items())]) + "\n"


def _overview() -> str:
    lines = ["| table | kind | one row is | key | when it changes |", "|---|---|---|---|---|"]
    for table in documented_tables():
        what = table.doc.removeprefix("One row ").rstrip(".")
        key = ", ".join(f"`{name}`" for name in table.key)
        fate = "stated anew by each run" if table.refolded else "kept: rows are added or revised"
        lines.append(f"| [`{table.name}`](#{table.name}) | {ROLES[table.name]} | {what} | {key} | {fate} |")
    return "\n".join(lines) + "\n"


def _views() -> str:
    lines = ["## Views for BI", "", "| view | kind | one row is | key | made of |", "|---|---|---|---|---|"]
    for view in journey_views(documented_tables()):
        what = view.doc.removeprefix("One row ").rstrip(".")
        key, needs = (", ".join(f"`{name}`" for name in names) for names in (view.key, view.needs))
        lines.append(f"| [`{view.name}`](#{view.name}) | {ROLES[view.name]} | {what} | {key} | {needs} |")
    return "\n".join(lines) + "\n"


def _references() -> str:
    """What refers to what: whoever joins must know which references always lead to a row."""
    told: dict[tuple[str, str, str, str], list[str]] = {}
    for link in REFERENCES:
        asked = f" where {link.where}" if link.where else ""
        told.setdefault((link.other, link.there, link.loose, asked), []).append(f"`{link.table}.{link.column}`")
    lines = ["## What refers to what", "", "| to | from | if not null, there is such a row |", "|---|---|---|"]
    for (other, there, loose, asked), columns in told.items():
        lines.append(
            f"| `{other}.{there}` | {', '.join(columns)}{asked} | {f'not always: {loose}' if loose else 'yes'} |"
        )
    return "\n".join(lines) + "\n"


def _shown(tables: Sequence[Table]) -> str:
    """The columns of the views, as the database has them."""
    base = empty_tables(tables)
    sections = []
    try:
        for view in journey_views(tables):
            lines = [
                f"## {view.name}",
                "",
                fill(view.doc, 120),
                "",
                "| column | type in DuckDB | refers to |",
                "|---|---|---|",
            ]
            for name, kind, *_ in base.execute(f"DESCRIBE {view.name}").fetchall():
                there = [f"`{r.other}`" for r in REFERENCES if (r.table, r.column) == (view.name, name)]
                lines.append(f"| `{name}`{' (key)' if name in view.key else ''} | `{kind}` | {', '.join(there)} |")
            sections.append("\n".join(lines) + "\n")
    finally:
        base.close()
    return "\n".join(sections)


def _kinds() -> str:
    fields = arrow_schema(Table("kinds", (), tuple(Column(kind, kind, "") for kind in KINDS), ""))
    lines = ["## Types", "", "| here | Parquet (Arrow) | DuckDB view |", "|---|---|---|"]
    lines += [f"| {kind} | `{fields.field(kind).type}` | `{name}` |" for kind, name in KINDS.items()]
    return "\n".join(lines) + "\n"


def _section(table: Table) -> str:
    lines = [f"## {table.name}", "", table.doc, "", "| column | type | what it says |", "|---|---|---|"]
    lines += [_line(column, key=column.name in table.key) for column in table.columns]
    return "\n".join(lines) + "\n"


def _line(column: Column, *, key: bool) -> str:
    doc = column.doc.replace("|", "\\|")
    return f"| `{column.name}`{' (key)' if key else ''} | {column.kind} | {doc} |"


def main() -> None:
    """Write the page."""
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
