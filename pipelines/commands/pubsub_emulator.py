"""``wayline pubsub-emulator``: a Pub/Sub server in memory, in the foreground."""

from __future__ import annotations

import click


@click.command("pubsub-emulator")
@click.option("--port", type=click.IntRange(0, 65_535), default=8085, show_default=True, help="0 takes a free one.")
def command(port: int) -> None:
    """Run Google's own Pub/Sub test server on this machine until Ctrl-C.

    It keeps every message in memory and slows down when tens of thousands wait: it is for trials and tests.
    """
    from sources.pubsub.emulator import become_server, free_port, need_server

    program = need_server()
    chosen = free_port(port)
    click.echo("Pub/Sub in memory, until Ctrl-C; in other shells, before wayline publish and wayline stream:")
    click.echo(f"  export PUBSUB_EMULATOR_HOST=localhost:{chosen}")
    become_server(program, chosen)
