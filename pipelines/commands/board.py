"""``wayline board``: a local page of what the tables say."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("board")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Output folder of the runs.")
@click.option("--port", type=click.IntRange(0, 65535), default=8600, show_default=True, help="Port; 0: any free one.")
@click.option("--open/--no-open", "opens", default=True, help="Open a browser.")
@click.option("--config", type=click.Path(path_type=Path), help="Project configuration; the shipped one by default.")
@click.option("--pseudonym-key", type=click.Path(path_type=Path), help="Key file. Default: OUT/keys.")
def command(out: Path, port: int, opens: bool, config: Path | None, pseudonym_key: Path | None) -> None:
    """Show the tables of an output folder in a browser on this machine, also while a stream writes them."""
    import webbrowser
    from io import StringIO

    from rich.console import Console

    from pipelines.commands.explain import WIDTH, _person
    from pipelines.definitions import load_definitions
    from reports.lookup import JourneyTables
    from reports.page.board import fragment
    from reports.page.server import Kept, board_server

    definitions = load_definitions(config)

    def person(asked: str) -> str:
        tables = JourneyTables(out, definitions.tables)
        try:
            console = Console(file=StringIO(), width=WIDTH, highlight=False, markup=False, color_system=None)
            with console.capture() as captured:
                console.print(*_person(tables, asked, definitions, 50, pseudonym_key), sep="\n")
            return captured.get()
        finally:
            tables.close()

    content = Kept(lambda: fragment(out, definitions.tables), 3)
    content.get()
    with board_server(port, content, person) as server:
        address = f"http://127.0.0.1:{server.server_port}/"
        click.echo(f"board at {address} (end it with Ctrl-C)")
        if opens:
            webbrowser.open(address)
        server.serve_forever()
