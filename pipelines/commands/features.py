"""``wayline features``: the declaration, the Feast repository made from it, and the features of a person."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands.project import project_config

if TYPE_CHECKING:
    from rich.console import RenderableType

    from reports.lookup import JourneyTables

WIDTH = 120
"""Columns where there is no terminal to ask, and the most that is used of a wider one."""


@click.group("features")
def command() -> None:
    """The features and their Feast repository."""


@command.command("list")
@click.option("--markdown", is_flag=True, help="Print docs/features.md.")
def list_features(markdown: bool) -> None:
    """List the features: kind, window, owner, meaning."""
    from features import documentation
    from features.journey_features import FEATURE_VERSION, FEATURES, declaration_hash

    if markdown:
        click.echo(documentation.markdown(), nl=False)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{FEATURE_VERSION}, declaration {declaration_hash()}")
    for heading in ("feature", "kind", "window", "classifier", "owner", "what it says"):
        table.add_column(heading, overflow="fold")
    for feature in FEATURES:
        used = "yes" if feature.model_input else "no"
        table.add_row(
            feature.name, feature.kind, documentation.window(feature), used, feature.owner, feature.description
        )
    Console().print(table)


@command.command("apply")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Output folder of `wayline run`.")
def apply_features(out: Path) -> None:
    """Write OUT/feast from the declaration and register it with Feast. Again is harmless."""
    from contracts.errors import OutputError

    if not out.is_dir():
        raise OutputError(f"{out} is no folder", hint="name the folder that `wayline run --out` wrote")
    from rich.console import Console

    from features.repository import apply, folder_of

    console = Console()
    with console.status("loading Feast, applying the declaration"):
        count = apply(out)
    console.print(f"{count} features are registered in {folder_of(out)}")


def _of_a_person(command: Callable[..., Any]) -> Callable[..., Any]:
    """The argument and options by which a person is found."""
    for option in (
        click.option(
            "--pseudonym-key", type=click.Path(path_type=Path), help="Key file, for raw identifiers. Default: OUT/keys."
        ),
        project_config,
        click.option("--out", required=True, type=click.Path(path_type=Path), help="Output folder of the runs."),
    ):
        command = option(command)
    return click.argument("person")(command)


@command.command("show")
@_of_a_person
@click.option("--version", metavar="VERSION", help="Version of the features, such as journey:v1. Default: the newest.")
def show_features(person: str, out: Path, config: Path | None, pseudonym_key: Path | None, version: str | None) -> None:
    """The features of PERSON now: values, meaning, age, revision, and the events that made them.

    PERSON is any id that was ever shown, or namespace:value, as in user_id:42.
    """
    from reports.feature_rows import features_now, features_of_version
    from reports.tell_features import tell_now

    features_of_version(version)
    _tell(
        (out, person, config, pseudonym_key),
        lambda tables, person_id, how: tell_now(features_now(tables, person_id, how, version), datetime.now(UTC)),
    )


@command.command("history")
@_of_a_person
@click.argument("name")
@click.option("--picture", type=click.Path(path_type=Path, dir_okay=False), help="Also write the plot, as SVG.")
@click.option(
    "--limit", type=click.IntRange(min=0), default=20, show_default=True, help="Values listed, the newest; 0: all."
)
def show_history(
    person: str,
    name: str,
    out: Path,
    config: Path | None,
    pseudonym_key: Path | None,
    picture: Path | None,
    limit: int,
) -> None:
    """The feature NAME of PERSON over event time, as a plot and as values.

    PERSON is any id that was ever shown, or namespace:value, as in user_id:42.
    """
    from reports.feature_plot import picture as drawn
    from reports.feature_rows import feature_history, feature_named
    from reports.tell_features import tell_history

    feature_named(name)

    def told(tables: JourneyTables, person_id: str, how: str) -> Iterable[RenderableType]:
        found = feature_history(tables, person_id, name, how)
        if picture is not None:
            _write(picture, drawn(found.points, f"{name} of {person_id}", found.feature.description))
        return tell_history(found, limit)

    _tell((out, person, config, pseudonym_key), told)
    if picture is not None:
        click.echo(f"the plot is in {picture}")


def _tell(
    asked: tuple[Path, str, Path | None, Path | None],
    told: Callable[[JourneyTables, str, str], Iterable[RenderableType]],
) -> None:
    """Find the person and print what is told of them; ``asked`` is (out, person, config, pseudonym key)."""
    from rich.console import Console

    from pipelines.definitions import load_definitions
    from reports.asked import person_found
    from reports.lookup import JourneyTables

    out, person, config, key = asked
    definitions = load_definitions(config)
    tables = JourneyTables(out, definitions.tables)
    try:
        person_id, how = person_found(tables, person, definitions.config.identity, key)
        console = Console(highlight=False)
        console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
        for item in told(tables, person_id, how):
            console.print(item)
    finally:
        tables.close()


def _write(path: Path, text: str) -> None:
    from contracts.errors import OutputError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror}", hint="name a file in an existing folder"
        ) from error
