"""``wayline graph``: the picture of the graph, as Mermaid text."""

from __future__ import annotations

import click


@click.command("graph")
@click.option("--stream", "live", is_flag=True, help="The graph of `wayline stream` in place of that of `wayline run`.")
def command(live: bool) -> None:
    """Print the graph as Mermaid text: a box a stage, an arrow for what one gives another.

    The graph is the one that runs, built from the shipped configuration and not run. Markdown viewers draw it within a
    fence named mermaid.
    """
    from pipelines.drawing import bounded, mermaid, streaming

    click.echo(mermaid(streaming() if live else bounded()), nl=False)
