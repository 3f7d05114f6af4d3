"""``wayline journey``: a person's journey, also as it was known at a time."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.commands.project import project_config
from pipelines.commands.times import instant


@click.command("journey")
@click.argument("person")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Output folder of the runs.")
@click.option(
    "--as-of", callback=instant, metavar="TIME", help="What had happened and was known by then; by default all of it."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for machines.")
@click.option("--registry", type=click.Path(path_type=Path), help="Folder of the registry; by default the last run's.")
@project_config
@click.option(
    "--pseudonym-key", type=click.Path(path_type=Path), help="Key file, for raw identifiers. Default: OUT/keys."
)
def command(
    person: str,
    out: Path,
    as_of: int | None,
    as_json: bool,
    registry: Path | None,
    config: Path | None,
    pseudonym_key: Path | None,
) -> None:
    """The journey of PERSON: stage, identity, sessions, transitions with evidence, decisions and their fate, features.

    PERSON is any id that was ever shown, or namespace:value, as in user_id:42. With --as-of, the stored events that had
    been received by TIME are folded again; the answer is that of a run over only those.
    """
    from pipelines.commands.explain import WIDTH
    from pipelines.definitions import load_definitions
    from pipelines.known_by import known_by
    from reports.asked import person_found
    from reports.journey_as_of import journey_then, person_then
    from reports.lookup import JourneyTables
    from reports.rendering import json_text
    from reports.tell_journey import journey_values, tell_journey

    definitions = load_definitions(config)
    tables = JourneyTables(out, definitions.tables)
    try:
        current, _ = person_found(tables, person, definitions.config.identity, pseudonym_key)
        known = known_by(out, definitions, as_of, registry)
        strands = {row["strand_id"] for row in tables.rows("events", "person_id = ?", [current])}
        asked = person if person in known.history.persons else current
        who = person_then(known.history, asked, strands)
        then = journey_then(
            known.history, who, known.horizon, known.ontologies, definitions.config.lateness, known.score, tables
        )
    finally:
        tables.close()
    if as_json:
        click.echo(json_text(journey_values(then), indent=2))
        return
    from rich.console import Console

    console = Console(highlight=False)
    console.width = min(console.width, WIDTH + 20) if console.is_terminal else WIDTH
    for item in tell_journey(then):
        console.print(item)
