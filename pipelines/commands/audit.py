"""``wayline audit``: which systems send events, what they cover, and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands.project import project_config

if TYPE_CHECKING:
    from reports.audit.result import Audit

_EVERY = 2_000


@click.command("audit")
@click.option("--input", "inputs", required=True, multiple=True, help="Glob or folder of event Avro; repeatable.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write it as one HTML page too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for machines.")
@project_config
def command(inputs: tuple[str, ...], html: Path | None, as_json: bool, config: Path | None) -> None:
    """Tell which systems there are, what they cover, and what is missing, from the events that they sent.

    Per source: rows, time span, identifiers and what it shares of them with others, event names, lateness, copies, gaps
    in time, fields never filled; and the signals of the ontology that no source provides. No identifier is shown.
    docs/audit.md says what each number counts.
    """
    from contracts.errors import OutputError

    found = _audit(inputs, config)
    if html is not None:
        from reports.audit.page import audit_page

        try:
            html.write_text(audit_page(found), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{html} cannot be written: {error.strerror}") from error
    if as_json:
        from reports.audit.tell import audit_values
        from reports.rendering import json_text

        click.echo(json_text(audit_values(found), indent=2))
        return
    from rich.console import Console

    from pipelines.commands.explain import WIDTH
    from reports.audit.tell import tell_audit

    console = Console(highlight=False)
    console.width = max(console.width, WIDTH) if console.is_terminal else WIDTH + 40
    for item in tell_audit(found):
        console.print(item)
    if html is not None:
        click.echo(f"\nwritten: {html}")


def _audit(inputs: tuple[str, ...], config: Path | None) -> Audit:
    from rich.console import Console

    from pipelines.definitions import load_definitions
    from reports.audit.count import SourceCounter
    from reports.source_events import events_of
    from transforms.avro_file import Damage
    from transforms.identity.rules_file import load_rules

    definitions = load_definitions(config)
    settings = definitions.config
    counter = SourceCounter(load_rules(settings.identity), definitions.ontology, settings.lateness, settings.clock_skew)
    with Console(stderr=True).status("reading") as status:
        for number, item in enumerate(events_of(inputs), start=1):
            if isinstance(item, Damage):
                counter.damaged += 1
            else:
                counter.add(item)
            if not number % _EVERY:
                status.update(f"{number:,} events read")
        status.update("comparing sources")
        return counter.result(", ".join(inputs))
