"""``wayline drain``: ask a stream for its end."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("drain")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Output folder of the stream.")
def command(out: Path) -> None:
    """Ask the stream that runs on OUT for its end: it finishes what it holds, and exits 0."""
    from pipelines.stream_plan import drain_file
    from transforms.tables.output import check_readable
    from transforms.tables.stream_folder import last_stream

    folder = check_readable(out)
    number = last_stream(folder)
    if number == 0:
        raise click.UsageError(f"{out} never had a stream")
    drain_file(folder, number).touch()
    click.echo(f"asked stream {number} to end; it does once what it handed out is kept")
