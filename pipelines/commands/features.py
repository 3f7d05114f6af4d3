"""``wayline features``: the feature declaration, and the Feast repository made from it."""

from __future__ import annotations

from pathlib import Path

import click


@click.group("features")
def command() -> None:
    """The features and their Feast repository."""


@command.command("list")
@click.option("--markdown", is_flag=True, help="Print docs/features.md.")
def list_features(markdown: bool) -> None:
    """List the features: kind, window, owner, meaning."""
    from features import documentation
    from features.journey_features import FEATURE_VERSION, FEATURES, declaration_hash

    if markdown:
        click.echo(documentation.markdown(), nl=False)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{FEATURE_VERSION}, declaration {declaration_hash()}")
    for heading in ("feature", "kind", "window", "classifier", "owner", "what it says"):
        table.add_column(heading, overflow="fold")
    for feature in FEATURES:
        used = "yes" if feature.model_input else "no"
        table.add_row(
            feature.name, feature.kind, documentation.window(feature), used, feature.owner, feature.description
        )
    Console().print(table)


@command.command("apply")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Output folder of `wayline run`.")
def apply_features(out: Path) -> None:
    """Write OUT/feast from the declaration and register it with Feast. Again is harmless."""
    from contracts.errors import OutputError

    if not out.is_dir():
        raise OutputError(f"{out} is no folder", hint="name the folder that `wayline run --out` wrote")
    from rich.console import Console

    from features.repository import apply, folder_of

    console = Console()
    with console.status("loading Feast, applying the declaration"):
        count = apply(out)
    console.print(f"{count} features are registered in {folder_of(out)}")
