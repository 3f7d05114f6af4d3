"""``wayline run``: the main job, bounded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands.project import project_config
from pipelines.commands.times import instant, shown

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from pipelines.run import RunReport
    from pipelines.run_options import RunOptions
    from transforms.ledger import LedgerRow


@click.command(
    "run",
    context_settings={"ignore_unknown_options": True},
    epilog="Further options, written --name=value, go to Beam as they are.",
)
@click.option("--input", "inputs", required=True, multiple=True, help="Glob or folder of event Avro; repeatable.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Output folder; continued if it exists.")
@click.option("--as-of", callback=instant, metavar="TIME", help="Only what had happened and was known by then.")
@click.option(
    "--actions",
    type=click.Choice(["live", "dry-run"]),
    default="dry-run",
    show_default=True,
    help="Send what is decided, or only record it.",
)
@project_config
@click.option("--registry", type=click.Path(path_type=Path), help="Model registry. Default: OUT/registry.")
@click.option("--pseudonym-key", type=click.Path(path_type=Path), help="Key file. Default: OUT/keys, made once.")
@click.option("--dead-letter-key", type=click.Path(path_type=Path), help="Key file. Default: OUT/keys, made once.")
@click.option("--session-by", type=click.Choice(["gap", "tracker"]), help="Overrides what the ontology says.")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes of the local runner. Default: by input size.")
@click.option("--runner", default="DirectRunner", show_default=True, help="Any Beam runner.")
@click.argument("beam", nargs=-1, type=click.UNPROCESSED, metavar="[BEAM OPTIONS]")
def command(
    inputs: tuple[str, ...],
    out: Path,
    as_of: int | None,
    actions: str,
    config: Path | None,
    registry: Path | None,
    pseudonym_key: Path | None,
    dead_letter_key: Path | None,
    session_by: str | None,
    workers: int | None,
    runner: str,
    beam: tuple[str, ...],
) -> None:
    """Run the pipeline over Avro event files.

    Reads events, stitches identities, folds journeys, scores and decides, acts, and writes the journey tables. A run on
    an existing output folder adds to what it knows: rows are revised, never doubled.
    """
    for option in beam:
        if not option.startswith("--") or "=" not in option:
            raise click.UsageError(f"{option!r} is no option of `wayline run`; Beam options are written --name=value")
    from rich.console import Console

    from pipelines.run_options import RunOptions

    options = RunOptions(
        inputs,
        out,
        as_of,
        "live" if actions == "live" else "dry-run",
        config,
        registry,
        pseudonym_key,
        dead_letter_key,
        session_by,
        workers,
        runner,
        beam,
    )
    console = Console()
    report = run_with_progress(console, options)
    print_report(console, out, report)
    if options.actions == "dry-run" and report.effects:
        console.print("nothing was sent: this was a dry run (send: --actions live)")


def run_with_progress(console: Console, options: RunOptions, title: str = "wayline run") -> RunReport:
    """Run, with a line that says what is being done and for how long."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"{title}: starting", total=None)

        def observe(what: str, share: float | None) -> None:
            if share is None:
                progress.update(task, description=f"{title}: {what}", total=None)
            else:
                progress.update(task, description=f"{title}: {what}", total=1.0, completed=share)

        # imported here, under the moving line: loading the engine takes seconds
        from pipelines.run import run

        return run(options, observe)


def print_report(console: Console, out: Path, report: RunReport) -> None:
    """The ledger, what the tables gained, and where to look."""
    console.print(ledger_table(f"{report.run_id}: what became of every event", report.rows, report.total))
    rate = report.total.received / report.seconds if report.seconds else 0.0
    balance = "balances" if not report.total.missing else f"[red]is off by {report.total.missing}[/red]"
    console.print(f"the ledger {balance}; {report.seconds:.1f} s, {rate:,.0f} events/s")
    gained = [f"{name} {count:,}" for name, count in sorted(report.gained.items()) if count]
    if report.models:
        for version, active_from in report.models:
            console.print(f"events from {shown(active_from)} on are scored by {version}", soft_wrap=True)
    else:
        console.print("no model is in force: rules alone decide stages (train one: wayline train)")
    effects = [f"{count:,} {status}" for status, count in sorted(report.effects.items()) if count]
    console.print("decisions became: " + (", ".join(effects) or "there were none"))
    console.print("new or changed rows: " + (", ".join(gained) or "none"))
    for failure in report.failures:
        console.print(f"[yellow]data test {failure.name} fails: {failure.rows:,} rows[/yellow]", soft_wrap=True)
        console.print(f"  {failure.sql}", markup=False, soft_wrap=True)
    console.print(f"tables: {out / 'tables'}    views: {out / 'wayline.duckdb'}", markup=False)


def ledger_table(title: str, rows: tuple[LedgerRow, ...], total: LedgerRow) -> Table:
    """The ledger as people read it: a line a source, and all of them."""
    from rich.table import Table

    from reports.rendering import text

    ledger = Table(title=title, title_justify="left")
    ledger.add_column("source")
    named = {
        "received": "received",
        "accepted": "accepted",
        "duplicate": "duplicate",
        "dead_lettered": "dead",
        "expired_late": "late",
        "erased": "erased",
        "after_horizon": "after as-of",
    }
    kinds = [kind for kind in named if kind != "after_horizon" or total.after_horizon]
    for kind in kinds:
        ledger.add_column(named[kind], justify="right")
    shown = (*rows, total) if len(rows) != 1 else rows
    for row in shown:
        # a source names itself in its events: no markup, nothing that a terminal would obey
        ledger.add_row(text(row.source), *(f"{getattr(row, kind):,}" for kind in kinds))
    return ledger
