"""``wayline identity``: why persons are who they are, asking for merges and unlinks, and trying other rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines import clock
from pipelines.commands.project import project_config
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
        from reports.asked import pseudonymiser_of

        return pseudonymiser_of(self.source.tables.out, self.key)

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
@project_config
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
    from reports.rendering import json_text

    click.echo(json_text(values, indent=2))


# --- requests -----------------------------------------------------------------------------------------------------


_by = click.option("--by", required=True, metavar="WHO", help="Who asks: a desk, a role, a ticket; kept in clear.")
_why = click.option("--why", required=True, metavar="TEXT", help="Why; kept in clear.")
_at = click.option("--at", callback=instant, metavar="TIME", help="When the request is dated. Default: now.")
_events = click.option(
    "--events", type=click.Path(path_type=Path), help="Folder for the event file. Default: OUT/requests."
)


@command.command("merge")
@click.argument("one", metavar="A")
@click.argument("other", metavar="B")
@_out
@_by
@_why
@_at
@_events
@_limit
@_json
@project_config
@_key
def merge(one: str, other: str, out: Path, **options: Any) -> None:
    """Ask that A and B be one person, whatever limits say.

    A and B are raw identifiers such as user_id:42, or ids that the tables show (p_…). The request is written as an
    event file, with pseudonyms only, and takes effect with the next run. It lifts an unlink of the two.
    """
    from contracts.exchange import MERGE

    _request(MERGE, one, other, out, _Asked(**options))


@command.command("unlink")
@click.argument("one", metavar="A")
@click.argument("other", metavar="B")
@_out
@_by
@_why
@_at
@_events
@_limit
@_json
@project_config
@_key
def unlink(one: str, other: str, out: Path, **options: Any) -> None:
    """Ask that A and B be in no person together, whatever evidence says, until a merge.

    A and B are raw identifiers such as user_id:42, or ids that the tables show (p_…). The request is written as an
    event file, with pseudonyms only, and takes effect with the next run.
    """
    from contracts.exchange import UNLINK

    _request(UNLINK, one, other, out, _Asked(**options))


@dataclass(frozen=True)
class _Asked:
    """The options that both requests share, as click names them."""

    by: str
    why: str
    at: int | None
    events: Path | None
    limit: int
    as_json: bool
    config: Path | None
    key: Path | None


def _request(kind: str, one: str, other: str, out: Path, asked: _Asked) -> None:
    import shlex

    from reports.identity_request import foresee, foreseen_values, make_request, write_request
    from reports.tell_request import tell_request
    from transforms.validate import YEAR_2000

    now = clock.now()
    at = now if asked.at is None else asked.at
    if not YEAR_2000 <= at <= now:
        raise click.UsageError("--at must be a time from 2000 on that is not in the future")
    with _opened(out, asked.config, asked.key) as session:
        request = make_request(
            kind,
            session.rules,
            session.definitions.config.identity,
            session.identifier(one),
            session.identifier(other),
            asked.by,
            asked.why,
            at,
        )
        foreseen = foresee(request, session.source)
        horizon = session.source.horizon()
    folder = asked.events or out / "requests"
    path = write_request(request, folder)
    words = ["wayline", "run", "--input", str(folder), "--out", str(out)]
    words += ["--config", str(asked.config)] if asked.config else []
    words += ["--pseudonym-key", str(asked.key)] if asked.key else []
    following = shlex.join(words)
    if asked.as_json:
        _print_json(foreseen_values(request, foreseen, path, following))
        return
    _print(tell_request(request, foreseen, asked.limit))
    click.echo(f"\nwritten: {path}\nnext:    {following}")
    if horizon is not None and at - horizon > _DAY:
        click.echo(
            "note: the newest event of OUT is more than a day older than this request, and journeys are folded up to\n"
            "      the newest event; date the request with --at if they should stay where they are"
        )


_DAY = 86_400_000_000


# --- other rules --------------------------------------------------------------------------------------------------


@command.command("dry-run")
@click.option("--rules", required=True, type=click.Path(path_type=Path), help="The identity rules to try.")
@click.option("--input", "inputs", required=True, multiple=True, help="Glob or folder of event Avro; repeatable.")
@click.option("--out", type=click.Path(path_type=Path), help="An output of these events: its key, journeys and plans.")
@click.option("--rules-now", type=click.Path(path_type=Path), help="Rules to compare with. Default: those in force.")
@_limit
@_json
@project_config
@_key
def dry_run(
    rules: Path,
    inputs: tuple[str, ...],
    out: Path | None,
    rules_now: Path | None,
    limit: int,
    as_json: bool,
    config: Path | None,
    key: Path | None,
) -> None:
    """Try other identity rules on the events of SOURCE, and write nothing.

    Says who would merge and who would split, how many events would change hands, and, with --out, which journeys and
    which planned actions that concerns. Without a key the ids of persons mean something within this answer alone.
    """
    import secrets

    from pipelines.definitions import load_definitions
    from pipelines.plan import read_tombstones, validation_rules
    from reports.dry_run import try_rules
    from reports.dry_run_effects import touched
    from reports.lookup import JourneyTables
    from reports.tell_dry_run import tell_trial, trial_values
    from transforms.identity.rules_file import load_rules
    from transforms.inputs import list_inputs
    from transforms.keys import KEY_BYTES, PSEUDONYM_KEY_VARIABLE, load_key
    from transforms.tables.output import check_readable
    from transforms.validate import Validator

    definitions = load_definitions(config)
    new, old = load_rules(rules), load_rules(rules_now or definitions.config.identity)
    folder = None if out is None else check_readable(out)
    default = None if folder is None else folder.keys / "pseudonym.key"
    pseudonym_key = (
        secrets.token_bytes(KEY_BYTES)
        if folder is None and key is None
        else load_key(PSEUDONYM_KEY_VARIABLE, given=key, default=default)
    )
    validation = validation_rules(definitions, clock.now())
    tombstones = {} if folder is None else read_tombstones(folder)
    trial = try_rules(list_inputs(inputs), old, new, pseudonym_key, Validator(validation), tombstones)
    effects = None
    if out is not None:
        tables = JourneyTables(out, definitions.tables)
        try:
            effects = touched(tables, trial.difference.changed, definitions.policies)
        finally:
            tables.close()
    if as_json:
        _print_json(trial_values(trial, effects, limit))
    else:
        _print(tell_trial(trial, effects, limit))
