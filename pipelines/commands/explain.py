"""``wayline explain``: the story of a person, an event or a decision."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands.project import project_config

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipelines.definitions import Definitions
    from reports.lookup import JourneyTables
    from transforms.dead_letter import DeadLetterBox

WIDTH = 100
"""Columns where there is no terminal to ask, and the most that a story takes up in a wider one."""


@click.command("explain")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Output folder of the runs.")
@click.option("--person", metavar="ID", help="A person, an alias, a session, a strand, or namespace:value.")
@click.option("--event", metavar="ID", help="An event, or a dead letter.")
@click.option("--decision", metavar="ID", help="A decision, or its action.")
@click.option(
    "--limit", type=click.IntRange(min=0), default=12, show_default=True, help="Rows a section, the newest; 0: all."
)
@project_config
@click.option(
    "--pseudonym-key", type=click.Path(path_type=Path), help="Key file, for raw identifiers. Default: OUT/keys."
)
@click.option("--dead-letter-key", type=click.Path(path_type=Path), help="Key file, for --event. Default: OUT/keys.")
def command(
    out: Path,
    person: str | None,
    event: str | None,
    decision: str | None,
    limit: int,
    config: Path | None,
    pseudonym_key: Path | None,
    dead_letter_key: Path | None,
) -> None:
    """Tell the story behind a person, an event or a decision.

    A person is found by any id that was ever shown, or by a raw identifier such as user_id:42 or email:ADDRESS, which
    is pseudonymised before it is looked up. Dead letters are searched, but what is in them is never shown.
    """
    if sum(asked is not None for asked in (person, event, decision)) != 1:
        raise click.UsageError("name one of --person, --event and --decision")
    from pipelines.definitions import load_definitions
    from reports.lookup import JourneyTables

    definitions = load_definitions(config)
    tables = JourneyTables(out, definitions.tables)
    try:
        if person is not None:
            story = _person(tables, person, definitions, limit, pseudonym_key)
        elif event is not None:
            story = _event(tables, event, definitions, dead_letter_key)
        else:
            story = _decision(tables, decision or "", definitions)
        _print(story)
    finally:
        tables.close()


def _person(
    tables: JourneyTables, asked: str, definitions: Definitions, limit: int, key: Path | None
) -> Iterable[RenderableType]:
    from reports.asked import person_asked
    from reports.tell_person import tell_person

    return tell_person(person_asked(tables, asked, definitions.config.identity, key), definitions.ontology, limit)


def _event(tables: JourneyTables, asked: str, definitions: Definitions, key: Path | None) -> Iterable[RenderableType]:
    from reports.explain import explain_event
    from reports.letters import letters_of
    from reports.tell_event import tell_event

    letters, unread = letters_of(tables, asked, _box(tables.out, key))
    story = explain_event(tables, asked, definitions.ontology, definitions.policies, letters, unread)
    return tell_event(story, str(tables.out))


def _box(out: Path, key: Path | None) -> DeadLetterBox | None:
    """None where no key is at hand: an accepted event can be told without."""
    from contracts.errors import ConfigurationError
    from transforms.dead_letter import DeadLetterBox
    from transforms.keys import DEAD_LETTER_KEY_VARIABLE, load_key

    try:
        found = load_key(DEAD_LETTER_KEY_VARIABLE, given=key, default=out / "keys" / "dead_letter.key")
    except ConfigurationError:
        if key is not None:
            raise
        return None
    return DeadLetterBox(found)


def _decision(tables: JourneyTables, asked: str, definitions: Definitions) -> Iterable[RenderableType]:
    from reports.explain import explain_decision
    from reports.tell_decisions import tell_decision

    return tell_decision(explain_decision(tables, asked, definitions.policies), str(tables.out))


def _print(story: Iterable[RenderableType]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    console.width = min(console.width, WIDTH + 20) if console.is_terminal else WIDTH
    for item in story:
        console.print(item)
