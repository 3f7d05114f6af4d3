"""``wayline mapping``: the mappings of a project and the shipped ones, and a first one proposed by looking at data."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.commands.project import project_config


@click.group("mapping")
def command() -> None:
    """List and show mappings; propose one for data of your own. docs/mappings.md teaches the language."""


@command.command("list")
@project_config
def list_mappings(config: Path | None) -> None:
    """Name the mappings of the project, then the shipped ones, and what rows they are for."""
    from contracts import documents
    from pipelines.config import load_config

    named: dict[str, Path] = {}
    for folder in load_config(config).mapping_folders:
        for path in sorted(folder.glob("*.yaml")):
            named.setdefault(path.stem, path)
    for path in named.values():
        root = documents.load(path)
        about = root.get("about")
        kinds = root.need("format")
        formats = ", ".join(kinds.strings())
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        told = about.string() if about else first.removeprefix("# ").partition(": ")[0].rstrip(".")
        click.echo(f"{path.stem:<18}{told} ({formats})")


@command.command("show")
@click.argument("name")
@project_config
def show(name: str, config: Path | None) -> None:
    """Print the file of a mapping, to copy from."""
    from contracts.errors import ConfigurationError
    from pipelines.config import load_config
    from sources.importer.mapping_file import mapping_path

    path = mapping_path(name, *load_config(config).mapping_folders)
    try:
        click.echo(path.read_text(encoding="utf-8"), nl=False)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(path, None, "cannot be read") from error


@command.command("init")
@click.option("--from", "source", required=True, type=click.Path(path_type=Path), help="A file of rows.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write it; by default it is printed.")
@click.option("--name", help="Of the mapping; by default that of the file.")
@click.option("--rows", type=click.IntRange(1, 100_000), default=1_000, show_default=True, help="How many to look at.")
def init(source: Path, out: Path | None, name: str | None, rows: int) -> None:
    """Propose a mapping for the rows of FILE (CSV, TSV, JSON lines, JSON, Parquet or Avro).

    The proposal is valid and holds no value of the rows. Read it, change it, then look at what it does:
    wayline import --mapping OUT --input FILE --dry-run
    """
    from contracts.errors import InputError, OutputError
    from pipelines.config import SHIPPED
    from sources.importer.guess import fitting, guess_layout, mapping_name, sample
    from sources.importer.propose import propose
    from sources.importer.survey import survey

    if out is not None and out.exists():
        raise OutputError(f"{out} is there already", hint="name another file, or remove it")
    if not source.is_file():
        raise InputError(f"no file is found at {source}")
    layout = guess_layout(source)
    found = sample(source, layout, rows)
    if not found:
        raise InputError(f"{source} has no row that can be read as {layout.formats[0]}")
    for shipped, share in fitting(source, found, layout, SHIPPED / "mappings"):
        click.echo(f"the shipped mapping {shipped} maps {share:.0%} of these rows: --mapping {shipped}", err=True)
    proposal = propose(survey(found), name or mapping_name(source), layout.formats[0], layout.delimiter)
    if out is None:
        click.echo(proposal.text, nl=False)
    else:
        try:
            out.write_text(proposal.text, encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{out} cannot be written: {error.strerror}") from error
        click.echo(f"written: {out}", err=True)
    for question in proposal.questions:
        click.echo(f"to decide: {question}", err=True)
