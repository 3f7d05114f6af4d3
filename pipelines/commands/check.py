"""``wayline check``: every file of a project, checked at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands.project import project_config

if TYPE_CHECKING:
    from pipelines.project_check import ProjectCheck

_SEVERAL = {"policy": "policies", "mapping": "mappings", "scenario file": "scenario files"}
"""Kinds of files of which a project may have several, and what several are called."""


@click.command("check")
@click.option("--strict", is_flag=True, help="Warnings end the command with exit code 9 too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for machines.")
@project_config
def command(strict: bool, as_json: bool, config: Path | None) -> None:
    """Check configuration, identity rules, ontology, policies, metrics, mappings and scenarios of a project.

    Each finding has file, line and a way to mend it. Exit code 9: errors were found. Scenarios are read, not played:
    `wayline test` does that. What the machine lacks is told by `wayline doctor`.
    """
    from contracts.errors import CheckFailedError
    from pipelines.project_check import check_project
    from transforms.journey.check.rules import ERROR, WARNING

    found = check_project(config)
    if as_json:
        _print_json(found, config)
    else:
        _print(found, config)
    bad = sum(one.severity == ERROR or (strict and one.severity == WARNING) for one in found.findings)
    if bad:
        raise CheckFailedError(f"{bad} of {len(found.findings)} findings are to be mended")


def _print(found: ProjectCheck, config: Path | None) -> None:
    from reports.rendering import clean

    for one in found.findings:
        click.echo(clean(f"{one.path}:{one.line}: {one.severity} {one.rule}: {one.message}"))
        if one.mending:
            click.echo(clean(f"  fix: {one.mending}"))
    read = ", ".join(_counted(kind, count) for kind, count in found.read.items())
    click.echo(f"{config or 'the shipped defaults'}: read without fault: {read or 'nothing'}")


def _counted(kind: str, count: int) -> str:
    """``ontology``, ``1 policy``, ``2 mappings``: of what a project has one only, the number says nothing."""
    if kind not in _SEVERAL:
        return kind
    return f"{count} {kind if count == 1 else _SEVERAL[kind]}"


def _print_json(found: ProjectCheck, config: Path | None) -> None:
    from dataclasses import asdict

    from reports.rendering import json_text

    told = {
        "configuration": None if config is None else str(config),
        "read": found.read,
        "findings": [asdict(one) for one in found.findings],
    }
    click.echo(json_text(told, indent=2))
