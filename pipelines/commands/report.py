"""``wayline report``: what the tables say, as one page to keep or to send."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.commands.project import project_config


@click.command("report")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Output folder of the runs.")
@click.option("--to", type=click.Path(path_type=Path), help="File to write. Default: OUT/report.html.")
@project_config
def command(out: Path, to: Path | None, config: Path | None) -> None:
    """Write what the tables of an output folder say as one HTML page that works offline and names no person."""
    target = report(out, to, config)
    click.echo(f"report in {target}")


def report(out: Path, to: Path | None, config: Path | None) -> Path:
    """Make and write the report; where it is. Raises OutputError, ConfigurationError, ModelError."""
    from pipelines.commands.model import model_section, stages_in_force
    from pipelines.definitions import load_definitions
    from reports.written import report_page, write_report
    from transforms.tables.output import OutputFolder

    definitions = load_definitions(config)
    stages = stages_in_force(out, definitions.ontology)
    page = report_page(out, definitions.tables, model_section(config, out), stages)
    target = to or OutputFolder(out).report
    write_report(page, target)
    return target
