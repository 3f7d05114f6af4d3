"""``wayline init``: a project to begin with, in a folder of one's own."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("init")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--template",
    default="default",
    show_default=True,
    metavar="saas|ecommerce|leads",
    help="The business it is for; the default has the shipped ontology and policies.",
)
def command(folder: Path, template: str) -> None:
    """Make a project in DIR: configuration, ontology, identity rules, policies, mappings and scenarios.

    All of it is text to be changed. Nothing is overwritten. docs/projects.md tells the way from here.
    """
    from pipelines.project_templates import write_template

    for path in write_template(template, folder):
        click.echo(f"written: {path}")
    click.echo(f"next:    cd {folder}")
    click.echo("         wayline check                  # every file of the project")
    click.echo("         wayline test                   # its scenarios")
    click.echo("         wayline import --mapping website --input examples/website.csv --out mine")
    click.echo("         wayline run --input mine/events --out out")
