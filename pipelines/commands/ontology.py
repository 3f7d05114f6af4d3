"""``wayline ontology``: a project from a template, what an ontology can never do, what another one would change, and
from when it is in force."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands.init import command as init
from pipelines.commands.project import project_config
from pipelines.commands.times import instant, shown

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipelines.definitions import Definitions
    from reports.history import History
    from transforms.journey.check.emitted import Emitted
    from transforms.journey.ontology import Ontology

_json = click.option("--json", "as_json", is_flag=True, help="One JSON document, for machines.")


@click.group("ontology")
def command() -> None:
    """A project from a template; what an ontology can never do; what another one would change, and from when on."""


command.add_command(init)


@command.command("check")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--input", "inputs", multiple=True, help="Glob or folder of event Avro that sources sent; repeatable.")
@click.option("--out", type=click.Path(path_type=Path), help="Output folder of runs over what sources sent.")
@click.option("--strict", is_flag=True, help="Warnings end the command with exit code 9 too.")
@_json
@project_config
def check(
    file: Path | None,
    inputs: tuple[str, ...],
    out: Path | None,
    strict: bool,
    as_json: bool,
    config: Path | None,
) -> None:
    """Find what an ontology can never do, or does by accident. FILE: by default the project's.

    With --input or --out it is also held against the events that sources really sent. Exit code 9: errors were found.
    docs/ontology_check.md says what each rule decides, and what it cannot.
    """
    if inputs and out is not None:
        raise click.UsageError("name --input or --out, not both")
    from contracts.errors import CheckFailedError
    from pipelines.definitions import load_definitions
    from reports.tell_ontology import counted, finding_values, tell_findings
    from transforms.journey.check.findings import check as find
    from transforms.journey.check.rules import ERROR, WARNING

    definitions = load_definitions(config)
    ontology = definitions.ontology if file is None else _ontology(file, definitions)
    sources = _sources(ontology, definitions, inputs, out)
    found = find(ontology, sources)
    if as_json:
        _print_json(finding_values(ontology, found, sources))
    else:
        # a finding is one line, as other programs expect it of file:line: message
        _print(tell_findings(ontology, found, sources), soft_wrap=True)
    counts = counted(found)
    bad = counts[ERROR] + (counts[WARNING] if strict else 0)
    if bad:
        raise CheckFailedError(f"{ontology.path}: {bad} of {len(found)} findings are to be mended")


def _ontology(path: Path, definitions: Definitions) -> Ontology:
    """A file, read as a run of this project would read it."""
    from transforms.identity.rules_file import load_rules
    from transforms.journey.ontology import load_ontology

    requests = load_rules(definitions.config.identity).administrative
    return load_ontology(path, definitions.config.session_by).with_administrative(requests)


def _sources(ontology: Ontology, definitions: Definitions, inputs: tuple[str, ...], out: Path | None) -> Emitted | None:
    from reports.source_events import seen_in_files, seen_in_tables
    from transforms.journey.check.emitted import emitted

    if inputs:
        return emitted(ontology, ", ".join(inputs), seen_in_files(inputs))
    if out is not None:
        return emitted(ontology, str(out), seen_in_tables(out, definitions.tables))
    return None


@command.command("diff")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--on", "history", required=True, metavar="DIR", help="An output folder, or a folder of event Avro.")
@click.option("--picture", type=click.Path(path_type=Path), metavar="FILE", help="Write the flow as an SVG file.")
@click.option(
    "--examples", type=click.IntRange(min=0), default=2, show_default=True, help="Persons for each pair of stages."
)
@_json
@project_config
def diff(
    a: Path, b: Path, history: str, picture: Path | None, examples: int, as_json: bool, config: Path | None
) -> None:
    """Replay history under the ontologies A and B, and show who stands elsewhere. No output folder is changed.

    Journeys are folded as a run folds them, by rules alone: no model speaks, since it knows the stages of one ontology.
    """
    from pipelines.definitions import load_definitions
    from reports.ontology_replay import replay
    from reports.stage_flow import flow_picture
    from reports.tell_ontology import difference_values, tell_ontology_difference

    if picture is not None and picture.suffix != ".svg":
        raise click.UsageError("--picture writes SVG: name a file that ends in .svg")
    definitions = load_definitions(config)
    one, other = _ontology(a, definitions), _ontology(b, definitions)
    found = replay(_history(history, definitions), one, other, examples)
    if picture is not None:
        _write(picture, flow_picture(found, found.a.version, found.b.version))
    if as_json:
        _print_json(difference_values(found))
        return
    _print(tell_ontology_difference(found))
    if picture is not None:
        click.echo(f"\nwritten: {picture}")


def _history(where: str, definitions: Definitions) -> History:
    from pipelines import clock
    from pipelines.plan import read_marks, read_tombstones, validation_rules
    from reports.history import history_of_files, history_of_output
    from transforms.identity.rules_file import load_rules
    from transforms.tables.output import OutputFolder, check_readable
    from transforms.validate import Validator

    rules = load_rules(definitions.config.identity)
    if not OutputFolder(Path(where)).format_file.is_file():
        return history_of_files((where,), rules, Validator(validation_rules(definitions, clock.now())))
    folder = check_readable(Path(where))
    tombstones = read_tombstones(folder)
    return history_of_output(folder, rules, tombstones, read_marks(folder, tombstones))


_out = click.option("--out", type=click.Path(path_type=Path), required=True, help="Output folder of runs.")
_registry = click.option(
    "--registry", type=click.Path(path_type=Path), help="Folder of the registry; by default that in OUT."
)


@command.command("activate")
@click.argument("ontology", metavar="FILE|VERSION")
@_out
@_registry
@click.option(
    "--at",
    "active_from",
    callback=instant,
    metavar="TIME",
    help="Event time from which it is in force; by default just after the newest event of OUT.",
)
@click.option("--reason", default="", help="Why, for the audit.")
@project_config
def activate(
    ontology: str, out: Path, registry: Path | None, active_from: int | None, reason: str, config: Path | None
) -> None:
    """Put an ontology in force from a date on; points before it stay as they are. A VERSION is one that OUT keeps.

    The first time, the project's file is recorded as in force until then. To go back, activate the older version.
    """
    from models.dataset import read_horizon
    from models.ontology_registry import OntologyRegistry
    from pipelines.clock import now
    from pipelines.config import load_config
    from transforms.journey.ontology import load_ontology
    from transforms.tables.output import check_readable

    kept = OntologyRegistry(registry or check_readable(out).registry)
    given = load_ontology(load_config(config).ontology)
    is_kept = not Path(ontology).is_file() and kept.path_of(ontology).is_file()
    chosen = kept.load(ontology) if is_kept else load_ontology(ontology)
    start = read_horizon(out) + 1 if active_from is None else active_from
    kept.activate(chosen, given, active_from=start, reason=reason or "activated by hand", now=now())
    click.echo(f"{chosen.version}: in force for points from {shown(start)} on")
    if chosen.stage_names != given.stage_names:
        click.echo(
            f"its stages are {', '.join(chosen.stage_names)}; those of {given.path} are "
            f"{', '.join(given.stage_names)}: a stream that runs follows, but before the next run or stream let the "
            "project's configuration name "
            f"{kept.path_of(chosen.version)} or a file like it, with policies for its stages"
        )


@command.command("versions")
@_out
@_registry
@_json
def versions(out: Path, registry: Path | None, as_json: bool) -> None:
    """Which ontologies OUT keeps, and from when each is in force, in the order in which that was recorded."""
    from contracts.exchange import MIN_TIME
    from models.ontology_registry import OntologyRegistry
    from transforms.tables.output import check_readable

    kept = OntologyRegistry(registry or check_readable(out).registry)
    records = kept.activations().records
    if as_json:
        _print_json(
            {
                "activations": [
                    {
                        "version": record.version,
                        "active_from": None if record.active_from == MIN_TIME else shown(record.active_from),
                        "recorded": shown(record.at),
                        "reason": record.reason,
                        "file": str(kept.path_of(str(record.version))),
                    }
                    for record in records
                ]
            }
        )
        return
    if not records:
        click.echo(f"no ontology was activated in {out}; the project's file serves")
    for record in records:
        since = "the beginning" if record.active_from == MIN_TIME else shown(record.active_from)
        click.echo(f"from {since}: {record.version}; recorded {shown(record.at)} ({record.reason})")


def _write(path: Path, text: str) -> None:
    from contracts.errors import OutputError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def _print(story: Iterable[RenderableType], *, soft_wrap: bool = False) -> None:
    from rich.console import Console

    from pipelines.commands.explain import WIDTH

    console = Console(highlight=False)
    console.width = min(console.width, WIDTH + 20) if console.is_terminal else WIDTH
    for item in story:
        console.print(item, soft_wrap=soft_wrap)


def _print_json(values: dict[str, Any]) -> None:
    from reports.rendering import json_text

    click.echo(json_text(values, indent=2))
