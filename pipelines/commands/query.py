"""``wayline query``: SQL over the tables of an output folder."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from pipelines.commands.project import project_config


@click.command("query")
@click.argument("sql")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Output folder.")
@click.option(
    "--format", "shape", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True, help="Shape."
)
@click.option("--limit", type=click.IntRange(min=0), default=100, show_default=True, help="Rows of a table; 0: all.")
@project_config
def command(sql: str, out: Path, shape: str, limit: int, config: Path | None) -> None:
    """Ask the tables of an output folder in SQL (DuckDB's), such as "SELECT stage, count(*) FROM journeys GROUP BY 1".

    It can read the folder and nothing else, also while a stream writes it. Times are in UTC.
    """
    from pipelines.definitions import load_definitions
    from reports.table_overview import query

    names, rows = query(out, load_definitions(config).tables, sql)
    if shape == "csv":
        import csv
        import sys

        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([plain(value) for value in row] for row in rows)
    elif shape == "json":
        from reports.rendering import json_text

        for row in rows:
            click.echo(json_text(dict(zip(names, map(plain, row), strict=True))))
    else:
        print_table(names, rows, limit)


def print_table(names: Sequence[str], rows: Sequence[Sequence[Any]], limit: int) -> None:
    """Rows as a table on standard output, at most ``limit`` of them; 0: all."""
    from rich.console import Console
    from rich.table import Table

    from reports.rendering import clean

    table = Table(*map(clean, names))
    shown = rows[:limit] if limit else rows
    for row in shown:
        table.add_row(*("" if value is None else clean(plain(value)) for value in row))
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 1_000
    console.print(table)
    if len(shown) < len(rows):
        click.echo(f"{len(shown)} of {len(rows):,} rows; --limit 0 shows all")


def plain(value: Any) -> Any:
    """A value as text or number: times in UTC, bytes in hexadecimal digits."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value.tzinfo else value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(name): plain(content) for name, content in value.items()}
    if isinstance(value, list | tuple):
        return [plain(content) for content in value]
    return str(value)
