"""``wayline identity``: why persons are who they are, asking for merges and unlinks, and trying other rules."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands.times import instant

if TYPE_CHECKING:
    from rich.console import RenderableType

    from contracts.event import Identifier
    from pipelines.definitions import Definitions
    from reports.identity_tables import IdentityTables
    from transforms.identity.rules import IdentityRules
    from transforms.protect import Pseudonymiser

_limit = click.option(
    "--limit", type=click.IntRange(min=0), default=12, show_default=True, help="Rows a section; 0: all."
)
_json = click.option("--json", "as_json", is_flag=True, help="One JSON document, for machines.")
_out = click.option("--out", required=True, type=click.Path(path_type=Path), help="Output folder of the runs.")
_config = click.option(
    "--config", type=click.Path(path_type=Path), help="Project configuration; the shipped one by default."
)
_key = click.option(
    "--pseudonym-key", "key", type=click.Path(path_type=Path), help="Key file, for raw identifiers. Default: OUT/keys."
)


@click.group("identity")
def command() -> None:
    """Why persons are who they are; asking for merges and unlinks; trying other rules."""


@dataclass(frozen=True)
class _Session:
    """OUT, opened with the rules in force."""

    definitions: Definitions
    rules: IdentityRules
    source: IdentityTables
    key: Path | None

    def pseudonymiser(self) -> Pseudonymiser:
        from transforms.keys import PSEUDONYM_KEY_VARIABLE, load_key
        from transforms.protect import Pseudonymiser

        default = self.source.tables.out / "keys" / "pseudonym.key"
        return Pseudonymiser(load_key(PSEUDONYM_KEY_VARIABLE, given=self.key, default=default))

    def identifier(self, asked: str) -> Identifier:
        from reports.who import find_identifier

        return find_identifier(self.source.tables, asked, self.rules, self.pseudonymiser)


@contextmanager
def _opened(out: Path, config: Path | None, key: Path | None) -> Iterator[_Session]:
    from pipelines.definitions import load_definitions
    from reports.identity_tables import IdentityTables
    from reports.lookup import JourneyTables
    from transforms.identity.rules_file import load_rules

    definitions = load_definitions(config)
    rules = load_rules(definitions.config.identity)
    tables = JourneyTables(out, definitions.tables)
    try:
        yield _Session(definitions, rules, IdentityTables(tables, rules), key)
    finally:
        tables.close()


@command.command("explain")
@click.argument("asked", metavar="ID")
@_out
@click.option("--path", "goal", metavar="OTHER", help="The path to this identifier, or what stands between.")
@click.option("--without", metavar="'A B'", help="Only: what would be without the links of this pair.")
@_limit
@_json
@_config
@_key
def explain(
    asked: str,
    out: Path,
    goal: str | None,
    without: str | None,
    limit: int,
    as_json: bool,
    config: Path | None,
    key: Path | None,
) -> None:
    """Tell what holds a person together.

    ID is any id that was ever shown, or a raw identifier such as user_id:42, which is pseudonymised before it is looked
    up. Shown are the tree of accepted evidence, what was refused, removed or barred and why, and what would be without
    each edge, resolved anew from the links in OUT.
    """
    from reports.identity_story import identity_story, story_values
    from reports.tell_identity import tell_identity
    from reports.who import find_person

    with _opened(out, config, key) as session:
        person_id, how = find_person(session.source.tables, asked, session.rules, session.pseudonymiser)
        story = identity_story(
            session.source,
            person_id,
            how,
            start=session.identifier(asked) if goal is not None and _is_identifier(asked) else None,
            goal=None if goal is None else session.identifier(goal),
            without=None if without is None else _pair(session, without),
            limit=limit,
        )
    if as_json:
        _print_json(story_values(story, limit))
    else:
        _print(tell_identity(story, limit))


def _is_identifier(asked: str) -> bool:
    """Whether an id names one identifier, rather than something a person did."""
    return ":" in asked or asked.startswith("p_")


def _pair(session: _Session, text: str) -> tuple[Identifier, Identifier]:
    ends = text.split()
    if len(ends) != 2:
        raise click.UsageError("--without takes two identifiers in one argument, parted by a space: --without 'A B'")
    return session.identifier(ends[0]), session.identifier(ends[1])


def _print(story: Iterable[RenderableType]) -> None:
    from rich.console import Console

    from pipelines.commands.explain import WIDTH

    console = Console(highlight=False)
    console.width = min(console.width, WIDTH + 20) if console.is_terminal else WIDTH
    for item in story:
        console.print(item)


def _print_json(values: dict[str, Any]) -> None:
    click.echo(json.dumps(values, indent=2, ensure_ascii=False, sort_keys=False))
