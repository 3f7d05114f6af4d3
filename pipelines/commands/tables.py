"""``wayline tables``: what tables an output folder has, whether they hold together, and compacting their parts."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.commands.project import project_config


@click.group("tables", invoke_without_command=True)
@click.option("--out", type=click.Path(path_type=Path), help="Output folder.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for machines.")
@project_config
@click.pass_context
def command(context: click.Context, out: Path | None, as_json: bool, config: Path | None) -> None:
    """List the tables of an output folder: rows, columns, parts and size."""
    if context.invoked_subcommand is not None:
        return
    if out is None:
        raise click.UsageError("name the output folder: --out")
    from pipelines.definitions import load_definitions
    from reports.table_overview import table_sizes

    sizes = table_sizes(out, load_definitions(config).tables)
    if as_json:
        import json
        from dataclasses import asdict

        click.echo(json.dumps([asdict(size) for size in sizes]))
        return
    width = max(len(size.name) for size in sizes)
    click.echo(f"{'table':{width}} {'rows':>12} {'columns':>8} {'parts':>6} {'size':>10}")
    for size in sizes:
        click.echo(f"{size.name:{width}} {size.rows:12,} {size.columns:8} {size.parts:6} {_bytes(size.bytes):>10}")


@command.command("compact")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Output folder; a stream may be writing.")
@click.option(
    "--older-than",
    type=click.FloatRange(min=0),
    default=600.0,
    show_default=True,
    help="Seconds for which a stream's parts are left, counted back from its last one; longer than two checkpoints.",
)
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=600.0,
    show_default=True,
    help="Seconds for which replaced parts are kept for running queries; the next compaction removes them.",
)
@click.option("--whole", is_flag=True, help="Large parts too, so that no earlier revision stays: after an erasure.")
@project_config
def compact_command(out: Path, older_than: float, grace: float, whole: bool, config: Path | None) -> None:
    """Merge small parts into larger ones: the newest row of each key, and what was erased leaves the log."""
    import time

    from pipelines.definitions import load_definitions
    from transforms.tables.compact import Terms
    from transforms.tables.compaction import compact
    from transforms.tables.output import check_readable

    terms = Terms(time.time, older_than=older_than, grace=grace, whole=whole)
    done = compact(check_readable(out), load_definitions(config).tables, terms, wait=False)
    for one in done:
        click.echo(f"{one.table}: {one.parts} parts with {one.rows:,} rows became {min(one.kept, 1)} with {one.kept:,}")
    if not done:
        click.echo("nothing to merge")


@command.command("check")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Output folder; a stream may be writing.")
@project_config
def check_command(out: Path, config: Path | None) -> None:
    """Test the rows of an output folder: keys, references, accepted values. Exit code 9 when a test fails."""
    from contracts.errors import CheckFailedError
    from pipelines.definitions import load_definitions
    from reports.table_check import failed_tests
    from transforms.tables.data_tests import data_tests

    tables = load_definitions(config).tables
    failures = failed_tests(out, tables)
    for failure in failures:
        click.echo(f"{failure.name}: {failure.rows:,} rows\n  {failure.sql}")
    asked = len(data_tests(tables))
    if failures:
        raise CheckFailedError(
            f"{len(failures)} of {asked} data tests failed", hint='see the rows: wayline query "…" --out OUT'
        )
    click.echo(f"{asked} data tests hold")


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1_000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1_000
    return f"{size:.1f} TB"
