"""The options ``--project`` and ``--config`` of every command that reads a configuration, resolved to one path.

``--config FILE`` wins over ``--project DIR``, which wins over a project found from the working folder upward. Without
any of them the command gets None, and the shipped defaults serve. ``wayline --project DIR COMMAND`` says the same.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

C = TypeVar("C", bound=Callable[..., object])

_NAMED = "wayline.project"
"""Where a context keeps the folder that was named; contexts of subcommands share it."""


def _remember(context: click.Context, _: click.Parameter, given: Path | None) -> None:
    if given is not None:
        context.meta[_NAMED] = given


def _resolve(context: click.Context, _: click.Parameter, given: Path | None) -> Path | None:
    if given is not None or context.resilient_parsing:
        return given
    # imported here, as commands do with all that is more than an option
    from pipelines.project import find_project, project_file

    named = context.meta.get(_NAMED)
    return find_project(Path.cwd()) if named is None else project_file(named)


project_option = click.option(
    "--project",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    is_eager=True,
    expose_value=False,
    callback=_remember,
    help="Folder of the project. Default: the one that the working folder lies in.",
)
"""``--project`` alone: of the whole command line, and of what reads the folder rather than its configuration."""

_config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    callback=_resolve,
    help="A configuration file instead of a project. With neither, the shipped defaults serve.",
)


def project_config(command: C) -> C:
    """Give a command both options; its parameter ``config`` is the path of the configuration, or None."""
    return project_option(_config_option(command))
