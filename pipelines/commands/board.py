"""``wayline board``: a local page of what the tables say."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import click

from pipelines.commands.project import project_config


@click.command("board")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Output folder of the runs.")
@click.option("--port", type=click.IntRange(0, 65535), default=8600, show_default=True, help="Port; 0: any free one.")
@click.option("--open/--no-open", "opens", default=True, help="Open a browser.")
@project_config
@click.option("--pseudonym-key", type=click.Path(path_type=Path), help="Key file. Default: OUT/keys.")
def command(out: Path, port: int, opens: bool, config: Path | None, pseudonym_key: Path | None) -> None:
    """Show the tables of an output folder in a browser on this machine, also while a stream writes them."""
    import webbrowser

    from pipelines.commands.model import model_section, stages_in_force
    from pipelines.definitions import load_definitions
    from reports.asked import decision_asked, person_found
    from reports.explain import explain_person
    from reports.lookup import JourneyTables
    from reports.page.renewal import Renewal, state_of
    from reports.page.sections import sections
    from reports.page.server import board_server
    from reports.page.story import decision_html, person_html
    from transforms.tables.output import check_readable
    from transforms.tables.views import open_views

    definitions = load_definitions(config)
    check_readable(out)
    # made once here, since every section opens them in its own thread
    open_views(out, definitions.tables).close()

    def story(asked: str) -> Callable[[], str]:
        with closing(JourneyTables(out, definitions.tables)) as tables:
            decision = decision_asked(tables, asked.strip(), definitions.policies)
            if decision is not None:
                return lambda: decision_html(decision)
            whom = person_found(tables, asked.strip(), definitions.config.identity, pseudonym_key)
        return lambda: person(*whom)

    def person(person_id: str, how: str) -> str:
        with closing(JourneyTables(out, definitions.tables)) as tables:
            return person_html(explain_person(tables, person_id, how))

    stages = stages_in_force(out, definitions.ontology)
    shown = sections(definitions.tables, model_section(config, out), stages)
    renewal = Renewal(shown, lambda: open_views(out, definitions.tables), lambda: state_of(out))
    with board_server(port, renewal, story) as server, renewal:
        address = f"http://127.0.0.1:{server.server_port}/"
        click.echo(f"board at {address} (end it with Ctrl-C)")
        if opens:
            webbrowser.open(address)
        server.serve_forever()
