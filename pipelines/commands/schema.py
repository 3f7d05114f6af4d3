"""``wayline schema``: the Avro schemas and their predecessors."""

from __future__ import annotations

import click


@click.group("schema")
def command() -> None:
    """The Avro schemas and their predecessors."""


@command.command("check")
def check() -> None:
    """Compare every schema with all its predecessors, backward and forward, logical types included."""
    from contracts.compatibility import require_compatible

    report = require_compatible()
    click.echo(
        f"{report.schemas} schemas in {report.versions} versions, {report.pairs} pairs compared both ways: compatible"
    )


@command.command("publish")
def publish() -> None:
    """Record the present versions as published: from then on they may not change, only be followed."""
    from contracts.compatibility import publish as record

    new = record()
    click.echo(f"published: {', '.join(new)}" if new else "nothing new to publish")
